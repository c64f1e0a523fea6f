//! The leave to make one call, and the duty to say what became of it.

use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use crate::engine::{Ending, Engine, Ticket};
use crate::outcome::Outcome;

/// Leave to make one call.
///
/// Exactly one result reaches the breaker: the one recorded, or, when the permit is dropped unused
/// (the call was cancelled, returned early, or panicked), what
/// [`BreakerConfig::abandoned`](crate::BreakerConfig::abandoned) says: by default [`Outcome::Neutral`].
/// A result from before the circuit's last change of state is counted as late and moves nothing.
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

    /// Gives the permit up for a [`Token`], for callers that cannot hold a guard: across a callback, a
    /// queue, or a language boundary. Nothing is reported when a token is dropped: a call of which
    /// nobody reports counts as under way for ever, and a probe's slot comes back by the lease.
    pub fn into_token(mut self) -> Token {
        Token(
            self.open
                .take()
                .map(|(inner, ticket)| (Arc::as_ptr(&inner).addr(), ticket)),
        )
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
        if let Some((inner, ticket)) = self.open.take() {
            inner
                .engine
                .settle(ticket, Ending::Result(outcome, retry_after));
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some((inner, ticket)) = self.open.take() {
            inner.engine.settle(ticket, dropped());
        }
    }
}

/// A permit taken out of its guard: the first half of a call in two steps, settled with
/// [`CircuitBreaker::settle`](super::CircuitBreaker::settle).
#[must_use = "a token that is never settled is a call that never ends"]
#[derive(Debug)]
pub struct Token(Option<(usize, Ticket)>);

impl Token {
    /// The ticket, if this is a token of `inner`; `Ok(None)` for one that reports to nobody.
    pub(super) fn of(self, inner: &Arc<Inner>) -> Result<Option<Ticket>, Self> {
        match self.0 {
            Some((owner, _)) if owner != Arc::as_ptr(inner).addr() => Err(self),
            Some((_, ticket)) => Ok(Some(ticket)),
            None => Ok(None),
        }
    }
}

/// How a call ends whose permit is dropped.
fn dropped() -> Ending {
    if std::thread::panicking() {
        // A fault of the calling program, under every policy.
        Ending::Result(Outcome::Neutral, None)
    } else {
        Ending::Abandoned
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
            self.engine
                .settle(ticket, Ending::Result(outcome, retry_after));
        }
    }
}

impl Drop for Leave<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.engine.settle(ticket, dropped());
        }
    }
}
