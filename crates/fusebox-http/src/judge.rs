//! What an answer says about the health of the dependency, as opposed to the request.

use std::time::{Duration, SystemTime};

use fusebox::Outcome;
use http::{HeaderMap, StatusCode};

use crate::error::HttpErrorKind;
use crate::retry_after::parse_retry_after;

/// Header of a 503 that a service gives itself: an open circuit, a shed request.
///
/// Its sender is well and refused on purpose, so it is neutral for the circuit of its caller.
/// Without it one open circuit would open those of all callers in turn.
pub const REJECTED_HEADER: &str = "x-fusebox-rejected";

/// Judges an answer that was read to its end.
pub(crate) fn judge_response(
    status: StatusCode,
    headers: &HeaderMap,
    now: SystemTime,
) -> (Outcome, Option<Duration>) {
    match status.as_u16() {
        503 if is_rejection(status, headers) => (Outcome::Neutral, None),
        503 => (
            Outcome::Failure,
            parse_retry_after(headers, now).filter(|d| !d.is_zero()),
        ),
        500..=599 => (Outcome::Failure, None),
        200..=399 => (Outcome::Success, None),
        // 4xx, and numbers HTTP does not define.
        _ => (Outcome::Neutral, None),
    }
}

/// Judges a call that brought no usable answer.
pub(crate) fn judge_error(error: &HttpErrorKind) -> Outcome {
    match error {
        HttpErrorKind::Timeout { .. }
        | HttpErrorKind::Connect { .. }
        | HttpErrorKind::Transport { .. } => Outcome::Failure,
        HttpErrorKind::Status {
            status, rejected, ..
        } if status.is_server_error() && !rejected => Outcome::Failure,
        HttpErrorKind::BodyTooLarge { status, .. } if status.is_server_error() => Outcome::Failure,
        _ => Outcome::Neutral,
    }
}

pub(crate) fn is_rejection(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::SERVICE_UNAVAILABLE && headers.contains_key(REJECTED_HEADER)
}
