//! Channel selectors: which channels an event goes to.

use crate::component::{
    Build, ComponentError, Entry, Key, KeyKind, Parts, Selector, Settings, Targets,
};
use fchannel::Event;

/// The selectors of this build.
pub static ENTRIES: &[&Entry] = &[&REPLICATING];

pub(crate) static REPLICATING: Entry = Entry {
    names: &["replicating", "org.apache.flume.channel.ReplicatingChannelSelector"],
    doc: "Every event goes to every channel of the source.",
    keys: &[Key::new(
        "optional",
        KeyKind::Names,
        "Channels whose failure is logged and forgotten.",
    )],
    batch_key: None,
    verify: None,
    build: Build::Selector(replicating),
};

struct Replicating(Targets);

fn replicating(settings: &Settings, parts: &Parts) -> Result<Box<dyn Selector>, ComponentError> {
    let mut optional = 0;
    for name in settings.names("optional") {
        let index =
            parts.channels.iter().position(|channel| **channel == *name).ok_or_else(|| {
                ComponentError(format!(
                    "{}: `optional` names what is not a channel of this source",
                    settings.name()
                ))
            })?;
        optional |= 1 << index;
    }
    let all = parts.channels.iter().enumerate().fold(0, |bits, (index, _)| bits | 1 << index);
    Ok(Box::new(Replicating(Targets { required: all & !optional, optional })))
}

impl Selector for Replicating {
    fn constant(&self) -> Option<Targets> {
        Some(self.0)
    }

    fn select(&self, _: &Event) -> Targets {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::settings;

    fn targets(optional: &str) -> Targets {
        let parts = Parts {
            channels: ["ch1", "ch2", "ch3", "ch4"].map(Into::into).to_vec(),
            ..Parts::default()
        };
        replicating(&settings(&REPLICATING, &[("optional", optional)]), &parts)
            .unwrap()
            .select(&Event::default())
    }

    #[test]
    fn test_replicating_channel_selector() {
        assert_eq!(targets(""), Targets { required: 0b1111, optional: 0 });
        assert_eq!(targets("ch1"), Targets { required: 0b1110, optional: 0b0001 });
        assert_eq!(targets("ch1 ch4"), Targets { required: 0b0110, optional: 0b1001 });
        assert_eq!(targets("ch1 ch4 ch1"), Targets { required: 0b0110, optional: 0b1001 });
    }

    #[test]
    fn an_optional_channel_that_is_not_the_sources_is_refused() {
        let error = replicating(&settings(&REPLICATING, &[("optional", "c9")]), &Parts::default())
            .err()
            .unwrap();
        assert!(error.0.contains("`optional`") && !error.0.contains("c9"), "{error}");
    }
}
