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
    /// A circuit heeds it only together with [`Outcome::Failure`]; a retry also with a neutral
    /// outcome, as of a throttle. The time left of a break of ours is no answer to this: whoever
    /// repeats calls would wait for it and ask again. That is [`NotPermitted::retry_after`].
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
            CallError::NotPermitted(refusal) => Classify::retry_after(refusal),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::State;

    const SECOND: Duration = Duration::from_secs(1);

    struct Busy;

    impl Classify for Busy {
        fn outcome(&self) -> Outcome {
            Outcome::Failure
        }

        fn retry_after(&self) -> Option<Duration> {
            Some(SECOND)
        }
    }

    struct Plain;

    impl Classify for Plain {
        fn outcome(&self) -> Outcome {
            Outcome::Failure
        }
    }

    #[test]
    fn only_a_dependency_asks_to_be_left_alone() {
        let refusal = NotPermitted::new("a", "b", State::Open, Some(SECOND));
        assert_eq!(refusal.retry_after(), Some(SECOND), "for whoever waits");
        let refused: CallError<Busy> = refusal.clone().into();
        for (error, outcome, asked) in [
            (&refusal as &dyn Classify, Outcome::Neutral, None),
            (&refused, Outcome::Neutral, None),
            (&CallError::Inner(Busy), Outcome::Failure, Some(SECOND)),
            (&Plain, Outcome::Failure, None),
            (&Box::new(Busy), Outcome::Failure, Some(SECOND)),
            (&Box::new(refusal.clone()), Outcome::Neutral, None),
        ] {
            assert_eq!((error.outcome(), error.retry_after()), (outcome, asked));
        }
    }
}
