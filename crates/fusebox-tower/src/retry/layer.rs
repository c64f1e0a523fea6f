//! The layer that repeats calls.

use std::sync::Arc;

use tower::Layer;

use super::{Retry, RetryPolicy};

/// Repeats calls that failed.
///
/// `classify` judges the results, `replay` says what may be sent again.
#[derive(Debug)]
pub struct RetryLayer<C, R> {
    rules: Arc<Rules<C, R>>,
}

/// What the services of one layer and their calls share.
#[derive(Debug)]
pub(super) struct Rules<C, R> {
    pub(super) policy: RetryPolicy,
    pub(super) classify: C,
    pub(super) replay: R,
}

impl<C, R> RetryLayer<C, R> {
    /// A layer that repeats by `policy`.
    pub fn new(policy: RetryPolicy, classify: C, replay: R) -> Self {
        Self {
            rules: Arc::new(Rules {
                policy,
                classify,
                replay,
            }),
        }
    }
}

impl<S, C, R> Layer<S> for RetryLayer<C, R> {
    type Service = Retry<S, C, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry::new(inner, Arc::clone(&self.rules))
    }
}

// By hand: the derive would ask the same of the parameters.
impl<C, R> Clone for RetryLayer<C, R> {
    fn clone(&self) -> Self {
        Self {
            rules: Arc::clone(&self.rules),
        }
    }
}
