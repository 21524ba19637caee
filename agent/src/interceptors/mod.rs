//! Interceptors: what changes events between a source and its channels.

mod host;
mod static_;
mod timestamp;

use crate::component::Entry;
use fchannel::Event;

/// The interceptors of this build.
pub static ENTRIES: &[&Entry] = &[&timestamp::ENTRY, &host::ENTRY, &static_::ENTRY];

/// Sets a header of every event, or of those that do not have it.
fn set_header(batch: &mut [Event], key: &str, value: &str, preserve: bool) {
    for event in batch {
        if !preserve || event.headers.get(key).is_none() {
            event.headers.insert(key, value);
        }
    }
}

#[cfg(test)]
fn intercepted(entry: &Entry, keys: &[(&str, &str)], mut batch: Vec<Event>) -> Vec<Event> {
    use crate::component::{Build, Parts};
    let Build::Interceptor(make) = entry.build else { panic!("not an interceptor") };
    make(&crate::testing::settings(entry, keys), &Parts::default()).unwrap().intercept(&mut batch);
    batch
}
