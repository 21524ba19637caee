//! Syslog over TCP and UDP, as Flume's `syslogtcp` and `syslogudp` understand it.

mod format;
mod frame;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing;
mod head;
mod own;
mod tcp;
mod time;
mod udp;

use crate::{
    component::{ComponentError, Key, KeyKind, Settings, Stop},
    dns::Names,
};
use fchannel::Event;
use format::{Burst, Format, KeepFields};
use own::Own;
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

pub(crate) use tcp::ENTRY as TCP;
pub(crate) use udp::ENTRY as UDP;

const PORT: Key = Key::new(
    "port",
    KeyKind::Whole { min: 0, max: 65535, replaced: false },
    "The port; 0 lets the system choose.",
)
.required();
const HOST: Key = Key::new(
    "host",
    KeyKind::Text,
    "The name or address to listen at. Absent: 127.0.0.1, where Flume listens at all addresses (`0.0.0.0`).",
);
const KEEP_FIELDS: Key = Key::new(
    "keepFields",
    KeyKind::Text,
    "`none`, `all`, or some of: priority version timestamp hostname; what stays in the body.",
)
.or("none");
const CLIENT_IP: Key =
    Key::new("clientIPHeader", KeyKind::Text, "A header for the address of the sender.");
const CLIENT_HOST: Key = Key::new(
    "clientHostnameHeader",
    KeyKind::Text,
    "A header for the name of the sender by reverse DNS; its address if there is none, or none within two seconds. Kept for ten minutes.",
);

/// The host to bind: loopback, aloud, when the conf does not say.
fn host_of(settings: &Settings) -> String {
    settings.text("host").map(str::to_owned).unwrap_or_else(|| {
        tracing::warn!(source = %settings.name(), key = "host", listening_at = "127.0.0.1",
            "`host` is not set: only this host can send; Flume would listen at all addresses, say `host = 0.0.0.0` for that");
        "127.0.0.1".to_owned()
    })
}

/// Makes events of messages; shared by all connections of a source.
#[derive(Clone)]
struct Maker {
    format: Arc<Format>,
    ip_header: Option<Arc<str>>,
    /// The header for the name, and who knows it.
    names: Option<(Arc<str>, Arc<Names>)>,
}

impl Maker {
    fn new(settings: &Settings) -> Result<Self, ComponentError> {
        let header = |key| settings.text(key).map(Arc::from);
        let keep = KeepFields::parse(settings.text("keepFields").unwrap_or_default());
        settings.sound(Own::problems(settings))?;
        Ok(Self {
            format: Arc::new(Format::new(keep, Own::of(settings))),
            ip_header: header("clientIPHeader"),
            names: header("clientHostnameHeader").map(|header| (header, Arc::new(Names::new()))),
        })
    }

    /// For the messages that came together from one peer.
    fn burst(&self, peer: SocketAddr) -> Burst<'_> {
        let address = || peer.ip().to_canonical().to_string();
        let header = self.ip_header.as_deref().map(|header| (header, address()));
        Burst::new(&self.format, jiff::Timestamp::now(), header)
    }

    /// Sets the header for the names of the peers, if the conf wants one: of each event its peer.
    async fn name<'a>(&self, events: impl Iterator<Item = (&'a mut Event, IpAddr)>, stop: &Stop) {
        let Some((header, names)) = &self.names else { return };
        let mut asked = HashMap::new();
        // All are asked before one is waited for.
        let events: Vec<_> = events
            .map(|(event, peer)| {
                asked.entry(peer).or_insert_with(|| names.ask(peer));
                (event, peer)
            })
            .collect();
        let mut answers = HashMap::new();
        for (peer, question) in asked {
            answers.insert(peer, question.answer(stop).await);
        }
        for (event, peer) in events {
            if let Some(name) = answers.get(&peer) {
                event.headers.insert(header, name);
            }
        }
    }
}
