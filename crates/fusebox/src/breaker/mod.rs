//! The circuit breaker: the state machine behind a lock, with a clock, a name and observers.
//!
//! One `std::sync::Mutex` guards everything that changes. It is held for a few dozen instructions,
//! never across a call, an observer, a clock reading or an `await`.

mod builder;
mod call;
mod permit;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::config::{BreakerConfig, ConfigError};
use crate::engine::{Engine, ProbePlan};
use crate::error::NotPermitted;
use crate::event::Event;
use crate::outcome::Outcome;
use crate::snapshot::Snapshot;
use crate::state::{Mode, State};
pub use builder::CircuitBreakerBuilder;
pub use permit::Permit;

type Observer = Arc<dyn Fn(&Event) + Send + Sync>;

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
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    name: Arc<str>,
    service: Arc<str>,
    enabled: bool,
    clock: Arc<dyn Clock>,
    engine: Mutex<Engine>,
    /// Replaced as a whole, so that delivery walks a list nobody changes.
    observers: Mutex<Arc<[Observer]>>,
    /// A health check is under way.
    checking: AtomicBool,
}

impl CircuitBreaker {
    /// Starts a breaker named `name`, with the default settings, clock and service name.
    pub fn builder(name: impl Into<String>) -> CircuitBreakerBuilder {
        CircuitBreakerBuilder::new(name.into())
    }

    /// The circuit's name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The service whose circuit it is; empty when none was given.
    pub fn service(&self) -> &str {
        &self.inner.service
    }

    /// False when the breaker was built as a pass-through.
    pub fn is_enabled(&self) -> bool {
        self.inner.enabled
    }

    /// Asks for leave to make one call.
    ///
    /// # Errors
    /// The circuit is open, or half-open with all its probes under way.
    pub fn try_acquire(&self) -> Result<Permit, NotPermitted> {
        if !self.inner.enabled {
            return Ok(Permit::pass_through());
        }
        match self.inner.with(Engine::admit) {
            Ok(ticket) => Ok(Permit::new(Arc::clone(&self.inner), ticket)),
            Err(refusal) => Err(NotPermitted::new(
                Arc::clone(&self.inner.service),
                Arc::clone(&self.inner.name),
                refusal.state,
                refusal.retry_after,
            )),
        }
    }

    /// The state at this moment.
    ///
    /// A break that is over reads as half-open though no call has come since: the answer does not
    /// depend on traffic.
    pub fn state(&self) -> State {
        self.inner.with(|engine, now| {
            engine.advance(now);
            engine.state()
        })
    }

    /// Time until the break ends, while the circuit is open and not by force.
    ///
    /// Whoever waits for the circuit sleeps this long and asks again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.inner.with(|engine, now| {
            engine.advance(now);
            engine.retry_after()
        })
    }

    /// Everything the breaker knows about itself, taken at one moment.
    pub fn snapshot(&self) -> Snapshot {
        let inner = &self.inner;
        inner.with(|engine, now| {
            let now = engine.advance(now);
            let config = engine.config().clone();
            let state = engine.state();
            let window = engine.window_totals();
            let tally = engine.tally();
            Snapshot {
                service_name: inner.service.to_string(),
                circuit_name: inner.name.to_string(),
                enabled: inner.enabled,
                state,
                mode: if inner.enabled {
                    engine.mode()
                } else {
                    Mode::Disabled
                },
                forced_because: engine.why().map(str::to_owned),
                counts: tally.calls,
                in_flight: tally.in_flight,
                window,
                consecutive_failures: engine.consecutive_failures(),
                generation: engine.generation(),
                recovery_attempts: tally.recoveries,
                transitions: tally.transitions,
                time_in_state: tally.time_in_state(state, now),
                retry_after: engine.retry_after(),
                fallbacks: tally.fallbacks.iter().map(|(k, n)| (*k, *n)).collect(),
                would_have_opened: tally.would_have_opened,
                observer_panics: tally.observer_panics,
                events_dropped: engine.log_ref().dropped(),
                failure_threshold: config.failure_threshold,
                success_threshold: config.success_threshold,
                recovery_timeout: config.recovery_timeout,
                config,
            }
        })
    }

    /// Refuses every call from now on, until the mode changes or the circuit is reset.
    ///
    /// A pass-through breaker ignores this and the other switches.
    pub fn force_open(&self, why: impl Into<String>) {
        self.set_mode(Mode::ForcedOpen, Some(why.into()));
    }

    /// Lets every call pass from now on and judges nothing.
    pub fn disable(&self) {
        self.set_mode(Mode::Disabled, None);
    }

    /// Lets every call pass from now on and only tells, by event and counter, when the circuit
    /// would have opened.
    pub fn metrics_only(&self) {
        self.set_mode(Mode::MetricsOnly, None);
    }

    /// Ends a manual mode: the circuit starts closed and decides for itself. Changes nothing when
    /// it already does.
    pub fn automatic(&self) {
        self.set_mode(Mode::Automatic, None);
    }

    /// Closes the circuit, ends a manual mode and forgets the window; results of calls under way
    /// will be late. Lifetime counters stay.
    pub fn reset(&self) {
        if self.inner.enabled {
            self.inner.with(Engine::reset);
        }
    }

    /// Puts new settings in force. State, counters, observers and a break under way stay; the
    /// window starts empty only if its shape changes.
    ///
    /// # Errors
    /// The settings make no sense; the old ones stay in force.
    pub fn set_config(&self, config: BreakerConfig) -> Result<(), ConfigError> {
        config.validate()?;
        self.inner.with(|engine, now| engine.configure(config, now));
        Ok(())
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
        let mut observers = lock(&self.inner.observers);
        *observers = observers.iter().cloned().chain([observer]).collect();
    }

    /// The latest events, at most 64, oldest first.
    pub fn recent_events(&self) -> Vec<Event> {
        self.inner.with(|engine, now| {
            engine.advance(now);
            engine.log().recent()
        })
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
        self.inner.with(|engine, now| engine.end_break(None, now))
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
        if let Some(turn) = self.take_turn() {
            match self.inner.with(Engine::plan_probe) {
                ProbePlan::Idle => {}
                ProbePlan::EndBreak { generation } => {
                    let outcome = check().await;
                    self.end_break_of(generation, outcome);
                }
                ProbePlan::Probe(ticket) => {
                    let permit = Permit::new(Arc::clone(&self.inner), ticket);
                    permit.record(check().await);
                }
            }
            drop(turn);
        }
        self.state()
    }

    /// [`CircuitBreaker::probe`] for a plain function.
    pub fn probe_sync(&self, check: impl FnOnce() -> Outcome) -> State {
        if let Some(turn) = self.take_turn() {
            match self.inner.with(Engine::plan_probe) {
                ProbePlan::Idle => {}
                ProbePlan::EndBreak { generation } => self.end_break_of(generation, check()),
                ProbePlan::Probe(ticket) => {
                    let permit = Permit::new(Arc::clone(&self.inner), ticket);
                    permit.record(check());
                }
            }
            drop(turn);
        }
        self.state()
    }

    fn end_break_of(&self, generation: u64, outcome: Outcome) {
        if outcome == Outcome::Success {
            self.inner
                .with(|engine, now| engine.end_break(Some(generation), now));
        }
    }

    fn take_turn(&self) -> Option<Turn<'_>> {
        let taken = self.inner.checking.swap(true, Ordering::Acquire);
        (!taken).then(|| Turn(&self.inner.checking))
    }

    fn set_mode(&self, mode: Mode, why: Option<String>) {
        if self.inner.enabled {
            self.inner
                .with(|engine, now| engine.set_mode(mode, why, now));
        }
    }

    fn count_fallback(&self, fallback_type: &'static str, times: u64) {
        self.inner.with(|engine, _| {
            *engine
                .tally_mut()
                .fallbacks
                .entry(fallback_type)
                .or_default() += times;
        });
    }
}

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("service", &self.inner.service)
            .field("name", &self.inner.name)
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// Does one thing under the lock, then delivers the events it caused.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Engine, Duration) -> R) -> R {
        // Read before the lock: a clock is foreign code. The engine never lets time step back, so
        // a thread that waited for the lock cannot bring in an old time.
        let now = self.clock.now();
        let (result, deliver) = {
            let mut engine = lock(&self.engine);
            let result = act(&mut engine, now);
            let deliver = engine.log().claim();
            (result, deliver)
        };
        if deliver {
            self.deliver();
        }
        result
    }

    /// Delivers waiting events until none is left. Only for the thread that holds the claim.
    fn deliver(&self) {
        loop {
            // A statement of its own: the lock must be gone before an observer runs.
            let event = lock(&self.engine).log().next();
            let Some(event) = event else { return };
            let observers = Arc::clone(&lock(&self.observers));
            for observer in observers.iter() {
                // A panic must not end delivery for ever, nor abort a drop during unwinding.
                if catch_unwind(AssertUnwindSafe(|| observer(&event))).is_err() {
                    lock(&self.engine).tally_mut().observer_panics += 1;
                }
            }
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// One health check at a time.
struct Turn<'a>(&'a AtomicBool);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// No foreign code runs under our locks, so a poisoned one still guards a sound value.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
