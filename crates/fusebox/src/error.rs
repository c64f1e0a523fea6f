//! The refusal of a circuit, and the error of a protected call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::engine::word::nanos;
use crate::event::Identity;
use crate::state::State;

/// A call was refused by a circuit and never made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("circuit {} of {} is {}: the call was not permitted", of.circuit, of.service, answer.state())]
pub struct NotPermitted {
    of: Identity,
    answer: Answer,
}

/// State and time left in one word: refusing is what an open circuit does at the rate it is called, and
/// what a call returns has room for this also when it succeeds.
///
/// ```text
/// state:2 | nanoseconds:62        all ones: nobody knows
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
struct Answer(u64);

const LEFT_BITS: u32 = 62;
const LEFT_MASK: u64 = (1 << LEFT_BITS) - 1;

impl Answer {
    #[inline]
    fn new(state: State, left: Left) -> Self {
        let left = if left == Left::UNKNOWN {
            LEFT_MASK
        } else {
            left.bits().min(LEFT_MASK - 1)
        };
        Self(u64::from(state.gauge()) << LEFT_BITS | left)
    }

    fn state(self) -> State {
        State::ALL[(self.0 >> LEFT_BITS) as usize]
    }

    fn left(self) -> Option<Duration> {
        let left = self.0 & LEFT_MASK;
        (left != LEFT_MASK).then(|| Duration::from_nanos(left))
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("state", &self.state())
            .field("left", &self.left())
            .finish()
    }
}

/// A time left, or asked for, in one word.
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

#[cfg(all(test, fusebox_loom))]
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
            answer: Answer::new(state, left),
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
        self.answer.state()
    }

    /// Time until the break ends, at most 146 years; `None` when nobody knows (forced open without an
    /// end, or probes under way). On the default clock it may be too long by a tick of the kernel's coarse
    /// clock (at most 10 ms); [`CircuitBreaker::retry_after`](crate::CircuitBreaker::retry_after) is exact.
    pub fn retry_after(&self) -> Option<Duration> {
        self.answer.left()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_state_and_time_left() {
        let longest = Duration::from_nanos(LEFT_MASK - 1);
        for state in State::ALL {
            for (left, told) in [
                (None, None),
                (Some(Duration::ZERO), Some(Duration::ZERO)),
                (
                    Some(Duration::from_millis(1_500)),
                    Some(Duration::from_millis(1_500)),
                ),
                (Some(longest), Some(longest)),
                (Some(longest + Duration::from_nanos(1)), Some(longest)),
                (Some(Duration::MAX), Some(longest)),
            ] {
                let refusal = NotPermitted::new("s", "c", state, left);
                assert_eq!((refusal.state(), refusal.retry_after()), (state, told));
                assert_eq!(refusal, NotPermitted::new("s", "c", state, told));
            }
        }
        let refusal = NotPermitted::new("s", "c", State::HalfOpen, None);
        assert_eq!(
            refusal.to_string(),
            "circuit c of s is half_open: the call was not permitted"
        );
        assert!(format!("{refusal:?}").contains("HalfOpen"));
        assert_eq!(size_of::<CallError<u64>>(), 24);
    }
}
