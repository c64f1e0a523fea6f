//! The refusal of a circuit, and the error of a protected call.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::engine::word::nanos;
use crate::event::Identity;
use crate::state::State;

/// A call was refused by a circuit and never made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("circuit {} of {} is {state}: the call was not permitted", of.circuit, of.service)]
pub struct NotPermitted {
    of: Identity,
    state: State,
    left: Left,
}

/// The time left, in one word: refusing is what an open circuit does at the rate it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left(u64);

impl Left {
    pub(crate) const UNKNOWN: Left = Left(u64::MAX);

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// At most 584 years.
    pub(crate) fn nanos(nanos: u64) -> Self {
        Self(nanos.min(u64::MAX - 1))
    }
}

impl From<Option<Duration>> for Left {
    fn from(left: Option<Duration>) -> Self {
        left.map_or(Left::UNKNOWN, |left| Left::nanos(nanos(left)))
    }
}

impl From<Left> for Option<Duration> {
    fn from(left: Left) -> Self {
        (left != Left::UNKNOWN).then(|| Duration::from_nanos(left.0))
    }
}

impl NotPermitted {
    /// A refusal by `circuit` of `service`; for guards that speak the same language as a breaker.
    pub fn new(
        service: impl Into<Arc<str>>,
        circuit: impl Into<Arc<str>>,
        state: State,
        retry_after: Option<Duration>,
    ) -> Self {
        let of = Identity::new(service.into(), circuit.into());
        Self::by(&of, state, retry_after.into())
    }

    #[inline]
    pub(crate) fn by(of: &Identity, state: State, left: Left) -> Self {
        Self {
            of: of.clone(),
            state,
            left,
        }
    }

    /// Name of the circuit that refused.
    pub fn circuit(&self) -> &str {
        &self.of.circuit
    }

    /// Name of the service whose circuit it is (the caller's side, not the dependency).
    pub fn service(&self) -> &str {
        &self.of.service
    }

    /// State of the circuit at the refusal: open, or half-open with all probes under way.
    pub fn state(&self) -> State {
        self.state
    }

    /// Time until the break ends; `None` when nobody knows (forced open without an end, or probes
    /// under way).
    pub fn retry_after(&self) -> Option<Duration> {
        self.left.into()
    }
}

/// The error of a call made through a circuit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CallError<E> {
    /// The circuit refused; the call was never made.
    #[error(transparent)]
    NotPermitted(NotPermitted),
    /// The call was made and answered with this error.
    #[error(transparent)]
    Inner(E),
}

impl<E> CallError<E> {
    /// The call's own error, if the call was made.
    pub fn into_inner(self) -> Option<E> {
        match self {
            CallError::NotPermitted(_) => None,
            CallError::Inner(error) => Some(error),
        }
    }

    /// The refusal, if the call was never made.
    pub fn not_permitted(&self) -> Option<&NotPermitted> {
        match self {
            CallError::NotPermitted(refusal) => Some(refusal),
            CallError::Inner(_) => None,
        }
    }
}

impl<E> From<NotPermitted> for CallError<E> {
    fn from(refusal: NotPermitted) -> Self {
        CallError::NotPermitted(refusal)
    }
}
