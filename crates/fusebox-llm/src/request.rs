//! What is asked of a judge, and what comes back.

use std::time::Duration;

use tokio::time::Instant;

use crate::{Judgement, Provider};

/// One comparison, as it is put to a provider.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct JudgeRequest {
    /// The system prompt: what kind of judge the model is.
    pub system: String,
    /// The user's message, block by block. Cacheable blocks come first.
    pub blocks: Vec<PromptBlock>,
    /// A model to use instead of the provider's configured one. Providers other than the one it
    /// names keep theirs.
    pub model: Option<ModelChoice>,
    /// Sampling temperature. Zero means zero; `None` leaves it to the provider. Models that take no
    /// temperature are not sent one.
    pub temperature: Option<f64>,
    /// Most tokens the answer may have.
    pub max_tokens: u32,
    /// When the answer is of no more use. Bounds waiting and calling over all attempts.
    pub deadline: Option<Instant>,
}

/// A part of the user's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptBlock {
    /// The text.
    pub text: String,
    /// Whether later requests begin with the same text, so that a provider may keep it.
    pub cacheable: bool,
}

/// A model of one provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelChoice {
    /// The provider that has the model.
    pub provider: Provider,
    /// The provider's name of the model.
    pub model: String,
}

/// A judgement, and who gave it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Judged {
    /// The judgement.
    pub judgement: Judgement,
    /// The provider that answered.
    pub provider: Provider,
    /// The model that was asked.
    pub model: String,
    /// What it cost.
    pub usage: Usage,
    /// Time from sending the request to having read the answer.
    pub elapsed: Duration,
    /// Whether the answer came from the [sandbox](crate::sandbox), which says so itself.
    pub sandbox: bool,
    /// Providers that were passed over before this one answered, in order; empty when the first
    /// one answered.
    pub passed_over: Vec<Provider>,
}

/// The tokens of a request, as the provider counts them; zero where it did not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the prompt, cached ones included.
    pub prompt: u64,
    /// Tokens of the answer.
    pub completion: u64,
}

impl Usage {
    /// Tokens in all.
    #[must_use]
    pub fn total(self) -> u64 {
        self.prompt.saturating_add(self.completion)
    }
}

/// Most tokens an answer may have, unless a request says otherwise. Models that think before they
/// answer spend most of them on thinking.
pub(crate) const DEFAULT_MAX_TOKENS: u32 = 4096;

impl JudgeRequest {
    /// A request with a temperature of zero, 4096 tokens for the answer and no deadline.
    #[must_use]
    pub fn new(system: impl Into<String>, blocks: Vec<PromptBlock>) -> Self {
        Self {
            system: system.into(),
            blocks,
            model: None,
            temperature: Some(0.0),
            max_tokens: DEFAULT_MAX_TOKENS,
            deadline: None,
        }
    }

    /// The model to ask at `provider`, which is otherwise `configured`.
    pub(crate) fn model_at<'a>(&'a self, provider: Provider, configured: &'a str) -> &'a str {
        match &self.model {
            Some(choice) if choice.provider == provider => &choice.model,
            _ => configured,
        }
    }

    /// The time that is left; `None` without a deadline.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        self.deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }
}
