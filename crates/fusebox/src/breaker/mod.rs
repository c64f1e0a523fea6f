//! The circuit breaker: the state machine with a handle that goes anywhere, and the ways to make
//! calls through it.

mod builder;
mod call;
mod permit;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{BreakerConfig, ConfigError};
use crate::engine::{Admission, Ending, Engine, Observer, ProbePlan, Refusal};
use crate::error::NotPermitted;
use crate::event::Event;
use crate::outcome::Outcome;
use crate::snapshot::Snapshot;
use crate::state::{Mode, ModeChange, State};
pub use builder::CircuitBreakerBuilder;

pub use permit::{BorrowedPermit, Permit, Token};

/// A circuit breaker for the calls to one dependency.
///
/// Clones are handles to the same circuit. What its states mean is told at the
/// [crate's page](crate); the settings at [`BreakerConfig`].
///
/// ```
/// use fusebox::{CircuitBreaker, Outcome};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let breaker = CircuitBreaker::builder("content_client").service("spellchecker").build()?;
/// let permit = breaker.try_acquire()?; // take it along; dropped unused, it counts as abandoned
/// permit.record(Outcome::Success);
/// assert_eq!(breaker.snapshot().counts.success, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CircuitBreaker {
    engine: Arc<Engine>,
}

impl CircuitBreaker {
    /// Starts a breaker named `name`, with the default settings, clock and service name.
    ///
    /// The names of the first 1024 circuits of a process, up to 200 bytes with that of the service, stay in
    /// memory for the process's life, so that a refusal can carry them at no cost.
    pub fn builder(name: impl Into<String>) -> CircuitBreakerBuilder {
        CircuitBreakerBuilder::new(name.into())
    }

    /// The circuit's name.
    pub fn name(&self) -> &str {
        &self.engine.identity().circuit
    }

    /// The service whose circuit it is; empty when none was given.
    pub fn service(&self) -> &str {
        &self.engine.identity().service
    }

    /// False when the breaker was built as a pass-through.
    pub fn is_enabled(&self) -> bool {
        self.engine.is_enabled()
    }

    /// Asks for leave to make one call.
    ///
    /// # Errors
    /// The circuit is open, or half-open with all its probes under way.
    pub fn try_acquire(&self) -> Result<Permit, NotPermitted> {
        let admission = self.engine.admit();
        if admission.is_refusal() {
            return Err(self.not_permitted(admission));
        }
        Ok(Permit::new(Arc::clone(&self.engine), admission.ticket()))
    }

    /// [`CircuitBreaker::try_acquire`] for a call that ends while the breaker is borrowed.
    ///
    /// ```
    /// use fusebox::{CircuitBreaker, Outcome};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let breaker = CircuitBreaker::builder("content_client").build()?;
    /// let permit = breaker.enter()?;
    /// // ... the call
    /// permit.record(Outcome::Success);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The circuit is open, or half-open with all its probes under way.
    #[inline]
    pub fn enter(&self) -> Result<BorrowedPermit<'_>, NotPermitted> {
        let admission = self.engine.admit();
        if admission.is_refusal() {
            return Err(self.not_permitted(admission));
        }
        Ok(BorrowedPermit::new(&self.engine, admission.ticket()))
    }

    /// Reports the result of a call whose permit became a [`Token`].
    ///
    /// ```
    /// use fusebox::{CircuitBreaker, Outcome};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let breaker = CircuitBreaker::builder("content_client").build()?;
    /// let token = breaker.try_acquire()?.into_token();
    /// // ... later, where the answer arrives:
    /// breaker.settle(token, Outcome::Success, None).expect("a token of this breaker");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The token is of another breaker; here it is again.
    pub fn settle(
        &self,
        token: Token,
        outcome: Outcome,
        retry_after: Option<Duration>,
    ) -> Result<(), Token> {
        let ticket = token.of(&self.engine)?;
        let ending = Ending::result(outcome, retry_after);
        self.engine.settle(ticket, ending);
        Ok(())
    }

    #[inline]
    fn not_permitted(&self, admission: Admission) -> NotPermitted {
        let Refusal { state, left } = admission.refusal();
        NotPermitted::by(self.engine.identity(), state, left)
    }

    /// The state at this moment.
    ///
    /// A break that is over reads as half-open though no call has come since: the answer does not
    /// depend on traffic.
    pub fn state(&self) -> State {
        self.engine.state()
    }

    /// Time until the circuit stops refusing by itself, while it is open: to the end of the break,
    /// or of a forced opening that has one.
    ///
    /// Whoever waits for the circuit sleeps this long and asks again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.engine.retry_after()
    }

    /// Everything the breaker knows about itself; see [`Snapshot`] for how consistent it is.
    pub fn snapshot(&self) -> Snapshot {
        self.engine.snapshot()
    }

    /// Puts the circuit into a mode, by somebody, for a reason, for a time.
    ///
    /// The circuit ends the mode by itself when its time is over: it starts closed and decides for
    /// itself, as after [`CircuitBreaker::automatic`]. The same mode again replaces who, why and
    /// until when. A pass-through breaker ignores this and the other switches.
    #[expect(clippy::needless_pass_by_value, reason = "made for the occasion")]
    pub fn force(&self, change: ModeChange) {
        self.engine.set_mode(&change, true);
    }

    /// Refuses every call from now on, until the mode changes or the circuit is reset.
    pub fn force_open(&self, why: impl Into<String>) {
        self.set_mode(&ModeChange::to(Mode::ForcedOpen).because(why));
    }

    /// Lets every call pass from now on and judges nothing.
    pub fn disable(&self) {
        self.set_mode(&ModeChange::to(Mode::Disabled));
    }

    /// Lets every call pass from now on and only tells, by event and counter, when the circuit
    /// would have opened.
    pub fn metrics_only(&self) {
        self.set_mode(&ModeChange::to(Mode::MetricsOnly));
    }

    /// Ends a manual mode: the circuit starts closed and decides for itself. Changes nothing when
    /// it already does.
    pub fn automatic(&self) {
        self.set_mode(&ModeChange::to(Mode::Automatic));
    }

    /// Closes the circuit, ends a manual mode and forgets the window; results of calls under way
    /// will be late. Lifetime counters stay.
    pub fn reset(&self) {
        self.engine.reset();
    }

    /// Puts new settings in force. State, counters, observers and a break under way stay; the
    /// window starts empty only if its shape changes.
    ///
    /// # Errors
    /// The settings make no sense; the old ones stay in force.
    pub fn set_config(&self, config: BreakerConfig) -> Result<(), ConfigError> {
        config.validate()?;
        self.engine.configure(config)
    }

    /// Calls `observer` with every later event.
    ///
    /// Events arrive in the order of their numbers, each after the change it tells of, outside any
    /// lock: the observer may use this breaker. It runs on a thread that uses the breaker, so it
    /// should be quick; while it runs, other threads' events queue behind it (at most 1024, then
    /// the oldest are dropped and counted). A panic of an observer is caught and counted.
    pub fn on_event(&self, observer: impl Fn(&Event) + Send + Sync + 'static) {
        self.observe(Arc::new(observer));
    }

    pub(crate) fn observe(&self, observer: Observer) {
        self.engine.observe(observer);
    }

    /// The latest events, at most 64, oldest first.
    pub fn recent_events(&self) -> Vec<Event> {
        self.engine.recent_events()
    }

    /// Counts that a fallback answered in place of the call.
    ///
    /// `fallback_type` becomes a label: a few fixed words.
    pub fn fallback(&self, fallback_type: &'static str) {
        self.count_fallback(fallback_type, 1);
    }

    /// Makes a type of fallback known with a count of zero, so that its series exists before its
    /// first use.
    pub fn declare_fallback(&self, fallback_type: &'static str) {
        self.count_fallback(fallback_type, 0);
    }

    /// Ends the break now because the dependency is known to work again; answers whether it did.
    ///
    /// The circuit becomes half-open, never closed at once. A break the dependency itself asked
    /// for, or an operator forced, is left alone.
    pub fn end_break(&self) -> bool {
        self.engine.end_break(None)
    }

    /// Lets a health check heal an idle circuit, and answers the state after it.
    ///
    /// While the circuit is open, a check that succeeds ends the break (unless the dependency
    /// asked for it); one that fails changes nothing. While half-open, the check takes a probe's
    /// slot and counts like a probe. Otherwise, or while another check is under way, `check` is not
    /// run. Call it from a timer.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the check without effect.
    pub async fn probe<Fut>(&self, check: impl FnOnce() -> Fut) -> State
    where
        Fut: Future<Output = Outcome>,
    {
        if let Some(turn) = self.engine.take_turn() {
            match self.engine.plan_probe() {
                ProbePlan::Idle => {}
                ProbePlan::EndBreak { generation } => {
                    let outcome = check().await;
                    self.end_break_of(generation, outcome);
                }
                ProbePlan::Probe(ticket) => {
                    let permit = Permit::new(Arc::clone(&self.engine), ticket);
                    permit.record(check().await);
                }
            }
            drop(turn);
        }
        self.state()
    }

    /// [`CircuitBreaker::probe`] for a plain function.
    pub fn probe_sync(&self, check: impl FnOnce() -> Outcome) -> State {
        if let Some(turn) = self.engine.take_turn() {
            match self.engine.plan_probe() {
                ProbePlan::Idle => {}
                ProbePlan::EndBreak { generation } => self.end_break_of(generation, check()),
                ProbePlan::Probe(ticket) => {
                    let permit = Permit::new(Arc::clone(&self.engine), ticket);
                    permit.record(check());
                }
            }
            drop(turn);
        }
        self.state()
    }

    fn end_break_of(&self, generation: u64, outcome: Outcome) {
        if outcome == Outcome::Success {
            self.engine.end_break(Some(generation));
        }
    }

    fn set_mode(&self, change: &ModeChange) {
        self.engine.set_mode(change, false);
    }

    fn count_fallback(&self, fallback_type: &'static str, times: u64) {
        self.engine.count_fallback(fallback_type, times);
    }
}

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("service", &self.service())
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}
