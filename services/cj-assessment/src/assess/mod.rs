//! One job from its stored state to its end.
//!
//! ```text
//! PENDING → FETCHING_CONTENT → PERFORMING_COMPARISONS → COMPLETE_… or ERROR_…
//! ```
//!
//! Each step reads what is stored, does the next thing, and stores it; nothing is remembered
//! between steps. Scores are computed anew from the stored results whenever they are needed, so
//! that a job that is taken up again decides as one that was never put down.

mod comparing;
mod finish;
mod gather;
mod progress;

use std::{error::Error, sync::Arc, time::Duration};

use huleedu_contracts::{error::ErrorCode, status::CjBatchStatus};
use huleedu_kit::{
    clients::ContentClient,
    store::{StoreError, now_ms},
};
use thiserror::Error;
use tokio::sync::Semaphore;

use crate::{
    decision::{Decision, decide},
    judges::Judges,
    pairing,
    settings::Settings,
    store::{Job, Jobs, WaveKind},
};

use finish::Ending;
use progress::Position;

/// What leading jobs needs.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) jobs: Jobs,
    pub(crate) content: Arc<dyn ContentClient>,
    pub(crate) judges: Judges,
    /// Places for comparisons under way, over all jobs.
    pub(crate) places: Arc<Semaphore>,
    pub(crate) settings: Settings,
}

/// Why a job cannot go on just now.
#[derive(Debug, Error)]
pub(crate) enum Obstacle {
    /// The database does not answer, or too many events wait for Kafka.
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
    /// Texts cannot be fetched now.
    #[error("texts cannot be fetched now")]
    Content {
        after: Option<Duration>,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl Obstacle {
    /// How long was asked to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Content { after, .. } => *after,
            Self::Store(_) => None,
        }
    }
}

/// Whether a step may be followed by another.
enum Step {
    GoOn,
    Ended,
}

impl Engine {
    /// Leads a job to its end.
    ///
    /// # Cancel safety
    /// May be dropped at any await; what is not stored is done again.
    pub(crate) async fn lead(&self, job_id: &str) -> Result<(), Obstacle> {
        let Some(job) = self.jobs.load(job_id).await? else {
            return Ok(());
        };
        let context = job.context;
        context.scope(self.steps(job)).await
    }

    async fn steps(&self, mut job: Job) -> Result<(), Obstacle> {
        loop {
            let step = match job.status {
                _ if self.is_too_old(&job) => {
                    let what = "the batch could not be finished in time";
                    let ending = Ending::failed(&job, ErrorCode::LlmProviderUnavailable, what);
                    self.finish(&job, ending).await?
                }
                CjBatchStatus::Pending => {
                    self.jobs.begin_fetching(&job.id).await?;
                    Step::GoOn
                }
                CjBatchStatus::FetchingContent => self.gather(&job).await?,
                CjBatchStatus::PerformingComparisons => self.compare(&job).await?,
                _ => Step::Ended,
            };
            if matches!(step, Step::Ended) {
                return Ok(());
            }
            match self.jobs.load(&job.id).await? {
                Some(again) => job = again,
                None => return Ok(()),
            }
        }
    }

    /// Answers what is pending, or decides what follows.
    async fn compare(&self, job: &Job) -> Result<Step, Obstacle> {
        let essays = self.jobs.essays(&job.id).await?;
        let comparisons = self.jobs.comparisons(&job.id).await?;
        let position = Position::of(job, &essays, &comparisons);
        if position.has_pending() {
            return self.answer_pending(job, &essays, &comparisons).await;
        }
        let seed = self.settings.seed;
        let wave = position.next_wave();
        let (kind, pairs) = match decide(&position.progress) {
            Decision::RequestMore { limit } => {
                let scores = position.scores.as_deref();
                let history = &position.history;
                (
                    WaveKind::Coverage,
                    pairing::coverage_wave(history, scores, limit, seed, wave),
                )
            }
            Decision::Resample { limit } => {
                let pairs = pairing::resampling_pass(&position.history, limit, seed, wave);
                (WaveKind::Resampling, pairs)
            }
            Decision::FinaliseScores(reason) => {
                return self
                    .finish(job, Ending::ranked(job, &essays, &position, reason))
                    .await;
            }
            Decision::FinaliseFailure(reason) => {
                return self
                    .finish(job, Ending::unjudged(job, &position, reason))
                    .await;
            }
        };
        tracing::info!(
            job_id = job.id,
            wave,
            pairs = pairs.len(),
            settled = position.progress.completed + position.progress.failed,
            budget = position.progress.budget,
            "wave planned"
        );
        self.jobs.plan_wave(&job.id, wave, kind, &pairs).await?;
        Ok(Step::GoOn)
    }

    fn is_too_old(&self, job: &Job) -> bool {
        let age = now_ms().saturating_sub(job.created_at);
        !job.status.is_terminal()
            && u128::try_from(age).is_ok_and(|age| age > self.settings.give_up_after.as_millis())
    }
}
