//! The sandbox's HTTP server.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::faults::{Fault, FaultMode, Faults};
use super::{judge, wire};
use crate::{Provider, prompt};

/// Two essays of 50,000 characters fit, whatever their script and however JSON writes them.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// Settings of the sandbox.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SandboxConfig {
    /// Decides the noise of every verdict.
    pub seed: u64,
    /// How noisy the judge is: 0 never errs, 1 errs as the Bradley–Terry model says of one point
    /// of quality a logit. Default 1.
    pub noise: f64,
    /// Faults that are set from the start.
    pub faults: Vec<Fault>,
}

/// What the sandbox says about itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SandboxStatus {
    /// Always true.
    pub sandbox: bool,
    /// What this server is, in words.
    pub what: String,
    /// The seed of its verdicts.
    pub seed: u64,
    /// Its noise.
    pub noise: f64,
    /// Judgements given, by provider.
    pub judgements: BTreeMap<String, u64>,
    /// Requests answered with anything else, by provider.
    pub refusals: BTreeMap<String, u64>,
    /// Faults that are set.
    pub faults: Vec<Fault>,
}

/// The stand-in for the four providers.
#[derive(Debug)]
pub struct Sandbox;

struct Room {
    seed: u64,
    noise: f64,
    shutdown: CancellationToken,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    faults: Faults,
    judgements: BTreeMap<String, u64>,
    refusals: BTreeMap<String, u64>,
}

impl SandboxConfig {
    /// Settings with this seed, a noise of 1 and no faults.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            noise: 1.0,
            faults: Vec::new(),
        }
    }

    /// The same settings with another noise.
    #[must_use]
    pub fn with_noise(mut self, noise: f64) -> Self {
        self.noise = noise;
        self
    }

    /// The same settings with one more fault from the start.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }
}

impl Sandbox {
    /// Serves on `listener` until `shutdown`, then answers what is under way and returns.
    ///
    /// `POST /v1/messages`, `POST /v1/chat/completions` and
    /// `POST /v1beta/models/{model}:generateContent` are the providers' own addresses. Because two
    /// providers share one of them, each provider also has its own root: `/anthropic`, `/openai`,
    /// `/google`, `/openrouter`. `GET /sandbox` says what this is, `POST /sandbox/faults` sets a
    /// [`Fault`], `DELETE /sandbox/faults` clears all.
    ///
    /// # Errors
    /// Fails when a fault of the settings cannot be set, or the listener breaks.
    pub async fn serve(
        listener: TcpListener,
        config: SandboxConfig,
        shutdown: CancellationToken,
    ) -> io::Result<()> {
        let mut inner = Inner::default();
        for fault in config.faults {
            inner
                .faults
                .set(fault)
                .map_err(|refused| io::Error::new(io::ErrorKind::InvalidInput, refused))?;
        }
        let room = Arc::new(Room {
            seed: config.seed,
            noise: config.noise,
            shutdown: shutdown.clone(),
            inner: Mutex::new(inner),
        });
        let router = Router::new()
            .route("/sandbox", get(status))
            .route("/sandbox/faults", post(set_fault).delete(clear_faults))
            .fallback(post(comparison))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(room);
        axum::serve(listener, router)
            .with_graceful_shutdown(async move { shutdown.cancelled().await })
            .await
    }
}

impl Room {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self, provider: Provider, status: u16, message: &str) -> Response {
        self.fail(provider, status, status, message, None)
    }

    /// An error in the provider's format that says `said` and is sent with `status`.
    fn fail(
        &self,
        provider: Provider,
        status: u16,
        said: u16,
        message: &str,
        retry_after_seconds: Option<u32>,
    ) -> Response {
        *self
            .lock()
            .refusals
            .entry(provider.as_str().to_owned())
            .or_default() += 1;
        let message = format!("{message} (sandbox)");
        let (body, wait) = wire::error(provider, said, &message, retry_after_seconds);
        let mut response = (wire::status_code(status), Json(body)).into_response();
        if let Some(seconds) = wait {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

async fn status(State(room): State<Arc<Room>>) -> Json<SandboxStatus> {
    let inner = room.lock();
    Json(SandboxStatus {
        sandbox: true,
        what: "A local sandbox. It counts features of texts; no AI has read them, and its \
               verdicts are no assessment of anybody."
            .to_owned(),
        seed: room.seed,
        noise: room.noise,
        judgements: inner.judgements.clone(),
        refusals: inner.refusals.clone(),
        faults: inner.faults.all().to_vec(),
    })
}

async fn set_fault(State(room): State<Arc<Room>>, body: Bytes) -> Response {
    let refused = |message: String| {
        (StatusCode::BAD_REQUEST, Json(json!({"error": message}))).into_response()
    };
    let fault: Fault = match serde_json::from_slice(&body) {
        Ok(fault) => fault,
        Err(error) => return refused(error.to_string()),
    };
    match room.lock().faults.set(fault) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => refused(error.to_string()),
    }
}

async fn clear_faults(State(room): State<Arc<Room>>) -> StatusCode {
    room.lock().faults.clear();
    StatusCode::NO_CONTENT
}

/// Tells from the path which provider is meant, and which model when the path names it.
fn addressed(path: &str) -> Option<(Provider, Option<&str>)> {
    let (root, rest) = Provider::ALL
        .into_iter()
        .find_map(|provider| {
            let rest = path.strip_prefix('/')?.strip_prefix(provider.as_str())?;
            rest.starts_with('/').then_some((Some(provider), rest))
        })
        .unwrap_or((None, path));
    let (provider, model) = match rest {
        "/v1/messages" => (Provider::Anthropic, None),
        "/v1/chat/completions" => {
            let provider = if root == Some(Provider::OpenRouter) {
                Provider::OpenRouter
            } else {
                Provider::OpenAi
            };
            (provider, None)
        }
        // The public address of OpenRouter ends in `/api`.
        "/api/v1/chat/completions" => (Provider::OpenRouter, None),
        _ => {
            let model = rest
                .strip_prefix("/v1beta/models/")?
                .strip_suffix(":generateContent")?;
            (Provider::Google, Some(model))
        }
    };
    root.is_none_or(|root| root == provider)
        .then_some((provider, model))
}

async fn comparison(
    State(room): State<Arc<Room>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some((provider, model)) = addressed(uri.path()) else {
        return (
            StatusCode::NOT_FOUND,
            Json(json!({"error": "no such path in the sandbox"})),
        )
            .into_response();
    };
    let fault = room.lock().faults.take(provider);
    let mut unknown_winner = false;
    match fault {
        None => {}
        Some(FaultMode::Status {
            status,
            retry_after_seconds,
        }) => {
            return room.fail(provider, status, status, "as told", retry_after_seconds);
        }
        Some(FaultMode::ErrorInSuccess) => {
            return room.fail(provider, 200, 503, "as told", None);
        }
        Some(FaultMode::Garbage) => {
            return (StatusCode::OK, "<html>no answer of a model</html>").into_response();
        }
        Some(FaultMode::Hang) => {
            room.shutdown.cancelled().await;
            return room.refuse(provider, 503, "the sandbox ends");
        }
        Some(FaultMode::Latency { latency_ms }) => {
            tokio::time::sleep(Duration::from_millis(latency_ms.into())).await;
        }
        Some(FaultMode::UnknownWinner) => unknown_winner = true,
    }
    if !wire::authorised(provider, &headers) {
        return room.refuse(provider, 401, "a key or version header is missing");
    }
    let read = serde_json::from_slice::<Value>(&body)
        .ok()
        .and_then(|body| wire::read(provider, &body, model));
    let Some(asked) = read else {
        return room.refuse(provider, 400, "the request has not the provider's shape");
    };
    let Some((essay_a, essay_b)) = prompt::find_essays(&asked.prompt) else {
        return room.refuse(provider, 400, "the prompt holds no two marked essays");
    };
    let judgement = judge::judge(essay_a, essay_b, room.seed, room.noise);
    let mut judgement = wire::judgement(&judgement);
    if unknown_winner {
        judgement["winner"] = "Essay C".into();
    }
    *room
        .lock()
        .judgements
        .entry(provider.as_str().to_owned())
        .or_default() += 1;
    Json(wire::answer(provider, &asked, &judgement)).into_response()
}
