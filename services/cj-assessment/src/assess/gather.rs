//! Fetches what a job compares: the essays' texts and the assignment.

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use huleedu_contracts::{
    domain::ContentType,
    error::{ErrorCode, ErrorDetail},
    ids::StorageId,
};
use huleedu_kit::clients::ContentError;
use sha2::{Digest, Sha256};

use super::{Ending, Engine, Obstacle, Step};
use crate::{
    SERVICE,
    decision::comparison_budget,
    store::{Essay, Job},
};

/// Texts that are fetched at once.
const AT_ONCE: usize = 8;

/// What became of one text.
enum Fetched {
    Text(String),
    /// It will never be had.
    Gone(ErrorCode, String),
}

impl Engine {
    /// Fetches the texts that are missing, and fixes the essays that take part.
    ///
    /// A text that will never be had leaves its essay out, with the reason. One that cannot be had
    /// now stops the job until it can.
    pub(super) async fn gather(&self, job: &Job) -> Result<Step, Obstacle> {
        let essays = self.jobs.essays(&job.id).await?;
        let missing: Vec<Essay> = essays
            .into_iter()
            .filter(|essay| essay.text.is_none() && essay.error.is_none())
            .collect();
        // Boxed, because the compiler cannot see that a stream of borrowing futures may be sent.
        let fetches: Vec<BoxFuture<'_, _>> = missing
            .into_iter()
            .map(|essay| async move { (self.fetch(&essay.text_storage_id).await, essay) }.boxed())
            .collect();
        let mut fetches = stream::iter(fetches).buffer_unordered(AT_ONCE);
        let mut obstacle = None;
        while let Some((fetched, essay)) = fetches.next().await {
            match fetched {
                Ok(Fetched::Text(text)) => {
                    self.jobs.keep_text(&job.id, &essay.id, &text).await?;
                }
                Ok(Fetched::Gone(code, why)) => {
                    tracing::warn!(
                        job_id = job.id,
                        essay_id = essay.id.as_str(),
                        code = code.as_str(),
                        "an essay's text cannot be had"
                    );
                    let error = failure(job, code, why, "fetch_text");
                    self.jobs.leave_out(&job.id, &essay.id, &error).await?;
                }
                Err(later) => obstacle = Some(later),
            }
        }
        drop(fetches);
        if let Some(obstacle) = obstacle {
            return Err(obstacle);
        }
        let assignment = self.assignment(job).await?;
        let essays = self.jobs.essays(&job.id).await?;
        let nodes = in_order(&essays);
        if nodes.len() < 2 {
            return self.finish(job, Ending::too_few(job, &essays)).await;
        }
        let budget = comparison_budget(self.settings.max_pairwise_comparisons, nodes.len(), None);
        self.jobs
            .begin_comparing(&job.id, assignment.as_deref(), budget, &nodes)
            .await?;
        Ok(Step::GoOn)
    }

    async fn fetch(&self, id: &StorageId) -> Result<Fetched, Obstacle> {
        match self.content.fetch_text(id).await {
            Ok(text) if text.trim().is_empty() => Ok(Fetched::Gone(
                ErrorCode::EmptyContent,
                "the text is empty".to_owned(),
            )),
            Ok(text) => Ok(Fetched::Text(text)),
            Err(error) if error.is_transient() => Err(Obstacle::Content {
                after: error.retry_after(),
                source: Box::new(error),
            }),
            Err(error @ ContentError::NotFound(_)) => Ok(Fetched::Gone(
                ErrorCode::ResourceNotFound,
                error.to_string(),
            )),
            Err(error) => Ok(Fetched::Gone(
                ErrorCode::ContentServiceError,
                error.to_string(),
            )),
        }
    }

    /// The assignment as the students got it. Without it essays are judged on their own.
    async fn assignment(&self, job: &Job) -> Result<Option<String>, Obstacle> {
        let Some(id) = job
            .request
            .student_prompt_ref
            .as_ref()
            .and_then(|references| references.storage_id(ContentType::StudentPromptText))
        else {
            return Ok(None);
        };
        match self.fetch(id).await? {
            Fetched::Text(text) => Ok(Some(text)),
            Fetched::Gone(code, why) => {
                tracing::warn!(
                    job_id = job.id,
                    code = code.as_str(),
                    why,
                    "the assignment's text cannot be had; essays are judged without it"
                );
                Ok(None)
            }
        }
    }
}

/// The essays that have a text, by the hash of their text: an order that does not depend on ids,
/// which differ from run to run.
fn in_order(essays: &[Essay]) -> Vec<String> {
    let mut keyed: Vec<([u8; 32], &str)> = essays
        .iter()
        .filter(|essay| essay.error.is_none())
        .filter_map(|essay| {
            let text = essay.text.as_deref()?;
            Some((Sha256::digest(text.as_bytes()).into(), essay.id.as_str()))
        })
        .collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, id)| id.to_owned()).collect()
}

/// A failure of this service in the words of the platform.
pub(super) fn failure(
    job: &Job,
    code: ErrorCode,
    message: impl Into<String>,
    operation: &str,
) -> ErrorDetail {
    ErrorDetail::new(
        code,
        message,
        job.context.correlation_id,
        jiff::Timestamp::now(),
        SERVICE.name(),
        operation,
    )
}
