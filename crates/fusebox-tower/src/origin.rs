//! Which layer an error comes from: what tells our own refusals from the dependency's errors.

use std::error::Error as StdError;

use fusebox::NotPermitted;
use fusebox_limit::{Full, Throttled};
use fusebox_resilient::{Reason, Rejected};
use tower::BoxError;

use crate::error::{DeadlineExceeded, Error, TimedOut};

/// Where an error comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// A circuit refused.
    NotPermitted,
    /// A limit, a bulkhead or a load shedder refused.
    Full,
    /// A throttle held the call back.
    Throttled,
    /// An attempt ran out of its time.
    TimedOut,
    /// The work's deadline passed.
    DeadlineExceeded,
    /// The service itself.
    Inner,
}

impl Origin {
    /// True when a layer of ours said no, so that asking again at once would get the same answer.
    pub fn is_refusal(self) -> bool {
        match self {
            Origin::NotPermitted | Origin::Full | Origin::Throttled | Origin::DeadlineExceeded => {
                true
            }
            Origin::TimedOut | Origin::Inner => false,
        }
    }
}

/// An error that knows which layer it comes from.
///
/// Retry needs it, to never repeat a refusal of our own, and the limit that adapts, to learn from
/// time-outs. Implement it for an error type of your own that takes the refusals in.
pub trait HasOrigin {
    /// Where the error comes from.
    fn origin(&self) -> Origin;
}

impl<E> HasOrigin for Error<E> {
    fn origin(&self) -> Origin {
        match self {
            Error::NotPermitted(_) => Origin::NotPermitted,
            Error::Full(_) => Origin::Full,
            Error::Throttled(_) => Origin::Throttled,
            Error::TimedOut(_) => Origin::TimedOut,
            Error::DeadlineExceeded(_) => Origin::DeadlineExceeded,
            Error::Inner(_) => Origin::Inner,
        }
    }
}

/// Searches the chain of causes for a refusal: of this crate's layers, of tower's own timeout and
/// load shedder, and of `fusebox-resilient`.
impl HasOrigin for BoxError {
    fn origin(&self) -> Origin {
        let mut link: Option<&(dyn StdError + 'static)> = Some(&**self);
        while let Some(error) = link {
            if let Some(origin) = known(error) {
                return origin;
            }
            link = error.source();
        }
        Origin::Inner
    }
}

fn known(error: &(dyn StdError + 'static)) -> Option<Origin> {
    if let Some(rejected) = error.downcast_ref::<Rejected>() {
        return Some(match rejected.reason() {
            Reason::NotPermitted(_) => Origin::NotPermitted,
            Reason::TooBusy { .. } => Origin::Full,
            Reason::DeadlineExceeded => Origin::DeadlineExceeded,
            Reason::AttemptTimedOut { .. } | Reason::StreamStalled { .. } => Origin::TimedOut,
            _ => Origin::Inner,
        });
    }
    if error.is::<NotPermitted>() {
        Some(Origin::NotPermitted)
    } else if error.is::<Full>() || error.is::<tower::load_shed::error::Overloaded>() {
        Some(Origin::Full)
    } else if error.is::<Throttled>() {
        Some(Origin::Throttled)
    } else if error.is::<TimedOut>() || error.is::<tower::timeout::error::Elapsed>() {
        Some(Origin::TimedOut)
    } else if error.is::<DeadlineExceeded>() {
        Some(Origin::DeadlineExceeded)
    } else {
        None
    }
}
