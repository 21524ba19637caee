//! The one way to a lock: a panic elsewhere does not make it unusable, because what it guards is changed in one step.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, whether or not another holder panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
