//! Where the answer to one commit appears, and who waits for it.

use super::{super::Log, Committed};
use crate::{
    error::{CommitError, Error, ErrorKind},
    sync::{Condvar, Mutex},
};
use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// Where the answer to one commit appears.
#[derive(Default)]
pub(crate) struct Slot {
    pub(super) state: Mutex<SlotState>,
    pub(super) changed: Condvar,
}

#[derive(Default)]
pub(super) struct SlotState {
    pub(super) answer: Option<Result<Committed, CommitError>>,
    /// A thread sleeps on this slot.
    pub(super) blocked: bool,
    /// That thread shall lead.
    pub(super) called_to_lead: bool,
    pub(super) waker: Option<Waker>,
}

impl Slot {
    pub(super) fn answered(answer: Result<Committed, CommitError>) -> Arc<Self> {
        let slot = Self::default();
        slot.state.lock().answer = Some(answer);
        Arc::new(slot)
    }

    fn take_answer(&self) -> Result<Committed, CommitError> {
        let answer = self.state.lock().answer.clone();
        answer.unwrap_or_else(|| {
            Err(CommitError::Unknown(Error::new(ErrorKind::Closed, "nobody answers this ticket")))
        })
    }

    pub(super) fn answer(&self, answer: Result<Committed, CommitError>) {
        let mut state = self.state.lock();
        state.answer = Some(answer);
        let waker = state.waker.take();
        self.changed.notify_one();
        drop(state);
        // Under no lock: a waker may drop the future that it wakes. One that panics is its owner's trouble, not that of the leader, who
        // has other tickets to answer.
        if let Some(waker) = waker
            && catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err()
        {
            crate::trace::error!("the waker of a ticket panicked; its commit is answered");
        }
    }
}

/// A submitted commit: a future, or a thing to [`wait`](Ticket::wait) on. Needs no runtime.
///
/// Dropping it gives up the answer, not the commit. Its waker is called by the thread that leads the commits, in the middle of its work:
/// it must not itself commit, sync or wait, as wakers of the usual runtimes do not.
#[must_use = "dropping a ticket gives up the answer, not the commit"]
pub struct Ticket {
    slot: Arc<Slot>,
    /// Who leads if this waits; `None` if the answer was known at once.
    log: Option<Arc<Log>>,
}

impl Ticket {
    pub(crate) fn new(slot: Arc<Slot>, log: Arc<Log>) -> Self {
        Self { slot, log: Some(log) }
    }

    /// A commit that had nothing to write.
    pub(crate) fn answered(committed: Committed) -> Self {
        Self { slot: Slot::answered(Ok(committed)), log: None }
    }

    /// Waits on this thread, which may lead a group meanwhile.
    ///
    /// # Errors
    /// As the commit it stands for.
    pub fn wait(self) -> Result<Committed, CommitError> {
        match &self.log {
            Some(log) => log.wait(&self.slot),
            None => self.slot.take_answer(),
        }
    }
}

impl Future for Ticket {
    type Output = Result<Committed, CommitError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.slot.state.lock();
        match &state.answer {
            Some(answer) => Poll::Ready(answer.clone()),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").finish_non_exhaustive()
    }
}
