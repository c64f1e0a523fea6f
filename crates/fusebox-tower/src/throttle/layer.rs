//! The layer that holds calls back.

use fusebox_limit::Throttle;
use tower::Layer;

use super::Throttling;
use crate::limit::TimeOuts;

/// Holds calls back while the dependency turns most of them away. All services it makes, and their
/// clones, share one throttle.
#[derive(Debug, Clone)]
pub struct ThrottleLayer<L = TimeOuts> {
    throttle: Throttle,
    load: L,
}

impl ThrottleLayer {
    /// A layer with this throttle, which learns from [`TimeOuts`].
    pub fn new(throttle: Throttle) -> Self {
        Self {
            throttle,
            load: TimeOuts,
        }
    }
}

impl<L> ThrottleLayer<L> {
    /// A layer with this throttle, which learns by `load`.
    pub fn learning_by(throttle: Throttle, load: L) -> Self {
        Self { throttle, load }
    }
}

impl<S, L: Clone> Layer<S> for ThrottleLayer<L> {
    type Service = Throttling<S, L>;

    fn layer(&self, inner: S) -> Self::Service {
        Throttling::new(inner, self.throttle.clone(), self.load.clone())
    }
}
