//! All interleavings of a leader that tells, gives up and ends, and the thread that is told. A word that is lost is a thread that sleeps
//! for ever, which loom calls a deadlock.

use super::{Begun, Due, Preparer};
use crate::sync::testing::{Bell, all};
use loom::thread;
use std::{path::PathBuf, sync::Arc, time::Duration};

const SEGMENT: u64 = 1 << 20;
const NOW: Duration = Duration::ZERO;

/// As `Log::prepare`, with nothing to write to.
fn prepare(preparer: &Preparer) {
    let mut begun = preparer.begun.lock();
    let due = preparer.progress.lock().due(begun.as_ref().map(|begun| begun.filled), NOW);
    let fill = Box::new(|_| Ok(false));
    match due {
        Some(Due::Bytes(filled)) => {
            *begun = Some(Begun { dir: 0, path: PathBuf::new(), fill, filled });
        }
        Some(Due::Nothing) => *begun = None,
        None => {}
    }
}

#[test]
fn the_thread_hears_of_each_step_and_of_the_end() {
    all(|| {
        let preparer = Arc::new(Preparer::new(SEGMENT, NOW));
        let bell = Arc::new(Bell::default());
        let (theirs, done) = (Arc::clone(&preparer), bell.waker());
        let thread = thread::spawn(move || {
            while theirs.wait(|| NOW) {
                prepare(&theirs);
                done.wake_by_ref();
            }
        });
        let until = |filled| {
            while preparer.filled() != filled {
                bell.wait();
            }
        };
        preparer.wrote(SEGMENT / 4, SEGMENT / 4, NOW);
        until(Some(SEGMENT / 4 + SEGMENT / 8));
        preparer.wrote(SEGMENT / 4, SEGMENT / 2, NOW);
        until(Some(SEGMENT / 2 + SEGMENT / 8));
        preparer.give_up();
        until(None);
        preparer.end();
        thread.join().expect("it ends");
    });
}
