//! What the processes say on their pipes: one line for each thing, written in one piece.
//!
//! What a process wrote into a pipe outlives it. A line that a kill cut is none: it has no end, and it was written before what it
//! announces, or after what it reports.

use crate::Answer;
use std::{fmt, str::FromStr};

/// An event: the `number`th of a producer in a round, put together with `first..=last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// Who put it.
    pub producer: u32,
    /// In which round.
    pub round: u64,
    /// Its number there.
    pub number: u64,
    /// The first event of its transaction.
    pub first: u64,
    /// The last event of its transaction.
    pub last: u64,
}

impl Id {
    /// The payload of the event: the id, and as many bytes more as the id says.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        let mut payload = self.to_string().into_bytes();
        payload.push(b' ');
        let more = match self.number {
            // Larger than a segment.
            number if number % 5003 == 5002 => 300 << 10,
            number if number % 211 == 210 => 20 << 10,
            number => usize::try_from(number % 300).unwrap_or_default(),
        };
        payload.resize(payload.len() + more, b'.');
        payload
    }

    /// What [`encode`](Self::encode) made, or nothing.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let end = payload.iter().position(|byte| *byte == b' ')?;
        let id: Self = std::str::from_utf8(payload.get(..end)?).ok()?.parse().ok()?;
        (id.encode() == payload).then_some(id)
    }

    /// Producer, round and number, in the order in which a producer puts.
    #[must_use]
    pub fn place(self) -> (u64, u64) {
        (self.round, self.number)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { producer, round, number, first, last } = self;
        write!(f, "{producer}:{round}:{number}:{first}-{last}")
    }
}

impl FromStr for Id {
    type Err = Box<dyn std::error::Error>;

    fn from_str(text: &str) -> Answer<Self> {
        let mut parts = text.split([':', '-']);
        let mut next = || parts.next().ok_or("an id is too short");
        Ok(Self {
            producer: next()?.parse()?,
            round: next()?.parse()?,
            number: next()?.parse()?,
            first: next()?.parse()?,
            last: next()?.parse()?,
        })
    }
}

/// Events of one transaction that follow each other: `count` of them, the first with this sequence and id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The sequence of the first.
    pub seq: u64,
    /// How many.
    pub count: u64,
    /// The id of the first.
    pub id: Id,
}

impl Run {
    /// Each event with its sequence.
    pub fn events(self) -> impl Iterator<Item = (u64, Id)> {
        (0..self.count)
            .map(move |at| (self.seq + at, Id { number: self.id.number + at, ..self.id }))
    }

    /// As few runs as there can be.
    #[must_use]
    pub fn gather(events: impl Iterator<Item = (u64, Id)>) -> Vec<Self> {
        let mut runs: Vec<Self> = Vec::new();
        for (seq, id) in events {
            match runs.last_mut() {
                Some(run)
                    if run.seq + run.count == seq
                        && Id { number: run.id.number + run.count, ..run.id } == id =>
                {
                    run.count += 1;
                }
                _ => runs.push(Self { seq, count: 1, id }),
            }
        }
        runs
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}={}", self.seq, self.count, self.id)
    }
}

impl FromStr for Run {
    type Err = Box<dyn std::error::Error>;

    fn from_str(text: &str) -> Answer<Self> {
        let (seq, rest) = text.split_once('+').ok_or("a run without a count")?;
        let (count, id) = rest.split_once('=').ok_or("a run without an id")?;
        Ok(Self { seq: seq.parse()?, count: count.parse()?, id: id.parse()? })
    }
}

/// The events `first..=last` of a producer in the present round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Who put them.
    pub producer: u32,
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// An acknowledged put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Put {
    /// Its events.
    pub batch: Batch,
    /// The sequence of the first.
    pub seq: u64,
    /// The LSN of the transaction.
    pub lsn: u64,
    /// Whether the acknowledgement said "durable".
    pub durable: bool,
    /// Whether it set the producer's mark to its last event.
    pub marked: bool,
}

/// One line of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The channel is open: from here on it works.
    Up,
    /// A put was acknowledged.
    Put(Put),
    /// A put was refused, with this kind of error: it did not happen, now or after any crash.
    Refused(Batch, String),
    /// Whether a put happened is unknown.
    Unknown(Batch),
    /// A taker has these events in its hands.
    Taking(u32, Vec<Run>),
    /// Its take was acknowledged, with this LSN and "durable" or not.
    Taken(u32, u64, bool),
    /// Its take was rolled back.
    Back(u32),
    /// Whether its take happened is unknown.
    UnknownTake(u32),
    /// All up to this LSN was said to be durable.
    Synced(u64),
    /// The channel has stopped itself, and this is what it says.
    Stopped(String),
    /// A call failed in a way that is not wrong by itself.
    Failed(String),
    /// An error in the log.
    Log(String),
    /// What an open found: the end of the log, the next sequence, how many events wait, the verdict, how many frames were written anew.
    Opened(u64, u64, u64, String, u64),
    /// The open was refused.
    Shut(String),
    /// The mark of a producer: round and number.
    Mark(u32, u64, u64),
    /// Events that wait, in their order.
    There(Vec<Run>),
    /// All was said.
    Done,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = |runs: &[Run]| runs.iter().map(|run| format!(" {run}")).collect::<String>();
        match self {
            Self::Up => write!(f, "up"),
            Self::Put(Put { batch, seq, lsn, durable, marked }) => {
                let Batch { producer, first, last } = batch;
                write!(f, "put {producer} {first} {last} {seq} {lsn} {durable} {marked}")
            }
            Self::Refused(Batch { producer, first, last }, kind) => {
                write!(f, "refused {producer} {first} {last} {}", one_line(kind))
            }
            Self::Unknown(Batch { producer, first, last }) => {
                write!(f, "unknown {producer} {first} {last}")
            }
            Self::Taking(taker, taken) => write!(f, "taking {taker}{}", runs(taken)),
            Self::Taken(taker, lsn, durable) => write!(f, "taken {taker} {lsn} {durable}"),
            Self::Back(taker) => write!(f, "back {taker}"),
            Self::UnknownTake(taker) => write!(f, "unknown-take {taker}"),
            Self::Synced(lsn) => write!(f, "synced {lsn}"),
            Self::Stopped(why) => write!(f, "stopped {}", one_line(why)),
            Self::Failed(why) => write!(f, "failed {}", one_line(why)),
            Self::Log(what) => write!(f, "log {}", one_line(what)),
            Self::Opened(end, next, events, verdict, rewritten) => {
                write!(f, "opened {end} {next} {events} {verdict} {rewritten}")
            }
            Self::Shut(why) => write!(f, "shut {}", one_line(why)),
            Self::Mark(producer, round, number) => write!(f, "mark {producer} {round} {number}"),
            Self::There(there) => write!(f, "there{}", runs(there)),
            Self::Done => write!(f, "done"),
        }
    }
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

impl FromStr for Said {
    type Err = Box<dyn std::error::Error>;

    fn from_str(line: &str) -> Answer<Self> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut words = rest.split(' ');
        let mut next = || words.next().ok_or_else(|| format!("a word is missing: {line}"));
        Ok(match word {
            "up" => Self::Up,
            "put" => Self::Put(Put {
                batch: Batch {
                    producer: next()?.parse()?,
                    first: next()?.parse()?,
                    last: next()?.parse()?,
                },
                seq: next()?.parse()?,
                lsn: next()?.parse()?,
                durable: next()?.parse()?,
                marked: next()?.parse()?,
            }),
            "refused" => {
                let batch = Batch {
                    producer: next()?.parse()?,
                    first: next()?.parse()?,
                    last: next()?.parse()?,
                };
                Self::Refused(batch, rest.splitn(4, ' ').nth(3).unwrap_or_default().to_owned())
            }
            "unknown" => Self::Unknown(Batch {
                producer: next()?.parse()?,
                first: next()?.parse()?,
                last: next()?.parse()?,
            }),
            "taking" => {
                let taker = next()?.parse()?;
                Self::Taking(taker, words.map(str::parse).collect::<Answer<_>>()?)
            }
            "taken" => Self::Taken(next()?.parse()?, next()?.parse()?, next()?.parse()?),
            "back" => Self::Back(next()?.parse()?),
            "unknown-take" => Self::UnknownTake(next()?.parse()?),
            "synced" => Self::Synced(next()?.parse()?),
            "stopped" => Self::Stopped(rest.to_owned()),
            "failed" => Self::Failed(rest.to_owned()),
            "log" => Self::Log(rest.to_owned()),
            "opened" => Self::Opened(
                next()?.parse()?,
                next()?.parse()?,
                next()?.parse()?,
                next()?.to_owned(),
                next()?.parse()?,
            ),
            "shut" => Self::Shut(rest.to_owned()),
            "mark" => Self::Mark(next()?.parse()?, next()?.parse()?, next()?.parse()?),
            "there" if rest.is_empty() => Self::There(Vec::new()),
            "there" => Self::There(words.map(str::parse).collect::<Answer<_>>()?),
            "done" => Self::Done,
            _ => return Err(format!("a process said: {line}").into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let id = Id { producer: 3, round: 7, number: 12, first: 10, last: 15 };
        let batch = Batch { producer: 3, first: 10, last: 15 };
        let runs = vec![Run { seq: 100, count: 3, id }, Run { seq: 200, count: 1, id }];
        let put = Put { batch, seq: 98, lsn: 40, durable: true, marked: false };
        for said in [
            Said::Up,
            Said::Put(put),
            Said::Refused(batch, "DiskFull: no room for it".into()),
            Said::Unknown(batch),
            Said::Taking(1, runs.clone()),
            Said::Taken(1, 41, false),
            Said::Back(0),
            Said::UnknownTake(1),
            Said::Synced(9),
            Said::Stopped("it fails: no space".into()),
            Said::Failed("a take".into()),
            Said::Log("ERROR".into()),
            Said::Opened(41, 104, 9, "@B".into(), 2),
            Said::Shut("@C: damage".into()),
            Said::Mark(3, 7, 15),
            Said::There(runs),
            Said::There(Vec::new()),
            Said::Done,
        ] {
            assert_eq!(said.to_string().parse::<Said>().unwrap(), said);
        }
        assert!("nonsense".parse::<Said>().is_err());
    }

    #[test]
    fn events_are_gathered_into_runs_that_end_with_their_transaction() {
        let id = |number, first, last| Id { producer: 1, round: 1, number, first, last };
        let events = [(5, id(1, 1, 2)), (6, id(2, 1, 2)), (7, id(3, 3, 3)), (9, id(4, 4, 4))];
        let runs = Run::gather(events.into_iter());
        assert_eq!(runs.iter().map(|run| run.count).collect::<Vec<_>>(), [2, 1, 1]);
        assert_eq!(runs.into_iter().flat_map(Run::events).collect::<Vec<_>>(), events);
    }

    #[test]
    fn a_payload_that_was_changed_is_no_event() {
        let id = Id { producer: 1, round: 2, number: 210, first: 210, last: 210 };
        let mut payload = id.encode();
        assert_eq!(Id::decode(&payload), Some(id));
        *payload.last_mut().unwrap() = b'x';
        assert_eq!(Id::decode(&payload), None);
    }
}
