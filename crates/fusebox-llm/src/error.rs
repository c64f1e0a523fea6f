//! Why a provider gave no judgement.

use std::error::Error as StdError;
use std::time::Duration;

use fusebox::{Classify, Outcome};
use fusebox_resilient::Context;
use thiserror::Error;

use crate::verdict::Kind;
use crate::{Provider, Verdict};

/// A provider that gave no judgement, and what that means.
#[derive(Debug, Error)]
#[error("{provider} model {model} gave no judgement ({}{})", verdict.kind.as_str(), shown(*status))]
#[non_exhaustive]
pub struct JudgeError {
    /// The provider that was asked.
    pub provider: Provider,
    /// The model that was asked.
    pub model: String,
    /// What to make of it.
    pub verdict: Verdict,
    /// Status of the answer; `None` when there was none.
    pub status: Option<u16>,
    /// Whether a request left for the provider: false when our own circuit or gate held it back.
    pub sent: bool,
    /// Service, circuit, operation and ids of the call.
    pub context: Box<Context>,
    /// The cause.
    #[source]
    pub cause: Option<Box<dyn StdError + Send + Sync>>,
}

/// What the provider itself said about an error.
#[derive(Debug, Error)]
#[error("the provider said: {0}")]
pub(crate) struct ProviderSaid(pub(crate) String);

impl JudgeError {
    /// What happened.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.verdict.kind
    }
}

impl Classify for JudgeError {
    fn outcome(&self) -> Outcome {
        self.verdict.outcome
    }

    fn retry_after(&self) -> Option<Duration> {
        self.verdict.wait
    }
}

/// A client that could not be built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The base URL is no absolute `http` or `https` URL without a query.
    #[error(
        "base URL {url:?} is not an absolute http or https URL without user, query or fragment"
    )]
    BaseUrl {
        /// The URL that was given.
        url: String,
    },
    /// The model's name is empty or has characters that no provider uses.
    #[error("model name {model:?} is not 1 to 200 letters, digits, or one of . _ : / @ -")]
    Model {
        /// The name that was given.
        model: String,
    },
    /// A time limit is zero.
    #[error("{setting} must be longer than zero")]
    Zero {
        /// The name of the setting.
        setting: &'static str,
    },
    /// The HTTP client could not be built.
    #[error("the HTTP client could not be built")]
    Http(#[source] reqwest::Error),
}

fn shown(status: Option<u16>) -> String {
    status
        .map(|status| format!(", status {status}"))
        .unwrap_or_default()
}
