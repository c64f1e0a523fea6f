//! One attempt or several, and the opening of streams.

use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;

use futures_core::Stream;
use tokio::time::sleep;

use super::attempt::{Admitted, Attempt, End, Keep};
use super::{Active, Judging, Run};
use crate::error::Rejected;
use crate::stream::{GuardedStream, ItemGuard};
use crate::verdict::{Fallible, Judge};

/// One attempt; without a policy, the call alone.
///
/// One function for both and for all callers: each future around a call is moved once more before it
/// is first polled.
pub(super) async fn once<R, Fut, J>(active: Option<&Active>, judge: J, f: impl FnOnce() -> Fut) -> R
where
    R: Fallible,
    Fut: Future<Output = R>,
    J: Judging<R::Error>,
{
    let Some(active) = active else {
        return f().await;
    };
    let run = Run::begin(active);
    let attempt = pin!(run.attempt(judge, f));
    let attempt = run.in_span(attempt).await;
    run.conclude(judge, attempt)
}

/// One attempt or several; without a policy, the call alone.
pub(super) async fn many<R, Fut, J>(active: Option<&Active>, judge: J, f: impl Fn() -> Fut) -> R
where
    R: Fallible,
    Fut: Future<Output = R>,
    J: Judging<R::Error>,
{
    let Some(active) = active else {
        return f().await;
    };
    let run = Run::begin(active);
    let attempt = pin!(run.attempts(judge, &f));
    let attempt = run.in_span(attempt).await;
    run.conclude(judge, attempt)
}

impl Active {
    pub(crate) fn once_sync<R, J>(&self, judge: J, f: impl FnOnce() -> R) -> R
    where
        R: Fallible,
        J: Judging<R::Error>,
    {
        let run = Run::begin(self);
        let attempt = run.span().in_scope(|| run.attempt_sync(judge, f));
        run.conclude(judge, attempt)
    }

    pub(crate) async fn open_once<S, E, Fut>(
        self: &Arc<Self>,
        judge: Judge<E>,
        items: ItemGuard<S::Item>,
        f: impl FnOnce() -> Fut,
    ) -> Result<GuardedStream<S>, E>
    where
        S: Stream,
        S::Item: Fallible,
        E: From<Rejected>,
        Fut: Future<Output = Result<S, E>>,
    {
        let run = Run::begin(Arc::clone(self));
        let attempt = {
            let attempt = pin!(run.attempt(judge, f));
            run.in_span(attempt).await
        };
        opened(run, judge, items, attempt)
    }

    pub(crate) async fn open_many<S, E, Fut>(
        self: &Arc<Self>,
        judge: Judge<E>,
        items: ItemGuard<S::Item>,
        f: impl Fn() -> Fut,
    ) -> Result<GuardedStream<S>, E>
    where
        S: Stream,
        S::Item: Fallible,
        E: From<Rejected>,
        Fut: Future<Output = Result<S, E>>,
    {
        let run = Run::begin(Arc::clone(self));
        let attempt = {
            let attempt = pin!(run.attempts(judge, &f));
            run.in_span(attempt).await
        };
        opened(run, judge, items, attempt)
    }
}

impl<A: Deref<Target = Active>> Run<A> {
    /// Attempts until one goes well, or the next would make no sense or cannot be paid for.
    pub(crate) async fn attempts<R, K, Fut, J>(
        &self,
        judge: J,
        f: &impl Fn() -> Fut,
    ) -> Attempt<R, K>
    where
        R: Fallible,
        K: Keep,
        Fut: Future<Output = R>,
        J: Judging<R::Error>,
    {
        let mut made = 0;
        loop {
            let attempt = self.attempt(judge, f).await;
            made += 1;
            let wait = attempt
                .end
                .verdict()
                .and_then(|verdict| self.wait(verdict, made));
            let Some(wait) = wait else {
                return attempt;
            };
            // Before the wait: what the failed call holds should not be held any longer.
            drop(attempt);
            sleep(wait).await;
        }
    }
}

fn opened<S, E>(
    run: Run<Arc<Active>>,
    judge: Judge<E>,
    items: ItemGuard<S::Item>,
    attempt: Attempt<Result<S, E>, Admitted>,
) -> Result<GuardedStream<S>, E>
where
    S: Stream,
    S::Item: Fallible,
    E: From<Rejected>,
{
    match (attempt.result, attempt.end) {
        (Ok(stream), End::Success(admitted)) => {
            Ok(GuardedStream::watched(stream, run, admitted, items))
        }
        (mut result, end) => {
            run.conclude_error(judge, &mut result, &end);
            result.map(GuardedStream::bare)
        }
    }
}
