//! What a killed process said, and what follows for what must be in the channel.

use crate::shell::Answer;
use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    str::FromStr,
};

/// An event: the `number`th of a producer in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id {
    pub(crate) producer: u32,
    pub(crate) round: u64,
    pub(crate) number: u64,
}

impl Id {
    /// The payload of the event: the id, and as many bytes more as the id says.
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut payload = self.to_string().into_bytes();
        payload.push(b' ');
        let more = usize::try_from(self.number % 300).unwrap_or_default();
        payload.resize(payload.len() + more, b'.');
        payload
    }

    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        let id: Self = std::str::from_utf8(payload).ok()?.split(' ').next()?.parse().ok()?;
        (id.encode() == payload).then_some(id)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.producer, self.round, self.number)
    }
}

impl FromStr for Id {
    type Err = Box<dyn std::error::Error>;

    fn from_str(text: &str) -> Answer<Self> {
        let mut parts = text.split(':');
        let mut next = || parts.next().ok_or("an id is too short");
        Ok(Self { producer: next()?.parse()?, round: next()?.parse()?, number: next()?.parse()? })
    }
}

/// Everything that was said in all rounds.
#[derive(Default)]
pub(crate) struct Ledger {
    /// By producer and round, the last number whose put was acknowledged: all before it were too.
    puts: BTreeMap<(u32, u64), u64>,
    /// Taken for good: they must not come again.
    taken: HashSet<Id>,
    /// Named before a take commit whose end was not heard: gone or there, both are right.
    taking: Vec<Id>,
    /// By producer, the last event that a taker named, in the order of puts.
    last_taken: BTreeMap<u32, Id>,
}

impl Ledger {
    /// How many events were acknowledged to their producers.
    pub(crate) fn puts(&self) -> u64 {
        self.puts.values().sum()
    }

    /// How many events were acknowledged to the taker.
    pub(crate) fn takes(&self) -> usize {
        self.taken.len()
    }

    /// Takes down one line of a process. A line cut by the kill says nothing.
    pub(crate) fn hear(&mut self, line: &str) -> Answer<()> {
        let mut words = line.split(' ');
        match words.next() {
            Some("put") => {
                let mut next = || words.next().ok_or("a word is missing");
                let (round, producer, number) =
                    (next()?.parse()?, next()?.parse()?, next()?.parse()?);
                self.puts.insert((producer, round), number);
            }
            Some("taking") => {
                self.taking = words.map(str::parse).collect::<Answer<_>>()?;
                for id in &self.taking {
                    if self.taken.contains(id) {
                        return Err(
                            format!("event {id} came again after its take was committed").into()
                        );
                    }
                    let last = self.last_taken.insert(id.producer, *id);
                    if last.is_some_and(|last| last >= *id) {
                        return Err(
                            format!("event {id} was taken after {last:?}: out of order").into()
                        );
                    }
                }
            }
            Some("taken") => self.taken.extend(self.taking.drain(..)),
            _ => return Err(format!("the process said: {line}").into()),
        }
        Ok(())
    }

    /// Holds `there`, all events of the reopened channel in order, against what was said.
    pub(crate) fn verify(&mut self, there: &[Id]) -> Answer<()> {
        let mut last = BTreeMap::new();
        for id in there {
            if self.taken.contains(id) {
                return Err(
                    format!("event {id} is there again, though its take was acknowledged").into()
                );
            }
            if last.insert(id.producer, *id).is_some_and(|last| last >= *id) {
                return Err(format!("event {id} is out of its producer's order").into());
            }
        }
        let there: HashSet<Id> = there.iter().copied().collect();
        // A take whose end was not heard happened whole or not at all.
        let undecided = std::mem::take(&mut self.taking);
        let (back, gone): (Vec<Id>, Vec<Id>) =
            undecided.into_iter().partition(|id| there.contains(id));
        if let (Some(back), Some(gone)) = (back.first(), gone.first()) {
            return Err(format!("half a take: event {gone} is gone and event {back} is not").into());
        }
        self.taken.extend(gone);
        for id in back {
            // It will be named again, and so will those behind it.
            self.last_taken.remove(&id.producer);
        }
        for ((producer, round), acknowledged) in &self.puts {
            for number in 1..=*acknowledged {
                let id = Id { producer: *producer, round: *round, number };
                if !there.contains(&id) && !self.taken.contains(&id) {
                    return Err(
                        format!("event {id} is lost, though its put was acknowledged").into()
                    );
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(lines: &[&str]) -> Ledger {
        let mut ledger = Ledger::default();
        for line in lines {
            ledger.hear(line).unwrap();
        }
        ledger
    }

    fn ids(numbers: &[u64]) -> Vec<Id> {
        numbers.iter().map(|number| Id { producer: 0, round: 1, number: *number }).collect()
    }

    #[test]
    fn what_was_acknowledged_must_be_there_or_taken() {
        let lines = ["put 1 0 3", "taking 0:1:1", "taken"];
        assert!(heard(&lines).verify(&ids(&[2, 3])).is_ok());
        assert!(heard(&lines).verify(&ids(&[2, 3, 4])).is_ok(), "one more, not acknowledged");
        assert!(heard(&lines).verify(&ids(&[2])).unwrap_err().to_string().contains("lost"));
        assert!(heard(&lines).verify(&ids(&[1, 2, 3])).unwrap_err().to_string().contains("again"));
        assert!(heard(&lines).verify(&ids(&[3, 2])).unwrap_err().to_string().contains("order"));
    }

    #[test]
    fn a_take_cut_short_happened_whole_or_not_at_all() {
        let lines = ["put 1 0 3", "taking 0:1:1 0:1:2"];
        assert!(heard(&lines).verify(&ids(&[1, 2, 3])).is_ok());
        let mut gone = heard(&lines);
        gone.verify(&ids(&[3])).unwrap();
        assert!(gone.verify(&ids(&[1, 2, 3])).is_err(), "once gone, gone for good");
        assert!(heard(&lines).verify(&ids(&[2, 3])).unwrap_err().to_string().contains("half"));
    }

    #[test]
    fn takers_see_the_order_of_puts() {
        let mut ledger = heard(&["put 1 0 3", "taking 0:1:2", "taken"]);
        assert!(ledger.hear("taking 0:1:1").is_err());
        let mut ledger = heard(&["put 1 0 3", "taking 0:1:1 0:1:2"]);
        ledger.verify(&ids(&[1, 2, 3])).unwrap();
        assert!(ledger.hear("taking 0:1:1").is_ok(), "it went back");
    }

    #[test]
    fn an_event_is_read_as_it_was_written_and_not_otherwise() {
        let id = Id { producer: 3, round: 7, number: 42 };
        let mut payload = id.encode();
        assert_eq!(Id::decode(&payload), Some(id));
        payload.push(b'.');
        assert_eq!(Id::decode(&payload), None);
    }
}
