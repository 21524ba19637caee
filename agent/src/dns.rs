//! Names of hosts by their address, asked of the system.

use crate::{component::Stop, sync::lock};
use std::{
    collections::HashMap,
    net::{IpAddr, ToSocketAddrs},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// The name of an address, if that name leads back to the address, as Java wants it. It blocks for as long as the system takes.
pub(crate) fn name_of(address: IpAddr) -> Option<String> {
    let name = dns_lookup::lookup_addr(&address).ok()?;
    let mut addresses = (name.as_str(), 0).to_socket_addrs().ok()?;
    addresses.any(|back| back.ip().to_canonical() == address).then_some(name)
}

/// How long one waits for a name. Who asks later for the same one does not wait again.
const WAIT: Duration = Duration::from_secs(2);
/// How long a name is believed, and how long that there is none.
const NAMED_FOR: Duration = Duration::from_secs(600);
const NAMELESS_FOR: Duration = Duration::from_secs(60);
const KNOWN_MAX: usize = 4096;
/// Questions that the system has not answered yet. With more of them nobody waits.
const OPEN_MAX: usize = 16;

type Resolve = Arc<dyn Fn(IpAddr) -> Option<String> + Send + Sync>;

/// The names of peers, as Java's `getHostName` gives them: the address in digits where there is no name. The system is asked on other
/// threads, and neither a slow answer nor many peers hold up events for long: they get the address then.
pub(crate) struct Names {
    resolve: Resolve,
    wait: Duration,
    known: Arc<Mutex<HashMap<IpAddr, Known>>>,
}

enum Known {
    /// Nobody waits longer than `until`.
    Asked {
        until: Instant,
        answer: watch::Receiver<Option<Arc<str>>>,
    },
    Answered {
        name: Arc<str>,
        until: Instant,
    },
}

/// A name on its way.
pub(crate) enum Question {
    Answered(Arc<str>),
    Open { digits: Arc<str>, until: Instant, answer: watch::Receiver<Option<Arc<str>>> },
}

impl Names {
    pub(crate) fn new() -> Self {
        Self::asking(Arc::new(name_of), WAIT)
    }

    fn asking(resolve: Resolve, wait: Duration) -> Self {
        Self { resolve, wait, known: Arc::default() }
    }

    /// Asks, unless the answer is known. To be called on the runtime.
    pub(crate) fn ask(&self, address: IpAddr) -> Question {
        let address = address.to_canonical();
        let digits: Arc<str> = address.to_string().into();
        let now = Instant::now();
        let mut known = lock(&self.known);
        match known.get(&address) {
            Some(Known::Answered { name, until }) if *until > now => {
                return Question::Answered(Arc::clone(name));
            }
            Some(Known::Asked { until, answer }) => {
                return Question::Open { digits, until: *until, answer: answer.clone() };
            }
            _ => {}
        }
        let open = known.values().filter(|known| matches!(known, Known::Asked { .. })).count();
        if open >= OPEN_MAX {
            return Question::Answered(digits);
        }
        make_room(&mut known, now);
        let (send, answer) = watch::channel(None);
        let until = now + self.wait;
        known.insert(address, Known::Asked { until, answer: answer.clone() });
        drop(known);
        self.resolve_elsewhere(address, Arc::clone(&digits), send);
        Question::Open { digits, until, answer }
    }

    fn resolve_elsewhere(
        &self,
        address: IpAddr,
        digits: Arc<str>,
        send: watch::Sender<Option<Arc<str>>>,
    ) {
        let (resolve, known) = (Arc::clone(&self.resolve), Arc::clone(&self.known));
        tokio::task::spawn_blocking(move || {
            let found = resolve(address);
            let lasts = if found.is_some() { NAMED_FOR } else { NAMELESS_FOR };
            let name = found.map_or(digits, Arc::from);
            let until = Instant::now() + lasts;
            lock(&known).insert(address, Known::Answered { name: Arc::clone(&name), until });
            send.send_replace(Some(name));
        });
    }
}

/// Forgets what is out of date, and if that is not enough, any answer.
fn make_room(known: &mut HashMap<IpAddr, Known>, now: Instant) {
    if known.len() < KNOWN_MAX {
        return;
    }
    known.retain(|_, known| !matches!(known, Known::Answered { until, .. } if *until <= now));
    let answered =
        known.iter().find(|(_, known)| matches!(known, Known::Answered { .. })).map(|(ip, _)| *ip);
    if let Some(address) = answered.filter(|_| known.len() >= KNOWN_MAX) {
        known.remove(&address);
    }
}

impl Question {
    /// The name, or the address when the time is up or the order to stop comes.
    pub(crate) async fn answer(self, stop: &Stop) -> Arc<str> {
        let (digits, until, mut answer) = match self {
            Self::Answered(name) => return name,
            Self::Open { digits, until, answer } => (digits, until, answer),
        };
        let found = tokio::select! {
            biased;
            // An error: the question was given up.
            found = answer.wait_for(Option::is_some) => found.ok().and_then(|name| name.clone()),
            () = tokio::time::sleep_until(until.into()) => None,
            () = stop.stopped() => None,
        };
        found.unwrap_or(digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        Condvar,
        atomic::{AtomicUsize, Ordering},
    };

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    async fn name(names: &Names, address: IpAddr) -> Arc<str> {
        let (_sender, stop) = Stop::new();
        names.ask(address).answer(&stop).await
    }

    #[test]
    fn loopback_has_a_name_and_an_address_for_examples_has_none() {
        assert!(name_of([127, 0, 0, 1].into()).is_some());
        assert_eq!(name_of(address(7)), None);
    }

    #[tokio::test]
    async fn an_answer_is_kept_and_its_absence_too() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let resolve = move |address| {
            count.fetch_add(1, Ordering::Relaxed);
            (address == IpAddr::from([192, 0, 2, 1])).then(|| "one.example".to_owned())
        };
        let names = Names::asking(Arc::new(resolve), WAIT);
        for _ in 0..3 {
            assert_eq!(&*name(&names, address(1)).await, "one.example");
            assert_eq!(&*name(&names, address(2)).await, "192.0.2.2");
        }
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(&*name(&names, mapped).await, "one.example");
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    /// A system that answers once it is let.
    fn slow(wait: Duration) -> (Names, Arc<(Mutex<bool>, Condvar)>) {
        let gate = Arc::<(Mutex<bool>, Condvar)>::default();
        let held = Arc::clone(&gate);
        let resolve = move |_| {
            let (open, opened) = &*held;
            drop(opened.wait_timeout_while(lock(open), WAIT * 10, |open| !*open).unwrap());
            Some("late.example".to_owned())
        };
        (Names::asking(Arc::new(resolve), wait), gate)
    }

    fn open(gate: &(Mutex<bool>, Condvar)) {
        *lock(&gate.0) = true;
        gate.1.notify_all();
    }

    #[tokio::test]
    async fn a_slow_answer_is_waited_for_once_and_many_are_not() {
        let (names, gate) = slow(Duration::from_millis(100));
        let start = Instant::now();
        assert_eq!(&*name(&names, address(0)).await, "192.0.2.0");
        assert!(start.elapsed() >= Duration::from_millis(100));
        let late = names.ask(address(0));
        assert!(matches!(&late, Question::Open { until, .. } if *until <= Instant::now()));
        let questions: Vec<_> = (0..=u8::MAX).map(|last| names.ask(address(last))).collect();
        let unanswered = |one: &&Question| matches!(one, Question::Open { .. });
        assert_eq!(questions.iter().filter(unanswered).count(), OPEN_MAX);
        open(&gate);
        let (_sender, stop) = Stop::new();
        let mut answer = questions.into_iter().nth(1).unwrap();
        while &*answer.answer(&stop).await != "late.example" {
            answer = names.ask(address(1));
        }
    }

    #[tokio::test]
    async fn the_order_to_stop_does_not_wait() {
        let (names, gate) = slow(WAIT * 10);
        let (sender, stop) = Stop::new();
        let question = names.ask(address(1));
        sender.stop();
        assert_eq!(&*question.answer(&stop).await, "192.0.2.1");
        open(&gate);
    }

    #[test]
    fn what_is_known_is_bounded() {
        let now = Instant::now();
        let mut known = HashMap::new();
        for number in 0..KNOWN_MAX {
            let address = IpAddr::from(u32::try_from(number).unwrap().to_be_bytes());
            known.insert(address, Known::Answered { name: "x".into(), until: now + NAMED_FOR });
        }
        make_room(&mut known, now);
        assert_eq!(known.len(), KNOWN_MAX - 1);
        known.insert(address(1), Known::Answered { name: "x".into(), until: now + NAMED_FOR });
        make_room(&mut known, now + NAMED_FOR);
        assert!(known.is_empty());
    }
}
