//! What an answer means: whose fault, how wide it reaches, wait how long, and where to try next.
//!
//! Two tables lead from an answer to its [`Verdict`]. The rules of a provider (in `rules`) turn
//! what it said into a [`Kind`]; what a kind means is one row of [`Kind::meaning`]:
//!
//! | kind | circuit | scope | retry here | elsewhere |
//! |------|---------|-------|-----------|-----------|
//! | overloaded | failure | model | yes | yes |
//! | rate limited | neutral, closes the gate | credential | yes | yes |
//! | quota exhausted, auth | neutral, closes the gate for minutes | credential | no | yes |
//! | bad request | neutral | request | no | no |
//! | too long | neutral | request | no | yes: a model may have a larger window |
//! | refused (content policy) | neutral | request | no | no |
//! | model not found | neutral | model | no | yes |
//! | timeout, unavailable | failure | provider | yes | yes |
//! | truncated | failure | model | yes | yes |
//! | invalid output | neutral | model | once | yes |
//! | circuit open | neutral | provider | no | yes |
//! | deadline passed | neutral | request | no | no |
//!
//! Two of a server's own words win over the tables: `x-should-retry` and OpenRouter's
//! `availability.retryable`. A success status proves nothing: errors come with it, too.

mod read;
mod rules;
mod wait;

use std::time::Duration;

use fusebox::Outcome;
use jiff::Timestamp;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::Provider;

/// What happened, in the words of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The provider has too much to do.
    Overloaded,
    /// We ask too often.
    RateLimited,
    /// The money or the quota of the key is used up.
    QuotaExhausted,
    /// The key is refused.
    Auth,
    /// The request is wrong.
    BadRequest,
    /// The request is longer than the model can read.
    TooLong,
    /// The provider refuses to treat the content.
    Refused,
    /// The provider has no such model.
    ModelNotFound,
    /// No answer in time.
    Timeout,
    /// The provider cannot be reached or broke.
    Unavailable,
    /// The answer's body is broken or empty.
    Truncated,
    /// The model's answer is no judgement.
    InvalidOutput,
    /// Our own circuit refused the call.
    CircuitOpen,
    /// The caller's deadline passed.
    DeadlinePassed,
}

/// How wide a verdict reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// This request only.
    Request,
    /// Everything asked of this model.
    Model,
    /// Everything asked with this key.
    Credential,
    /// Everything asked of this provider.
    Provider,
}

/// What an answer means for the circuit, the gates, and the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// What happened.
    pub kind: Kind,
    /// What the circuit breaker of the provider is told.
    pub outcome: Outcome,
    /// How wide it reaches.
    pub scope: Scope,
    /// Whether the same request may succeed here later.
    pub retry_same: bool,
    /// How long the provider asked to wait; `None` when it did not say.
    pub wait: Option<Duration>,
    /// Whether another provider may succeed.
    pub fail_over: bool,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::Overloaded,
        Self::RateLimited,
        Self::QuotaExhausted,
        Self::Auth,
        Self::BadRequest,
        Self::TooLong,
        Self::Refused,
        Self::ModelNotFound,
        Self::Timeout,
        Self::Unavailable,
        Self::Truncated,
        Self::InvalidOutput,
        Self::CircuitOpen,
        Self::DeadlinePassed,
    ];

    /// The kind as a word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Overloaded => "overloaded",
            Self::RateLimited => "rate_limited",
            Self::QuotaExhausted => "quota_exhausted",
            Self::Auth => "auth",
            Self::BadRequest => "bad_request",
            Self::TooLong => "too_long",
            Self::Refused => "refused",
            Self::ModelNotFound => "model_not_found",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Truncated => "truncated",
            Self::InvalidOutput => "invalid_output",
            Self::CircuitOpen => "circuit_open",
            Self::DeadlinePassed => "deadline_passed",
        }
    }

    /// The row of the table: outcome, scope, retry here, try elsewhere.
    #[must_use]
    pub fn meaning(self) -> (Outcome, Scope, bool, bool) {
        use Outcome::{Failure, Neutral};
        match self {
            Self::Overloaded | Self::Truncated => (Failure, Scope::Model, true, true),
            Self::Timeout | Self::Unavailable => (Failure, Scope::Provider, true, true),
            Self::RateLimited => (Neutral, Scope::Credential, true, true),
            Self::QuotaExhausted | Self::Auth => (Neutral, Scope::Credential, false, true),
            Self::BadRequest | Self::Refused | Self::DeadlinePassed => {
                (Neutral, Scope::Request, false, false)
            }
            Self::TooLong => (Neutral, Scope::Request, false, true),
            Self::ModelNotFound => (Neutral, Scope::Model, false, true),
            Self::InvalidOutput => (Neutral, Scope::Model, true, true),
            Self::CircuitOpen => (Neutral, Scope::Provider, false, true),
        }
    }

    /// Whether a server's "later" belongs to this kind.
    fn waits(self) -> bool {
        matches!(
            self,
            Self::RateLimited
                | Self::Overloaded
                | Self::Unavailable
                | Self::Timeout
                | Self::QuotaExhausted
        )
    }
}

impl Verdict {
    /// The verdict of a kind, without a hint how long to wait.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        let (outcome, scope, retry_same, fail_over) = kind.meaning();
        Self {
            kind,
            outcome,
            scope,
            retry_same,
            wait: None,
            fail_over,
        }
    }

    pub(crate) fn waiting(self, wait: Option<Duration>) -> Self {
        Self { wait, ..self }
    }

    /// Whether waiting helps, here or elsewhere: false when the request itself is at fault.
    #[must_use]
    pub fn may_pass_later(&self) -> bool {
        self.scope != Scope::Request && self.kind != Kind::InvalidOutput
    }
}

/// Judges an answer of `provider`: `None` when nothing is wrong with it.
///
/// `now` is the wall clock, against which dates in headers are read.
#[must_use]
pub fn judge(
    provider: Provider,
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Option<Verdict> {
    let json = serde_json::from_slice::<Value>(body).ok().map(unwrapped);
    let success = (200..300).contains(&status);
    let body = json.unwrap_or(Value::Null);
    let error = match read::error_of(provider, &body) {
        Some(error) => error,
        None if success => return hidden(provider, &body),
        None => &Value::Null,
    };
    let signal = read::signal(provider, status, error);
    let kind = rules::kind(provider, &signal);
    let mut verdict = Verdict::of(kind);
    if kind.waits() {
        verdict.wait = wait::of(provider, headers, error, now);
    }
    match headers
        .get("x-should-retry")
        .map(reqwest::header::HeaderValue::as_bytes)
    {
        Some(b"false") => verdict.retry_same = false,
        Some(b"true") if !matches!(kind, Kind::Auth | Kind::QuotaExhausted) => {
            verdict.retry_same = true;
        }
        _ => {}
    }
    if let Some(retryable) = error["availability"]["retryable"].as_bool() {
        verdict.retry_same = retryable;
    }
    Some(verdict)
}

/// Google wraps the errors of a stream in a list of one.
fn unwrapped(body: Value) -> Value {
    match body {
        Value::Array(mut items) if items.len() == 1 => items.remove(0),
        body => body,
    }
}

/// What is wrong with a success that names no error.
fn hidden(provider: Provider, body: &Value) -> Option<Verdict> {
    if !body.is_object() {
        return Some(Verdict::of(Kind::Truncated));
    }
    read::hidden_kind(provider, body).map(Verdict::of)
}
