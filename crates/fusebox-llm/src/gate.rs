//! A gate that closes for a while: what a provider's "later" or "not with this key" does to us.
//!
//! A throttle is no failure: the provider works, it only wants fewer calls. So it closes a gate and
//! leaves the circuit breaker alone. The same kind of gate, one per credential, stays closed for a
//! few minutes after the provider refused the key or its budget.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::verdict::Kind;

/// A gate that lets calls pass except while it is held closed.
#[derive(Debug, Default)]
pub struct Gate {
    hold: Mutex<Option<Hold>>,
}

/// Why and how long a gate is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// When the gate opens.
    pub until: Instant,
    /// What closed it.
    pub kind: Kind,
}

impl Gate {
    /// The hold at this time; `None` when calls may pass.
    #[must_use]
    pub fn held(&self) -> Option<Hold> {
        let mut hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner);
        if hold.is_some_and(|hold| hold.until <= Instant::now()) {
            *hold = None;
        }
        *hold
    }

    /// Closes the gate for `wait` from now. A hold is never made shorter by a later one.
    pub fn close(&self, wait: Duration, kind: Kind) {
        let until = Instant::now() + wait;
        let mut hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner);
        if hold.is_none_or(|hold| hold.until < until) {
            *hold = Some(Hold { until, kind });
        }
    }

    /// Opens the gate, as an operator does who has mended its cause.
    pub fn open(&self) {
        *self.hold.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_gate_opens_by_itself() {
        let gate = Gate::default();
        assert_eq!(gate.held(), None);
        gate.close(Duration::from_secs(5), Kind::RateLimited);
        tokio::time::advance(Duration::from_millis(4999)).await;
        assert_eq!(gate.held().map(|hold| hold.kind), Some(Kind::RateLimited));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(gate.held(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_is_never_made_shorter() {
        let gate = Gate::default();
        gate.close(Duration::from_mins(1), Kind::QuotaExhausted);
        gate.close(Duration::from_secs(1), Kind::RateLimited);
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(
            gate.held().map(|hold| hold.kind),
            Some(Kind::QuotaExhausted)
        );
        gate.open();
        assert_eq!(gate.held(), None);
    }
}
