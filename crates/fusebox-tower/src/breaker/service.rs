//! The service behind a circuit breaker.

use std::task::{Context, Poll};

use fusebox::NotPermitted;
use tower::Service;

use super::{Circuits, ResponseFuture};
use crate::call::count as count_attempt;
use crate::classify::ClassifyResult;

/// A service behind a circuit breaker; see the [room's page](super).
#[derive(Debug, Clone)]
pub struct Breaker<S, B, C> {
    inner: S,
    circuits: B,
    classify: C,
}

impl<S, B, C> Breaker<S, B, C> {
    /// Puts `inner` behind `circuits`.
    pub fn new(inner: S, circuits: B, classify: C) -> Self {
        Self {
            inner,
            circuits,
            classify,
        }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, B, C, Req> Service<Req> for Breaker<S, B, C>
where
    S: Service<Req>,
    S::Error: From<NotPermitted>,
    B: Circuits<Req>,
    C: ClassifyResult<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        match self.circuits.try_acquire(&request) {
            Ok(permit) => {
                count_attempt();
                // A panic in here drops the permit, which gives a probe's slot back.
                let future = self.inner.call(request);
                ResponseFuture::called(future, permit, self.classify.clone())
            }
            Err(refusal) => ResponseFuture::refused(refusal),
        }
    }
}
