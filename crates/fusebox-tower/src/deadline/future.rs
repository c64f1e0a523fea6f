//! The response of a call with a deadline.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use fusebox_resilient::{Deadline, Scope};
use pin_project_lite::pin_project;
use tokio::time::{Timeout, timeout_at};

use crate::error::DeadlineExceeded;

pin_project! {
    /// The response of a call with a deadline.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = Now]
    enum State<F> {
        /// Nobody has named a deadline.
        Free {
            #[pin]
            future: F,
        },
        Bound {
            #[pin]
            future: Timeout<Scope<Deadline, F>>,
        },
        /// It had passed before the call.
        Passed,
    }
}

impl<F: Future> ResponseFuture<F> {
    pub(super) fn free(future: F) -> Self {
        Self {
            state: State::Free { future },
        }
    }

    pub(super) fn bound(future: F, deadline: Deadline) -> Self {
        Self {
            state: State::Bound {
                future: timeout_at(deadline.instant(), deadline.scope(future)),
            },
        }
    }

    pub(super) fn passed() -> Self {
        Self {
            state: State::Passed,
        }
    }
}

impl<F, Res, Err> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Res, Err>>,
    Err: From<DeadlineExceeded>,
{
    type Output = Result<Res, Err>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Now::Free { future } => future.poll(cx),
            Now::Bound { future } => Poll::Ready(match ready!(future.poll(cx)) {
                Ok(result) => result,
                Err(_) => Err(DeadlineExceeded { sent: true }.into()),
            }),
            Now::Passed => Poll::Ready(Err(DeadlineExceeded { sent: false }.into())),
        }
    }
}
