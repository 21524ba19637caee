//! A panic of the engine is a failure like any other: caught, and told with its place.

use std::{
    cell::RefCell,
    panic::{self, PanicHookInfo},
};

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Has panics of this process remembered instead of printed.
pub(crate) fn remember() {
    panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let text = info.to_string();
        LAST.with(|last| *last.borrow_mut() = text);
    }));
}

/// Has panics printed again.
pub(crate) fn print() {
    drop(panic::take_hook());
}

/// The last panic of this thread.
pub(crate) fn last() -> String {
    LAST.with(|last| last.borrow().clone())
}
