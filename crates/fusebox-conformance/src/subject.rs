//! What the suite needs of a breaker: the traits an adapter implements, and their words.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A make of breaker, seen through an adapter.
pub trait Subject: Send + Sync {
    /// The name in reports.
    fn name(&self) -> String;

    /// What this make can do beyond refusing calls after failures.
    ///
    /// A check that needs more is not applicable. What is declared here is held to.
    fn abilities(&self) -> &[Ability];

    /// Makes a fresh, closed breaker that shares nothing with earlier ones.
    ///
    /// Settings behind an ability that is not declared may be ignored. `observer` is only given to
    /// makes with [`Ability::Events`].
    ///
    /// # Errors
    /// The make's own builder refuses the settings.
    fn make(
        &self,
        config: &Config,
        observer: Option<Observer>,
    ) -> Result<Arc<dyn Breaker>, Refused>;

    /// How many calls at once this make documents to admit while half-open; default as configured.
    fn permitted(&self, config: &Config) -> usize {
        config.probes as usize
    }
}

/// One breaker under test.
pub trait Breaker: Send + Sync {
    /// Asks for leave to make a call, and begins it.
    ///
    /// # Errors
    /// The breaker refuses the call.
    fn start(&self) -> Result<Box<dyn Call>, Refusal>;

    /// Lets at least `by` go by on the breaker's clock: moves a virtual one, or waits.
    fn pass(&self, by: Duration);

    /// Makes a call and gives it up before anything ran: for a breaker around futures, a future
    /// that is dropped unpolled. By default a call that is started and dropped.
    fn abandon_unstarted(&self) {
        drop(self.start());
    }

    /// Puts new settings in force; only asked of makes with [`Ability::Reconfigure`].
    ///
    /// # Errors
    /// The make refuses the settings, or has no such thing.
    fn reconfigure(&self, config: &Config) -> Result<(), Refused> {
        Err(Refused(format!("settings are fixed: {config:?}")))
    }
}

/// A call under way. Dropping it is giving it up half-way.
pub trait Call {
    /// Ends the call, and returns when the breaker knows.
    ///
    /// The panics among the endings happen inside, and must not come out.
    fn end(self: Box<Self>, ending: Ending);
}

/// How a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// The dependency answered.
    Success,
    /// The dependency is at fault.
    Failure,
    /// The dependency is at fault and asks to be left alone for this long; only used with
    /// [`Ability::Hint`].
    FailureAskingFor(Duration),
    /// The result says nothing about the dependency; only used with [`Ability::Neutral`].
    Neutral,
    /// The call panics.
    Panic,
    /// The code that judges the result panics; only used with [`Ability::Classifier`].
    ClassifierPanic,
}

/// A breaker refused a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Refusal {
    /// Time until it makes sense to ask again, if the refusal tells.
    pub retry_after: Option<Duration>,
}

/// A make refused settings, with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the settings were refused: {}", self.0)
    }
}

impl std::error::Error for Refused {}

/// The settings a check asks for, in the field's words.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The calls a failure rate is computed over.
    pub window: Window,
    /// The least number of failures before a trip. A make that counts a least number of *calls*
    /// takes that number: from fresh, with nothing but failures, both open at the same call. For
    /// makes that count consecutive failures, their number.
    pub minimum: u32,
    /// Share of failures that opens the circuit.
    pub failure_rate: f64,
    /// Probes admitted at once while half-open, and successes needed to close.
    pub probes: u32,
    /// The first break.
    pub first_break: Duration,
    /// The longest break; the same as the first unless [`Ability::Escalation`] is tested.
    pub longest_break: Duration,
    /// Share of a break left to chance; zero unless [`Ability::Jitter`] is tested.
    pub jitter: f64,
    /// How long probes that never end may hold a half-open circuit up, where that is a setting.
    pub lease: Duration,
    /// When calls are slow; `None` unless slow calls are tested.
    pub slow: Option<Slow>,
}

impl Default for Config {
    /// Small numbers that suit real waits: four calls, two probes, a break of 100 ms.
    fn default() -> Self {
        Self {
            window: Window::Count(4),
            minimum: 4,
            failure_rate: 0.5,
            probes: 2,
            first_break: Duration::from_millis(100),
            longest_break: Duration::from_millis(100),
            jitter: 0.0,
            lease: Duration::from_millis(300),
            slow: None,
        }
    }
}

/// The calls a rate is computed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// The last so many.
    Count(u32),
    /// Those of the last stretch of time.
    Time(Duration),
}

/// When calls are slow, and how many open the circuit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slow {
    /// A call that takes this long is slow.
    pub longer_than: Duration,
    /// Share of slow calls that opens the circuit.
    pub rate: f64,
    /// The least number of slow calls that opens it.
    pub minimum: u32,
}

/// Something a make of breaker can do, and another may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ability {
    /// Judges a share of failures, not only consecutive ones.
    Rate,
    /// Judges the last N calls.
    CountWindow,
    /// Judges the calls of the last stretch of time.
    TimeWindow,
    /// From fresh, an exact number of failures opens it, whatever time they take;
    /// [`Config::minimum`] of them where [`Ability::Minimum`] or [`Ability::EventTotals`] is
    /// declared too.
    ExactTrip,
    /// The minimum and the window are two settings.
    Minimum,
    /// Knows results that say nothing about the dependency.
    Neutral,
    /// Runs user code to judge a result.
    Classifier,
    /// Counts calls under way as slow once they are.
    SlowInFlight,
    /// Can count calls given up half-way as slow if they were.
    AbandonedSlow,
    /// Tells an observer of changes of state.
    Events,
    /// Those events carry the totals that caused a trip.
    EventTotals,
    /// Takes new settings while running.
    Reconfigure,
    /// A refusal tells the time left.
    RetryAfter,
    /// The dependency may say how long the break should be.
    Hint,
    /// Breaks vary by chance.
    Jitter,
    /// Breaks grow while probes fail.
    Escalation,
}

impl Ability {
    /// What a make without it lacks, for reports.
    pub const fn lack(self) -> &'static str {
        match self {
            Ability::Rate => "judges consecutive failures only",
            Ability::CountWindow => "no window of the last N calls",
            Ability::TimeWindow => "no window of time",
            Ability::ExactTrip => "does not open at an exact number of failures",
            Ability::Minimum => "no minimum apart from the window",
            Ability::Neutral => "no neutral outcome",
            Ability::Classifier => "no classifier",
            Ability::SlowInFlight => "does not judge calls under way",
            Ability::AbandonedSlow => "no such policy for abandoned calls",
            Ability::Events => "no events with both states",
            Ability::EventTotals => "events carry no totals",
            Ability::Reconfigure => "settings are fixed",
            Ability::RetryAfter => "a refusal tells no time",
            Ability::Hint => "takes no hint of the dependency",
            Ability::Jitter => "breaks do not vary",
            Ability::Escalation => "breaks do not grow",
        }
    }
}

/// The three states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Calls pass.
    Closed,
    /// Calls are refused.
    Open,
    /// Probes pass.
    HalfOpen,
}

/// A change of state, as an observer is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// The state before.
    pub from: Phase,
    /// The state after.
    pub to: Phase,
    /// The totals that caused it; only looked at with [`Ability::EventTotals`].
    pub totals: Option<Totals>,
}

/// Calls and failures in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Calls judged.
    pub calls: u64,
    /// Those that failed.
    pub failures: u64,
}

/// Whom a breaker tells of its changes.
pub type Observer = Arc<dyn Fn(&Transition) + Send + Sync>;
