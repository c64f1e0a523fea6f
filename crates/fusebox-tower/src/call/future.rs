//! The response of a call that has a name.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::CallFailed;
use super::service::Named;
use crate::classify::ClassifyResult;
use crate::origin::HasOrigin;

pin_project! {
    /// The response of a call that has a name.
    ///
    /// # Cancel safety
    /// Dropping it drops the call; the span says that it was abandoned.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, C> {
        #[pin]
        future: F,
        named: Option<Named>,
        classify: C,
    }
}

impl<F, C> ResponseFuture<F, C> {
    pub(super) fn new(future: F, named: Named, classify: C) -> Self {
        Self {
            future,
            named: Some(named),
            classify,
        }
    }
}

impl<F, C, Res, Err> Future for ResponseFuture<F, C>
where
    F: Future<Output = Result<Res, Err>>,
    Err: HasOrigin,
    C: ClassifyResult<Res, Err>,
{
    type Output = Result<Res, CallFailed<Err>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // Held here while foreign code runs: its panic ends the span at once.
        let mut named = this.named.take().expect("polled after its answer");
        match named.run(|| this.future.poll(cx)) {
            Poll::Ready(result) => Poll::Ready(named.end(this.classify, result)),
            Poll::Pending => {
                *this.named = Some(named);
                Poll::Pending
            }
        }
    }
}
