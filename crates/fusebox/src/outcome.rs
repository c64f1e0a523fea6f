//! What the result of a call says about the dependency: success, failure, or nothing.

use std::convert::Infallible;
use std::time::Duration;

use crate::error::{CallError, NotPermitted};

/// The verdict on one call.
///
/// Slowness is no verdict of the caller: the breaker measures it itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The dependency works.
    Success,
    /// The dependency is at fault.
    Failure,
    /// The result says nothing about the dependency: the caller's own mistake, a throttle, a
    /// refusal by an inner breaker, a cancelled call. It never moves the circuit and gives the
    /// probe's slot back.
    Neutral,
}

/// An error that can say whose fault it is.
pub trait Classify {
    /// The verdict this error carries about the dependency.
    fn outcome(&self) -> Outcome;

    /// How long the dependency asked to be left alone, if it did (HTTP `Retry-After`).
    ///
    /// Only heeded together with [`Outcome::Failure`].
    fn retry_after(&self) -> Option<Duration> {
        None
    }
}

impl Classify for Infallible {
    fn outcome(&self) -> Outcome {
        match *self {}
    }
}

/// A refusal of our own is no evidence against the dependency behind the next breaker out.
impl Classify for NotPermitted {
    fn outcome(&self) -> Outcome {
        Outcome::Neutral
    }

    fn retry_after(&self) -> Option<Duration> {
        NotPermitted::retry_after(self)
    }
}

impl<E: Classify> Classify for CallError<E> {
    fn outcome(&self) -> Outcome {
        match self {
            CallError::NotPermitted(refusal) => refusal.outcome(),
            CallError::Inner(error) => error.outcome(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            CallError::NotPermitted(refusal) => refusal.retry_after(),
            CallError::Inner(error) => error.retry_after(),
        }
    }
}

impl<E: Classify + ?Sized> Classify for Box<E> {
    fn outcome(&self) -> Outcome {
        (**self).outcome()
    }

    fn retry_after(&self) -> Option<Duration> {
        (**self).retry_after()
    }
}
