//! What a log must hold: small enough to be obviously right.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What a check says: nothing, or what is wrong.
pub(crate) type Check<T = ()> = Result<T, String>;

/// Ends a check unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}
pub(crate) use ensure;

/// An event: its payload is a function of its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) number: u64,
    pub(crate) len: u32,
}

impl Event {
    const NUMBER_LEN: usize = 8;

    pub(crate) fn payload(self) -> Vec<u8> {
        let mut payload = self.number.to_le_bytes().to_vec();
        payload.resize(Self::NUMBER_LEN + self.len as usize, self.number as u8);
        payload
    }

    /// The event that made `payload`.
    pub(crate) fn read(payload: &[u8]) -> Check<Self> {
        let (number, rest) =
            payload.split_first_chunk().ok_or_else(|| "an event that nobody put".to_owned())?;
        let number = u64::from_le_bytes(*number);
        ensure!(
            rest.iter().all(|byte| *byte == number as u8),
            "event number {number} has other bytes than were put"
        );
        Ok(Self { number, len: rest.len() as u32 })
    }
}

/// What a transaction does.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    Put { events: Vec<Event>, mark: Option<(u8, u64)> },
    Take { seqs: Vec<u64> },
}

/// The events in these puts.
pub(crate) fn refused_events(refused: &[Effect]) -> impl Iterator<Item = Event> {
    let events = refused.iter().filter_map(|effect| match effect {
        Effect::Put { events, .. } => Some(events),
        Effect::Take { .. } => None,
    });
    events.flatten().copied()
}

/// The events that are owed, and the marks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fold {
    pub(crate) owed: VecDeque<(u64, Event)>,
    pub(crate) next_seq: u64,
    pub(crate) marks: BTreeMap<u8, u64>,
}

impl Fold {
    fn apply(&mut self, effect: &Effect) -> Check {
        match effect {
            Effect::Put { events, mark } => {
                for event in events {
                    self.owed.push_back((self.next_seq, *event));
                    self.next_seq += 1;
                }
                self.marks.extend(*mark);
            }
            Effect::Take { seqs } => {
                for seq in seqs {
                    let at = self.owed.binary_search_by_key(seq, |(seq, _)| *seq);
                    let at = at.map_err(|_| format!("event {seq} was taken twice"))?;
                    self.owed.remove(at);
                }
            }
        }
        Ok(())
    }

    /// True if `found` is this, and some of these puts behind it: at least one, each of them whole, in order.
    fn and_refused(&self, refused: &[Effect], found: &Self) -> bool {
        let mut state = self.clone();
        let mut marks = BTreeSet::new();
        for effect in refused {
            let Effect::Put { events, mark } = effect else { continue };
            let there = found.owed.iter().skip(state.owed.len()).map(|(_, event)| event);
            // Of one without an event only the mark could tell.
            if there.take(events.len()).eq(events) {
                let seqs = state.next_seq..;
                state.owed.extend(seqs.zip(events.iter().copied()));
                state.next_seq += events.len() as u64;
                marks.extend(*mark);
            }
        }
        let one_is_there = state.next_seq > self.next_seq || found.marks != self.marks;
        let is_known = |(key, value): (&u8, &u64)| {
            self.marks.get(key) == Some(value) || marks.contains(&(*key, *value))
        };
        one_is_there
            && (state.next_seq, &state.owed) == (found.next_seq, &found.owed)
            && self.marks.keys().all(|key| found.marks.contains_key(key))
            && found.marks.iter().all(is_known)
    }

    /// Short enough for a message.
    pub(crate) fn summary(&self) -> String {
        let owed: Vec<String> =
            self.owed.iter().map(|(seq, event)| format!("{seq}=#{}", event.number)).collect();
        format!("next {}, marks {:?}, owed [{}]", self.next_seq, self.marks, owed.join(" "))
    }
}

/// A transaction that was answered.
#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    pub(crate) effect: Effect,
    /// The number of the last write when it was answered.
    pub(crate) write: u64,
}

/// What has to be there, whatever else is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Floor {
    /// All that was acknowledged: after a kill.
    Acknowledged,
    /// All that a sync covered: after a power cut, or when a sync failed.
    Durable,
    /// All that something later vouches for: after damage to what nothing vouches for.
    Vouched,
    /// All that the newest checkpoint covers: after damage to the end of the log and to all that vouches for it.
    Checkpoint,
}

/// What some transactions did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent {
    pub(crate) puts: BTreeMap<u64, Event>,
    pub(crate) takes: BTreeSet<u64>,
    /// One of the puts had a mark.
    pub(crate) marks: bool,
}

/// What is known about a channel: what must be there, and what may.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    /// What the newest checkpoint covers.
    base: Fold,
    /// Acknowledged since, in order. The first `vouched` of them have a witness, the first `durable` a sync.
    since: VecDeque<Transaction>,
    vouched: usize,
    durable: usize,
    /// Not acknowledged: each is there or not, whole, and none without those before it.
    unknown: Vec<Transaction>,
    /// `base` and all of `since`: what the channel shows while it lives.
    live: Fold,
}

impl Model {
    /// All of this is there, whatever comes.
    pub(crate) fn at(state: Fold) -> Self {
        Self { base: state.clone(), live: state, ..Self::default() }
    }

    /// What was done since the last checkpoint, answered or not: of it all, a part at its front, or what lies whole behind a torn end.
    pub(crate) fn since_checkpoint_at_most(&self) -> Recent {
        let mut recent = Recent::default();
        let mut next = self.base.next_seq;
        for transaction in self.since.iter().chain(&self.unknown) {
            match &transaction.effect {
                Effect::Put { events, mark } => {
                    recent.marks |= mark.is_some();
                    recent.puts.extend((next..).zip(events.iter().copied()));
                    next += events.len() as u64;
                }
                Effect::Take { seqs } => recent.takes.extend(seqs),
            }
        }
        recent
    }

    /// How many acknowledged transactions have no witness.
    pub(crate) fn without_witness(&self) -> usize {
        self.since.len() - self.vouched
    }

    /// Something was acknowledged, and all of it has a witness.
    pub(crate) fn is_vouched(&self) -> bool {
        !self.since.is_empty() && self.without_witness() == 0
    }

    pub(crate) fn live(&self) -> &Fold {
        &self.live
    }

    /// True if `seq` was, or may have been, put as this event and not taken for sure.
    pub(crate) fn knows(&self, seq: u64, event: Event) -> bool {
        let mut state = self.base.clone();
        let mut known = state.owed.contains(&(seq, event));
        for transaction in self.since.iter().chain(&self.unknown) {
            known |= state.apply(&transaction.effect).is_ok() && state.owed.contains(&(seq, event));
        }
        known
    }

    /// How many transactions were acknowledged since the last checkpoint.
    pub(crate) fn since_checkpoint(&self) -> usize {
        self.since.len()
    }

    pub(crate) fn acknowledge(&mut self, transaction: Transaction) -> Check {
        ensure!(self.unknown.is_empty(), "acknowledged behind a commit that is unknown");
        self.live.apply(&transaction.effect)?;
        self.since.push_back(transaction);
        Ok(())
    }

    pub(crate) fn not_answered(&mut self, transaction: Transaction) {
        self.unknown.push(transaction);
    }

    /// What was acknowledged up to these writes has a sync, and a witness.
    pub(crate) fn written(&mut self, durable_write: u64, vouched_write: u64) {
        let up_to = |write| self.since.iter().take_while(|one| one.write <= write).count();
        self.durable = self.durable.max(up_to(durable_write));
        // A witness may be lost with the power.
        self.vouched = up_to(vouched_write);
    }

    /// A checkpoint covers the first `count` transactions since the last one.
    pub(crate) fn checkpoint(&mut self, count: usize) -> Check {
        for transaction in self.since.drain(..count) {
            self.base.apply(&transaction.effect)?;
        }
        self.durable = self.durable.saturating_sub(count);
        self.vouched = self.vouched.saturating_sub(count);
        Ok(())
    }

    /// True if `found` is the first few transactions since the last checkpoint, and behind them some of these puts, whole and in order,
    /// which were refused: nothing says any more that they are void.
    pub(crate) fn holds_refused(&self, refused: &[Effect], found: &Fold) -> bool {
        let mut state = self.base.clone();
        let all = self.since.iter().chain(&self.unknown).map(Some).chain([None]);
        for transaction in all {
            if state.and_refused(refused, found) {
                return true;
            }
            if transaction.is_some_and(|one| state.apply(&one.effect).is_err()) {
                return false;
            }
        }
        false
    }

    /// What was recovered must be all that had to survive, and the first few of what may. From then on that is what happened.
    pub(crate) fn settle(&mut self, floor: Floor, found: &Fold) -> Check {
        let must = match floor {
            Floor::Acknowledged => self.since.len(),
            Floor::Durable => self.durable,
            Floor::Vouched => self.vouched.min(self.durable),
            Floor::Checkpoint => 0,
        };
        let mut state = self.base.clone();
        let mut expected = Vec::new();
        let mut fits = false;
        for (number, transaction) in (1..).zip(self.since.iter().chain(&self.unknown)) {
            if number > must && !fits {
                expected.push(state.summary());
                fits = state == *found;
            }
            if fits {
                break;
            }
            state.apply(&transaction.effect)?;
        }
        expected.push(state.summary());
        ensure!(
            state == *found,
            "it holds\n    {}\n  and must hold one of ({floor:?})\n    {}",
            found.summary(),
            expected.join("\n    ")
        );
        *self = Self::at(state);
        Ok(())
    }
}
