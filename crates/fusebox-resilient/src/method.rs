//! What `#[resilient]` knows about a method when it compiles.

use std::time::Duration;

use crate::settings::Settings;

/// One method of a protected trait: its name and the options of its attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MethodMeta {
    name: &'static str,
    circuit: Option<&'static str>,
    idempotent: bool,
    hedged: bool,
    stream: bool,
    attempts: Option<u32>,
    attempt_timeout: Option<Duration>,
    total_timeout: Option<Duration>,
    hedge_after: Option<Duration>,
    first_item: Option<Duration>,
    idle: Option<Duration>,
}

impl MethodMeta {
    /// A method that is forwarded without protection.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            circuit: None,
            idempotent: false,
            hedged: false,
            stream: false,
            attempts: None,
            attempt_timeout: None,
            total_timeout: None,
            hedge_after: None,
            first_item: None,
            idle: None,
        }
    }

    /// The same, protected by that circuit.
    #[must_use]
    pub const fn with_circuit(mut self, circuit: &'static str) -> Self {
        self.circuit = Some(circuit);
        self
    }

    /// The same, and it may be repeated.
    #[must_use]
    pub const fn with_idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// The same, and a second copy may be sent while the first is under way, after `after` unless
    /// settings say otherwise.
    #[must_use]
    pub const fn with_hedge(mut self, after: Option<Duration>) -> Self {
        self.hedged = true;
        self.hedge_after = after;
        self
    }

    /// The same, and what it answers is a stream.
    #[must_use]
    pub const fn with_stream(mut self) -> Self {
        self.stream = true;
        self
    }

    /// The same with [`Settings::max_attempts`].
    #[must_use]
    pub const fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = Some(attempts);
        self
    }

    /// The same with [`Settings::attempt_timeout`].
    #[must_use]
    pub const fn with_attempt_timeout(mut self, time: Duration) -> Self {
        self.attempt_timeout = Some(time);
        self
    }

    /// The same with [`Settings::total_timeout`].
    #[must_use]
    pub const fn with_total_timeout(mut self, time: Duration) -> Self {
        self.total_timeout = Some(time);
        self
    }

    /// The same with [`Settings::first_item`].
    #[must_use]
    pub const fn with_first_item(mut self, time: Duration) -> Self {
        self.first_item = Some(time);
        self
    }

    /// The same with [`Settings::idle`].
    #[must_use]
    pub const fn with_idle(mut self, time: Duration) -> Self {
        self.idle = Some(time);
        self
    }

    /// The method's name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its circuit; `None` when it is forwarded without protection.
    pub const fn circuit(&self) -> Option<&'static str> {
        self.circuit
    }

    /// True when it may be repeated.
    pub const fn is_idempotent(&self) -> bool {
        self.idempotent
    }

    /// True when a second copy may be sent.
    pub const fn is_hedged(&self) -> bool {
        self.hedged
    }

    /// True when what it answers is a stream that is watched to its end.
    pub const fn is_stream(&self) -> bool {
        self.stream
    }

    /// The layer of settings its attribute makes.
    pub fn settings(&self) -> Settings {
        Settings {
            max_attempts: self.attempts,
            attempt_timeout: self.attempt_timeout,
            total_timeout: self.total_timeout,
            hedge_after: self.hedge_after,
            first_item: self.first_item,
            idle: self.idle,
            ..Settings::default()
        }
    }
}
