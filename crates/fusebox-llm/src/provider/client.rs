//! The client of one provider: gates, circuit, one HTTP request, a verdict.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use fusebox::{CircuitBreaker, Outcome};
use fusebox_resilient::{CallResult, CallSpan, Context, Ids};
use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Url, redirect};
use serde_json::Value;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::{ClientConfig, JudgeProvider, Provider, wire_answer, wire_request};
use crate::error::ProviderSaid;
use crate::sandbox;
use crate::verdict::{self, Kind};
use crate::{ApiKey, BuildError, Gate, JudgeError, JudgeRequest, Judged, Verdict};

/// Answers longer than this are not read to their end.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// Longest part of a provider's message that is kept.
const MAX_MESSAGE_CHARS: usize = 300;
/// How long a throttled provider is left alone when it does not say.
const DEFAULT_THROTTLE: Duration = Duration::from_secs(1);
/// How long a throttle is believed.
const MAX_THROTTLE: Duration = Duration::from_mins(15);
/// How long a refused key or a spent budget is left alone before it is tried again.
const CREDENTIAL_HOLD: Duration = Duration::from_mins(5);
/// What a fallback to another provider is called in the circuit's metrics.
const FALLBACK: &str = "provider_failover";

/// The client of one provider.
///
/// Each request passes the gate of the key (closed for five minutes after the key or its budget was
/// refused), the gate of the throttle (closed for as long as the provider asks, at most 15
/// minutes) and the circuit breaker, in this order, and is then sent once. Redirects are not
/// followed, so that the key goes nowhere else.
pub struct ProviderClient {
    provider: Provider,
    base: Url,
    key: ApiKey,
    model: String,
    timeout: Duration,
    http: reqwest::Client,
    breaker: CircuitBreaker,
    credential: Gate,
    throttle: Gate,
    ids: Box<dyn Fn() -> Ids + Send + Sync>,
}

/// What is done under the circuit, in spans and errors.
const OPERATION: &str = "judge";

impl ProviderClient {
    /// Makes a client whose requests are guarded by `breaker`.
    ///
    /// # Errors
    /// Fails when a setting is not usable or the HTTP client cannot be built.
    pub fn new(config: ClientConfig, breaker: CircuitBreaker) -> Result<Self, BuildError> {
        let base = base_url(&config.base_url)?;
        if !usable_model(&config.model) {
            return Err(BuildError::Model {
                model: config.model,
            });
        }
        for (setting, value) in [
            ("timeout", config.timeout),
            ("connect_timeout", config.connect_timeout),
        ] {
            if value.is_zero() {
                return Err(BuildError::Zero { setting });
            }
        }
        install_tls();
        let mut http = reqwest::Client::builder()
            .connect_timeout(config.connect_timeout)
            .redirect(redirect::Policy::none());
        if is_loopback(&base) {
            // A proxy of the environment must not stand between us and our own machine.
            http = http.no_proxy();
        }
        breaker.declare_fallback(FALLBACK);
        Ok(Self {
            provider: config.provider,
            base,
            key: config.api_key,
            model: config.model,
            timeout: config.timeout,
            http: http.build().map_err(BuildError::Http)?,
            breaker,
            credential: Gate::default(),
            throttle: Gate::default(),
            ids: Box::new(Ids::current),
        })
    }

    /// Says where the ids of the work under way come from, which spans and errors carry; default
    /// [`Ids::current`].
    #[must_use]
    pub fn with_ids(mut self, source: impl Fn() -> Ids + Send + Sync + 'static) -> Self {
        self.ids = Box::new(source);
        self
    }

    /// The gate that closes when the key or its budget is refused.
    pub fn credential_gate(&self) -> &Gate {
        &self.credential
    }

    /// The gate that closes when the provider asks for fewer requests.
    pub fn throttle_gate(&self) -> &Gate {
        &self.throttle
    }

    /// The circuit breaker.
    pub fn breaker(&self) -> &CircuitBreaker {
        &self.breaker
    }

    async fn judge_within(
        &self,
        request: &JudgeRequest,
        mut span: CallSpan,
    ) -> Result<Judged, JudgeError> {
        let model = request.model_at(self.provider, &self.model);
        let error = |failed: Failed, sent| JudgeError {
            provider: self.provider,
            model: model.to_owned(),
            verdict: failed.verdict,
            status: failed.status,
            sent,
            context: Box::new(Context::of(
                &self.breaker,
                OPERATION,
                (self.ids)(),
                u32::from(sent),
            )),
            cause: failed.cause,
        };
        let admitted = self.admit(request).map_err(|verdict| Failed {
            verdict,
            status: None,
            cause: None,
        });
        let permitted = admitted.and_then(|timeout| match self.breaker.try_acquire() {
            Ok(permit) => Ok((timeout, permit)),
            Err(refusal) => Err(Failed {
                verdict: Verdict::of(Kind::CircuitOpen).waiting(refusal.retry_after()),
                status: None,
                cause: Some(Box::new(refusal)),
            }),
        });
        let (timeout, permit) = match permitted {
            Ok(permitted) => permitted,
            Err(refused) => {
                span.finish(CallResult::Blocked);
                return Err(error(refused, false));
            }
        };
        span.count_attempt();
        // A deadline that leaves less than the usual time is the caller's, not the provider's fault.
        let too_late = if timeout < self.timeout {
            Kind::DeadlinePassed
        } else {
            Kind::Timeout
        };
        let result = tokio::time::timeout(timeout, self.send(model, request))
            .await
            .unwrap_or_else(|elapsed| Err(Failed::caused(too_late, None, elapsed)));
        match result {
            Ok(judged) => {
                permit.record(Outcome::Success);
                span.finish(CallResult::Success);
                Ok(judged)
            }
            Err(failed) => {
                let outcome = failed.verdict.outcome;
                permit.record_with_hint(outcome, failed.verdict.wait);
                self.heed(failed.verdict);
                span.finish(CallResult::of(outcome));
                Err(error(failed, true))
            }
        }
    }

    /// The time one attempt may take, or the refusal to make it.
    fn admit(&self, request: &JudgeRequest) -> Result<Duration, Verdict> {
        if request
            .model
            .as_ref()
            .is_some_and(|choice| choice.provider == self.provider && !usable_model(&choice.model))
        {
            return Err(Verdict::of(Kind::BadRequest));
        }
        for gate in [&self.credential, &self.throttle] {
            if let Some(hold) = gate.held() {
                let left = hold.until.saturating_duration_since(Instant::now());
                return Err(Verdict::of(hold.kind).waiting(Some(left)));
            }
        }
        let timeout = request
            .time_left()
            .map_or(self.timeout, |left| left.min(self.timeout));
        if timeout.is_zero() {
            return Err(Verdict::of(Kind::DeadlinePassed));
        }
        Ok(timeout)
    }

    /// Closes the gate a verdict calls for.
    fn heed(&self, verdict: Verdict) {
        match verdict.kind {
            Kind::RateLimited => {
                let wait = verdict.wait.unwrap_or(DEFAULT_THROTTLE).min(MAX_THROTTLE);
                self.throttle.close(wait, verdict.kind);
            }
            Kind::Auth | Kind::QuotaExhausted => {
                let wait = verdict.wait.unwrap_or(CREDENTIAL_HOLD).min(CREDENTIAL_HOLD);
                self.credential
                    .close(wait.max(DEFAULT_THROTTLE), verdict.kind);
                tracing::warn!(
                    provider = self.provider.as_str(),
                    kind = verdict.kind.as_str(),
                    "a provider refused its key or budget"
                );
            }
            _ => {}
        }
    }

    async fn send(&self, model: &str, request: &JudgeRequest) -> Result<Judged, Failed> {
        let wire = wire_request(self.provider, &self.key, model, request);
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Failed::of(Kind::BadRequest))?
            .pop_if_empty()
            .extend(&wire.path);
        let mut headers: HeaderMap = wire.headers.into_iter().collect();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = serde_json::to_vec(&wire.body).expect("a JSON value can be written");

        let started = Instant::now();
        let response = self
            .http
            .post(url)
            .headers(headers)
            .body(body)
            .send()
            .await
            .map_err(|error| Failed::transport(error, None))?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let body = read_bounded(response).await?;
        let elapsed = started.elapsed();

        if let Some(verdict) =
            verdict::judge(self.provider, status, &headers, &body, Timestamp::now())
        {
            return Err(Failed {
                verdict,
                status: Some(status),
                cause: Some(Box::new(ProviderSaid(excerpt(&body, &self.key)))),
            });
        }
        let body: Value = serde_json::from_slice(&body)
            .map_err(|error| Failed::caused(Kind::Truncated, Some(status), error))?;
        let answer = wire_answer(self.provider, &body);
        Ok(Judged {
            judgement: answer
                .judgement
                .map_err(|error| Failed::caused(Kind::InvalidOutput, Some(status), error))?,
            provider: self.provider,
            model: model.to_owned(),
            usage: answer.usage,
            elapsed,
            sandbox: body[sandbox::MARK_FIELD] == true,
            passed_over: Vec::new(),
        })
    }
}

#[async_trait]
impl JudgeProvider for ProviderClient {
    fn provider(&self) -> Provider {
        self.provider
    }

    fn model(&self) -> &str {
        &self.model
    }

    async fn judge(&self, request: &JudgeRequest) -> Result<Judged, JudgeError> {
        let span = CallSpan::begin(&self.breaker, OPERATION, &self.ids);
        let within = span.span().clone();
        self.judge_within(request, span).instrument(within).await
    }

    fn passed_over(&self) {
        self.breaker.fallback(FALLBACK);
    }
}

impl fmt::Debug for ProviderClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderClient")
            .field("provider", &self.provider)
            .field("base", &self.base.as_str())
            .field("model", &self.model)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// An attempt that gave no judgement.
struct Failed {
    verdict: Verdict,
    status: Option<u16>,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Failed {
    fn of(kind: Kind) -> Self {
        Self {
            verdict: Verdict::of(kind),
            status: None,
            cause: None,
        }
    }

    fn caused(
        kind: Kind,
        status: Option<u16>,
        cause: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self {
            verdict: Verdict::of(kind),
            status,
            cause: Some(Box::new(cause)),
        }
    }

    fn transport(error: reqwest::Error, status: Option<u16>) -> Self {
        let kind = if error.is_timeout() {
            Kind::Timeout
        } else {
            Kind::Unavailable
        };
        Self::caused(kind, status, error.without_url())
    }
}

/// Reads a body up to the limit; a longer one is broken.
async fn read_bounded(mut response: reqwest::Response) -> Result<Vec<u8>, Failed> {
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| Failed::transport(error, Some(status)))?
    {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(Failed {
                status: Some(status),
                ..Failed::of(Kind::Truncated)
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What a provider said, short, on one line, and without the key that it may repeat.
fn excerpt(body: &[u8], key: &ApiKey) -> String {
    let text = String::from_utf8_lossy(body);
    let json = serde_json::from_str::<Value>(&text).unwrap_or(Value::Null);
    let message = json["error"]["message"].as_str().unwrap_or(&text);
    let one_line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let one_line = key.removed_from(&one_line);
    one_line.chars().take(MAX_MESSAGE_CHARS).collect()
}

fn base_url(text: &str) -> Result<Url, BuildError> {
    let refused = || BuildError::BaseUrl {
        url: text.to_owned(),
    };
    let url = Url::parse(text).map_err(|_| refused())?;
    let usable = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    usable.then_some(url).ok_or_else(refused)
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
        None => false,
    }
}

fn usable_model(model: &str) -> bool {
    (1..=200).contains(&model.len())
        && model
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._:/@-".contains(&byte))
}

/// Gives the process a TLS provider unless it has one.
fn install_tls() {
    if rustls::crypto::CryptoProvider::get_default().is_none()
        && rustls::crypto::ring::default_provider()
            .install_default()
            .is_err()
    {
        tracing::trace!("another part of the process installed a TLS provider first");
    }
}
