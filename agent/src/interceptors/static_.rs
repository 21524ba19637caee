//! Flume's static interceptor.

use super::set_header;
use crate::component::{Build, ComponentError, Entry, Interceptor, Key, KeyKind, Parts, Settings};
use fchannel::Event;

pub(crate) static ENTRY: Entry = Entry {
    names: &[
        "static",
        "org.apache.flume.interceptor.StaticInterceptor$Builder",
        "org.apache.flume.interceptor.StaticInterceptor",
    ],
    doc: "Sets a header to a fixed value.",
    keys: &[
        Key::new("key", KeyKind::Text, "The header.").or("key"),
        Key::new("value", KeyKind::Text, "Its value.").or("value"),
        Key::new("preserveExisting", KeyKind::Flag, "Leaves a header that is there alone.")
            .or("true"),
    ],
    batch_key: None,
    verify: None,
    build: Build::Interceptor(build),
};

struct Static {
    key: String,
    value: String,
    preserve: bool,
}

fn build(settings: &Settings, _: &Parts) -> Result<Box<dyn Interceptor>, ComponentError> {
    Ok(Box::new(Static {
        key: settings.required("key")?.to_owned(),
        value: settings.required("value")?.to_owned(),
        preserve: settings.flag("preserveExisting"),
    }))
}

impl Interceptor for Static {
    fn intercept(&self, batch: &mut Vec<Event>) {
        set_header(batch, &self.key, &self.value, self.preserve);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interceptors::intercepted;
    use fchannel::Headers;

    fn set(headers: &[(&str, &str)], keys: &[(&str, &str)]) -> Headers {
        let headers = headers.iter().copied().collect();
        intercepted(&ENTRY, keys, vec![Event::new(headers, "x")]).remove(0).headers
    }

    #[test]
    fn test_static_interceptor() {
        assert_eq!(set(&[], &[]).get("key"), Some("value"));
        assert_eq!(set(&[], &[("key", "dc"), ("value", "east")]).get("dc"), Some("east"));
        assert_eq!(set(&[("key", "old")], &[]).get("key"), Some("old"), "preserved");
        assert_eq!(
            set(&[("key", "old")], &[("preserveExisting", "false")]).get("key"),
            Some("value"),
            "clobbered"
        );
    }
}
