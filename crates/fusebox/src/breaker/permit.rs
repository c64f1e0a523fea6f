//! The leave to make one call, and the duty to say what became of it.

use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use crate::engine::{Engine, Ticket};
use crate::outcome::Outcome;

/// Leave to make one call.
///
/// Exactly one result reaches the breaker: the one recorded, or [`Outcome::Neutral`] when the
/// permit is dropped unused (the call was cancelled, returned early, or panicked). A result from
/// before the circuit's last change of state is counted as late and moves nothing.
#[must_use = "a permit dropped at once reports the call as abandoned"]
#[derive(Debug)]
pub struct Permit {
    /// `None` for a pass-through breaker, and once settled.
    open: Option<(Arc<Inner>, Ticket)>,
}

impl Permit {
    pub(super) fn new(inner: Arc<Inner>, ticket: Ticket) -> Self {
        Self {
            open: Some((inner, ticket)),
        }
    }

    pub(super) fn pass_through() -> Self {
        Self { open: None }
    }

    /// The call succeeded.
    pub fn success(self) {
        self.record(Outcome::Success);
    }

    /// The call failed by the dependency's fault.
    pub fn failure(self) {
        self.record(Outcome::Failure);
    }

    /// The call says nothing about the dependency.
    pub fn neutral(self) {
        self.record(Outcome::Neutral);
    }

    /// The call ended with `outcome`.
    pub fn record(self, outcome: Outcome) {
        self.record_with_hint(outcome, None);
    }

    /// The call ended with `outcome`, and the dependency asked to be left alone for `retry_after`.
    ///
    /// Heeded only with [`Outcome::Failure`]: when the circuit opens in the same period, the break
    /// lasts at least until then, up to [`crate::BreakerConfig::retry_after_cap`].
    pub fn record_with_hint(mut self, outcome: Outcome, retry_after: Option<Duration>) {
        self.settle(outcome, retry_after);
    }

    fn settle(&mut self, outcome: Outcome, hint: Option<Duration>) {
        if let Some((inner, ticket)) = self.open.take() {
            inner.engine.settle(ticket, outcome, hint);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.settle(Outcome::Neutral, None);
    }
}

/// A permit that borrows the breaker, for a call made from here.
#[must_use = "leave dropped at once reports the call as abandoned"]
pub(super) struct Leave<'a> {
    engine: &'a Engine,
    /// `None` for a pass-through breaker, and once settled.
    ticket: Option<Ticket>,
}

impl<'a> Leave<'a> {
    #[inline]
    pub(super) fn new(engine: &'a Engine, ticket: Option<Ticket>) -> Self {
        Self { engine, ticket }
    }

    #[inline]
    pub(super) fn record(mut self, outcome: Outcome, retry_after: Option<Duration>) {
        if let Some(ticket) = self.ticket.take() {
            self.engine.settle(ticket, outcome, retry_after);
        }
    }
}

impl Drop for Leave<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.engine.settle(ticket, Outcome::Neutral, None);
        }
    }
}
