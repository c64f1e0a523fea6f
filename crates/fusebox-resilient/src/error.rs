//! What a protected call can end with besides the call's own answer, and the error of a function's call.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use fusebox::{Classify, NotPermitted, Outcome};

use crate::context::{CarryContext, Context};

/// A protected call was refused, or given up, by its policy.
///
/// The error of every method of a `#[resilient]` trait is made from this by [`From`]. It is one
/// pointer wide and carries its [`Context`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    // Boxed: results are moved about far more often than they are refusals.
    inner: Box<Inner>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    reason: Reason,
    context: Context,
}

/// Why a policy refused or gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The circuit refused; the call was never made.
    NotPermitted(NotPermitted),
    /// As many calls as may run at once were under way; this one was never made.
    TooBusy {
        /// The most calls at once.
        limit: u32,
    },
    /// The last attempt got no answer in its time.
    AttemptTimedOut {
        /// Time it was given.
        after: Duration,
    },
    /// The work's deadline passed, before or during the call.
    DeadlineExceeded,
    /// A stream was opened but then fell silent.
    StreamStalled {
        /// Length of the silence.
        after: Duration,
        /// True when not even the first item came.
        first_item: bool,
    },
    /// A stream ended before its last item.
    StreamTruncated,
}

impl Rejected {
    pub(crate) fn new(reason: Reason, context: Context) -> Self {
        Self {
            inner: Box::new(Inner { reason, context }),
        }
    }

    /// Why.
    pub fn reason(&self) -> &Reason {
        &self.inner.reason
    }

    /// Which call, for whom.
    pub fn context(&self) -> &Context {
        &self.inner.context
    }

    /// The circuit's refusal, if it was one.
    pub fn not_permitted(&self) -> Option<&NotPermitted> {
        match &self.inner.reason {
            Reason::NotPermitted(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// True when the call was certainly not made, so that making it again elsewhere is safe.
    pub fn was_not_sent(&self) -> bool {
        match &self.inner.reason {
            Reason::NotPermitted(_) | Reason::TooBusy { .. } | Reason::DeadlineExceeded => {
                self.context().attempts() == 0
            }
            Reason::AttemptTimedOut { .. }
            | Reason::StreamStalled { .. }
            | Reason::StreamTruncated => false,
        }
    }

    /// Time until the circuit may permit calls again, when it refused and knows.
    pub fn retry_after(&self) -> Option<Duration> {
        self.not_permitted().and_then(NotPermitted::retry_after)
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = self.context().operation();
        match &self.inner.reason {
            Reason::NotPermitted(_) => write!(f, "the call of {operation} was not permitted"),
            Reason::TooBusy { limit } => {
                write!(
                    f,
                    "the call of {operation} was refused: {limit} are under way"
                )
            }
            Reason::AttemptTimedOut { after } => {
                write!(f, "the call of {operation} got no answer within {after:?}")
            }
            Reason::DeadlineExceeded => {
                write!(f, "the call of {operation} did not end before its deadline")
            }
            Reason::StreamStalled {
                after,
                first_item: true,
            } => write!(f, "the stream of {operation} sent nothing within {after:?}"),
            Reason::StreamStalled { after, .. } => {
                write!(f, "the stream of {operation} fell silent for {after:?}")
            }
            Reason::StreamTruncated => {
                write!(f, "the stream of {operation} ended before its last item")
            }
        }
    }
}

impl Error for Rejected {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.not_permitted().map(|refusal| refusal as _)
    }
}

/// For the next breaker out: only what the dependency did counts against it.
impl Classify for Rejected {
    fn outcome(&self) -> Outcome {
        match &self.inner.reason {
            Reason::NotPermitted(_) | Reason::TooBusy { .. } | Reason::DeadlineExceeded => {
                Outcome::Neutral
            }
            Reason::AttemptTimedOut { .. }
            | Reason::StreamStalled { .. }
            | Reason::StreamTruncated => Outcome::Failure,
        }
    }

    // No time: the rest of a break is our own wish, see `Classify::retry_after`.
}

/// The error of a function called through a [`crate::Policy`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError<E> {
    /// The policy refused or gave up.
    Rejected(Rejected),
    /// The call was made and answered with this error.
    Inner {
        /// The call's own error.
        error: E,
        /// Which call, for whom; absent when protection is switched off.
        context: Option<Context>,
    },
}

impl<E> CallError<E> {
    pub(crate) fn inner(error: E) -> Self {
        CallError::Inner {
            error,
            context: None,
        }
    }

    /// The call's own error, if there is one.
    pub fn into_inner(self) -> Option<E> {
        match self {
            CallError::Rejected(_) => None,
            CallError::Inner { error, .. } => Some(error),
        }
    }

    /// What the policy did, if it did not let the call's own answer through.
    pub fn rejected(&self) -> Option<&Rejected> {
        match self {
            CallError::Rejected(rejected) => Some(rejected),
            CallError::Inner { .. } => None,
        }
    }

    /// Which call, for whom; absent only for a call's own error while protection is switched off.
    pub fn context(&self) -> Option<&Context> {
        match self {
            CallError::Rejected(rejected) => Some(rejected.context()),
            CallError::Inner { context, .. } => context.as_ref(),
        }
    }
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Rejected(rejected) => rejected.fmt(f),
            CallError::Inner { error, .. } => error.fmt(f),
        }
    }
}

impl<E: Error> Error for CallError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            CallError::Rejected(rejected) => rejected.source(),
            CallError::Inner { error, .. } => error.source(),
        }
    }
}

impl<E> From<Rejected> for CallError<E> {
    fn from(rejected: Rejected) -> Self {
        CallError::Rejected(rejected)
    }
}

impl<E: Classify> Classify for CallError<E> {
    fn outcome(&self) -> Outcome {
        match self {
            CallError::Rejected(rejected) => rejected.outcome(),
            CallError::Inner { error, .. } => error.outcome(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            CallError::Rejected(rejected) => Classify::retry_after(rejected),
            CallError::Inner { error, .. } => error.retry_after(),
        }
    }
}

impl<E> CarryContext for CallError<E> {
    fn carry(&mut self, new: &Context) {
        if let CallError::Inner { context, .. } = self {
            // The innermost call is the one that failed.
            context.get_or_insert_with(|| new.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use fusebox::{CircuitBreaker, State};

    use super::*;
    use crate::context::Ids;

    #[derive(Debug, thiserror::Error)]
    #[error("the store is full")]
    struct Full(#[source] std::num::ParseIntError);

    impl Classify for Full {
        fn outcome(&self) -> Outcome {
            Outcome::Neutral
        }

        fn retry_after(&self) -> Option<Duration> {
            Some(Duration::from_secs(7))
        }
    }

    /// In a log it reads as what it is about, and whoever judges it next sees what it is about.
    #[test]
    fn a_calls_error_speaks_for_what_is_in_it() {
        let cause = "x".parse::<u8>().expect_err("no number");
        let own = CallError::inner(Full(cause.clone()));
        assert_eq!(own.to_string(), "the store is full");
        let source = own.source().expect("has a cause");
        assert_eq!(source.to_string(), cause.to_string());
        assert_eq!(own.outcome(), Outcome::Neutral);
        assert_eq!(Classify::retry_after(&own), Some(Duration::from_secs(7)));

        let breaker = CircuitBreaker::builder("store").build().expect("valid");
        let rest = Some(Duration::from_secs(5));
        let refusal = NotPermitted::new("gateway", "store", State::Open, rest);
        let ids = Ids::new().with_correlation_id("c-1");
        let context = Context::of(&breaker, "store.put", ids.clone(), 0);
        let reason = Reason::NotPermitted(refusal);
        let ours = CallError::<Full>::from(Rejected::new(reason, context));
        assert_eq!(ours.context().map(Context::ids), Some(&ids));
        assert_eq!(ours.to_string(), "the call of store.put was not permitted");
        assert!(ours.source().is_some_and(<dyn Error>::is::<NotPermitted>));
        assert_eq!(ours.outcome(), Outcome::Neutral);
        assert_eq!(ours.rejected().and_then(Rejected::retry_after), rest);
        assert_eq!(Classify::retry_after(&ours), None, "it is our own wish");
    }
}
