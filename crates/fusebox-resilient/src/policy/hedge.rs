//! Hedging: a second copy of a call that takes unusually long; the first good answer counts.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use tokio::time::timeout;

use super::attempt::{Attempt, End};
use super::{Active, Judging, Run};
use crate::verdict::Fallible;

impl Active {
    /// Attempts with at most one copy beside them, which is tried once and paid from the budget.
    /// The copy that loses is dropped, which is neutral for the circuit.
    pub(crate) async fn hedged<R, Fut, J>(&self, judge: J, f: impl Fn() -> Fut) -> R
    where
        R: Fallible,
        Fut: Future<Output = R>,
        J: Judging<R::Error>,
    {
        let run = Run::begin(self);
        let race = async {
            let mut first = pin!(run.attempts(judge, &f));
            let Some(after) = self.hedge_after else {
                return first.await;
            };
            if let Ok(attempt) = timeout(after, first.as_mut()).await {
                return attempt;
            }
            if !self.budget.withdraw() {
                return first.await;
            }
            let second = pin!(run.attempt(judge, &f));
            better(first, second).await
        };
        let race = pin!(race);
        let attempt = run.in_span(race).await;
        run.conclude(judge, attempt)
    }
}

/// The first final answer of the two; when one only fails, that of the other.
async fn better<R>(
    mut first: Pin<&mut impl Future<Output = Attempt<R, ()>>>,
    mut second: Pin<&mut impl Future<Output = Attempt<R, ()>>>,
) -> Attempt<R, ()> {
    let (mut first_lost, mut second_lost) = (false, false);
    poll_fn(|cx| {
        if !first_lost && let Poll::Ready(attempt) = first.as_mut().poll(cx) {
            if second_lost || is_final(&attempt.end) {
                return Poll::Ready(attempt);
            }
            first_lost = true;
        }
        if !second_lost && let Poll::Ready(attempt) = second.as_mut().poll(cx) {
            if first_lost || is_final(&attempt.end) {
                return Poll::Ready(attempt);
            }
            second_lost = true;
        }
        Poll::Pending
    })
    .await
}

/// Nothing better can be hoped for from the other copy.
fn is_final(end: &End<()>) -> bool {
    match end {
        End::Success(()) | End::Late => true,
        End::Failed(verdict) => !verdict.may_retry(),
        End::TimedOut | End::Refused => false,
    }
}
