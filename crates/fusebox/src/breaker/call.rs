//! Whole calls through a breaker: ask for leave, make the call, classify its result.

use super::CircuitBreaker;
use super::permit::BorrowedPermit;
use crate::error::CallError;
use crate::outcome::{Classify, Outcome};

impl CircuitBreaker {
    /// Makes an asynchronous call if the circuit permits it.
    ///
    /// `Ok` is a success; an error tells by [`Classify`] what it is. A panic of the call counts as
    /// neutral: it is a fault of the caller's program, and a probe's slot is given back.
    ///
    /// # Errors
    /// [`CallError::NotPermitted`] without calling `f`, or the call's own error.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the call, which counts as neutral.
    pub async fn call<T, E, Fut>(&self, f: impl FnOnce() -> Fut) -> Result<T, CallError<E>>
    where
        Fut: Future<Output = Result<T, E>>,
        E: Classify,
    {
        let permit = self.enter()?;
        let result = f().await;
        let (outcome, hint) = verdict(&result);
        permit.record_with_hint(outcome, hint);
        result.map_err(CallError::Inner)
    }

    /// Makes an asynchronous call if the circuit permits it, and lets `classify` judge the result.
    ///
    /// # Errors
    /// [`CallError::NotPermitted`] without calling `f`, or the call's own error.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the call, which counts as neutral.
    pub async fn call_with<T, E, Fut>(
        &self,
        classify: impl FnOnce(&Result<T, E>) -> Outcome,
        f: impl FnOnce() -> Fut,
    ) -> Result<T, CallError<E>>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        let permit = self.enter()?;
        let result = f().await;
        permit.record(classify(&result));
        result.map_err(CallError::Inner)
    }

    /// [`CircuitBreaker::call`] for a plain function.
    ///
    /// # Errors
    /// [`CallError::NotPermitted`] without calling `f`, or the call's own error.
    #[inline]
    pub fn call_sync<T, E>(&self, f: impl FnOnce() -> Result<T, E>) -> Result<T, CallError<E>>
    where
        E: Classify,
    {
        let engine = &self.engine;
        let (admission, lane) = engine.admit_here();
        if lane.is_none() && admission.is_refusal() {
            return Err(CallError::NotPermitted(self.not_permitted(admission)));
        }
        let permit = BorrowedPermit::new(engine, admission.ticket());
        let result = f();
        let (outcome, hint) = verdict(&result);
        permit.record_here(lane, outcome, hint);
        result.map_err(CallError::Inner)
    }

    /// [`CircuitBreaker::call_with`] for a plain function.
    ///
    /// # Errors
    /// [`CallError::NotPermitted`] without calling `f`, or the call's own error.
    #[inline]
    pub fn call_sync_with<T, E>(
        &self,
        classify: impl FnOnce(&Result<T, E>) -> Outcome,
        f: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, CallError<E>> {
        let engine = &self.engine;
        let (admission, lane) = engine.admit_here();
        if lane.is_none() && admission.is_refusal() {
            return Err(CallError::NotPermitted(self.not_permitted(admission)));
        }
        let permit = BorrowedPermit::new(engine, admission.ticket());
        let result = f();
        permit.record_here(lane, classify(&result), None);
        result.map_err(CallError::Inner)
    }
}

#[inline]
fn verdict<T, E: Classify>(result: &Result<T, E>) -> (Outcome, Option<std::time::Duration>) {
    match result {
        Ok(_) => (Outcome::Success, None),
        Err(error) => (error.outcome(), error.retry_after()),
    }
}
