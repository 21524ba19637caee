//! Flume's timestamp interceptor.

use super::set_header;
use crate::component::{Build, ComponentError, Entry, Interceptor, Key, KeyKind, Parts, Settings};
use fchannel::Event;
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) static ENTRY: Entry = Entry {
    names: &[
        "timestamp",
        "org.apache.flume.interceptor.TimestampInterceptor$Builder",
        "org.apache.flume.interceptor.TimestampInterceptor",
    ],
    doc: "Sets a header to the time of day in milliseconds since 1970; one time for a batch.",
    keys: &[
        Key::new("headerName", KeyKind::Text, "The header.").or("timestamp"),
        Key::new("preserveExisting", KeyKind::Flag, "Leaves a header that is there alone.")
            .or("false"),
    ],
    batch_key: None,
    verify: None,
    build: Build::Interceptor(build),
};

struct Timestamp {
    header: String,
    preserve: bool,
}

fn build(settings: &Settings, _: &Parts) -> Result<Box<dyn Interceptor>, ComponentError> {
    let header = settings.required("headerName")?.to_owned();
    Ok(Box::new(Timestamp { header, preserve: settings.flag("preserveExisting") }))
}

impl Interceptor for Timestamp {
    fn intercept(&self, batch: &mut Vec<Event>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        set_header(batch, &self.header, &now.as_millis().to_string(), self.preserve);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interceptors::intercepted;
    use fchannel::Headers;

    fn with(key: &str, keys: &[(&str, &str)]) -> Event {
        intercepted(&ENTRY, keys, vec![Event::new(Headers::from_iter([(key, "1")]), "x")]).remove(0)
    }

    #[test]
    fn test_timestamp_interceptor() {
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let basic: u128 = with("other", &[]).headers.get("timestamp").unwrap().parse().unwrap();
        assert!((before..before + 60_000).contains(&basic));
        assert_ne!(with("timestamp", &[]).headers.get("timestamp"), Some("1"), "clobbered");
        assert_eq!(
            with("timestamp", &[("preserveExisting", "true")]).headers.get("timestamp"),
            Some("1")
        );
        assert!(with("other", &[("headerName", "at")]).headers.get("at").is_some());
    }
}
