use super::*;
use crate::{
    component::{ChannelError, ChannelLevel, ChannelLimits, Taker},
    sync::lock,
};
use std::{collections::VecDeque, sync::Mutex};

/// A channel that remembers its transactions and fails as told.
#[derive(Default)]
struct Fake {
    transactions: Mutex<Vec<PutBatch>>,
    failures: Mutex<VecDeque<PutError>>,
    limits: ChannelLimits,
    event_bytes_max: Option<usize>,
    refuses_marks: bool,
    keeps_marks: bool,
}

impl Fake {
    fn bodies(&self) -> Vec<Vec<String>> {
        let text = |event: &Event| String::from_utf8_lossy(&event.body).into_owned();
        lock(&self.transactions)
            .iter()
            .map(|batch| batch.events.iter().map(text).collect())
            .collect()
    }

    fn marks(&self) -> Vec<usize> {
        lock(&self.transactions).iter().map(|batch| batch.marks.len()).collect()
    }
}

impl Channel for Fake {
    fn put<'a>(&'a self, batch: &'a mut PutBatch) -> BoxFuture<'a, Result<(), PutError>> {
        Box::pin(async move {
            if let Some(error) = lock(&self.failures).pop_front() {
                return Err(error);
            }
            if batch.events.iter().map(|event| event.body.len()).sum::<usize>()
                > self.event_bytes_max.unwrap_or(usize::MAX)
            {
                return Err(PutError::TooLarge("over `bytesMax`".to_owned()));
            }
            if self.refuses_marks && !batch.marks.is_empty() {
                return Err(PutError::TooLarge("too many marks".to_owned()));
            }
            lock(&self.transactions).push(std::mem::take(batch));
            Ok(())
        })
    }

    fn mark(&self, key: &[u8]) -> Option<Bytes> {
        let transactions = lock(&self.transactions);
        let mut marks =
            transactions.iter().flat_map(|batch| &batch.marks).filter(|(mark, _)| mark == key);
        marks.next_back().map(|(_, value)| value.clone())
    }

    fn keeps_marks(&self) -> bool {
        self.keeps_marks
    }

    fn taker(&self) -> Box<dyn Taker> {
        unreachable!("nobody takes here")
    }

    fn limits(&self) -> ChannelLimits {
        self.limits
    }

    fn level(&self) -> ChannelLevel {
        ChannelLevel::default()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), ChannelError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

struct Constant(Targets);

impl Selector for Constant {
    fn constant(&self) -> Option<Targets> {
        Some(self.0)
    }

    fn select(&self, _: &Event) -> Targets {
        self.0
    }
}

/// To the channel whose number is the body; to none if there is no such channel.
struct ByBody;

impl Selector for ByBody {
    fn select(&self, event: &Event) -> Targets {
        let number: Option<u32> =
            std::str::from_utf8(&event.body).ok().and_then(|text| text.parse().ok());
        Targets { required: number.map_or(0, |number| 1 << number), optional: 0 }
    }
}

struct Count(AtomicU64);

impl Interceptor for Count {
    fn intercept(&self, batch: &mut Vec<Event>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        batch.retain(|event| event.body != "drop");
        for event in batch {
            let seen = event.headers.get("seen").map_or(0, |seen| seen.parse::<u32>().unwrap());
            event.headers.insert("seen", &(seen + 1).to_string());
        }
    }
}

fn pipeline(selector: impl Selector + 'static, channels: &[&Arc<Fake>]) -> Pipeline {
    let (sender, stop) = Stop::new();
    // The agent of a test is never stopped, except where a test makes its own order.
    std::mem::forget(sender);
    Pipeline {
        source: "r1".into(),
        interceptors: vec![Box::new(Count(AtomicU64::new(0)))],
        selector: Box::new(selector),
        routes: channels
            .iter()
            .map(|fake| Route { name: "c1".into(), channel: Arc::clone(fake) as Arc<dyn Channel> })
            .collect(),
        stop,
        losses: Losses::new("r1".into()),
    }
}

fn all(required: u64, optional: u64) -> Constant {
    Constant(Targets { required, optional })
}

fn batch(bodies: &[&str]) -> PutBatch {
    PutBatch::of(bodies.iter().map(|body| Event::of_body((*body).to_owned())).collect())
}

fn failing(errors: impl IntoIterator<Item = PutError>) -> Arc<Fake> {
    Arc::new(Fake { failures: Mutex::new(errors.into_iter().collect()), ..Fake::default() })
}

fn mark(value: &'static str) -> Vec<(Bytes, Bytes)> {
    vec![(Bytes::from_static(b"k"), Bytes::from_static(value.as_bytes()))]
}

#[tokio::test]
async fn test_channel_processor_required_and_optional_channels() {
    let channels: Vec<_> = (0..4).map(|_| Arc::new(Fake::default())).collect();
    let pipeline = pipeline(all(0b1001, 0b0110), &channels.iter().collect::<Vec<_>>());
    let mut one = batch(&["event 1"]);
    pipeline.put(&mut one, Retry::No).await.unwrap();
    assert!(one.events.is_empty());
    let many: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let mut hundred = batch(&many.iter().map(String::as_str).collect::<Vec<_>>());
    pipeline.put(&mut hundred, Retry::No).await.unwrap();
    for channel in channels {
        assert_eq!(channel.bodies(), [vec!["event 1".to_owned()], many.clone()]);
    }
}

#[tokio::test]
async fn test_channel_processor_failing_channel() {
    let (fails, fine) = (failing([PutError::Failed("no".to_owned())]), Arc::new(Fake::default()));
    let required = pipeline(all(0b11, 0), &[&fails, &fine]);
    assert_eq!(
        required.put(&mut batch(&["a"]), Retry::No).await,
        Err(PutError::Failed("no".to_owned()))
    );
    let fails = failing([PutError::Failed("no".to_owned())]);
    let optional = pipeline(all(0b10, 0b01), &[&fails, &fine]);
    optional.put(&mut batch(&["b"]), Retry::No).await.unwrap();
    assert_eq!((fails.bodies().len(), fine.bodies()), (0, vec![vec!["b".to_owned()]]));
    assert_eq!(optional.losses.optional.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn only_the_channel_that_failed_is_tried_again_and_interceptors_see_a_batch_once() {
    let full = || PutError::Full("full".to_owned());
    let (fine, fails) = (Arc::new(Fake::default()), failing([full(), full(), full()]));
    let pipeline = pipeline(all(0b11, 0), &[&fine, &fails]);
    pipeline.put(&mut batch(&["a", "drop"]), Retry::UntilStopped).await.unwrap();
    for channel in [fine, fails] {
        assert_eq!(channel.bodies(), [["a"]]);
        assert_eq!(lock(&channel.transactions)[0].events[0].headers.get("seen"), Some("1"));
    }
}

#[tokio::test]
async fn retries_end_with_the_order_to_stop() {
    let fails = failing((0..1000).map(|_| PutError::Full("full".to_owned())));
    let (sender, stop) = Stop::new();
    let pipeline = Pipeline { stop, ..into_one(&fails) };
    let mut events = batch(&["a"]);
    let put = pipeline.put(&mut events, Retry::UntilStopped);
    let (result, ()) = tokio::join!(put, async { sender.stop() });
    assert_eq!(result, Err(PutError::Stopped));
}

/// A pipeline into one channel.
fn into_one(channel: &Arc<Fake>) -> Pipeline {
    pipeline(all(1, 0), &[channel])
}

#[tokio::test]
async fn a_batch_is_cut_to_the_limits_of_its_channel_and_marks_go_last() {
    let limits = ChannelLimits {
        transaction_events_max: Some(3),
        transaction_bytes_max: Some(60),
        ..ChannelLimits::default()
    };
    let channel = Arc::new(Fake { limits, keeps_marks: true, ..Fake::default() });
    let pipeline = Pipeline { interceptors: Vec::new(), ..into_one(&channel) };
    let long = "x".repeat(50);
    let mut events = batch(&["1", "2", "3", "4", "5", &long, "6"]);
    events.marks = mark("v");
    pipeline.put(&mut events, Retry::UntilStopped).await.unwrap();
    assert_eq!(
        channel.bodies(),
        [vec!["1", "2", "3"], vec!["4", "5"], vec![&long, "6"]]
            .map(|part| part.iter().map(|body| (*body).to_owned()).collect::<Vec<_>>())
    );
    assert_eq!(channel.marks(), [0, 0, 1]);
}

#[tokio::test]
async fn an_event_that_can_never_fit_is_dropped_and_counted_and_the_rest_goes_on() {
    let channel = Arc::new(Fake { event_bytes_max: Some(4), keeps_marks: true, ..Fake::default() });
    let pipeline = pipeline(all(1, 0), &[&channel]);
    let mut events = batch(&["aa", "bb", "much too long", "cc", "too long"]);
    events.marks = mark("v");
    pipeline.put(&mut events, Retry::UntilStopped).await.unwrap();
    assert_eq!(channel.bodies().concat(), ["aa", "bb", "cc"]);
    assert_eq!(
        channel.mark(b"k"),
        Some(Bytes::from_static(b"v")),
        "the source does not read it again for ever"
    );
    assert_eq!(pipeline.losses.too_large.load(Ordering::Relaxed), 2);
    assert!(matches!(
        pipeline.put(&mut batch(&["too long"]), Retry::No).await,
        Err(PutError::TooLarge(_))
    ));
}

#[tokio::test]
async fn events_that_no_channel_wants_are_counted_and_the_others_keep_their_order() {
    let channels =
        [Arc::new(Fake::default()), Arc::new(Fake { keeps_marks: true, ..Fake::default() })];
    let pipeline = pipeline(ByBody, &[&channels[0], &channels[1]]);
    let mut events = batch(&["0", "1", "none", "0", "7"]);
    events.marks = mark("v");
    pipeline.put(&mut events, Retry::UntilStopped).await.unwrap();
    assert_eq!(channels[0].bodies(), [["0", "0"]]);
    assert_eq!(channels[1].bodies(), [["1"]]);
    assert_eq!((channels[0].marks(), channels[1].marks()), (vec![0], vec![1]));
    assert_eq!(pipeline.losses.unrouted.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn the_mark_is_the_one_of_the_hindmost_channel() {
    let keeping = || Arc::new(Fake { keeps_marks: true, ..Fake::default() });
    let (ahead, behind, forgetful) = (keeping(), keeping(), Arc::new(Fake::default()));
    let both = pipeline(all(0b011, 0b100), &[&ahead, &behind, &forgetful]);
    assert_eq!(both.mark(b"k"), None);
    let mut events = PutBatch { events: Vec::new(), marks: mark("5") };
    both.put(&mut events, Retry::UntilStopped).await.unwrap();
    ahead.put(&mut PutBatch { events: Vec::new(), marks: mark("7") }).await.unwrap();
    assert_eq!(both.mark(b"k"), Some(Bytes::from_static(b"5")));
    let with_forgetful = pipeline(all(0b111, 0), &[&ahead, &behind, &forgetful]);
    assert_eq!(with_forgetful.mark(b"k"), None);
}

#[tokio::test]
async fn marks_that_can_never_fit_cost_no_event() {
    let channel = Arc::new(Fake { refuses_marks: true, keeps_marks: true, ..Fake::default() });
    let pipeline = into_one(&channel);
    let mut events = batch(&["a", "b", "c"]);
    events.marks = mark("v");
    pipeline.put(&mut events, Retry::UntilStopped).await.unwrap();
    assert_eq!(channel.bodies().concat(), ["a", "b", "c"]);
    assert_eq!(pipeline.losses.too_large.load(Ordering::Relaxed), 0);
}
