//! A place among the calls under way, the wait for one, and what a call says about the load.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::error::Full;
use crate::limit::Inner;

/// What a call that has ended says about the load of the dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Sample {
    /// It was answered well and in time.
    Success,
    /// It ran out of time, or the dependency said it has too much to do.
    Overloaded,
    /// It says nothing: an error that came in time, a cancelled call.
    Ignored,
}

/// A place among the calls under way. Dropping gives it back, as [`Sample::Ignored`].
#[must_use = "a place dropped at once bounds nothing"]
pub struct Place {
    /// `None` once given back.
    held: Option<Arc<Inner>>,
    since: Duration,
    round: u64,
}

impl Place {
    pub(crate) fn new(inner: Arc<Inner>, round: u64) -> Self {
        let since = inner.now();
        Self {
            held: Some(inner),
            since,
            round,
        }
    }

    /// Gives the place back and says how the call ended. A bulkhead does not learn from it.
    pub fn report(mut self, sample: Sample) {
        self.give_back(sample);
    }

    /// The call was answered well and in time.
    pub fn success(self) {
        self.report(Sample::Success);
    }

    /// The call ran out of time, or the dependency said it has too much to do.
    pub fn overloaded(self) {
        self.report(Sample::Overloaded);
    }

    fn give_back(&mut self, sample: Sample) {
        if let Some(inner) = self.held.take() {
            inner.leave(sample, self.since, self.round);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.give_back(Sample::Ignored);
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place")
            .field("since", &self.since)
            .finish_non_exhaustive()
    }
}

/// The wait for a place; made by [`crate::Limit::enter`].
///
/// The place in the queue is taken when the future is made, not when it is first polled.
///
/// # Cancel safety
/// Dropping the future leaves the queue. A place that was granted meanwhile goes to the next.
#[must_use = "futures do nothing unless polled"]
pub struct Enter {
    state: State,
}

enum State {
    Decided(Result<Place, Full>),
    Waiting { inner: Arc<Inner>, number: u64 },
    Done,
}

impl Enter {
    pub(crate) fn decided(result: Result<Place, Full>) -> Self {
        Self {
            state: State::Decided(result),
        }
    }

    pub(crate) fn waiting(inner: Arc<Inner>, number: u64) -> Self {
        Self {
            state: State::Waiting { inner, number },
        }
    }

    /// The answer, if it is known without waiting.
    ///
    /// # Errors
    /// This future, which has yet to wait.
    ///
    /// # Panics
    /// When the future has already given its answer.
    pub fn now(mut self) -> Result<Result<Place, Full>, Self> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Decided(result) => Ok(result),
            State::Done => panic!("`Enter` has already given its answer"),
            waiting @ State::Waiting { .. } => {
                self.state = waiting;
                Err(self)
            }
        }
    }
}

impl Future for Enter {
    type Output = Result<Place, Full>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Waiting { inner, number } = &self.state {
            let Some(round) = inner.poll_turn(*number, cx.waker()) else {
                return Poll::Pending;
            };
            let place = Place::new(Arc::clone(inner), round);
            // Before the state is replaced the place is ours, so `Drop` must not give the turn up.
            self.state = State::Done;
            return Poll::Ready(Ok(place));
        }
        match std::mem::replace(&mut self.state, State::Done) {
            State::Decided(result) => Poll::Ready(result),
            _ => panic!("`Enter` polled after it has given its answer"),
        }
    }
}

impl Drop for Enter {
    fn drop(&mut self) {
        if let State::Waiting { inner, number } = &self.state {
            inner.give_up(*number);
        }
    }
}

impl fmt::Debug for Enter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Decided(Ok(_)) => "inside",
            State::Decided(Err(_)) => "refused",
            State::Waiting { .. } => "waiting",
            State::Done => "done",
        };
        f.debug_tuple("Enter").field(&state).finish()
    }
}
