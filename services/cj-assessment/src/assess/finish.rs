//! The end of a job: its state and its events in one transaction.

use std::collections::BTreeMap;

use huleedu_contracts::{
    bounds::NonNegative,
    error::{ErrorCode, ErrorDetail},
    events::{
        EventName,
        cj::{
            AssessmentResultV1, CJAssessmentCompletedV1, CJAssessmentFailedV1, CjProcessingSummary,
            EssayResultV1, ResourceConsumptionV1,
        },
    },
    ids::{EssayId, LetterGrade},
    metadata::{ENTITY_BATCH, SystemProcessingMetadata},
    status::{BatchStatus, CjBatchStatus, ProcessingStage},
};
use huleedu_kit::store::{StoreError, Tx, now_ms};
use jiff::Timestamp;
use serde_json::Value;

use super::{Engine, Obstacle, Position, Step, gather::failure};
use crate::{
    SERVICE,
    decision::Reason,
    results::Wire,
    scoring::{self, MAX_STANDARD_ERROR, Reference},
    store::{Essay, Job, JudgeCount, Placed},
};

/// How essays are assessed, as events name it.
const METHOD: &str = "cj_assessment";
/// What comparisons are called on a bill.
const RESOURCE: &str = "cj_comparison";

/// How a job ends.
#[derive(Debug)]
pub(super) struct Ending {
    status: CjBatchStatus,
    reason: Option<Reason>,
    outcome: Result<Ranking, ErrorDetail>,
}

/// The places of the essays.
#[derive(Debug)]
struct Ranking {
    /// Best first.
    placed: Vec<(EssayId, Placed)>,
    reliability: Option<f64>,
}

impl Ending {
    /// The essays are ranked.
    pub(super) fn ranked(job: &Job, essays: &[Essay], position: &Position, reason: Reason) -> Self {
        let Some(scores) = &position.scores else {
            let what = "the scores could not be computed";
            return Self::failed(job, ErrorCode::CjScoreConvergenceFailed, what);
        };
        let errors = scoring::standard_errors(scores, &position.wins, Reference::Mean);
        let normalised = scoring::normalised_scores(scores);
        let ranks = scoring::ranks(scores);
        let mut placed: Vec<(EssayId, Placed)> = essays
            .iter()
            .filter_map(|essay| {
                let node = essay.node?;
                let placed = Placed {
                    score: scores[node],
                    standard_error: errors[node],
                    normalized_score: normalised[node],
                    rank: u32::try_from(ranks[node]).unwrap_or(u32::MAX),
                };
                Some((essay.id.clone(), placed))
            })
            .collect();
        placed.sort_by_key(|(_, placed)| placed.rank);
        let status = match reason {
            Reason::BudgetUsed => CjBatchStatus::CompleteMaxComparisons,
            Reason::Stable | Reason::NothingLeftToAsk => CjBatchStatus::CompleteStable,
        };
        let reliability = scoring::separation_reliability(scores, &errors);
        Self {
            status,
            reason: Some(reason),
            outcome: Ok(Ranking {
                placed,
                reliability,
            }),
        }
    }

    /// Too few comparisons have a winner.
    pub(super) fn unjudged(job: &Job, position: &Position, reason: Reason) -> Self {
        let progress = &position.progress;
        let what = format!(
            "only {} of {} comparisons have a winner",
            progress.completed,
            progress.completed + progress.failed
        );
        let mut ending = Self::failed(job, ErrorCode::CjInsufficientComparisons, &what);
        ending.reason = Some(reason);
        ending
    }

    /// Fewer than two essays have a text: one alone is first without a comparison, none at all is
    /// a failure.
    pub(super) fn too_few(job: &Job, essays: &[Essay]) -> Self {
        let alone = essays
            .iter()
            .find(|essay| essay.error.is_none() && essay.text.is_some());
        let Some(alone) = alone else {
            let what = "no essay of the batch has a text that can be assessed";
            let mut ending = Self::failed(job, ErrorCode::ProcessingError, what);
            ending.status = CjBatchStatus::ErrorEssayProcessing;
            return ending;
        };
        let placed = Placed {
            score: 0.0,
            standard_error: MAX_STANDARD_ERROR,
            normalized_score: 0.5,
            rank: 1,
        };
        Self {
            status: CjBatchStatus::CompleteInsufficientEssays,
            reason: None,
            outcome: Ok(Ranking {
                placed: vec![(alone.id.clone(), placed)],
                reliability: None,
            }),
        }
    }

    /// The batch cannot be ranked.
    pub(super) fn failed(job: &Job, code: ErrorCode, what: &str) -> Self {
        Self {
            status: CjBatchStatus::ErrorProcessing,
            reason: None,
            outcome: Err(failure(job, code, what, "rank_essays")),
        }
    }
}

impl Engine {
    /// Closes a job and publishes how it ended; a job that is closed stays as it is.
    pub(super) async fn finish(&self, job: &Job, ending: Ending) -> Result<Step, Obstacle> {
        let essays = self.jobs.essays(&job.id).await?;
        let judges = self.jobs.judges(&job.id).await?;
        let now = Timestamp::now();
        let mut tx = self.jobs.store().begin().await?;
        let error = ending.outcome.as_ref().err();
        if !self
            .jobs
            .close(&mut tx, &job.id, ending.status, ending.reason, error)
            .await?
        {
            return Ok(Step::Ended);
        }
        match &ending.outcome {
            Ok(ranking) => {
                for (essay, placed) in &ranking.placed {
                    self.jobs.place(&mut tx, &job.id, essay, *placed).await?;
                }
                tx.publish(completed(job, &essays, ranking, now)?).await?;
                tx.publish(result(job, &ending, ranking, &judges, now)?)
                    .await?;
            }
            Err(error) => {
                tx.publish(failed(job, error, now)?).await?;
            }
        }
        bill(&mut tx, job, &judges, now).await?;
        tx.commit().await?;
        tracing::info!(
            job_id = job.id,
            batch_id = job.request.entity_id.as_str(),
            status = ending.status.as_str(),
            reason = ending.reason.map(Reason::as_str),
            comparisons = total(&judges),
            "assessment ended"
        );
        Ok(Step::Ended)
    }
}

fn total(judges: &[JudgeCount]) -> u32 {
    judges.iter().map(|judge| judge.comparisons).sum()
}

fn metadata(
    job: &Job,
    stage: ProcessingStage,
    now: Timestamp,
) -> Result<SystemProcessingMetadata, StoreError> {
    let started = Timestamp::from_millisecond(job.created_at)
        .map_err(|error| StoreError::Corrupt(format!("cj_jobs.created_at: {error}")))?;
    Ok(
        SystemProcessingMetadata::for_batch(&job.request.entity_id, now)
            .with_stage(stage)
            .with_span(started, now),
    )
}

/// The thin event: which essays have a place.
fn completed(
    job: &Job,
    essays: &[Essay],
    ranking: &Ranking,
    now: Timestamp,
) -> Result<CJAssessmentCompletedV1, StoreError> {
    let successful: Vec<EssayId> = ranking.placed.iter().map(|(id, _)| id.clone()).collect();
    let failed: Vec<EssayId> = essays
        .iter()
        .map(|essay| &essay.id)
        .filter(|id| !successful.contains(id))
        .cloned()
        .collect();
    let count = |list: &[EssayId]| u32::try_from(list.len()).unwrap_or(u32::MAX);
    let took = std::time::Duration::from_millis(
        u64::try_from(now_ms().saturating_sub(job.created_at)).unwrap_or(0),
    );
    Ok(CJAssessmentCompletedV1 {
        event_name: EventName::new(),
        entity_id: job.request.entity_id.clone(),
        entity_type: Some(ENTITY_BATCH.to_owned()),
        parent_id: None,
        timestamp: now,
        status: if failed.is_empty() {
            BatchStatus::CompletedSuccessfully
        } else {
            BatchStatus::CompletedWithFailures
        },
        system_metadata: metadata(job, ProcessingStage::Completed, now)?,
        cj_assessment_job_id: job.id.clone(),
        processing_summary: CjProcessingSummary {
            total_essays: u32::try_from(essays.len()).unwrap_or(u32::MAX),
            successful: count(&successful),
            failed: count(&failed),
            successful_essay_ids: successful,
            failed_essay_ids: failed,
            processing_time_seconds: NonNegative::from_duration(took),
        },
    })
}

/// The rich event: scores and places.
fn result(
    job: &Job,
    ending: &Ending,
    ranking: &Ranking,
    judges: &[JudgeCount],
    now: Timestamp,
) -> Result<AssessmentResultV1, StoreError> {
    let mut essay_results = Vec::with_capacity(ranking.placed.len());
    for (essay_id, placed) in &ranking.placed {
        let wire = Wire::of(*placed)?;
        essay_results.push(EssayResultV1 {
            essay_id: essay_id.clone(),
            normalized_score: wire.normalized_score,
            letter_grade: LetterGrade::ungraded(),
            confidence_score: wire.confidence_score,
            confidence_label: wire.confidence_label,
            bt_score: wire.score,
            rank: wire.rank,
            is_anchor: false,
            feedback_uri: None,
            metrics_uri: None,
            display_name: None,
        });
    }
    let mut notes: BTreeMap<String, Value> = BTreeMap::new();
    notes.insert("comparisons".to_owned(), total(judges).into());
    notes.insert("status".to_owned(), ending.status.as_str().into());
    notes.insert(
        "sandbox".to_owned(),
        judges.iter().any(|judge| judge.sandbox).into(),
    );
    if let Some(budget) = job.budget {
        notes.insert("comparisons_budget".to_owned(), budget.into());
    }
    if let Some(reason) = ending.reason {
        notes.insert("end_reason".to_owned(), reason.as_str().into());
    }
    if let Some(reliability) = ranking.reliability {
        notes.insert("separation_reliability".to_owned(), reliability.into());
    }
    // The one that judged most; nobody when there was nothing to compare.
    let first = judges.first();
    let named = |name: fn(&JudgeCount) -> &str| first.map_or("none", name).to_owned();
    Ok(AssessmentResultV1 {
        event_name: EventName::new(),
        entity_id: Some(job.request.entity_id.clone()),
        entity_type: Some(ENTITY_BATCH.to_owned()),
        parent_id: None,
        timestamp: now,
        batch_id: job.request.entity_id.clone(),
        cj_assessment_job_id: job.id.clone(),
        assignment_id: job.request.assignment_id.clone(),
        assessment_method: METHOD.to_owned(),
        model_used: named(|judge| &judge.model),
        model_provider: named(|judge| &judge.provider),
        model_version: None,
        essay_results,
        assessment_metadata: notes,
        assessed_at: now,
    })
}

fn failed(
    job: &Job,
    error: &ErrorDetail,
    now: Timestamp,
) -> Result<CJAssessmentFailedV1, StoreError> {
    let metadata = metadata(job, ProcessingStage::Failed, now)?
        .with_error_info("error_code", error.error_code.as_str())
        .with_error_info("error_message", error.message.as_str());
    Ok(CJAssessmentFailedV1 {
        event_name: EventName::new(),
        entity_id: job.request.entity_id.clone(),
        entity_type: Some(ENTITY_BATCH.to_owned()),
        parent_id: None,
        timestamp: now,
        status: BatchStatus::FailedCritically,
        system_metadata: metadata,
        cj_assessment_job_id: job.id.clone(),
    })
}

/// Bills the comparisons that were really judged, also those of a batch that failed.
async fn bill(
    tx: &mut Tx,
    job: &Job,
    judges: &[JudgeCount],
    now: Timestamp,
) -> Result<(), StoreError> {
    let quantity = total(judges);
    if quantity == 0 {
        return Ok(());
    }
    tx.publish(ResourceConsumptionV1 {
        event_name: EventName::new(),
        entity_id: Some(job.request.entity_id.clone()),
        entity_type: Some(ENTITY_BATCH.to_owned()),
        parent_id: None,
        timestamp: now,
        user_id: job.request.user_id.clone(),
        org_id: job.request.org_id.clone(),
        resource_type: RESOURCE.to_owned(),
        quantity: u64::from(quantity),
        service_name: SERVICE.name().to_owned(),
        processing_id: job.id.clone(),
        consumed_at: now,
    })
    .await?;
    Ok(())
}
