//! The response of a call that may be sent twice.

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
use crate::origin::{HasOrigin, Origin};

pin_project! {
    /// The response of a call that may be sent twice.
    ///
    /// # Cancel safety
    /// Dropping it drops both copies.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S: Service<Req>, C, R, Req> {
        rules: Arc<Rules<C, R>>,
        // The service and the request of the copy, until it is sent.
        copy: Option<(S, Req)>,
        // `None` once it has failed.
        #[pin]
        first: Option<S::Future>,
        #[pin]
        second: Second<S::Future>,
    }
}

pin_project! {
    /// The copy.
    #[project = Copy]
    enum Second<F> {
        NotYet {
            #[pin]
            sleep: Sleep,
        },
        /// Paid for; its service is polled ready.
        Readying,
        Calling {
            #[pin]
            future: F,
        },
        /// Not wanted, not affordable, or failed.
        Gone,
    }
}

impl<F> Second<F> {
    /// True while an answer of the copy can be hoped for.
    fn is_sent(&self) -> bool {
        matches!(self, Second::Readying | Second::Calling { .. })
    }
}

impl<S: Service<Req>, C, R, Req> ResponseFuture<S, C, R, Req> {
    pub(super) fn new(first: S::Future, copy: Option<(S, Req)>, rules: Arc<Rules<C, R>>) -> Self {
        let second = match &copy {
            Some(_) => Second::NotYet {
                sleep: sleep(rules.after),
            },
            None => Second::Gone,
        };
        Self {
            rules,
            copy,
            first: Some(first),
            second,
        }
    }
}

impl<S, C, R, Req> ResponseFuture<S, C, R, Req>
where
    S: Service<Req>,
    S::Error: HasOrigin,
    C: ClassifyResult<S::Response, S::Error>,
{
    /// The result of the copy, when there is one. Pending also when none will come.
    fn poll_second(
        mut second: Pin<&mut Second<S::Future>>,
        copy: &mut Option<(S, Req)>,
        rules: &Rules<C, R>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, S::Error>> {
        loop {
            match second.as_mut().project() {
                Copy::NotYet { sleep } => {
                    ready!(sleep.poll(cx));
                    if rules.budget.withdraw() {
                        second.set(Second::Readying);
                    } else {
                        *copy = None;
                        second.set(Second::Gone);
                    }
                }
                Copy::Readying => {
                    let (inner, _) = copy.as_mut().expect("kept until it is sent");
                    ready!(inner.poll_ready(cx))?;
                    let (mut inner, request) = copy.take().expect("kept until it is sent");
                    let future = inner.call(request);
                    second.set(Second::Calling { future });
                }
                Copy::Calling { future } => return future.poll(cx),
                Copy::Gone => return Poll::Pending,
            }
        }
    }
}

impl<S, C, R, Req> Future for ResponseFuture<S, C, R, Req>
where
    S: Service<Req>,
    S::Error: HasOrigin,
    C: ClassifyResult<S::Response, S::Error>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let rules: &Rules<C, R> = this.rules;
        let mut answer = None;
        if let Some(first) = this.first.as_mut().as_pin_mut()
            && let Poll::Ready(result) = first.poll(cx)
        {
            if this.second.is_sent() && !is_final(&rules.classify, &result) {
                this.first.set(None);
            } else {
                answer = Some(result);
            }
        }
        if answer.is_none()
            && let Poll::Ready(result) =
                Self::poll_second(this.second.as_mut(), this.copy, rules, cx)
        {
            if this.first.is_some() && !is_final(&rules.classify, &result) {
                *this.copy = None;
                this.second.set(Second::Gone);
            } else {
                answer = Some(result);
            }
        }
        let Some(result) = answer else {
            return Poll::Pending;
        };
        // At once, not when somebody drops this future: the loser holds places and permits.
        this.first.set(None);
        this.second.set(Second::Gone);
        *this.copy = None;
        let outcome = rules.classify.verdict(result.as_ref()).outcome();
        if rules.deposits && outcome == Outcome::Success {
            rules.budget.deposit();
        }
        Poll::Ready(result)
    }
}

/// Nothing better can be hoped for from the other copy.
fn is_final<Res, Err: HasOrigin>(
    classify: &impl ClassifyResult<Res, Err>,
    result: &Result<Res, Err>,
) -> bool {
    match result.as_ref().map_err(HasOrigin::origin) {
        Err(Origin::DeadlineExceeded) => true,
        Err(origin) if origin.is_refusal() => false,
        _ => !classify.verdict(result.as_ref()).may_retry(),
    }
}

impl<S: Service<Req>, C, R, Req> fmt::Debug for ResponseFuture<S, C, R, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("hedged", &self.second.is_sent())
            .finish_non_exhaustive()
    }
}
