//! The service whose slow calls are sent twice.

use std::sync::Arc;
use std::task::{Context, Poll};

use tower::Service;

use super::ResponseFuture;
use super::layer::Rules;
use crate::classify::ClassifyResult;
use crate::origin::HasOrigin;
use crate::replay::Replay;

/// A service whose slow calls are sent twice; see the [room's page](super).
#[derive(Debug)]
pub struct Hedge<S, C, R> {
    inner: S,
    rules: Arc<Rules<C, R>>,
}

impl<S, C, R> Hedge<S, C, R> {
    pub(super) fn new(inner: S, rules: Arc<Rules<C, R>>) -> Self {
        Self { inner, rules }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, C, R, Req> Service<Req> for Hedge<S, C, R>
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
        let copy = self.rules.replay.replay(&request);
        let copy = copy.map(|copy| (self.inner.clone(), copy));
        ResponseFuture::new(self.inner.call(request), copy, Arc::clone(&self.rules))
    }
}

// By hand: the derive would ask the same of the rules' parameters.
impl<S: Clone, C, R> Clone for Hedge<S, C, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            rules: Arc::clone(&self.rules),
        }
    }
}
