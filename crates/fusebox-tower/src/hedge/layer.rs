//! The layer that sends a second copy of slow calls.

use std::sync::Arc;
use std::time::Duration;

use fusebox_resilient::RetryBudget;
use tower::Layer;

use super::Hedge;

/// Sends a second copy of calls that take unusually long.
#[derive(Debug)]
pub struct HedgeLayer<C, R> {
    rules: Arc<Rules<C, R>>,
}

/// What the services of one layer and their calls share.
#[derive(Debug)]
pub(super) struct Rules<C, R> {
    pub(super) after: Duration,
    pub(super) budget: RetryBudget,
    pub(super) deposits: bool,
    pub(super) classify: C,
    pub(super) replay: R,
}

impl<C, R> HedgeLayer<C, R> {
    /// A layer that sends a copy `after` this time, paid from `budget`.
    ///
    /// `classify` judges the results, `replay` says what may be sent twice. Successes are deposited
    /// by the [`crate::RetryLayer`] that shares the budget.
    pub fn new(after: Duration, budget: RetryBudget, classify: C, replay: R) -> Self {
        Self::build(after, budget, false, classify, replay)
    }

    /// The same for a budget that no retry layer fills: successes are deposited here.
    pub fn with_own_budget(after: Duration, budget: RetryBudget, classify: C, replay: R) -> Self {
        Self::build(after, budget, true, classify, replay)
    }

    fn build(after: Duration, budget: RetryBudget, deposits: bool, classify: C, replay: R) -> Self {
        Self {
            rules: Arc::new(Rules {
                after,
                budget,
                deposits,
                classify,
                replay,
            }),
        }
    }
}

impl<S, C, R> Layer<S> for HedgeLayer<C, R> {
    type Service = Hedge<S, C, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Hedge::new(inner, Arc::clone(&self.rules))
    }
}

// By hand: the derive would ask the same of the parameters.
impl<C, R> Clone for HedgeLayer<C, R> {
    fn clone(&self) -> Self {
        Self {
            rules: Arc::clone(&self.rules),
        }
    }
}
