//! The gateway as a user's program sees it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use huleedu_contracts::{
    api::{
        gateway::{BatchStatusBody, ClientRegisterRequest, PipelineRequest},
        orchestrator::RegisterBatchResponse,
    },
    error::ErrorBody,
    ids::BatchId,
};
use reqwest::{
    Client, RequestBuilder, StatusCode,
    multipart::{Form, Part},
};
use serde::de::DeserializeOwned;

/// How often a refusal with "come again" is obeyed before it counts as a failure.
const TRIES: u32 = 8;

/// How long a patient client waits for a gateway that is away, before it counts as a failure.
const PATIENCE: Duration = Duration::from_mins(2);
/// How often it looks whether the gateway is back.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// A client with a token.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    http: Client,
    url: String,
    token: String,
    patience: Duration,
}

/// Whether a request may be sent again when it is not known what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    May,
    MustNot,
}

impl Gateway {
    /// A client of the gateway at `url`.
    pub(crate) fn new(url: String, token: String) -> anyhow::Result<Self> {
        let http = Client::builder()
            .no_proxy()
            .timeout(Duration::from_mins(2))
            .build()
            .context("no HTTP client")?;
        Ok(Self {
            http,
            url,
            token,
            patience: Duration::ZERO,
        })
    }

    /// A client that waits for a gateway that is away for a while: it may be started again.
    pub(crate) fn patient(url: String, token: String) -> anyhow::Result<Self> {
        Ok(Self {
            patience: PATIENCE,
            ..Self::new(url, token)?
        })
    }

    /// Its address.
    #[cfg(test)]
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Registers a batch.
    pub(crate) async fn register(
        &self,
        request: &ClientRegisterRequest,
    ) -> anyhow::Result<BatchId> {
        let url = format!("{}/v1/batches/register", self.url);
        let answer = self
            .send("register the batch", Again::MustNot, || {
                self.http.post(&url).json(request)
            })
            .await?;
        let body: RegisterBatchResponse = read(&answer)?;
        Ok(body.batch_id)
    }

    /// Uploads some files in one request.
    pub(crate) async fn upload(&self, batch: &BatchId, files: &[&Path]) -> anyhow::Result<()> {
        let url = format!("{}/v1/files/batch", self.url);
        let mut contents = Vec::new();
        for file in files {
            let name = file
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let bytes = tokio::fs::read(file)
                .await
                .with_context(|| format!("cannot read {}", file.display()))?;
            contents.push((name, bytes));
        }
        self.send("upload the files", Again::MustNot, || {
            let mut form = Form::new().text("batch_id", batch.to_string());
            for (name, bytes) in &contents {
                form = form.part("files", Part::bytes(bytes.clone()).file_name(name.clone()));
            }
            self.http.post(&url).multipart(form)
        })
        .await?;
        Ok(())
    }

    /// Asks for a pipeline.
    pub(crate) async fn request_pipeline(&self, request: &PipelineRequest) -> anyhow::Result<()> {
        let url = format!("{}/v1/batches/{}/pipelines", self.url, request.batch_id);
        self.send("request the pipeline", Again::MustNot, || {
            self.http.post(&url).json(request)
        })
        .await?;
        Ok(())
    }

    /// Where the batch stands.
    pub(crate) async fn status(&self, batch: &BatchId) -> anyhow::Result<BatchStatusBody> {
        let url = format!("{}/v1/batches/{batch}/status", self.url);
        let answer = self
            .send("ask for the batch's status", Again::May, || {
                self.http.get(&url)
            })
            .await?;
        read(&answer)
    }

    /// Sends, and reads the answer's body. A 503 with Retry-After is obeyed some times, because the
    /// platform heals itself; a gateway that is away is waited for as long as patience lasts.
    async fn send(
        &self,
        what: &str,
        again: Again,
        request: impl Fn() -> RequestBuilder,
    ) -> anyhow::Result<Vec<u8>> {
        let mut tries = 0;
        let mut away_since: Option<Instant> = None;
        loop {
            let request = request().bearer_auth(&self.token);
            let answer = match exchange(request).await {
                Ok(answer) => answer,
                Err(error) => {
                    // Nothing was sent on a connection that never was.
                    let harmless = error.is_connect() || again == Again::May;
                    let since = *away_since.get_or_insert_with(Instant::now);
                    if !harmless || since.elapsed() >= self.patience {
                        return Err(error).with_context(|| format!("could not {what}"));
                    }
                    tracing::warn!(what, %error, "the gateway is away");
                    tokio::time::sleep(LOOK_AGAIN).await;
                    continue;
                }
            };
            away_since = None;
            if answer.status.is_success() {
                return Ok(answer.body);
            }
            tries += 1;
            if let (StatusCode::SERVICE_UNAVAILABLE, Some(wait), true) =
                (answer.status, answer.retry_after, tries < TRIES)
            {
                tracing::warn!(
                    what,
                    wait_seconds = wait.as_secs(),
                    "the gateway asks to come again"
                );
                tokio::time::sleep(wait).await;
                continue;
            }
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            let message = serde_json::from_str::<ErrorBody>(&text).map_or(text, |body| {
                format!("{} ({})", body.error.message, body.error.code)
            });
            bail!("could not {what}: {}: {message}", answer.status);
        }
    }
}

/// An answer that has come whole.
struct Answer {
    status: StatusCode,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

async fn exchange(request: RequestBuilder) -> Result<Answer, reqwest::Error> {
    let answer = request.send().await?;
    let retry_after = answer.headers().get("retry-after");
    let seconds = retry_after.and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    Ok(Answer {
        status: answer.status(),
        retry_after: seconds.map(|seconds| Duration::from_secs(seconds.min(30))),
        body: answer.bytes().await?.to_vec(),
    })
}

fn read<T: DeserializeOwned>(body: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(body).context("the gateway's answer is not readable")
}
