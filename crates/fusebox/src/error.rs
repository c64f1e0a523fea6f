//! The refusal of a circuit, and the error of a protected call.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::event::Identity;
use crate::state::State;

/// A call was refused by a circuit and never made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("circuit {} of {} is {state}: the call was not permitted", of.circuit, of.service)]
pub struct NotPermitted {
    /// One pointer: refusing is what an open circuit does at the rate it is called.
    of: Arc<Identity>,
    state: State,
    retry_after: Option<Duration>,
}

impl NotPermitted {
    /// A refusal by `circuit` of `service`; for guards that speak the same language as a breaker.
    pub fn new(
        service: impl Into<Arc<str>>,
        circuit: impl Into<Arc<str>>,
        state: State,
        retry_after: Option<Duration>,
    ) -> Self {
        let of = Arc::new(Identity {
            service: service.into(),
            circuit: circuit.into(),
        });
        Self::by(&of, state, retry_after)
    }

    pub(crate) fn by(of: &Arc<Identity>, state: State, retry_after: Option<Duration>) -> Self {
        Self {
            of: Arc::clone(of),
            state,
            retry_after,
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
        self.retry_after
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
