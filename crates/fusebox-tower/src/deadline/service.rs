//! The service whose calls have a deadline.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use fusebox_resilient::Deadline;
use tower::Service;

use super::{ResponseFuture, TimeFor};
use crate::error::DeadlineExceeded;

/// A service whose calls have a deadline; see the [room's page](super).
#[derive(Debug, Clone)]
pub struct WithDeadline<S, T> {
    inner: S,
    time: T,
}

impl<S, T> WithDeadline<S, T> {
    /// Gives every call of `inner` a deadline.
    pub fn new(inner: S, time: T) -> Self {
        Self { inner, time }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, T, Req> Service<Req> for WithDeadline<S, T>
where
    S: Service<Req>,
    S::Error: From<DeadlineExceeded>,
    T: TimeFor<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let own = self.time.time(&request).map(Deadline::after);
        match own.into_iter().chain(Deadline::current()).min() {
            None => ResponseFuture::free(self.inner.call(request)),
            Some(deadline) if deadline.has_passed() => ResponseFuture::passed(),
            Some(deadline) => {
                let future = within(deadline, || self.inner.call(request));
                ResponseFuture::bound(future, deadline)
            }
        }
    }
}

/// Runs a plain function under `deadline`: layers below look at it in their `call` already.
fn within<R>(deadline: Deadline, f: impl FnOnce() -> R) -> R {
    let mut f = Some(f);
    let once = poll_fn(|_| match f.take() {
        Some(f) => Poll::Ready(f()),
        None => Poll::Pending,
    });
    match pin!(deadline.scope(once)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => unreachable!("its first poll is its last"),
    }
}
