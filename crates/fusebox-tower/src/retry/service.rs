//! The service whose calls are repeated.

use std::sync::Arc;
use std::task::{Context, Poll};

use tower::Service;

use super::ResponseFuture;
use super::layer::Rules;
use crate::classify::ClassifyResult;
use crate::origin::HasOrigin;
use crate::replay::Replay;

/// A service whose calls are repeated; see the [room's page](super).
#[derive(Debug)]
pub struct Retry<S, C, R> {
    inner: S,
    rules: Arc<Rules<C, R>>,
}

impl<S, C, R> Retry<S, C, R> {
    pub(super) fn new(inner: S, rules: Arc<Rules<C, R>>) -> Self {
        Self { inner, rules }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, C, R, Req> Service<Req> for Retry<S, C, R>
where
    S: Service<Req> + Clone,
    S::Error: HasOrigin,
    C: ClassifyResult<S::Response, S::Error>,
    R: Replay<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, C, R, Req>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let rules = &self.rules;
        let copy = if rules.policy.max_attempts > 1 {
            rules.replay.replay(&request)
        } else {
            None
        };
        let again = copy.map(|copy| (self.inner.clone(), copy));
        ResponseFuture::new(self.inner.call(request), again, Arc::clone(rules))
    }
}

// By hand: the derive would ask the same of the rules' parameters.
impl<S: Clone, C, R> Clone for Retry<S, C, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            rules: Arc::clone(&self.rules),
        }
    }
}
