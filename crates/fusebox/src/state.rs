//! The three states a circuit can be seen in, and the four modes an operator can put it in.

use std::fmt;
use std::time::Duration;

/// What a circuit does with calls right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Calls pass.
    Closed,
    /// Calls are refused.
    Open,
    /// A few probes pass, other calls are refused.
    HalfOpen,
}

impl State {
    /// All states, in the order of their gauge values.
    pub const ALL: [State; 3] = [State::Closed, State::Open, State::HalfOpen];

    /// The value of the `circuit_breaker_state` gauge: 0 closed, 1 open, 2 half-open.
    pub const fn gauge(self) -> u8 {
        match self {
            State::Closed => 0,
            State::Open => 1,
            State::HalfOpen => 2,
        }
    }

    /// The name used in labels, logs and JSON: `closed`, `open`, `half_open`.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::Open => "open",
            State::HalfOpen => "half_open",
        }
    }

    pub(crate) const fn index(self) -> usize {
        self.gauge() as usize
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who decides about a circuit: its own measurements, or an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The circuit opens and closes by itself.
    Automatic,
    /// Every call is refused until the mode changes.
    ForcedOpen,
    /// Every call passes and nothing is judged.
    Disabled,
    /// Every call passes; results are judged, and an event says when the circuit would have opened.
    MetricsOnly,
}

impl Mode {
    /// The name used in labels, logs and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Automatic => "automatic",
            Mode::ForcedOpen => "forced_open",
            Mode::Disabled => "disabled",
            Mode::MetricsOnly => "metrics_only",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A change of mode by an operator's hand: to what, by whom, why, and for how long.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{CircuitBreaker, Mode, ModeChange, State};
///
/// # fn main() -> Result<(), fusebox::ConfigError> {
/// let breaker = CircuitBreaker::builder("content_client").build()?;
/// breaker.force(
///     ModeChange::to(Mode::ForcedOpen)
///         .by("astrid")
///         .because("the content service moves to another disk")
///         .lasting(Duration::from_mins(20)),
/// );
/// assert_eq!(breaker.state(), State::Open);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModeChange {
    /// The mode from now on.
    pub mode: Mode,
    /// Who wants it.
    pub who: Option<String>,
    /// Why.
    pub why: Option<String>,
    /// After how long the circuit decides for itself again; `None` is until somebody says so.
    pub lasting: Option<Duration>,
}

impl ModeChange {
    /// A change to `mode`, by nobody, without a reason, until it is changed again.
    pub const fn to(mode: Mode) -> Self {
        Self {
            mode,
            who: None,
            why: None,
            lasting: None,
        }
    }

    /// Says who wants it.
    #[must_use]
    pub fn by(mut self, who: impl Into<String>) -> Self {
        self.who = Some(who.into());
        self
    }

    /// Says why.
    #[must_use]
    pub fn because(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// Says after how long it ends by itself. [`Mode::Automatic`] has no end.
    #[must_use]
    pub const fn lasting(mut self, time: Duration) -> Self {
        self.lasting = Some(time);
        self
    }
}

/// The manual mode a circuit is in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ManualMode {
    /// The mode.
    pub mode: Mode,
    /// Who wanted it.
    pub who: Option<String>,
    /// Why.
    pub why: Option<String>,
    /// Since when, on the breaker's clock.
    pub since: Duration,
    /// When it ends by itself, on the breaker's clock.
    pub until: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Labels, logs and dashboards hold on to these words and numbers.
    #[test]
    fn states_and_modes_have_the_names_others_know() {
        let states = [
            (State::Closed, "closed", 0),
            (State::Open, "open", 1),
            (State::HalfOpen, "half_open", 2),
        ];
        for (state, name, gauge) in states {
            assert_eq!((state.as_str(), state.gauge()), (name, gauge));
            assert_eq!(state.to_string(), name);
        }
        let modes = [
            (Mode::Automatic, "automatic"),
            (Mode::ForcedOpen, "forced_open"),
            (Mode::Disabled, "disabled"),
            (Mode::MetricsOnly, "metrics_only"),
        ];
        for (mode, name) in modes {
            assert_eq!((mode.as_str(), &*mode.to_string()), (name, name));
        }
    }
}
