//! The service whose calls under way are bounded.

use std::task::{Context, Poll};

use fusebox_limit::{Full, Limit};
use tower::Service;

use super::{Load, ResponseFuture};

/// A service whose calls under way are bounded; see the [room's page](super).
#[derive(Debug, Clone)]
pub struct Limited<S, L> {
    inner: S,
    limit: Limit,
    load: L,
}

impl<S, L> Limited<S, L> {
    /// Bounds the calls of `inner` by `limit`, which learns by `load`.
    pub fn new(inner: S, limit: Limit, load: L) -> Self {
        Self { inner, limit, load }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The limit.
    pub fn limit(&self) -> &Limit {
        &self.limit
    }
}

impl<S, L, Req> Service<Req> for Limited<S, L>
where
    S: Service<Req> + Clone,
    S::Error: From<Full>,
    L: Load<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, L, Req>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        match self.limit.enter().now() {
            Ok(Ok(place)) => {
                let future = self.inner.call(request);
                ResponseFuture::calling(future, place, self.load.clone())
            }
            Ok(Err(full)) => ResponseFuture::refused(full, self.load.clone()),
            Err(enter) => {
                // The service that was polled ready goes along; a clone has yet to be polled.
                let unready = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, unready);
                ResponseFuture::waiting(enter, ready, request, self.load.clone())
            }
        }
    }
}
