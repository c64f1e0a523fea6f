//! The span of a protected call: what it is made with, and how it learns its end.

use fusebox::CircuitBreaker;
use tracing::field::Empty;
use tracing::{Level, Span};

use crate::context::Ids;

/// What a call came to, as the span's `circuit.call_result`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallResult {
    /// The dependency answered well.
    Success,
    /// It failed.
    Failure,
    /// The result says nothing about the dependency.
    Neutral,
    /// A policy of ours refused; the call was not made.
    Blocked,
}

impl CallResult {
    /// What an outcome that a circuit was told is for a span.
    pub fn of(outcome: fusebox::Outcome) -> Self {
        match outcome {
            fusebox::Outcome::Success => Self::Success,
            fusebox::Outcome::Failure => Self::Failure,
            _ => Self::Neutral,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Neutral => "neutral",
            Self::Blocked => "blocked",
        }
    }
}

/// The span of one call through a circuit, for a client that is not called through a
/// [`crate::Policy`]: the same span, with the same fields.
///
/// Dropped before [`finish`](Self::finish), it tells the call as abandoned. Where no subscriber wants
/// it, nothing of it is computed.
#[derive(Debug)]
#[must_use = "dropped at once, it tells of an abandoned call"]
pub struct CallSpan {
    span: Span,
    attempts: u32,
    finished: bool,
}

impl CallSpan {
    /// Begins the span of `operation` under the circuit `breaker`. `ids` is asked only when somebody
    /// listens.
    #[inline]
    pub fn begin(breaker: &CircuitBreaker, operation: &str, ids: impl FnOnce() -> Ids) -> Self {
        let span = if tracing::span_enabled!(Level::INFO) {
            let names = (breaker.service(), breaker.name(), operation);
            recorded(breaker, names, &ids())
        } else {
            Span::none()
        };
        Self {
            span,
            attempts: 0,
            finished: false,
        }
    }

    /// The span, for what is done in it.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// Notes that the call is really made now, once more or for the first time.
    pub fn count_attempt(&mut self) {
        self.attempts += 1;
    }

    /// How often the call was made.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Tells how the call ended.
    pub fn finish(mut self, result: CallResult) {
        self.finished = true;
        finish(&self.span, result, self.attempts);
    }
}

impl Drop for CallSpan {
    fn drop(&mut self) {
        if !self.finished {
            abandon(&self.span, self.attempts);
        }
    }
}

/// A span of the names of service, circuit and operation, with the circuit as it is now.
#[cold]
pub(crate) fn recorded(
    breaker: &CircuitBreaker,
    (service, circuit, operation): (&str, &str, &str),
    ids: &Ids,
) -> Span {
    let snapshot = breaker.snapshot();
    let method = operation.rsplit('.').next().unwrap_or_default();
    let window = snapshot.window;
    tracing::info_span!(
        "protected_call",
        otel.name = %format_args!("circuit_breaker.{circuit}.{method}"),
        otel.status_code = Empty,
        service,
        operation,
        correlation_id = ids.correlation_id.as_deref(),
        circuit.name = circuit,
        circuit.state = snapshot.state.as_str(),
        circuit.failure_count = window.failures,
        circuit.success_count = window.calls.saturating_sub(window.failures),
        circuit.call_result = Empty,
        circuit.blocked = Empty,
        attempts = Empty,
    )
}

pub(crate) fn finish(span: &Span, result: CallResult, attempts: u32) {
    if span.is_disabled() {
        return;
    }
    record(
        span,
        result.as_str(),
        result == CallResult::Blocked,
        attempts,
    );
    if result == CallResult::Failure {
        span.record("otel.status_code", "ERROR");
    }
}

/// A call that was dropped before its end says so in its span.
pub(crate) fn abandon(span: &Span, attempts: u32) {
    if !span.is_disabled() {
        record(span, "abandoned", false, attempts);
    }
}

fn record(span: &Span, result: &str, blocked: bool, attempts: u32) {
    span.record("circuit.call_result", result);
    span.record("circuit.blocked", blocked);
    span.record("attempts", attempts);
}
