//! The service whose calls have a name.

use std::fmt;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use fusebox::CircuitBreaker;
use fusebox_resilient::{CallResult, CallSpan, Context, Ids};
use tower::Service;

use super::layer::IdSource;
use super::{CallFailed, ResponseFuture, attempts};
use crate::breaker::Circuits;
use crate::classify::ClassifyResult;
use crate::origin::{HasOrigin, Origin};

/// A service whose calls have a name; see the [room's page](super).
#[derive(Clone)]
pub struct Call<S, B, C> {
    pub(super) inner: S,
    pub(super) circuits: B,
    pub(super) operation: Arc<str>,
    pub(super) classify: C,
    pub(super) ids: IdSource,
}

impl<S, B, C> Call<S, B, C> {
    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, B, C, Req> Service<Req> for Call<S, B, C>
where
    S: Service<Req>,
    S::Error: HasOrigin,
    B: Circuits<Req>,
    C: ClassifyResult<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = CallFailed<S::Error>;
    type Future = ResponseFuture<S::Future, C>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(|error| {
            let circuit = self.circuits.unkeyed();
            CallFailed::new(
                error,
                Context::of(&circuit, &self.operation, (self.ids)(), 0),
            )
        })
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let circuit = self.circuits.circuit(&request);
        let mut named = Named {
            span: CallSpan::begin(&circuit, &self.operation, || (self.ids)()),
            attempts: 0,
            circuit,
            operation: Arc::clone(&self.operation),
            ids: Arc::clone(&self.ids),
        };
        let future = named.run(|| self.inner.call(request));
        ResponseFuture::new(future, named, self.classify.clone())
    }
}

impl<S: fmt::Debug, B, C> fmt::Debug for Call<S, B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("inner", &self.inner)
            .field("operation", &self.operation)
            .finish_non_exhaustive()
    }
}

/// A call under way. Dropped before its end, its span says so.
pub(super) struct Named {
    span: CallSpan,
    attempts: u32,
    circuit: CircuitBreaker,
    operation: Arc<str>,
    ids: IdSource,
}

impl Named {
    /// Runs a part of the call in its span.
    pub(super) fn run<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let before = self.attempts;
        let result = {
            let _entered = self.span.span().enter();
            attempts::counting(&mut self.attempts, work)
        };
        for _ in before..self.attempts {
            self.span.count_attempt();
        }
        result
    }

    pub(super) fn end<T, E: HasOrigin>(
        self,
        classify: &impl ClassifyResult<T, E>,
        result: Result<T, E>,
    ) -> Result<T, CallFailed<E>> {
        let verdict = classify.verdict(result.as_ref());
        let told = match result.as_ref().map_err(HasOrigin::origin) {
            Err(Origin::NotPermitted | Origin::Full | Origin::Throttled) => CallResult::Blocked,
            Err(Origin::DeadlineExceeded) if self.attempts == 0 => CallResult::Blocked,
            _ => CallResult::of(verdict.outcome()),
        };
        // Inside the span, where a program that takes its ids from there finds them.
        let result = result.map_err(|error| {
            let ids: Ids = self.span.span().in_scope(|| (self.ids)());
            let context = Context::of(&self.circuit, &self.operation, ids, self.attempts);
            CallFailed::new(error, context)
        });
        self.span.finish(told);
        result
    }
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named")
            .field("operation", &self.operation)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}
