//! The error that every route answers with: the platform's error body, its status, and for our own
//! refusals `Retry-After` and the header that tells a caller's circuit to stay neutral.

use std::{collections::BTreeMap, error::Error, fmt, time::Duration};

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use fusebox_http::{HttpError, HttpErrorKind, REJECTED_HEADER};
use fusebox_kafka::PublishError;
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use huleedu_contracts::error::{ErrorBody, ErrorCode, ErrorContent};
use tracing::{error, info};

use crate::{consumer::HandlerError, context::CallContext, store::StoreError};

/// What a handler returns.
pub type ApiResult<T> = Result<T, ApiError>;

/// An error as the client sees it, with its cause for the log.
#[derive(Debug)]
pub struct ApiError {
    code: ErrorCode,
    message: String,
    details: BTreeMap<String, serde_json::Value>,
    retry_after: Option<Duration>,
    refused_by: Option<&'static str>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl ApiError {
    /// An error with a message for the client.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: BTreeMap::new(),
            retry_after: None,
            refused_by: None,
            cause: None,
        }
    }

    /// 404 with a message such as "batch … does not exist".
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::ResourceNotFound, message)
    }

    /// 400 with a message that says what is allowed.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::ValidationError, message)
    }

    /// 403.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::AuthorizationError, message)
    }

    /// Adds one detail to the body.
    #[must_use]
    pub fn with_detail(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Adds the cause, for the log only.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Says when to come again.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Marks the answer as our own refusal (`circuit`, `queue`, `limit`), neutral for the caller's
    /// circuit.
    #[must_use]
    pub fn refused_by(mut self, what: &'static str) -> Self {
        self.refused_by = Some(what);
        self
    }

    /// Its code.
    pub fn code(&self) -> ErrorCode {
        self.code
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ApiError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::OutboxFull { .. } | StoreError::OutboxBytesFull { .. } => Self::new(
                ErrorCode::KafkaPublishError,
                "too many events wait for Kafka; try again later",
            )
            .with_retry_after(Duration::from_secs(5))
            .refused_by("queue"),
            _ => Self::new(ErrorCode::ProcessingError, "the service's store failed"),
        }
        .with_cause(error)
    }
}

impl From<PublishError> for ApiError {
    /// The event is not safe: full is our refusal, anything else a failure of ours.
    fn from(error: PublishError) -> Self {
        let full = matches!(error, PublishError::Full | PublishError::NoSpace);
        let answer = Self::new(
            ErrorCode::KafkaPublishError,
            "the event could not be made safe",
        )
        .with_retry_after(Duration::from_secs(5))
        .with_cause(error);
        if full {
            answer.refused_by("queue")
        } else {
            answer
        }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl From<HttpError> for ApiError {
    /// A call of another service failed: an open circuit is our refusal, the rest a bad gateway.
    fn from(error: HttpError) -> Self {
        let answer = if let Some(refusal) = error.not_permitted() {
            let after = refusal.retry_after().unwrap_or(Duration::from_secs(1));
            Self::new(
                ErrorCode::CircuitBreakerOpen,
                "a service that is needed is not available",
            )
            .with_detail("circuit", refusal.circuit())
            .with_retry_after(after)
            .refused_by("circuit")
        } else if matches!(error.kind(), HttpErrorKind::Timeout { .. }) {
            Self::new(
                ErrorCode::Timeout,
                "a service that is needed did not answer in time",
            )
        } else if error.status() == Some(StatusCode::SERVICE_UNAVAILABLE) {
            let after = error.retry_after().unwrap_or(Duration::from_secs(1));
            Self::new(
                ErrorCode::ServiceUnavailable,
                "a service that is needed is not available",
            )
            .with_retry_after(after)
        } else if error.status().is_some() {
            Self::new(
                ErrorCode::ExternalServiceError,
                "a service that is needed refused the request",
            )
        } else if error.is_transient() {
            Self::new(
                ErrorCode::ConnectionError,
                "a service that is needed cannot be reached",
            )
            .with_retry_after(Duration::from_secs(1))
        } else {
            Self::new(
                ErrorCode::InvalidResponse,
                "a service that is needed gave an unusable answer",
            )
        };
        answer.with_cause(error)
    }
}

impl From<HandlerError> for ApiError {
    fn from(error: HandlerError) -> Self {
        Self::new(
            ErrorCode::ProcessingError,
            "the request could not be processed",
        )
        .with_cause(error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.code.http_status();
        let cause = self
            .cause
            .as_ref()
            .map(|c| crate::consumer::chain(c.as_ref()));
        if status.is_server_error() {
            error!(
                code = self.code.as_str(),
                status = status.as_u16(),
                reason = self.message,
                cause,
                "request failed"
            );
        } else {
            info!(
                code = self.code.as_str(),
                status = status.as_u16(),
                reason = self.message,
                cause,
                "request refused"
            );
        }
        let context = CallContext::current();
        let service = super::server::current_service();
        let body = ErrorBody {
            error: ErrorContent {
                code: self.code,
                message: self.message,
                correlation_id: context.correlation_id,
                service: service.to_owned(),
                timestamp: jiff::Timestamp::now(),
                details: self.details,
            },
        };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(after) = self.retry_after {
            // Rounded up: a client that comes a moment early is refused again.
            let seconds = after.as_millis().div_ceil(1000).max(1);
            headers.insert(
                RETRY_AFTER,
                HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)),
            );
        }
        if let Some(what) = self.refused_by {
            headers.insert(REJECTED_HEADER, HeaderValue::from_static(what));
        }
        response
    }
}
