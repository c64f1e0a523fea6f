//! The response of a call that may be repeated.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use fusebox::Outcome;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower::Service;

use super::layer::Rules;
use crate::classify::ClassifyResult;
use crate::origin::HasOrigin;
use crate::replay::Replay;

pin_project! {
    /// The response of a call that may be repeated.
    ///
    /// # Cancel safety
    /// Dropping it drops the attempt under way; what was paid from the budget stays paid.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S: Service<Req>, C, R, Req> {
        rules: Arc<Rules<C, R>>,
        // The service and the request of the next attempt, if there may be one.
        again: Option<(S, Req)>,
        made: u32,
        #[pin]
        state: State<S::Future>,
    }
}

pin_project! {
    #[project = Now]
    enum State<F> {
        Calling {
            #[pin]
            future: F,
        },
        Waiting {
            #[pin]
            sleep: Sleep,
        },
        /// The clone is polled ready.
        Readying,
    }
}

impl<S: Service<Req>, C, R, Req> ResponseFuture<S, C, R, Req> {
    pub(super) fn new(future: S::Future, again: Option<(S, Req)>, rules: Arc<Rules<C, R>>) -> Self {
        Self {
            rules,
            again,
            made: 0,
            state: State::Calling { future },
        }
    }
}

impl<S, C, R, Req> Future for ResponseFuture<S, C, R, Req>
where
    S: Service<Req>,
    S::Error: HasOrigin,
    C: ClassifyResult<S::Response, S::Error>,
    R: Replay<Req>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let policy = &this.rules.policy;
        loop {
            match this.state.as_mut().project() {
                Now::Calling { future } => {
                    let result = ready!(future.poll(cx));
                    *this.made += 1;
                    let verdict = this.rules.classify.verdict(result.as_ref());
                    if verdict.outcome() == Outcome::Success {
                        policy.budget.deposit();
                    }
                    // Not left to the classification: a refusal of ours is never tried again.
                    let refused = result.as_ref().is_err_and(|e| e.origin().is_refusal());
                    if refused || this.again.is_none() {
                        return Poll::Ready(result);
                    }
                    let Some(wait) = policy.wait(verdict, *this.made, rand::random()) else {
                        return Poll::Ready(result);
                    };
                    // Before the wait: what the failed attempt holds is held no longer.
                    drop(result);
                    let sleep = sleep(wait);
                    this.state.set(State::Waiting { sleep });
                }
                Now::Waiting { sleep } => {
                    ready!(sleep.poll(cx));
                    this.state.set(State::Readying);
                }
                Now::Readying => {
                    let (inner, _) = this.again.as_mut().expect("checked before the wait");
                    ready!(inner.poll_ready(cx))?;
                    let (mut inner, request) = this.again.take().expect("checked before the wait");
                    let copy = if *this.made + 1 < policy.max_attempts {
                        this.rules.replay.replay(&request)
                    } else {
                        None
                    };
                    let future = inner.call(request);
                    *this.again = copy.map(|copy| (inner, copy));
                    this.state.set(State::Calling { future });
                }
            }
        }
    }
}

impl<S: Service<Req>, C, R, Req> fmt::Debug for ResponseFuture<S, C, R, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Calling { .. } => "calling",
            State::Waiting { .. } => "waiting",
            State::Readying => "readying",
        };
        f.debug_struct("ResponseFuture")
            .field("made", &self.made)
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
