//! Helpers for adapters: a call held open around a future, and a panic that passes a guard.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use crate::subject::{Call, Ending, Refusal};

/// How often a future that waits for neither us nor a waker is polled again.
const AGAIN: Duration = Duration::from_millis(1);

/// The protected call: a future that stays pending until the suite ends it.
#[derive(Debug)]
pub struct Upstream {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The breaker let the call through: its future was polled.
    reached: bool,
    ending: Option<Ending>,
}

impl Future for Upstream {
    type Output = Result<(), Fault>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        // No waker is kept: whoever sets the ending polls.
        let ending = {
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            shared.reached = true;
            shared.ending
        };
        match ending {
            None => Poll::Pending,
            Some(Ending::Success) => Poll::Ready(Ok(())),
            Some(Ending::Panic) => resume_unwind(Box::new("the call panics")),
            Some(ending) => Poll::Ready(Err(Fault { ending })),
        }
    }
}

/// The error of a call that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    ending: Ending,
}

impl Fault {
    /// True when the fault is not the dependency's.
    ///
    /// # Panics
    /// On purpose, without a message, when the call ended as [`Ending::ClassifierPanic`]: ask from
    /// the code that judges results.
    pub fn is_neutral(&self) -> bool {
        if self.ending == Ending::ClassifierPanic {
            resume_unwind(Box::new("the classifier panics"));
        }
        self.ending == Ending::Neutral
    }

    /// How long the dependency asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.ending {
            Ending::FailureAskingFor(time) => Some(time),
            _ => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the call failed")
    }
}

impl std::error::Error for Fault {}

/// What a protected future comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The breaker refused the call.
    Refused(Refusal),
    /// The call was made.
    Made,
}

/// Starts a call through a breaker that wraps futures, and holds it open.
///
/// `protect` puts the breaker around the call it is given, and answers what came of it. The future
/// is polled here until the call is reached or refused; it may wait for the breaker's own locks on
/// the way.
///
/// # Errors
/// The breaker refused the call.
pub fn hold<F>(protect: impl FnOnce(Upstream) -> F) -> Result<Box<dyn Call>, Refusal>
where
    F: Future<Output = Settled> + 'static,
{
    let shared = Arc::new(Mutex::new(Shared::default()));
    let mut held = Held {
        future: Box::pin(protect(Upstream {
            shared: Arc::clone(&shared),
        })),
        shared,
    };
    let reached = Arc::clone(&held.shared);
    match held.drive(|| {
        reached
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .reached
    }) {
        Some(Settled::Refused(refusal)) => Err(refusal),
        Some(Settled::Made) | None => Ok(Box::new(held)),
    }
}

/// Makes the same future and drops it unpolled, for [`crate::Breaker::abandon_unstarted`].
pub fn abandon<F>(protect: impl FnOnce(Upstream) -> F)
where
    F: Future<Output = Settled>,
{
    drop(protect(Upstream {
        shared: Arc::default(),
    }));
}

struct Held {
    future: Pin<Box<dyn Future<Output = Settled>>>,
    shared: Arc<Mutex<Shared>>,
}

impl Held {
    /// Polls until the future is ready or `enough`.
    fn drive(&mut self, enough: impl Fn() -> bool) -> Option<Settled> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(settled) = self.future.as_mut().poll(&mut context) {
                return Some(settled);
            }
            if enough() {
                return None;
            }
            thread::park_timeout(AGAIN);
        }
    }
}

impl Call for Held {
    fn end(mut self: Box<Self>, ending: Ending) {
        self.shared
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .ending = Some(ending);
        // A panic is the ending asked for; the future is dropped after it, as an executor would.
        drop(catch_unwind(AssertUnwindSafe(|| self.drive(|| false))));
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Drops `guard` while a panic passes it, and stops the panic: [`Ending::Panic`] for breakers that
/// hand out permits.
pub fn unwind_with<T>(guard: T) {
    drop(catch_unwind(AssertUnwindSafe(move || {
        let _guard = guard;
        resume_unwind(Box::new("the call panics"));
    })));
}
