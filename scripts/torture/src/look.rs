//! The process that looks at what a death left: it opens the channel and says all that is there.

use crate::{
    Answer,
    role::{Policy, options, say},
    words::{Id, Run, Said},
};
use fchannel::{Channel, ErrorKind, EventSeq, TakeLimit};
use std::path::Path;

const AT_ONCE: TakeLimit = TakeLimit { events: 2000, bytes: 8 << 20 };

pub(crate) fn look(dir: &Path, policy: Policy, close: bool) -> Answer<()> {
    let channel = match Channel::open(dir, options(policy)) {
        Ok(channel) => channel,
        Err(error) => {
            say(&Said::Shut(format!("{error:?}")));
            return Ok(());
        }
    };
    if !say_all(&channel)? || !close {
        return Ok(());
    }
    match channel.close() {
        // There was no room for the last checkpoint; nothing is lost by that.
        Err(error) if error.kind() == &ErrorKind::DiskFull => Ok(()),
        answer => Ok(answer?),
    }
}

/// Says what the open found, and all that waits; false if that cannot be read.
pub(crate) fn say_all(channel: &Channel) -> Answer<bool> {
    let (report, stats) = (channel.recovery(), channel.stats());
    say(&Said::Opened(
        report.end.get(),
        stats.next_seq.get(),
        stats.events,
        report.verdict.to_string(),
        report.frames_rewritten,
    ));
    for (key, value) in channel.marks() {
        let key = std::str::from_utf8(&key)?.parse()?;
        let value = std::str::from_utf8(&value)?;
        let (round, number) = value.split_once(' ').ok_or("a mark is not one of ours")?;
        say(&Said::Mark(key, round.parse()?, number.parse()?));
    }
    let mut from = None;
    loop {
        let records = match channel.peek(from, AT_ONCE) {
            Ok(records) => records,
            Err(error) => {
                say(&Said::Failed(format!("{error:?}")));
                return Ok(false);
            }
        };
        let Some(last) = records.last() else { break };
        from = Some(EventSeq::new(last.seq.get() + 1));
        let events = records
            .iter()
            .map(|record| {
                let id = Id::decode(&record.payload).ok_or("an event is not one of ours")?;
                Ok((record.seq.get(), id))
            })
            .collect::<Answer<Vec<_>>>()?;
        say(&Said::There(Run::gather(events.into_iter())));
    }
    say(&Said::Done);
    Ok(true)
}
