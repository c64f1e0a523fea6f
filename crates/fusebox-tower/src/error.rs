//! What a protected call can end with besides the service's own error, and an error that holds it all.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use fusebox::{Classify, NotPermitted, Outcome};
use fusebox_limit::{Full, Throttled};
use thiserror::Error;

/// An attempt got no answer in its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[error("no answer came within {after:?}")]
pub struct TimedOut {
    pub(crate) after: Duration,
}

impl TimedOut {
    /// Time the attempt was given.
    pub fn after(&self) -> Duration {
        self.after
    }
}

/// The dependency had its time and did not use it.
impl Classify for TimedOut {
    fn outcome(&self) -> Outcome {
        Outcome::Failure
    }
}

/// The deadline of the work passed, before or during the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[error("the deadline has passed")]
pub struct DeadlineExceeded {
    pub(crate) sent: bool,
}

impl DeadlineExceeded {
    /// False when the deadline had passed before anything was done.
    pub fn was_sent(&self) -> bool {
        self.sent
    }
}

/// How long the caller's work may take says nothing about the dependency.
impl Classify for DeadlineExceeded {
    fn outcome(&self) -> Outcome {
        Outcome::Neutral
    }
}

/// The error of a stack of this crate's layers around a service whose own error is `E`.
///
/// Put `map_err(Error::Inner)` below the layers. Any other type does as well that can be made from
/// the refusals of the layers in use: a boxed error, or one of your own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error<E> {
    /// The circuit refused; the call was not made.
    NotPermitted(NotPermitted),
    /// As many calls as may run at once were under way; this one was not made.
    Full(Full),
    /// The dependency turns most calls away; this one was not made.
    Throttled(Throttled),
    /// The last attempt got no answer in its time.
    TimedOut(TimedOut),
    /// The work's deadline passed, before or during the call.
    DeadlineExceeded(DeadlineExceeded),
    /// The service's own error.
    Inner(E),
}

impl<E> Error<E> {
    /// The service's own error, if it is one.
    pub fn into_inner(self) -> Option<E> {
        match self {
            Error::Inner(error) => Some(error),
            _ => None,
        }
    }

    /// True when this attempt certainly did not reach the dependency.
    ///
    /// Of a call that was repeated it speaks of the last attempt only.
    pub fn was_not_sent(&self) -> bool {
        match self {
            Error::NotPermitted(_) | Error::Full(_) | Error::Throttled(_) => true,
            Error::DeadlineExceeded(error) => !error.was_sent(),
            Error::TimedOut(_) | Error::Inner(_) => false,
        }
    }

    /// Time until the circuit may permit calls again, when it refused and knows: the `Retry-After`
    /// of the 503 that an outer caller gets.
    pub fn refused_for(&self) -> Option<Duration> {
        match self {
            Error::NotPermitted(refusal) => refusal.retry_after(),
            _ => None,
        }
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotPermitted(_) => f.write_str("the call was not permitted"),
            Error::Full(_) => f.write_str("the call found no place among those under way"),
            Error::Throttled(_) => f.write_str("the call was held back"),
            Error::TimedOut(_) => f.write_str("the call ran out of time"),
            Error::DeadlineExceeded(_) => f.write_str("the call did not end before its deadline"),
            Error::Inner(error) => error.fmt(f),
        }
    }
}

impl<E: StdError + 'static> StdError for Error<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Error::NotPermitted(refusal) => Some(refusal),
            Error::Full(full) => Some(full),
            Error::Throttled(throttled) => Some(throttled),
            Error::TimedOut(error) => Some(error),
            Error::DeadlineExceeded(error) => Some(error),
            Error::Inner(error) => error.source(),
        }
    }
}

/// For the next breaker out: only what the dependency did counts against it.
impl<E: Classify> Classify for Error<E> {
    fn outcome(&self) -> Outcome {
        match self {
            Error::NotPermitted(error) => error.outcome(),
            Error::Full(error) => error.outcome(),
            Error::Throttled(error) => error.outcome(),
            Error::TimedOut(error) => error.outcome(),
            Error::DeadlineExceeded(error) => error.outcome(),
            Error::Inner(error) => error.outcome(),
        }
    }

    /// What the dependency asked for. The rest of a break is our own wish, and no answer: a
    /// neutral error with a time would read as a throttle, and be tried again.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Inner(error) => error.retry_after(),
            _ => None,
        }
    }
}

impl<E> From<NotPermitted> for Error<E> {
    fn from(error: NotPermitted) -> Self {
        Error::NotPermitted(error)
    }
}

impl<E> From<Full> for Error<E> {
    fn from(error: Full) -> Self {
        Error::Full(error)
    }
}

impl<E> From<Throttled> for Error<E> {
    fn from(error: Throttled) -> Self {
        Error::Throttled(error)
    }
}

impl<E> From<TimedOut> for Error<E> {
    fn from(error: TimedOut) -> Self {
        Error::TimedOut(error)
    }
}

impl<E> From<DeadlineExceeded> for Error<E> {
    fn from(error: DeadlineExceeded) -> Self {
        Error::DeadlineExceeded(error)
    }
}
