//! The three states a circuit can be seen in, and the four modes an operator can put it in.

use std::fmt;

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
