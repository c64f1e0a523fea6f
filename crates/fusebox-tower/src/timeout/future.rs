//! The response of an attempt whose time is bounded.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Timeout, timeout};

use crate::error::TimedOut;

pin_project! {
    /// The response of an attempt whose time is bounded.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: Timeout<F>,
        after: Duration,
    }
}

impl<F: Future> ResponseFuture<F> {
    pub(super) fn new(future: F, after: Duration) -> Self {
        Self {
            inner: timeout(after, future),
            after,
        }
    }
}

impl<F, Res, Err> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Res, Err>>,
    Err: From<TimedOut>,
{
    type Output = Result<Res, Err>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Poll::Ready(match ready!(this.inner.poll(cx)) {
            Ok(result) => result,
            Err(_) => Err(TimedOut { after: *this.after }.into()),
        })
    }
}
