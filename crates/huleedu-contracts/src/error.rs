//! The error model: a code with its HTTP status, the record of one failure, and the body in which
//! an HTTP answer carries it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::ids::CorrelationId;
use crate::macros::wire_enum;

wire_enum! {
    /// What kind of failure it was.
    ///
    /// A code this build does not know is read as [`ErrorCode::UnknownError`]: a newer service's
    /// failure must still be readable as a failure.
    #[non_exhaustive]
    pub enum ErrorCode {
        /// Nobody knows. 500.
        UnknownError = "UNKNOWN_ERROR",
        /// A value is not allowed. 400.
        ValidationError = "VALIDATION_ERROR",
        /// A value is missing. 400.
        MissingRequiredField = "MISSING_REQUIRED_FIELD",
        /// The request makes no sense. 400.
        InvalidRequest = "INVALID_REQUEST",
        /// Something could not be read. 400.
        ParsingError = "PARSING_ERROR",
        /// There is no such thing. 404.
        ResourceNotFound = "RESOURCE_NOT_FOUND",
        /// The state of the thing forbids it. 409.
        Conflict = "CONFLICT",
        /// The request is larger than allowed. 413.
        PayloadTooLarge = "PAYLOAD_TOO_LARGE",
        /// Nobody has proved who they are. 401.
        AuthenticationError = "AUTHENTICATION_ERROR",
        /// They may not do this. 403.
        AuthorizationError = "AUTHORIZATION_ERROR",
        /// The credits do not suffice. 402.
        InsufficientCredits = "INSUFFICIENT_CREDITS",
        /// Too many requests. 429.
        RateLimit = "RATE_LIMIT",
        /// The quota is used up. 429.
        QuotaExceeded = "QUOTA_EXCEEDED",
        /// An API key was refused. 401.
        InvalidApiKey = "INVALID_API_KEY",
        /// Something took too long. 504.
        Timeout = "TIMEOUT",
        /// No connection. 503.
        ConnectionError = "CONNECTION_ERROR",
        /// A service cannot answer now. 503.
        ServiceUnavailable = "SERVICE_UNAVAILABLE",
        /// A circuit breaker refused the call. 503.
        CircuitBreakerOpen = "CIRCUIT_BREAKER_OPEN",
        /// An event could be neither sent nor kept. 503.
        KafkaPublishError = "KAFKA_PUBLISH_ERROR",
        /// Accepted, to be done later. 202.
        RequestQueued = "REQUEST_QUEUED",
        /// A service outside answered with an error. 502.
        ExternalServiceError = "EXTERNAL_SERVICE_ERROR",
        /// An answer makes no sense. 502.
        InvalidResponse = "INVALID_RESPONSE",
        /// The Content Service failed. 502.
        ContentServiceError = "CONTENT_SERVICE_ERROR",
        /// The spell checker failed. 502.
        SpellcheckServiceError = "SPELLCHECK_SERVICE_ERROR",
        /// The language analysis failed. 502.
        NlpServiceError = "NLP_SERVICE_ERROR",
        /// The feedback failed. 502.
        AiFeedbackServiceError = "AI_FEEDBACK_SERVICE_ERROR",
        /// The comparative judgement failed. 502.
        CjAssessmentServiceError = "CJ_ASSESSMENT_SERVICE_ERROR",
        /// An AI provider failed. 500.
        LlmProviderServiceError = "LLM_PROVIDER_SERVICE_ERROR",
        /// Processing failed inside the service. 500.
        ProcessingError = "PROCESSING_ERROR",
        /// A setting is missing or wrong. 500.
        ConfigurationError = "CONFIGURATION_ERROR",
        /// A configuration of the domain is wrong. 500.
        InvalidConfiguration = "INVALID_CONFIGURATION",
        /// Something could not be started. 500.
        InitializationFailed = "INITIALIZATION_FAILED",

        /// File: there is no text in it. 400.
        EmptyContent = "EMPTY_CONTENT",
        /// File: the text is too short. 400.
        ContentTooShort = "CONTENT_TOO_SHORT",
        /// File: the text is too long. 400.
        ContentTooLong = "CONTENT_TOO_LONG",
        /// File: its bytes could not be stored. 500.
        RawStorageFailed = "RAW_STORAGE_FAILED",
        /// File: no text could be taken out. 500.
        TextExtractionFailed = "TEXT_EXTRACTION_FAILED",
        /// File: it is encrypted. 500.
        EncryptedFileUnsupported = "ENCRYPTED_FILE_UNSUPPORTED",
        /// File: this kind cannot be read. 415.
        UnsupportedFileType = "UNSUPPORTED_FILE_TYPE",
        /// File: it was refused, nobody knows why. 500.
        UnknownValidationError = "UNKNOWN_VALIDATION_ERROR",

        /// Classes: no such course. 404.
        CourseNotFound = "COURSE_NOT_FOUND",
        /// Classes: the course is not allowed. 400.
        CourseValidationError = "COURSE_VALIDATION_ERROR",
        /// Classes: more than one course where one is allowed. 409.
        MultipleCourseError = "MULTIPLE_COURSE_ERROR",
        /// Classes: no such class. 404.
        ClassNotFound = "CLASS_NOT_FOUND",
        /// Classes: no such student. 404.
        StudentNotFound = "STUDENT_NOT_FOUND",

        /// Spell checker: an event does not fit what it belongs to. 500.
        SpellEventCorrelationError = "SPELL_EVENT_CORRELATION_ERROR",

        /// Pipelines: the phases cannot be put in order. 500.
        BcsPipelineDependencyResolutionFailed = "BCS_PIPELINE_DEPENDENCY_RESOLUTION_FAILED",
        /// Pipelines: phases wait for each other. 500.
        BcsPipelineDependencyCycleDetected = "BCS_PIPELINE_DEPENDENCY_CYCLE_DETECTED",
        /// Pipelines: the pipeline does not suit the batch. 500.
        BcsPipelineCompatibilityFailed = "BCS_PIPELINE_COMPATIBILITY_FAILED",

        /// Judgement: too few comparisons for a reliable score. 500.
        CjInsufficientComparisons = "CJ_INSUFFICIENT_COMPARISONS",
        /// Judgement: the scores do not settle. 500.
        CjScoreConvergenceFailed = "CJ_SCORE_CONVERGENCE_FAILED",
        /// Judgement: some essays were compared much more than others. 500.
        CjComparisonImbalance = "CJ_COMPARISON_IMBALANCE",
        /// Judgement: an answer belongs to no comparison. 500.
        CjCallbackCorrelationFailed = "CJ_CALLBACK_CORRELATION_FAILED",

        /// AI provider: it does not answer. 500.
        LlmProviderUnavailable = "LLM_PROVIDER_UNAVAILABLE",
        /// AI provider: too many requests. 500.
        LlmProviderRateLimit = "LLM_PROVIDER_RATE_LIMIT",
        /// AI provider: it took too long. 500.
        LlmProviderTimeout = "LLM_PROVIDER_TIMEOUT",
        /// AI provider: it answered with an error. 500.
        LlmProviderApiError = "LLM_PROVIDER_API_ERROR",
        /// AI provider: the prompt cannot be used. 500.
        LlmInvalidPrompt = "LLM_INVALID_PROMPT",
        /// AI provider: the texts are too long for the model. 500.
        LlmContentTooLong = "LLM_CONTENT_TOO_LONG",
        /// AI provider: its configuration is wrong. 500.
        LlmInvalidConfig = "LLM_INVALID_CONFIG",
        /// AI provider: too many comparisons wait. 500.
        LlmQueueFull = "LLM_QUEUE_FULL",
        /// AI provider: our own side failed. 500.
        LlmInternalError = "LLM_INTERNAL_ERROR",
        /// AI provider: its answer cannot be read. 500.
        LlmParsingError = "LLM_PARSING_ERROR",
        /// AI provider: its answer makes no sense. 500.
        LlmInvalidResponse = "LLM_INVALID_RESPONSE",
        /// AI provider: the spend limit is reached. 500.
        LlmCostLimitExceeded = "LLM_COST_LIMIT_EXCEEDED",
        /// AI provider: a setting is missing or wrong. 500.
        LlmConfigurationError = "LLM_CONFIGURATION_ERROR",
    }
}

impl ErrorCode {
    /// The status with which an HTTP answer carries this code.
    pub const fn http_status(self) -> StatusCode {
        match self {
            Self::ValidationError
            | Self::MissingRequiredField
            | Self::InvalidRequest
            | Self::ParsingError
            | Self::EmptyContent
            | Self::ContentTooShort
            | Self::ContentTooLong
            | Self::CourseValidationError => StatusCode::BAD_REQUEST,
            Self::AuthenticationError | Self::InvalidApiKey => StatusCode::UNAUTHORIZED,
            Self::InsufficientCredits => StatusCode::PAYMENT_REQUIRED,
            Self::AuthorizationError => StatusCode::FORBIDDEN,
            Self::ResourceNotFound
            | Self::CourseNotFound
            | Self::ClassNotFound
            | Self::StudentNotFound => StatusCode::NOT_FOUND,
            Self::Conflict | Self::MultipleCourseError => StatusCode::CONFLICT,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedFileType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::RateLimit | Self::QuotaExceeded => StatusCode::TOO_MANY_REQUESTS,
            Self::ExternalServiceError
            | Self::InvalidResponse
            | Self::ContentServiceError
            | Self::SpellcheckServiceError
            | Self::NlpServiceError
            | Self::AiFeedbackServiceError
            | Self::CjAssessmentServiceError => StatusCode::BAD_GATEWAY,
            Self::KafkaPublishError
            | Self::ConnectionError
            | Self::ServiceUnavailable
            | Self::CircuitBreakerOpen => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::RequestQueued => StatusCode::ACCEPTED,
            // Listed one by one, so that a new code cannot become a 500 by being forgotten.
            Self::UnknownError
            | Self::LlmProviderServiceError
            | Self::ProcessingError
            | Self::ConfigurationError
            | Self::InvalidConfiguration
            | Self::InitializationFailed
            | Self::RawStorageFailed
            | Self::TextExtractionFailed
            | Self::EncryptedFileUnsupported
            | Self::UnknownValidationError
            | Self::SpellEventCorrelationError
            | Self::BcsPipelineDependencyResolutionFailed
            | Self::BcsPipelineDependencyCycleDetected
            | Self::BcsPipelineCompatibilityFailed
            | Self::CjInsufficientComparisons
            | Self::CjScoreConvergenceFailed
            | Self::CjComparisonImbalance
            | Self::CjCallbackCorrelationFailed
            | Self::LlmProviderUnavailable
            | Self::LlmProviderRateLimit
            | Self::LlmProviderTimeout
            | Self::LlmProviderApiError
            | Self::LlmInvalidPrompt
            | Self::LlmContentTooLong
            | Self::LlmInvalidConfig
            | Self::LlmQueueFull
            | Self::LlmInternalError
            | Self::LlmParsingError
            | Self::LlmInvalidResponse
            | Self::LlmCostLimitExceeded
            | Self::LlmConfigurationError => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Ok(text.parse().unwrap_or(Self::UnknownError))
    }
}

/// The record of one failure, as events and logs carry it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{service}: {operation}: {message} ({error_code})")]
pub struct ErrorDetail {
    /// What kind of failure it was.
    pub error_code: ErrorCode,
    /// What failed, for a reader.
    pub message: String,
    /// The request it belongs to.
    pub correlation_id: CorrelationId,
    /// When it happened.
    pub timestamp: Timestamp,
    /// The service it happened in.
    pub service: String,
    /// What that service was doing.
    pub operation: String,
    /// Further facts; never secrets or texts of students.
    #[serde(default)]
    pub details: BTreeMap<String, Value>,
    /// A stack trace; this platform writes none, others may.
    pub stack_trace: Option<String>,
    /// The W3C trace it happened in.
    pub trace_id: Option<String>,
    /// The W3C span it happened in.
    pub span_id: Option<String>,
}

impl ErrorDetail {
    /// A record without further facts.
    pub fn new(
        error_code: ErrorCode,
        message: impl Into<String>,
        correlation_id: CorrelationId,
        timestamp: Timestamp,
        service: impl Into<String>,
        operation: impl Into<String>,
    ) -> Self {
        Self {
            error_code,
            message: message.into(),
            correlation_id,
            timestamp,
            service: service.into(),
            operation: operation.into(),
            details: BTreeMap::new(),
            stack_trace: None,
            trace_id: None,
            span_id: None,
        }
    }

    /// The same record with one more fact.
    #[must_use]
    pub fn with_detail(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.details.insert(key.into(), value.into());
        self
    }
}

/// The body of an HTTP answer that tells of a failure: `{"error": {…}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The failure.
    pub error: ErrorContent,
}

/// What the body of such an answer says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorContent {
    /// What kind of failure it was.
    pub code: ErrorCode,
    /// What failed, for a reader.
    pub message: String,
    /// The request it belongs to.
    pub correlation_id: CorrelationId,
    /// The service it happened in.
    pub service: String,
    /// When it happened.
    pub timestamp: Timestamp,
    /// Further facts.
    #[serde(default)]
    pub details: BTreeMap<String, Value>,
}

impl ErrorBody {
    /// The HTTP status that goes with this body.
    pub const fn http_status(&self) -> StatusCode {
        self.error.code.http_status()
    }
}

impl From<ErrorDetail> for ErrorBody {
    fn from(detail: ErrorDetail) -> Self {
        Self {
            error: ErrorContent {
                code: detail.error_code,
                message: detail.message,
                correlation_id: detail.correlation_id,
                service: detail.service,
                timestamp: detail.timestamp,
                details: detail.details,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_documented_http_status() {
        let table: [(&[&str], u16); 13] = [
            (
                &[
                    "VALIDATION_ERROR",
                    "MISSING_REQUIRED_FIELD",
                    "INVALID_REQUEST",
                    "PARSING_ERROR",
                    "EMPTY_CONTENT",
                    "CONTENT_TOO_SHORT",
                    "CONTENT_TOO_LONG",
                ],
                400,
            ),
            (&["AUTHENTICATION_ERROR", "INVALID_API_KEY"], 401),
            (&["INSUFFICIENT_CREDITS"], 402),
            (&["AUTHORIZATION_ERROR"], 403),
            (
                &[
                    "RESOURCE_NOT_FOUND",
                    "COURSE_NOT_FOUND",
                    "CLASS_NOT_FOUND",
                    "STUDENT_NOT_FOUND",
                ],
                404,
            ),
            (&["MULTIPLE_COURSE_ERROR", "CONFLICT"], 409),
            (&["PAYLOAD_TOO_LARGE"], 413),
            (&["UNSUPPORTED_FILE_TYPE"], 415),
            (&["RATE_LIMIT", "QUOTA_EXCEEDED"], 429),
            (
                &[
                    "EXTERNAL_SERVICE_ERROR",
                    "CONTENT_SERVICE_ERROR",
                    "SPELLCHECK_SERVICE_ERROR",
                    "NLP_SERVICE_ERROR",
                    "AI_FEEDBACK_SERVICE_ERROR",
                    "CJ_ASSESSMENT_SERVICE_ERROR",
                    "INVALID_RESPONSE",
                ],
                502,
            ),
            (
                &[
                    "KAFKA_PUBLISH_ERROR",
                    "CONNECTION_ERROR",
                    "SERVICE_UNAVAILABLE",
                    "CIRCUIT_BREAKER_OPEN",
                ],
                503,
            ),
            (&["TIMEOUT"], 504),
            (
                &[
                    "UNKNOWN_ERROR",
                    "RAW_STORAGE_FAILED",
                    "TEXT_EXTRACTION_FAILED",
                    "LLM_QUEUE_FULL",
                ],
                500,
            ),
        ];
        for (codes, status) in table {
            for code in codes {
                let parsed: ErrorCode = code.parse().unwrap();
                assert_eq!(parsed.http_status().as_u16(), status, "{code}");
            }
        }
        assert_eq!(ErrorCode::RequestQueued.http_status().as_u16(), 202);
    }

    #[test]
    fn a_code_of_a_newer_service_reads_as_unknown() {
        let code: ErrorCode = serde_json::from_str("\"SOMETHING_NEW\"").unwrap();
        assert_eq!(code, ErrorCode::UnknownError);
        assert!("SOMETHING_NEW".parse::<ErrorCode>().is_err());
    }

    #[test]
    fn the_message_says_where_and_what() {
        let detail = ErrorDetail::new(
            ErrorCode::Timeout,
            "no answer in 5 s",
            CorrelationId::random(),
            Timestamp::UNIX_EPOCH,
            "file",
            "store_content",
        );
        assert_eq!(
            detail.to_string(),
            "file: store_content: no answer in 5 s (TIMEOUT)"
        );
    }
}
