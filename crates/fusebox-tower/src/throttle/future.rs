//! The response of a call that may have been held back.

use std::pin::Pin;
use std::task::{Context, Poll};

use fusebox_limit::{Pass, Throttled};
use pin_project_lite::pin_project;

use crate::limit::Load;

pin_project! {
    /// The response of a call that may have been held back.
    ///
    /// # Cancel safety
    /// Dropping it abandons the call, which is then taken out of the throttle's count.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, L> {
        #[pin]
        state: State<F, L>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = Now]
    enum State<F, L> {
        Called {
            #[pin]
            future: F,
            pass: Option<Pass>,
            load: L,
        },
        Refused {
            throttled: Throttled,
        },
    }
}

impl<F, L> ResponseFuture<F, L> {
    pub(super) fn called(future: F, pass: Pass, load: L) -> Self {
        Self {
            state: State::Called {
                future,
                pass: Some(pass),
                load,
            },
        }
    }

    pub(super) fn refused(throttled: Throttled) -> Self {
        Self {
            state: State::Refused { throttled },
        }
    }
}

impl<F, L, Res, Err> Future for ResponseFuture<F, L>
where
    F: Future<Output = Result<Res, Err>>,
    Err: From<Throttled>,
    L: Load<Res, Err>,
{
    type Output = Result<Res, Err>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Now::Called { future, pass, load } => {
                // Held here while foreign code runs: its panic gives the pass back at once.
                let held = pass.take();
                let Poll::Ready(result) = future.poll(cx) else {
                    *pass = held;
                    return Poll::Pending;
                };
                if let Some(held) = held {
                    held.report(load.sample(result.as_ref()));
                }
                Poll::Ready(result)
            }
            Now::Refused { throttled } => Poll::Ready(Err((*throttled).into())),
        }
    }
}
