//! Asks the Batch Orchestrator whether a batch may take files from a user.

use std::time::Duration;

use fusebox_http::{HttpClient, encode_segment};
use http::StatusCode;
use huleedu_contracts::{
    api::{
        file::LockStatus,
        orchestrator::{PipelineStateResponse, ProcessingPipelineState},
    },
    error::ErrorCode,
    ids::{BatchId, UserId},
    status::{PhaseName, PipelineExecutionStatus},
};
use huleedu_kit::http::{ApiError, ApiResult};

/// When to come again while the Batch Orchestrator is away and nobody knows for how long.
const COME_AGAIN: Duration = Duration::from_secs(5);

/// The question and whom it is put to.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    orchestrator: HttpClient,
}

impl Gate {
    /// A gate that asks this Batch Orchestrator.
    pub(crate) fn new(orchestrator: HttpClient) -> Self {
        Self { orchestrator }
    }

    /// Whether the files of a batch may change now.
    ///
    /// # Errors
    /// 404 for an unknown batch, 403 for another owner's, 503 when nobody answers.
    pub(crate) async fn lock_status(
        &self,
        batch: &BatchId,
        user: &UserId,
    ) -> ApiResult<LockStatus> {
        let path = format!(
            "/internal/v1/batches/{}/pipeline-state",
            encode_segment(batch.as_str())
        );
        let response = self
            .orchestrator
            .get(path)
            .send()
            .await
            .map_err(unavailable)?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(ApiError::not_found(format!("batch {batch} does not exist")));
        }
        let state: PipelineStateResponse = response
            .error_for_status()
            .and_then(|response| response.json())
            .map_err(unavailable)?;
        if state.user_id != *user {
            return Err(ApiError::forbidden(format!(
                "batch {batch} belongs to another user"
            )));
        }
        Ok(lock_of(&state.pipeline_state))
    }

    /// Answers when the batch may take files.
    ///
    /// # Errors
    /// As [`Gate::lock_status`], and 409 for a locked batch.
    pub(crate) async fn pass(&self, batch: &BatchId, user: &UserId) -> ApiResult<()> {
        match self.lock_status(batch, user).await? {
            LockStatus {
                is_locked: true,
                reason,
            } => Err(ApiError::new(
                ErrorCode::Conflict,
                format!(
                    "batch {batch} takes no files: {}",
                    reason.unwrap_or_default()
                ),
            )),
            LockStatus {
                is_locked: false, ..
            } => Ok(()),
        }
    }
}

/// Files may change until a phase has been asked for, and again when all have come to nothing.
fn lock_of(state: &ProcessingPipelineState) -> LockStatus {
    use PipelineExecutionStatus as Status;
    let reason = PhaseName::ALL.iter().find_map(|name| {
        let why = match state.phase(*name)?.status {
            Status::CompletedSuccessfully | Status::CompletedWithPartialSuccess => "is done",
            status if status.is_terminal() => return None,
            status if status.is_running() => "is running",
            _ => "has been asked for",
        };
        Some(format!("its phase {name} {why}"))
    });
    LockStatus {
        is_locked: reason.is_some(),
        reason,
    }
}

/// A gate that cannot be asked is closed for now: 503 and when to come again.
fn unavailable(error: fusebox_http::HttpError) -> ApiError {
    if error.not_permitted().is_some() || !error.is_transient() {
        return ApiError::from(error);
    }
    let after = error.retry_after().unwrap_or(COME_AGAIN);
    ApiError::new(
        ErrorCode::ServiceUnavailable,
        "the Batch Orchestrator does not answer",
    )
    .with_retry_after(after)
    .with_cause(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(status: Option<PipelineExecutionStatus>) -> ProcessingPipelineState {
        let batch = BatchId::new("b").expect("a plain id");
        let mut state = ProcessingPipelineState::empty(batch, jiff::Timestamp::UNIX_EPOCH);
        if let Some(status) = status {
            let detail = serde_json::from_value(serde_json::json!({ "status": status }));
            state.spellcheck = Some(detail.expect("the other fields have defaults"));
        }
        state
    }

    #[test]
    fn a_batch_is_locked_from_the_request_on_and_free_again_after_a_failure() {
        use PipelineExecutionStatus as Status;
        assert_eq!(
            lock_of(&state(None)),
            LockStatus {
                is_locked: false,
                reason: None
            }
        );
        for (status, locked) in [
            (Status::RequestedByUser, true),
            (Status::PendingDependencies, true),
            (Status::DispatchInitiated, true),
            (Status::InProgress, true),
            (Status::CompletedSuccessfully, true),
            (Status::CompletedWithPartialSuccess, true),
            (Status::Failed, false),
            (Status::SkippedByUserConfig, false),
            (Status::SkippedDueToDependencyFailure, false),
            (Status::Cancelled, false),
        ] {
            assert_eq!(lock_of(&state(Some(status))).is_locked, locked, "{status}");
        }
        let reason = lock_of(&state(Some(Status::InProgress))).reason;
        assert_eq!(reason.as_deref(), Some("its phase spellcheck is running"));
    }
}
