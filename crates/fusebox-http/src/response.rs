//! An answer, read to its end.

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use crate::error::{HttpError, HttpErrorKind};
use crate::judge::is_rejection;
use crate::request::Call;
use crate::retry_after::parse_retry_after;

/// An answer whose body has been read to its end.
#[derive(Debug, Clone)]
pub struct Response {
    pub(crate) target: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) call: Call,
}

impl Response {
    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body; a cheap handle to the same bytes.
    pub fn bytes(&self) -> Bytes {
        self.body.clone()
    }

    /// The body as text.
    ///
    /// # Errors
    /// [`HttpErrorKind::Decode`] when it is not UTF-8.
    pub fn text(&self) -> Result<String, HttpError> {
        match std::str::from_utf8(&self.body) {
            Ok(text) => Ok(text.to_owned()),
            Err(source) => Err(self.decode("UTF-8 text", source)),
        }
    }

    /// The body, read as JSON.
    ///
    /// # Errors
    /// [`HttpErrorKind::Decode`] when it is not JSON of that shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, HttpError> {
        serde_json::from_slice(&self.body).map_err(|source| self.decode("JSON", source))
    }

    /// Turns an answer of 4xx or 5xx into an error that keeps its status and body.
    ///
    /// # Errors
    /// [`HttpErrorKind::Status`] for every 4xx and 5xx.
    pub fn error_for_status(self) -> Result<Self, HttpError> {
        if !(self.status.is_client_error() || self.status.is_server_error()) {
            return Ok(self);
        }
        let kind = HttpErrorKind::Status {
            retry_after: parse_retry_after(&self.headers, SystemTime::now()),
            rejected: is_rejection(self.status, &self.headers),
            target: self.target,
            status: self.status,
            body: self.body,
        };
        Err(self.call.failed(kind))
    }

    fn decode(
        &self,
        expected: &'static str,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> HttpError {
        self.call.failed(HttpErrorKind::Decode {
            target: self.target.clone(),
            expected,
            source: Box::new(source),
        })
    }
}
