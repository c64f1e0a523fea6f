//! The service whose calls may be held back.

use std::task::{Context, Poll};

use fusebox_limit::{Throttle, Throttled};
use tower::Service;

use super::ResponseFuture;
use crate::limit::Load;

/// A service whose calls may be held back; see the [room's page](super).
#[derive(Debug, Clone)]
pub struct Throttling<S, L> {
    inner: S,
    throttle: Throttle,
    load: L,
}

impl<S, L> Throttling<S, L> {
    /// Holds calls of `inner` back by `throttle`, which learns by `load`.
    pub fn new(inner: S, throttle: Throttle, load: L) -> Self {
        Self {
            inner,
            throttle,
            load,
        }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The throttle.
    pub fn throttle(&self) -> &Throttle {
        &self.throttle
    }
}

impl<S, L, Req> Service<Req> for Throttling<S, L>
where
    S: Service<Req>,
    S::Error: From<Throttled>,
    L: Load<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, L>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        match self.throttle.try_begin(rand::random()) {
            Ok(pass) => {
                // A panic in here drops the pass, which takes the call out of the count.
                let future = self.inner.call(request);
                ResponseFuture::called(future, pass, self.load.clone())
            }
            Err(throttled) => ResponseFuture::refused(throttled),
        }
    }
}
