//! The layer that bounds the calls under way at once.

use fusebox_limit::Limit;
use tower::Layer;

use super::{Limited, TimeOuts};

/// Bounds the calls under way at once. All services it makes, and their clones, share one limit.
#[derive(Debug, Clone)]
pub struct LimitLayer<L = TimeOuts> {
    limit: Limit,
    load: L,
}

impl LimitLayer {
    /// A layer with this limit; one that adapts learns from [`TimeOuts`].
    pub fn new(limit: Limit) -> Self {
        Self {
            limit,
            load: TimeOuts,
        }
    }
}

impl<L> LimitLayer<L> {
    /// A layer with this limit, which learns by `load`.
    pub fn learning_by(limit: Limit, load: L) -> Self {
        Self { limit, load }
    }
}

impl<S, L: Clone> Layer<S> for LimitLayer<L> {
    type Service = Limited<S, L>;

    fn layer(&self, inner: S) -> Self::Service {
        Limited::new(inner, self.limit.clone(), self.load.clone())
    }
}
