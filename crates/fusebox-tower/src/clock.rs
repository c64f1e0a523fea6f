//! The runtime's time for breakers and limits, so that a test with paused time drives all of them.

use std::time::Duration;

use fusebox::Clock;
use tokio::time::Instant;

/// The clock of the tokio runtime; its origin is the moment of its creation.
///
/// In production it is the monotonic clock. In a test with paused time it stands still and moves
/// with the timers, so that breakers, limits, retries and deadlines agree on what time it is.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    origin: Instant,
}

impl TokioClock {
    /// A clock that reads zero now.
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
        }
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}
