//! The client of the Content Service: store bytes, fetch bytes.

use async_trait::async_trait;
use bytes::Bytes;
use fusebox_http::{HttpClient, HttpError};
use http::{StatusCode, header};
use huleedu_contracts::{api::content::StoreContentResponse, ids::StorageId};
use thiserror::Error;

use crate::consumer::HandlerError;

/// Stored bytes with their type.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Content {
    /// The bytes.
    pub bytes: Bytes,
    /// Their media type.
    pub content_type: String,
}

/// Why content could not be fetched or stored.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ContentError {
    /// There is nothing under this id, and there will never be.
    #[error("content {0} does not exist")]
    NotFound(StorageId),
    /// The bytes are not UTF-8 text.
    #[error("content {0} is not text")]
    NotText(StorageId),
    /// The call failed.
    #[error("the Content Service could not be used")]
    Call(#[from] HttpError),
}

impl ContentError {
    /// Whether a later try may succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Call(error) if error.is_transient())
    }

    /// When to try again, if known.
    pub fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Call(error) => error.retry_after(),
            _ => None,
        }
    }
}

impl From<ContentError> for HandlerError {
    fn from(error: ContentError) -> Self {
        if error.is_transient() {
            Self::Retry {
                after: error.retry_after(),
                source: Box::new(error),
            }
        } else {
            Self::permanent(error)
        }
    }
}

/// What services need of the Content Service.
#[async_trait]
pub trait ContentClient: Send + Sync + std::fmt::Debug {
    /// Fetches bytes.
    async fn fetch(&self, id: &StorageId) -> Result<Content, ContentError>;

    /// Stores bytes durably; the same bytes of the same type always get the same id.
    async fn store(&self, bytes: Bytes, content_type: &str) -> Result<StorageId, ContentError>;

    /// Fetches text.
    async fn fetch_text(&self, id: &StorageId) -> Result<String, ContentError> {
        let content = self.fetch(id).await?;
        String::from_utf8(content.bytes.into()).map_err(|_| ContentError::NotText(id.clone()))
    }

    /// Stores text.
    async fn store_text(&self, text: &str) -> Result<StorageId, ContentError> {
        self.store(
            Bytes::copy_from_slice(text.as_bytes()),
            "text/plain; charset=utf-8",
        )
        .await
    }
}

/// The client over HTTP, behind the circuit it was built with.
#[derive(Debug, Clone)]
pub struct HttpContentClient {
    http: HttpClient,
}

impl HttpContentClient {
    /// A client on `http`, whose base URL is the Content Service.
    pub fn new(http: HttpClient) -> Self {
        Self { http }
    }
}

#[async_trait]
impl ContentClient for HttpContentClient {
    async fn fetch(&self, id: &StorageId) -> Result<Content, ContentError> {
        let request = self.http.get(format!("/v1/content/{id}"));
        let response = request.operation("fetch").send().await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(ContentError::NotFound(id.clone()));
        }
        let response = response.error_for_status()?;
        let content_type = response
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .unwrap_or("application/octet-stream")
            .to_owned();
        Ok(Content {
            bytes: response.bytes(),
            content_type,
        })
    }

    async fn store(&self, bytes: Bytes, content_type: &str) -> Result<StorageId, ContentError> {
        let response = self
            .http
            .post("/v1/content")
            .operation("store")
            .body(bytes, content_type)
            // Storing by hash twice is storing once.
            .idempotent(true)
            .send()
            .await?
            .error_for_status()?;
        Ok(response.json::<StoreContentResponse>()?.storage_id)
    }
}
