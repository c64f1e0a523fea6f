//! The gateway as a user's program sees it.

use std::{path::Path, time::Duration};

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
    Client, RequestBuilder, Response, StatusCode,
    multipart::{Form, Part},
};

/// How often a refusal with "come again" is obeyed before it counts as a failure.
const TRIES: u32 = 8;

/// A client with a token.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    http: Client,
    url: String,
    token: String,
}

impl Gateway {
    /// A client of the gateway at `url`.
    pub(crate) fn new(url: String, token: String) -> anyhow::Result<Self> {
        let http = Client::builder()
            .no_proxy()
            .timeout(Duration::from_mins(2))
            .build()
            .context("no HTTP client")?;
        Ok(Self { http, url, token })
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
            .send("register the batch", || {
                Ok(self.http.post(&url).json(request))
            })
            .await?;
        Ok(answer
            .json::<RegisterBatchResponse>()
            .await
            .context("the gateway's answer is not readable")?
            .batch_id)
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
        self.send("upload the files", || {
            let mut form = Form::new().text("batch_id", batch.to_string());
            for (name, bytes) in &contents {
                form = form.part("files", Part::bytes(bytes.clone()).file_name(name.clone()));
            }
            Ok(self.http.post(&url).multipart(form))
        })
        .await?;
        Ok(())
    }

    /// Asks for a pipeline.
    pub(crate) async fn request_pipeline(&self, request: &PipelineRequest) -> anyhow::Result<()> {
        let url = format!("{}/v1/batches/{}/pipelines", self.url, request.batch_id);
        self.send("request the pipeline", || {
            Ok(self.http.post(&url).json(request))
        })
        .await?;
        Ok(())
    }

    /// Where the batch stands.
    pub(crate) async fn status(&self, batch: &BatchId) -> anyhow::Result<BatchStatusBody> {
        let url = format!("{}/v1/batches/{batch}/status", self.url);
        let answer = self
            .send("ask for the batch's status", || Ok(self.http.get(&url)))
            .await?;
        answer
            .json()
            .await
            .context("the gateway's answer is not readable")
    }

    /// Sends; a 503 with Retry-After is obeyed some times, because the platform heals itself.
    async fn send(
        &self,
        what: &str,
        request: impl Fn() -> anyhow::Result<RequestBuilder>,
    ) -> anyhow::Result<Response> {
        let mut tries = 0;
        loop {
            tries += 1;
            let answer = request()?
                .bearer_auth(&self.token)
                .send()
                .await
                .with_context(|| format!("could not {what}"))?;
            let status = answer.status();
            if status.is_success() {
                return Ok(answer);
            }
            let after = answer
                .headers()
                .get("retry-after")
                .and_then(|v| v.to_str().ok()?.parse::<u64>().ok())
                .map(|seconds| Duration::from_secs(seconds.min(30)));
            if let (StatusCode::SERVICE_UNAVAILABLE, Some(wait), true) =
                (status, after, tries < TRIES)
            {
                tracing::warn!(
                    what,
                    wait_seconds = wait.as_secs(),
                    "the gateway asks to come again"
                );
                tokio::time::sleep(wait).await;
                continue;
            }
            let text = answer.text().await.unwrap_or_default();
            let message = serde_json::from_str::<ErrorBody>(&text).map_or(text, |body| {
                format!("{} ({})", body.error.message, body.error.code)
            });
            bail!("could not {what}: {status}: {message}");
        }
    }
}
