//! What the result of an attempt means: for the circuit, and for whether to try again.

use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use fusebox::{Classify, NotPermitted, Outcome};

use crate::context::{CarryContext, Context};
use crate::error::Rejected;

/// What an error means: the outcome for the circuit, and whether another attempt makes sense.
///
/// Made from an [`Outcome`] by [`From`], a failure may be tried again and anything else may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    outcome: Outcome,
    again: bool,
    retry_after: Option<Duration>,
}

impl Verdict {
    /// The dependency is at fault; another attempt may go better.
    pub const fn failure() -> Self {
        Self {
            outcome: Outcome::Failure,
            again: true,
            retry_after: None,
        }
    }

    /// The dependency is at fault, and another attempt would end the same way.
    pub const fn permanent_failure() -> Self {
        Self {
            again: false,
            ..Self::failure()
        }
    }

    /// Says nothing about the dependency: the caller's own mistake, a refusal by an inner circuit.
    pub const fn neutral() -> Self {
        Self {
            outcome: Outcome::Neutral,
            again: false,
            retry_after: None,
        }
    }

    /// The dependency is well but asks for patience: neutral, and another attempt may go better.
    pub const fn throttled(retry_after: Option<Duration>) -> Self {
        Self {
            outcome: Outcome::Neutral,
            again: true,
            retry_after,
        }
    }

    /// The same with the time the dependency asked to be left alone for.
    #[must_use]
    pub const fn with_retry_after(mut self, hint: Option<Duration>) -> Self {
        self.retry_after = hint;
        self
    }

    /// What the circuit is told.
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// True when another attempt makes sense, if the operation may be repeated at all.
    pub const fn may_retry(&self) -> bool {
        self.again
    }

    /// How long the dependency asked to be left alone.
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// What [`Classify`] says. A neutral error that names a time to come back at is a throttle, and
    /// may be tried again then.
    pub fn of(error: &(impl Classify + ?Sized)) -> Self {
        let (outcome, hint) = (error.outcome(), error.retry_after());
        match outcome {
            Outcome::Neutral if hint.is_some() => Self::throttled(hint),
            outcome => Self::from(outcome).with_retry_after(hint),
        }
    }
}

impl From<Outcome> for Verdict {
    fn from(outcome: Outcome) -> Self {
        Self {
            outcome,
            again: outcome == Outcome::Failure,
            retry_after: None,
        }
    }
}

/// A result whose error can stand for a refusal: every `Result<T, E>` with `E: From<Rejected>`,
/// under whatever alias.
#[diagnostic::on_unimplemented(
    message = "a protected method must return `Result<_, E>` with `E: From<Rejected>`, and so must \
               be each item of a guarded stream; this is `{Self}`",
    label = "not a `Result` whose error can be made from `fusebox_resilient::Rejected`",
    note = "give the error an `impl From<fusebox_resilient::Rejected>`, or leave the method \
            unprotected with `#[resilient(skip)]`"
)]
pub trait Fallible: Sized {
    /// What it holds on success.
    type Ok;
    /// What it holds otherwise.
    type Error;

    /// The success, if it is one.
    fn success(&self) -> Option<&Self::Ok>;

    /// The error, if it is one.
    fn error(&mut self) -> Option<&mut Self::Error>;

    /// The refusal as the error of this result.
    fn rejected(rejected: Rejected) -> Self;
}

impl<T, E: From<Rejected>> Fallible for Result<T, E> {
    type Ok = T;
    type Error = E;

    fn success(&self) -> Option<&T> {
        self.as_ref().ok()
    }

    fn error(&mut self) -> Option<&mut E> {
        self.as_mut().err()
    }

    fn rejected(rejected: Rejected) -> Self {
        Err(E::from(rejected))
    }
}

/// How the errors of one operation are judged, and how they take their context in.
pub struct Judge<E> {
    verdict: fn(&E) -> Verdict,
    carry: Option<Carry<E>>,
}

/// Hands the context over to an error.
pub(crate) type Carry<E> = fn(&mut E, &Context);

impl<E> Judge<E> {
    /// Judges by [`Classify`]; context is not taken in.
    pub fn classify() -> Self
    where
        E: Classify,
    {
        Self::by(|error| Verdict::of(error))
    }

    /// Judges by a function; context is not taken in.
    pub fn by(verdict: fn(&E) -> Verdict) -> Self {
        Self {
            verdict,
            carry: None,
        }
    }

    /// The same, and errors take their context in.
    #[must_use]
    pub fn carrying(mut self) -> Self
    where
        E: CarryContext,
    {
        self.carry = Some(E::carry);
        self
    }

    #[doc(hidden)]
    #[must_use]
    pub fn with_carry(mut self, carry: Option<fn(&mut E, &Context)>) -> Self {
        self.carry = carry;
        self
    }

    pub(crate) fn verdict(&self, error: &E) -> Verdict {
        (self.verdict)(error)
    }

    pub(crate) fn carries(&self) -> bool {
        self.carry.is_some()
    }

    pub(crate) fn carry(&self, error: &mut E, context: &Context) {
        if let Some(carry) = self.carry {
            carry(error, context);
        }
    }
}

// By hand: the derives would ask the same of `E`.
impl<E> Clone for Judge<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Judge<E> {}

impl<E> fmt::Debug for Judge<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").finish_non_exhaustive()
    }
}

/// An error that has no [`Classify`]: a refusal of ours anywhere in its chain of causes is neutral
/// (an inner circuit has refused already), anything else a failure.
pub(crate) fn verdict_of_chain(error: &(dyn Error + 'static)) -> Verdict {
    let mut link = Some(error);
    while let Some(error) = link {
        if let Some(rejected) = error.downcast_ref::<Rejected>() {
            return match rejected.outcome() {
                Outcome::Failure => Verdict::failure(),
                _ => Verdict::neutral(),
            };
        }
        if error.is::<NotPermitted>() {
            return Verdict::neutral();
        }
        link = error.source();
    }
    Verdict::failure()
}

/// Picks, at compile time and without specialisation, what a type can do.
///
/// Method look-up takes the candidate that needs the fewest references taken, so the calls must be
/// made on `&&&Select`: first the impl for `&&Select`, then `&Select`, then `Select`.
#[doc(hidden)]
#[derive(Debug)]
pub struct Select<E>(PhantomData<fn(E)>);

impl<E> Select<E> {
    #[expect(clippy::new_without_default, reason = "for generated code only")]
    pub const fn new() -> Self {
        Select(PhantomData)
    }
}

#[doc(hidden)]
pub trait ViaClassify<E> {
    fn verdict(&self) -> fn(&E) -> Verdict;
}

impl<E: Classify> ViaClassify<E> for &&Select<E> {
    fn verdict(&self) -> fn(&E) -> Verdict {
        |error| Verdict::of(error)
    }
}

#[doc(hidden)]
pub trait ViaChain<E> {
    fn verdict(&self) -> fn(&E) -> Verdict;
}

impl<E: Error + 'static> ViaChain<E> for &Select<E> {
    fn verdict(&self) -> fn(&E) -> Verdict {
        |error| verdict_of_chain(error)
    }
}

#[doc(hidden)]
pub trait ViaFailure<E> {
    fn verdict(&self) -> fn(&E) -> Verdict;
}

impl<E> ViaFailure<E> for Select<E> {
    fn verdict(&self) -> fn(&E) -> Verdict {
        |_| Verdict::failure()
    }
}

#[doc(hidden)]
pub trait ViaCarry<E> {
    fn carry(&self) -> Option<fn(&mut E, &Context)>;
}

impl<E: CarryContext> ViaCarry<E> for &Select<E> {
    fn carry(&self) -> Option<fn(&mut E, &Context)> {
        Some(E::carry)
    }
}

#[doc(hidden)]
pub trait ViaNothing<E> {
    fn carry(&self) -> Option<fn(&mut E, &Context)>;
}

impl<E> ViaNothing<E> for Select<E> {
    fn carry(&self) -> Option<fn(&mut E, &Context)> {
        None
    }
}

#[cfg(test)]
mod tests {
    use fusebox::{CircuitBreaker, State};

    use super::*;
    use crate::context::Ids;
    use crate::error::{CallError, Reason};

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Box<dyn Error + Send + Sync>);

    #[test]
    fn a_refusal_deep_in_the_chain_is_found() {
        let refusal = NotPermitted::new("a", "b", State::Open, None);
        let deep = Outer(Box::new(Outer(Box::new(refusal))));
        assert_eq!(verdict_of_chain(&deep), Verdict::neutral());
        let other = Outer(Box::new(Outer("plain".into())));
        assert_eq!(verdict_of_chain(&other), Verdict::failure());
    }

    /// A time-out is ours to tell and the dependency's to answer for; what was refused before it was sent
    /// is not.
    #[test]
    fn what_a_refusal_in_the_chain_says_of_the_dependency_is_heeded() {
        let breaker = CircuitBreaker::builder("b").build().expect("valid");
        let verdict = |reason| {
            let context = Context::of(&breaker, "store.put", Ids::new(), 1);
            verdict_of_chain(&Outer(Box::new(Rejected::new(reason, context))))
        };
        let after = Duration::from_secs(1);
        let timed_out = verdict(Reason::AttemptTimedOut { after });
        assert_eq!(timed_out, Verdict::failure());
        assert_eq!(verdict(Reason::TooBusy { limit: 1 }), Verdict::neutral());
    }

    #[test]
    fn only_what_may_go_better_is_worth_another_attempt() {
        let verdicts = [
            (Verdict::failure(), Outcome::Failure, true),
            (Verdict::permanent_failure(), Outcome::Failure, false),
            (Verdict::neutral(), Outcome::Neutral, false),
            (Verdict::throttled(None), Outcome::Neutral, true),
        ];
        for (verdict, outcome, again) in verdicts {
            assert_eq!((verdict.outcome(), verdict.may_retry()), (outcome, again));
        }
    }

    #[test]
    fn a_judge_asks_for_the_context_only_when_errors_take_it() {
        let judge = Judge::<CallError<u8>>::by(|_| Verdict::failure());
        assert!(!judge.carries());
        assert!(judge.carrying().carries());
    }

    #[test]
    #[expect(
        clippy::needless_borrow,
        reason = "the number of references is what decides"
    )]
    fn the_most_telling_ability_wins() {
        struct Classified;
        impl Classify for Classified {
            fn outcome(&self) -> Outcome {
                Outcome::Neutral
            }
        }
        assert_eq!(
            (&&&Select::<Classified>::new()).verdict()(&Classified),
            Verdict::neutral()
        );
        let refusal = || Outer(Box::new(NotPermitted::new("a", "b", State::Open, None)));
        assert_eq!(
            (&&&Select::<Outer>::new()).verdict()(&refusal()),
            Verdict::neutral()
        );
        assert_eq!((&&&Select::<u8>::new()).verdict()(&1), Verdict::failure());
    }

    #[test]
    fn a_neutral_error_with_a_time_is_a_throttle() {
        struct Throttled;
        impl Classify for Throttled {
            fn outcome(&self) -> Outcome {
                Outcome::Neutral
            }
            fn retry_after(&self) -> Option<Duration> {
                Some(Duration::from_secs(1))
            }
        }
        let verdict = Verdict::of(&Throttled);
        assert!(verdict.may_retry());
        assert_eq!(verdict.outcome(), Outcome::Neutral);
        assert!(!Verdict::of(&NotPermitted::new("a", "b", State::Open, None)).may_retry());
    }
}
