//! A result that comes later, for async callers and for blocking ones.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The result of an operation that the journal's threads carry out.
///
/// The operation has begun when this is returned. Cancel safe: dropping it only means not to hear of
/// the result.
#[derive(Debug)]
#[must_use = "nothing is known to be safe before this has answered"]
pub struct Pending<T> {
    shared: Arc<Shared<T>>,
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    answered: Condvar,
}

#[derive(Debug)]
struct State<T> {
    value: Option<T>,
    taken: bool,
    /// Somebody is blocked in [`Pending::wait`]: to call an empty condition variable costs a system call.
    blocked: bool,
    waker: Option<Waker>,
}

/// The side that answers: when it is dropped without, the answer is the one it was made with.
#[derive(Debug)]
pub(super) struct Promise<T> {
    shared: Arc<Shared<T>>,
    otherwise: Option<T>,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A promise and what waits for it; `otherwise` is the answer when nobody gives one.
pub(super) fn promise<T>(otherwise: T) -> (Promise<T>, Pending<T>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            value: None,
            taken: false,
            blocked: false,
            waker: None,
        }),
        answered: Condvar::new(),
    });
    let promise = Promise {
        shared: Arc::clone(&shared),
        otherwise: Some(otherwise),
    };
    (promise, Pending { shared })
}

/// What is known at once.
pub(super) fn ready<T>(value: T) -> Pending<T> {
    let (promise, pending) = promise(value);
    drop(promise);
    pending
}

impl<T> Promise<T> {
    pub(super) fn answer(mut self, value: T) {
        self.otherwise = None;
        self.give(value);
    }

    /// Whether someone still wants to know.
    pub(super) fn is_wanted(&self) -> bool {
        Arc::strong_count(&self.shared) > 1
    }

    fn give(&self, value: T) {
        let (waker, blocked) = {
            let mut state = self.shared.lock();
            state.value = Some(value);
            (state.waker.take(), state.blocked)
        };
        if blocked {
            self.shared.answered.notify_all();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        if let Some(value) = self.otherwise.take() {
            self.give(value);
        }
    }
}

impl<T> Pending<T> {
    /// Blocks until the result is there.
    pub fn wait(self) -> T {
        let mut state = self.shared.lock();
        loop {
            if let Some(value) = state.value.take() {
                return value;
            }
            state.blocked = true;
            state = self
                .shared
                .answered
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> Future for Pending<T> {
    type Output = T;

    /// # Panics
    /// When polled again after it has answered.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut state = self.shared.lock();
        assert!(!state.taken, "polled after it has answered");
        if let Some(value) = state.value.take() {
            state.taken = true;
            return Poll::Ready(value);
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            None => state.waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}
