//! The layer that puts a circuit breaker around a service.

use tower::Layer;

use super::Breaker;

/// Puts a circuit breaker around a service.
///
/// `circuits` is a [`fusebox::CircuitBreaker`] for all requests, or [`super::Keyed`]; `classify`
/// judges the results, such as [`crate::ByError`].
#[derive(Debug, Clone)]
pub struct BreakerLayer<B, C> {
    circuits: B,
    classify: C,
}

impl<B, C> BreakerLayer<B, C> {
    /// A layer with these circuits.
    pub fn new(circuits: B, classify: C) -> Self {
        Self { circuits, classify }
    }
}

impl<S, B: Clone, C: Clone> Layer<S> for BreakerLayer<B, C> {
    type Service = Breaker<S, B, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Breaker::new(inner, self.circuits.clone(), self.classify.clone())
    }
}
