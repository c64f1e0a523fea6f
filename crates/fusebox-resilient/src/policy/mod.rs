//! The policy of one operation, and the ways in: for functions and for generated code.

mod attempt;
mod hedge;
mod repeat;
mod run;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fusebox::backoff::Backoff;
use fusebox::{CircuitBreaker, Classify};
use futures_core::Stream;

pub(crate) use attempt::Admitted;
use repeat::{many, once};
pub(crate) use run::Run;

pub(crate) use crate::span::CallResult;

use crate::budget::RetryBudget;
use crate::bulkhead::Bulkhead;
use crate::context::{CarryContext, Context, Ids, Names};
use crate::error::{CallError, Rejected};
use crate::resilience::IdSource;
use crate::settings::Settings;
use crate::stream::{GuardedStream, ItemGuard};
use crate::verdict::{Fallible, Judge, Verdict};

/// How the calls of one operation are protected. Made by [`crate::Resilience`]; clones are handles
/// to the same.
///
/// The layers, from the outside in: deadline and total timeout, hedge, retry with budget; then for
/// each attempt: circuit, bulkhead, attempt timeout, call. Futures are `Send` when the call's is.
///
/// ```
/// use fusebox::{Classify, Outcome, Registry};
/// use fusebox_resilient::{CallError, Resilience};
///
/// #[derive(Debug)]
/// struct Down;
/// impl Classify for Down {
///     fn outcome(&self) -> Outcome { Outcome::Failure }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let resilience = Resilience::new(&Registry::new("gateway"));
/// let policy = resilience.policy("content", "content.fetch")?;
/// let answer = policy.call(async || Ok::<_, Down>("text")).await;
/// assert_eq!(answer.ok(), Some("text"));
///
/// let error = policy.call(async || Err::<(), _>(Down)).await.unwrap_err();
/// assert_eq!(error.context().map(|c| c.operation()), Some("content.fetch"));
/// assert!(matches!(error, CallError::Inner { error: Down, .. }));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Policy {
    /// `None` passes every call through.
    active: Option<Arc<Active>>,
}

/// The parts of a policy that is in force.
pub(crate) struct Active {
    names: Arc<Names>,
    breaker: CircuitBreaker,
    bulkhead: Option<Arc<Bulkhead>>,
    budget: RetryBudget,
    backoff: Backoff,
    max_attempts: u32,
    attempt_timeout: Option<Duration>,
    total_timeout: Option<Duration>,
    hedge_after: Option<Duration>,
    pub(crate) first_item: Option<Duration>,
    pub(crate) idle: Option<Duration>,
    ids: IdSource,
}

impl Policy {
    /// A policy that does nothing: calls pass as if it were not there.
    pub fn pass_through() -> Self {
        Self { active: None }
    }

    pub(crate) fn of(active: Active) -> Self {
        Self {
            active: Some(Arc::new(active)),
        }
    }

    /// True when calls pass as if the policy were not there.
    pub fn is_pass_through(&self) -> bool {
        self.active.is_none()
    }

    /// The circuit, unless protection is switched off.
    pub fn breaker(&self) -> Option<&CircuitBreaker> {
        self.active.as_deref().map(|active| &active.breaker)
    }

    /// The retry budget, unless protection is switched off.
    pub fn budget(&self) -> Option<&RetryBudget> {
        self.active.as_deref().map(|active| &active.budget)
    }

    /// Makes one attempt.
    ///
    /// # Errors
    /// The refusal, or the call's own error; both with their context.
    ///
    /// # Cancel safety
    /// Dropping the future drops the call, which is neutral for the circuit.
    pub async fn call<T, E, Fut>(&self, f: impl FnOnce() -> Fut) -> Result<T, CallError<E>>
    where
        Fut: Future<Output = Result<T, E>>,
        E: Classify,
    {
        self.call_with(Judge::classify(), f).await
    }

    /// [`Policy::call`] for errors without [`Classify`].
    ///
    /// # Errors
    /// The refusal, or the call's own error; both with their context.
    ///
    /// # Cancel safety
    /// Dropping the future drops the call, which is neutral for the circuit.
    pub async fn call_with<T, E, Fut>(
        &self,
        judge: Judge<E>,
        f: impl FnOnce() -> Fut,
    ) -> Result<T, CallError<E>>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        let call = || async move { f().await.map_err(CallError::inner) };
        once(self.active.as_deref(), InnerJudge(judge), call).await
    }

    /// Makes as many attempts as the policy allows and pays for. `f` must be safe to repeat.
    ///
    /// # Errors
    /// The refusal, or the last attempt's own error; both with their context.
    ///
    /// # Cancel safety
    /// Dropping the future drops the attempt under way, which is neutral for the circuit.
    pub async fn repeat<T, E, Fut>(&self, f: impl Fn() -> Fut) -> Result<T, CallError<E>>
    where
        Fut: Future<Output = Result<T, E>>,
        E: Classify,
    {
        self.repeat_with(Judge::classify(), f).await
    }

    /// [`Policy::repeat`] for errors without [`Classify`].
    ///
    /// # Errors
    /// The refusal, or the last attempt's own error; both with their context.
    ///
    /// # Cancel safety
    /// Dropping the future drops the attempt under way, which is neutral for the circuit.
    pub async fn repeat_with<T, E, Fut>(
        &self,
        judge: Judge<E>,
        f: impl Fn() -> Fut,
    ) -> Result<T, CallError<E>>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        let call = || {
            let call = f();
            async move { call.await.map_err(CallError::inner) }
        };
        many(self.active.as_deref(), InnerJudge(judge), call).await
    }

    /// Makes one attempt of a plain function: circuit and bulkhead, but no timeout.
    ///
    /// # Errors
    /// The refusal, or the call's own error; both with their context.
    pub fn call_sync<T, E>(&self, f: impl FnOnce() -> Result<T, E>) -> Result<T, CallError<E>>
    where
        E: Classify,
    {
        let Some(active) = &self.active else {
            return f().map_err(CallError::inner);
        };
        let judge = InnerJudge(Judge::classify());
        active.once_sync(judge, || f().map_err(CallError::inner))
    }

    /// One attempt of a method; for generated code.
    #[doc(hidden)]
    #[inline]
    pub fn run_once<R, Fut>(
        &self,
        judge: Judge<R::Error>,
        f: impl FnOnce() -> Fut,
    ) -> impl Future<Output = R>
    where
        R: Fallible,
        Fut: Future<Output = R>,
    {
        once(self.active.as_deref(), judge, f)
    }

    /// A method that may be repeated; for generated code.
    #[doc(hidden)]
    #[inline]
    pub fn run_many<R, Fut>(
        &self,
        judge: Judge<R::Error>,
        f: impl Fn() -> Fut,
    ) -> impl Future<Output = R>
    where
        R: Fallible,
        Fut: Future<Output = R>,
    {
        many(self.active.as_deref(), judge, f)
    }

    /// A method that may be under way twice; for generated code.
    #[doc(hidden)]
    #[inline]
    pub async fn run_hedged<R, Fut>(&self, judge: Judge<R::Error>, f: impl Fn() -> Fut) -> R
    where
        R: Fallible,
        Fut: Future<Output = R>,
    {
        match &self.active {
            None => f().await,
            Some(active) => active.hedged(judge, f).await,
        }
    }

    /// A method that opens a stream; for generated code.
    #[doc(hidden)]
    pub async fn open_once<S, E, Fut>(
        &self,
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
        match &self.active {
            None => f().await.map(GuardedStream::bare),
            Some(active) => active.open_once(judge, items, f).await,
        }
    }

    /// A method that opens a stream and may be repeated until it is open; for generated code.
    #[doc(hidden)]
    pub async fn open_many<S, E, Fut>(
        &self,
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
        match &self.active {
            None => f().await.map(GuardedStream::bare),
            Some(active) => active.open_many(judge, items, f).await,
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.active.as_deref() {
            None => f.write_str("Policy(pass-through)"),
            Some(active) => f
                .debug_struct("Policy")
                .field("operation", &active.names.operation)
                .field("circuit", &active.names.circuit)
                .finish_non_exhaustive(),
        }
    }
}

impl Active {
    pub(crate) fn new(
        names: Names,
        breaker: CircuitBreaker,
        budget: RetryBudget,
        settings: &Settings,
        ids: IdSource,
    ) -> Self {
        // `Duration::MAX` is how an upper layer says "none".
        let time = |time: Option<Duration>| time.filter(|time| *time < Duration::MAX);
        Self {
            names: Arc::new(names),
            breaker,
            bulkhead: settings
                .max_concurrent
                .map(|limit| Arc::new(Bulkhead::new(limit))),
            budget,
            backoff: settings
                .backoff
                .unwrap_or(Backoff::new(Duration::ZERO, Duration::ZERO)),
            max_attempts: settings.max_attempts.unwrap_or(1),
            attempt_timeout: time(settings.attempt_timeout),
            total_timeout: time(settings.total_timeout),
            hedge_after: time(settings.hedge_after),
            first_item: time(settings.first_item),
            idle: time(settings.idle),
            ids,
        }
    }

    /// Books a success in the retry budget.
    pub(crate) fn deposit(&self) {
        self.budget.deposit();
    }

    fn ids(&self) -> Ids {
        (self.ids)()
    }
}

/// A [`Judge`] as the engine sees it, so that one engine serves both error types.
pub(crate) trait Judging<E>: Copy {
    fn verdict(&self, error: &E) -> Verdict;

    fn carries(&self) -> bool;

    fn carry(&self, error: &mut E, context: &Context);
}

impl<E> Judging<E> for Judge<E> {
    fn verdict(&self, error: &E) -> Verdict {
        Judge::verdict(self, error)
    }

    fn carries(&self) -> bool {
        Judge::carries(self)
    }

    fn carry(&self, error: &mut E, context: &Context) {
        Judge::carry(self, error, context);
    }
}

/// Judges a function's own error inside the error of its call.
struct InnerJudge<E>(Judge<E>);

impl<E> Clone for InnerJudge<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for InnerJudge<E> {}

impl<E> Judging<CallError<E>> for InnerJudge<E> {
    fn verdict(&self, error: &CallError<E>) -> Verdict {
        match error {
            CallError::Rejected(rejected) => Verdict::of(rejected),
            CallError::Inner { error, .. } => self.0.verdict(error),
        }
    }

    fn carries(&self) -> bool {
        true
    }

    fn carry(&self, error: &mut CallError<E>, context: &Context) {
        error.carry(context);
        if let CallError::Inner { error, .. } = error {
            self.0.carry(error, context);
        }
    }
}
