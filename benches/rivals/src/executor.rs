//! Futures on one thread, without a runtime: each has a waker that names it, and wakes the thread.

use std::{
    mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Wake, Waker},
    thread::Thread,
};

/// Which futures shall be polled, and by whom.
struct Ready {
    places: Mutex<Vec<usize>>,
    thread: Thread,
}

struct Named {
    place: usize,
    ready: Arc<Ready>,
}

impl Wake for Named {
    fn wake(self: Arc<Self>) {
        self.ready.places.lock().unwrap_or_else(PoisonError::into_inner).push(self.place);
        self.ready.thread.unpark();
    }
}

struct Task<F: Future> {
    future: Pin<Box<F>>,
    waker: Waker,
    answer: Option<F::Output>,
}

/// Runs all to their ends; their answers in their order.
pub(crate) fn run_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let ready = Arc::new(Ready { places: Mutex::default(), thread: std::thread::current() });
    let mut tasks: Vec<Task<F>> = futures
        .enumerate()
        .map(|(place, future)| Task {
            future: Box::pin(future),
            waker: Arc::new(Named { place, ready: Arc::clone(&ready) }).into(),
            answer: None,
        })
        .collect();
    let mut left = tasks.len();
    let mut places: Vec<usize> = (0..left).collect();
    loop {
        for place in places {
            let Some(task) = tasks.get_mut(place).filter(|task| task.answer.is_none()) else {
                continue;
            };
            let mut context = Context::from_waker(&task.waker);
            if let Poll::Ready(answer) = task.future.as_mut().poll(&mut context) {
                task.answer = Some(answer);
                left -= 1;
            }
        }
        if left == 0 {
            return tasks.into_iter().filter_map(|task| task.answer).collect();
        }
        places = mem::take(&mut *ready.places.lock().unwrap_or_else(PoisonError::into_inner));
        if places.is_empty() {
            // A wake before this lets it return at once.
            std::thread::park();
        }
    }
}

/// Runs one to its end.
pub(crate) fn run<F: Future>(future: F) -> F::Output {
    let mut answers = run_all(std::iter::once(future));
    answers.pop().expect("one future, one answer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[test]
    fn a_future_that_is_woken_by_another_thread_is_polled_again() {
        let late = |number: u32| {
            let mut is_asked = false;
            poll_fn(move |context| {
                if mem::replace(&mut is_asked, true) {
                    return Poll::Ready(number);
                }
                let waker = context.waker().clone();
                std::thread::spawn(move || {
                    waker.wake();
                });
                Poll::Pending
            })
        };
        assert_eq!(run_all((0..20).map(late)), (0..20).collect::<Vec<_>>());
        assert_eq!(run(late(7)), 7);
    }
}
