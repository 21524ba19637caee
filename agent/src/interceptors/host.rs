//! Flume's host interceptor.

use super::set_header;
use crate::{
    component::{Build, ComponentError, Entry, Interceptor, Key, KeyKind, Parts, Settings},
    dns,
};
use fchannel::Event;
use std::net::{IpAddr, ToSocketAddrs};

pub(crate) static ENTRY: Entry = Entry {
    names: &[
        "host",
        "org.apache.flume.interceptor.HostInterceptor$Builder",
        "org.apache.flume.interceptor.HostInterceptor",
    ],
    doc: "Sets a header to the address or the name of this host, asked once at the start.",
    keys: &[
        Key::new("hostHeader", KeyKind::Text, "The header.").or("host"),
        Key::new(
            "useIP",
            KeyKind::Flag,
            "The address; else the canonical name that DNS has for it, or the name that the \
             system goes by if there is none (Flume: the address).",
        )
        .or("true"),
        Key::new("preserveExisting", KeyKind::Flag, "Leaves a header that is there alone.")
            .or("false"),
    ],
    batch_key: None,
    verify: None,
    build: Build::Interceptor(build),
};

struct Host {
    header: String,
    /// `None`: it could not be found out, and the header is not set, as in Flume.
    host: Option<String>,
    preserve: bool,
}

fn build(settings: &Settings, _: &Parts) -> Result<Box<dyn Interceptor>, ComponentError> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let address = address_of(&name);
    let host = if settings.flag("useIP") {
        address.map(|address| address.to_string())
    } else {
        Some(address.and_then(dns::name_of).unwrap_or(name))
    };
    if host.is_none() {
        tracing::warn!(interceptor = %settings.name(), "the address of this host is unknown: the header is not set");
    }
    Ok(Box::new(Host {
        header: settings.required("hostHeader")?.to_owned(),
        host,
        preserve: settings.flag("preserveExisting"),
    }))
}

/// The first IPv4 address of a name, as Java prefers it, else the first of any kind.
fn address_of(name: &str) -> Option<IpAddr> {
    let addresses: Vec<_> = (name, 0).to_socket_addrs().ok()?.collect();
    let v4 = addresses.iter().find(|address| address.is_ipv4());
    v4.or(addresses.first()).map(|address| address.ip())
}

impl Interceptor for Host {
    fn intercept(&self, batch: &mut Vec<Event>) {
        if let Some(host) = &self.host {
            set_header(batch, &self.header, host, self.preserve);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interceptors::intercepted;
    use fchannel::Headers;

    fn header(key: &str, keys: &[(&str, &str)]) -> Option<String> {
        let event = Event::new(Headers::from_iter([("host", "old")]), "x");
        intercepted(&ENTRY, keys, vec![event]).remove(0).headers.get(key).map(str::to_owned)
    }

    #[test]
    fn test_host_interceptor_ip_and_name() {
        let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let name = address_of(&node).and_then(dns::name_of).unwrap_or_else(|| node.clone());
        assert_eq!(header("host", &[("useIP", "false")]), Some(name.clone()), "clobbered");
        assert_eq!(header("at", &[("useIP", "false"), ("hostHeader", "at")]), Some(name.clone()));
        assert_eq!(header("host", &[("preserveExisting", "true")]), Some("old".to_owned()));
        if let Some(address) = address_of(&node) {
            assert_eq!(header("at", &[("hostHeader", "at")]), Some(address.to_string()));
        }
    }

    #[test]
    fn the_address_of_localhost_is_an_ipv4_one() {
        assert_eq!(address_of("localhost"), Some(IpAddr::from([127, 0, 0, 1])));
    }
}
