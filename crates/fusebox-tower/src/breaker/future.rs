//! The response of a call through a circuit.

use std::pin::Pin;
use std::task::{Context, Poll};

use fusebox::{NotPermitted, Permit};
use pin_project_lite::pin_project;

use crate::classify::ClassifyResult;

pin_project! {
    /// The response of a call through a circuit.
    ///
    /// # Cancel safety
    /// Dropping it abandons the call, which is neutral for the circuit.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, C> {
        #[pin]
        state: State<F, C>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = Now]
    enum State<F, C> {
        Called {
            #[pin]
            future: F,
            permit: Option<Permit>,
            classify: C,
        },
        Refused {
            refusal: Option<NotPermitted>,
        },
    }
}

impl<F, C> ResponseFuture<F, C> {
    pub(super) fn called(future: F, permit: Permit, classify: C) -> Self {
        Self {
            state: State::Called {
                future,
                permit: Some(permit),
                classify,
            },
        }
    }

    pub(super) fn refused(refusal: NotPermitted) -> Self {
        Self {
            state: State::Refused {
                refusal: Some(refusal),
            },
        }
    }
}

impl<F, C, Res, Err> Future for ResponseFuture<F, C>
where
    F: Future<Output = Result<Res, Err>>,
    Err: From<NotPermitted>,
    C: ClassifyResult<Res, Err>,
{
    type Output = Result<Res, Err>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Now::Called {
                future,
                permit,
                classify,
            } => {
                // Held here and not in the future while foreign code runs: its panic gives the
                // permit back at once, even if nobody drops the future for long.
                let held = permit.take();
                let Poll::Ready(result) = future.poll(cx) else {
                    *permit = held;
                    return Poll::Pending;
                };
                if let Some(held) = held {
                    let verdict = classify.verdict(result.as_ref());
                    held.record_with_hint(verdict.outcome(), verdict.retry_after());
                }
                Poll::Ready(result)
            }
            Now::Refused { refusal } => {
                let refusal = refusal.take().expect("polled after its answer");
                Poll::Ready(Err(refusal.into()))
            }
        }
    }
}
