//! The layer that bounds the time of one attempt.

use std::time::Duration;

use tower::Layer;

use super::AttemptTimeout;

/// Bounds the time of one attempt.
#[derive(Debug, Clone, Copy)]
pub struct AttemptTimeoutLayer {
    time: Duration,
}

impl AttemptTimeoutLayer {
    /// A bound of `time` from the call to its response.
    pub fn new(time: Duration) -> Self {
        Self { time }
    }
}

impl<S> Layer<S> for AttemptTimeoutLayer {
    type Service = AttemptTimeout<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AttemptTimeout::new(inner, self.time)
    }
}
