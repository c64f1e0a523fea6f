//! The service whose answers must come in time.

use std::task::{Context, Poll};
use std::time::Duration;

use tower::Service;

use super::ResponseFuture;
use crate::error::TimedOut;

/// A service whose answers must come in time; see the [room's page](super).
#[derive(Debug, Clone)]
pub struct AttemptTimeout<S> {
    inner: S,
    time: Duration,
}

impl<S> AttemptTimeout<S> {
    /// Gives every call of `inner` this much time.
    pub fn new(inner: S, time: Duration) -> Self {
        Self { inner, time }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, Req> Service<Req> for AttemptTimeout<S>
where
    S: Service<Req>,
    S::Error: From<TimedOut>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        ResponseFuture::new(self.inner.call(request), self.time)
    }
}
