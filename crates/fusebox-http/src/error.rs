//! Why a call brought no usable answer, and what the caller can do about it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use fusebox::{Classify, NotPermitted, Outcome};
use fusebox_resilient::Context;
use http::StatusCode;

use crate::judge::judge_error;

/// A call that brought no usable answer, and the context it was made in.
///
/// It reads as its [kind](Self::kind) does; the context is for logs and for whoever shows errors.
#[derive(Debug)]
pub struct HttpError {
    kind: HttpErrorKind,
    context: Option<Box<Context>>,
}

/// What went wrong.
///
/// `target` is the method and the URL without its query, so that no secret gets into a log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpErrorKind {
    /// The circuit refused the call; nothing was sent.
    #[error(transparent)]
    NotPermitted(#[from] NotPermitted),
    /// The total timeout ran out before the answer had been read to its end.
    #[error("{target} brought no whole answer within {after:?}")]
    Timeout {
        /// Method and URL.
        target: String,
        /// The total timeout.
        after: Duration,
    },
    /// No connection could be opened; nothing was sent.
    #[error("{target} could not be connected")]
    Connect {
        /// Method and URL.
        target: String,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// The connection was lost while sending, waiting or reading.
    #[error("{target} lost its connection")]
    Transport {
        /// Method and URL.
        target: String,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// The dependency answered with a status that says no.
    #[error("{target} was answered {status}")]
    Status {
        /// Method and URL.
        target: String,
        /// The status.
        status: StatusCode,
        /// How long the dependency asks to wait.
        retry_after: Option<Duration>,
        /// Whether it is a refusal of the dependency's own circuit or shedder.
        rejected: bool,
        /// The body, for typed problem bodies.
        body: Bytes,
    },
    /// The answer's body is longer than allowed.
    #[error("{target} was answered with more than {limit} bytes")]
    BodyTooLarge {
        /// Method and URL.
        target: String,
        /// The status it came with.
        status: StatusCode,
        /// The limit in bytes.
        limit: usize,
    },
    /// The answer's body is not what was expected.
    #[error("the answer to {target} is not valid {expected}")]
    Decode {
        /// Method and URL.
        target: String,
        /// What was expected, such as `JSON`.
        expected: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The request could not be made; nothing was sent.
    #[error("the request {target} could not be made: {what}")]
    Build {
        /// Method and path.
        target: String,
        /// Which part is at fault.
        what: &'static str,
        /// The cause, where there is one.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The stream that gave the request's body failed.
    #[error("the body of the request {target} could not be read")]
    RequestBody {
        /// Method and URL.
        target: String,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
}

impl HttpError {
    pub(crate) fn new(kind: HttpErrorKind, context: Context) -> Self {
        Self {
            kind,
            context: Some(Box::new(context)),
        }
    }

    /// What went wrong.
    pub fn kind(&self) -> &HttpErrorKind {
        &self.kind
    }

    /// Service, circuit, operation and ids of the call; `None` for a refusal that was made into this
    /// type outside of any call.
    pub fn context(&self) -> Option<&Context> {
        self.context.as_deref()
    }

    /// Whether the same call may succeed later without anything being changed.
    pub fn is_transient(&self) -> bool {
        match &self.kind {
            HttpErrorKind::NotPermitted(_)
            | HttpErrorKind::Timeout { .. }
            | HttpErrorKind::Connect { .. }
            | HttpErrorKind::Transport { .. } => true,
            HttpErrorKind::Status { status, .. } => {
                // 501 and 505 are answers about what the server can do at all.
                let never = matches!(status.as_u16(), 501 | 505);
                (status.is_server_error() && !never) || matches!(status.as_u16(), 408 | 425 | 429)
            }
            _ => false,
        }
    }

    /// Whether the request provably never reached the dependency.
    pub fn was_not_sent(&self) -> bool {
        matches!(
            self.kind,
            HttpErrorKind::NotPermitted(_)
                | HttpErrorKind::Connect { .. }
                | HttpErrorKind::Build { .. }
        )
    }

    /// How long to wait before the next try, where the circuit or the dependency says so.
    pub fn retry_after(&self) -> Option<Duration> {
        match &self.kind {
            HttpErrorKind::NotPermitted(refusal) => refusal.retry_after(),
            HttpErrorKind::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The status the dependency answered with, where it answered.
    pub fn status(&self) -> Option<StatusCode> {
        match &self.kind {
            HttpErrorKind::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The body of a refusing answer.
    pub fn body(&self) -> Option<&Bytes> {
        match &self.kind {
            HttpErrorKind::Status { body, .. } => Some(body),
            _ => None,
        }
    }

    /// The refusal of our own circuit, when it was that.
    pub fn not_permitted(&self) -> Option<&NotPermitted> {
        match &self.kind {
            HttpErrorKind::NotPermitted(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// A refusal outside of any call of ours.
impl From<NotPermitted> for HttpError {
    fn from(refusal: NotPermitted) -> Self {
        Self {
            kind: refusal.into(),
            context: None,
        }
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for HttpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.kind)
    }
}

/// For a circuit around several calls: our own refusal and the caller's faults are neutral.
impl Classify for HttpError {
    fn outcome(&self) -> Outcome {
        judge_error(&self.kind)
    }

    fn retry_after(&self) -> Option<Duration> {
        match judge_error(&self.kind) {
            Outcome::Failure => Self::retry_after(self),
            _ => None,
        }
    }
}
