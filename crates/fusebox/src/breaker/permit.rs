//! The leave to make one call, and the duty to say what became of it.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::{Ending, Engine, Ticket};
use crate::outcome::Outcome;
use crate::window::Lane;

/// Leave to make one call.
///
/// Exactly one result reaches the breaker: the one recorded, or, when the permit is dropped unused
/// (the call was cancelled, returned early, or panicked), what
/// [`BreakerConfig::abandoned`](crate::BreakerConfig::abandoned) says: by default [`Outcome::Neutral`].
/// A result from before the circuit's last change of state is counted as late and moves nothing.
#[must_use = "a permit dropped at once reports the call as abandoned"]
#[derive(Debug)]
pub struct Permit {
    engine: Arc<Engine>,
    ticket: Ticket,
    settled: bool,
}

impl Permit {
    pub(super) fn new(engine: Arc<Engine>, ticket: Ticket) -> Self {
        Self {
            engine,
            ticket,
            settled: false,
        }
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
        self.settled = true;
        Token {
            owner: Arc::as_ptr(&self.engine).addr(),
            ticket: self.ticket,
        }
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
        self.settled = true;
        let ending = Ending::result(outcome, retry_after);
        self.engine.settle(self.ticket, ending);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.settled {
            self.engine.settle(self.ticket, dropped());
        }
    }
}

/// A permit taken out of its guard: the first half of a call in two steps, settled with
/// [`CircuitBreaker::settle`](super::CircuitBreaker::settle).
#[must_use = "a token that is never settled is a call that never ends"]
#[derive(Debug)]
pub struct Token {
    /// The address of the breaker it is of.
    owner: usize,
    ticket: Ticket,
}

impl Token {
    /// The ticket, if this is a token of `engine`.
    pub(super) fn of(self, engine: &Arc<Engine>) -> Result<Ticket, Self> {
        if self.owner == Arc::as_ptr(engine).addr() {
            Ok(self.ticket)
        } else {
            Err(self)
        }
    }
}

/// How a call ends whose permit is dropped.
fn dropped() -> Ending {
    if std::thread::panicking() {
        // A fault of the calling program, under every policy.
        Ending::result(Outcome::Neutral, None)
    } else {
        Ending::ABANDONED
    }
}

/// A [`Permit`] that borrows its breaker instead of counting a reference to it, which is most of a
/// permit's cost. From [`CircuitBreaker::enter`](super::CircuitBreaker::enter).
#[must_use = "a permit dropped at once reports the call as abandoned"]
#[derive(Debug)]
pub struct BorrowedPermit<'a> {
    engine: &'a Engine,
    ticket: Ticket,
}

impl<'a> BorrowedPermit<'a> {
    #[inline]
    pub(super) fn new(engine: &'a Engine, ticket: Ticket) -> Self {
        Self { engine, ticket }
    }

    /// The call succeeded.
    #[inline]
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
    #[inline]
    pub fn record(self, outcome: Outcome) {
        self.record_with_hint(outcome, None);
    }

    /// The call ended with `outcome`; otherwise [`Permit::record_with_hint`].
    #[inline]
    pub fn record_with_hint(self, outcome: Outcome, retry_after: Option<Duration>) {
        let Self { engine, ticket } = self;
        std::mem::forget(self);
        engine.settle(ticket, Ending::result(outcome, retry_after));
    }

    /// [`BorrowedPermit::record_with_hint`] on the thread that was given the permit, and `lane` with it.
    #[expect(
        clippy::inline_always,
        reason = "a function's prologue is a tenth of the cost of a whole call"
    )]
    #[inline(always)]
    pub(super) fn record_here(
        self,
        lane: Option<&Lane>,
        outcome: Outcome,
        retry_after: Option<Duration>,
    ) {
        let Self { engine, ticket } = self;
        std::mem::forget(self);
        engine.settle_here(lane, ticket, Ending::result(outcome, retry_after));
    }
}

impl Drop for BorrowedPermit<'_> {
    #[cold]
    fn drop(&mut self) {
        self.engine.settle(self.ticket, dropped());
    }
}
