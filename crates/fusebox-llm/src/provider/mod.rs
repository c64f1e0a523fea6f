//! The four providers, what they have in common, and how each one's format looks.

mod anthropic;
mod client;
mod google;
mod openai;
mod openrouter;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{HeaderName, HeaderValue};
use serde_json::Value;
use thiserror::Error;

use crate::answer::{AnswerError, Judgement};
use crate::{ApiKey, JudgeError, JudgeRequest, Judged, Usage};

pub use client::ProviderClient;

/// An AI provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Provider {
    /// Anthropic's Messages API.
    Anthropic,
    /// `OpenAI`'s Chat Completions API.
    OpenAi,
    /// Google's Gemini Developer API.
    Google,
    /// OpenRouter, which passes requests on to others.
    OpenRouter,
}

/// A judge: one provider with its model, its circuit and its gates.
#[async_trait]
pub trait JudgeProvider: fmt::Debug + Send + Sync {
    /// The provider.
    fn provider(&self) -> Provider;

    /// The model that is asked unless a request says otherwise.
    fn model(&self) -> &str;

    /// Asks for one judgement.
    ///
    /// # Errors
    /// Fails when there is no readable judgement in time, with a verdict what that means.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the request and is no evidence against the provider.
    async fn judge(&self, request: &JudgeRequest) -> Result<Judged, JudgeError>;

    /// Notes that another provider answered a request that this one had not.
    fn passed_over(&self) {}
}

/// Settings of a [`ProviderClient`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// The provider.
    pub provider: Provider,
    /// Where its API is; a path in it stays in front of the API's own.
    pub base_url: String,
    /// The key.
    pub api_key: ApiKey,
    /// The model to ask unless a request says otherwise.
    pub model: String,
    /// Longest time for one request and its answer. 60 s.
    pub timeout: Duration,
    /// Longest time to connect. 5 s.
    pub connect_timeout: Duration,
}

impl ClientConfig {
    /// Settings with the provider's public address, its usual model and the default time limits.
    #[must_use]
    pub fn new(provider: Provider, api_key: ApiKey) -> Self {
        Self {
            provider,
            base_url: provider.base_url().to_owned(),
            api_key,
            model: provider.default_model().to_owned(),
            timeout: Duration::from_mins(1),
            connect_timeout: Duration::from_secs(5),
        }
    }

    /// The same settings with another address.
    #[must_use]
    pub fn with_base_url(mut self, base_url: impl Into<String>) -> Self {
        self.base_url = base_url.into();
        self
    }

    /// The same settings with another model.
    #[must_use]
    pub fn with_model(mut self, model: impl Into<String>) -> Self {
        self.model = model.into();
        self
    }

    /// The same settings with another limit for one request and its answer.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same settings with another limit for connecting.
    #[must_use]
    pub fn with_connect_timeout(mut self, connect_timeout: Duration) -> Self {
        self.connect_timeout = connect_timeout;
        self
    }
}

/// A name that is no provider's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("provider {0:?} is none of anthropic, openai, google, openrouter")]
pub struct UnknownProvider(pub String);

impl Provider {
    /// Every provider.
    pub const ALL: [Self; 4] = [
        Self::Anthropic,
        Self::OpenAi,
        Self::Google,
        Self::OpenRouter,
    ];

    /// The provider's name in settings, metrics and events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
            Self::Google => "google",
            Self::OpenRouter => "openrouter",
        }
    }

    /// The public address of the provider's API.
    #[must_use]
    pub fn base_url(self) -> &'static str {
        match self {
            Self::Anthropic => "https://api.anthropic.com",
            Self::OpenAi => "https://api.openai.com",
            Self::Google => "https://generativelanguage.googleapis.com",
            Self::OpenRouter => "https://openrouter.ai/api",
        }
    }

    /// The model that is asked unless settings say otherwise.
    #[must_use]
    pub fn default_model(self) -> &'static str {
        match self {
            Self::Anthropic => "claude-haiku-4-5-20251001",
            Self::OpenAi => "gpt-5-mini-2025-08-07",
            Self::Google => "gemini-2.5-flash",
            Self::OpenRouter => "anthropic/claude-haiku-4.5",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Provider {
    type Err = UnknownProvider;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|provider| provider.as_str() == name)
            .ok_or_else(|| UnknownProvider(name.to_owned()))
    }
}

/// A request in a provider's format.
struct WireRequest {
    /// Path segments after the base URL.
    path: Vec<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Value,
}

/// What a successful answer of a provider holds.
struct WireAnswer {
    judgement: Result<Judgement, AnswerError>,
    usage: Usage,
}

fn wire_request(
    provider: Provider,
    key: &ApiKey,
    model: &str,
    request: &JudgeRequest,
) -> WireRequest {
    match provider {
        Provider::Anthropic => anthropic::request(key, model, request),
        Provider::OpenAi => openai::request(key, model, request),
        Provider::Google => google::request(key, model, request),
        Provider::OpenRouter => openrouter::request(key, model, request),
    }
}

fn wire_answer(provider: Provider, body: &Value) -> WireAnswer {
    match provider {
        Provider::Anthropic => anthropic::answer(body),
        Provider::Google => google::answer(body),
        Provider::OpenAi | Provider::OpenRouter => openai::answer(body),
    }
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}
