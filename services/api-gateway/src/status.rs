//! One status put together from three services: the orchestrator says where the batch stands, the
//! lifecycle knows the essays, CJ Assessment knows the ranking.
//!
//! Without the orchestrator there is no answer. Without one of the others the answer says so in
//! `unavailable` and holds what is known.

use std::collections::HashMap;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use fusebox_http::{HttpClient, HttpError, encode_segment};
use http::StatusCode;
use huleedu_contracts::{
    api::{
        cj::{BatchResultsResponse, CjEssayResult},
        gateway::{BatchStatusBody, BatchStatusDetails, EssayPhaseStatus, EssayResultView},
        lifecycle::{BatchEssaysResponse, EssayView},
        orchestrator::BatchStatusResponse,
    },
    ids::BatchId,
    status::{EssayStatus, PhaseName},
};
use huleedu_kit::http::{ApiError, ApiPath, ApiResult};
use serde::de::DeserializeOwned;

use crate::{
    App,
    auth::User,
    downstream::{on_behalf, success},
};

/// GET `/v1/batches/{id}/status`.
pub(crate) async fn status(
    State(app): State<App>,
    user: User,
    ApiPath(batch_id): ApiPath<BatchId>,
) -> ApiResult<Response> {
    let batch = match owned_batch(&app, &user, &batch_id).await? {
        Ok(batch) => batch,
        Err(refusal) => return Ok(*refusal),
    };
    let id = encode_segment(batch_id.as_ref());
    let down = &app.downstream;
    let judged = batch
        .phases
        .iter()
        .any(|p| p.phase == PhaseName::CjAssessment && p.started_at.is_some());
    let ranking = async {
        if judged {
            part::<BatchResultsResponse>(&down.cj, &format!("/internal/v1/batches/{id}/results"))
                .await
        } else {
            Part::None
        }
    };
    let path = format!("/v1/batches/{id}/status");
    let essays = part::<BatchEssaysResponse>(&down.lifecycle, &path);
    let (essays, ranking) = tokio::join!(essays, ranking);
    Ok(Json(compose(batch, essays, ranking)).into_response())
}

/// What the orchestrator knows of a batch of this user; its own refusal if it refuses.
///
/// # Errors
/// The orchestrator cannot answer, or the batch is another user's.
pub(crate) async fn owned_batch(
    app: &App,
    user: &User,
    batch_id: &BatchId,
) -> ApiResult<Result<BatchStatusResponse, Box<Response>>> {
    let id = encode_segment(batch_id.as_ref());
    let request = app
        .downstream
        .orchestrator
        .get(format!("/v1/batches/{id}/status"));
    let batch: BatchStatusResponse = match success(on_behalf(request, user).send().await?) {
        Ok(response) => response.json()?,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if batch.user_id != user.id {
        return Err(ApiError::forbidden("this batch belongs to another user"));
    }
    Ok(Ok(batch))
}

/// What one of the services had to say.
enum Part<T> {
    /// This.
    Some(T),
    /// It knows nothing of the batch yet.
    None,
    /// It cannot answer now.
    Unavailable,
}

impl<T> Part<T> {
    /// The part, with its service's name noted when it cannot answer.
    fn or_note(self, name: &str, unavailable: &mut Vec<String>) -> Option<T> {
        match self {
            Self::Some(part) => Some(part),
            Self::None => None,
            Self::Unavailable => {
                unavailable.push(name.to_owned());
                None
            }
        }
    }
}

async fn part<T: DeserializeOwned>(client: &HttpClient, path: &str) -> Part<T> {
    let asked = async {
        let response = client.get(path).send().await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        response.error_for_status()?.json::<T>().map(Some)
    };
    match asked.await {
        Ok(Some(part)) => Part::Some(part),
        Ok(None) => Part::None,
        Err(error) => {
            let error: HttpError = error;
            tracing::warn!(%error, path, "part of a status is missing");
            Part::Unavailable
        }
    }
}

fn compose(
    batch: BatchStatusResponse,
    essays: Part<BatchEssaysResponse>,
    ranking: Part<BatchResultsResponse>,
) -> BatchStatusBody {
    let mut unavailable = Vec::new();
    let essays = essays.or_note("essay_lifecycle", &mut unavailable);
    let ranking = ranking.or_note("cj_assessment", &mut unavailable);
    let (essays, failed_files) =
        essays.map_or_else(Default::default, |e| (e.essays, e.failed_files));
    let (results, judges, comparisons_total, comparisons_budget) = ranking.map_or_else(
        || (Vec::new(), Vec::new(), None, None),
        |r| {
            (
                r.essays,
                r.judges,
                Some(r.comparisons_total),
                r.comparisons_budget,
            )
        },
    );
    let mut results: HashMap<_, _> = results
        .into_iter()
        .map(|r| (r.essay_id.clone(), r))
        .collect();
    let last_phase = batch.phases.last().map(|p| p.phase);
    let mut views: Vec<_> = essays
        .into_iter()
        .map(|essay| {
            let result = results.remove(&essay.essay_id);
            view(essay, result)
        })
        .collect();
    // Ranked ones first, the best at the top; the others by file name.
    views.sort_by(|a, b| {
        let key = |v: &EssayResultView| {
            (
                v.cj_rank.is_none(),
                v.cj_rank,
                v.filename.clone(),
                v.essay_id.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    let of_last_phase = |v: &EssayResultView| match last_phase {
        Some(PhaseName::CjAssessment) => v.cj_assessment_status,
        Some(PhaseName::Spellcheck) => v.spellcheck_status,
        _ => None,
    };
    let completed = views
        .iter()
        .filter(|v| of_last_phase(v) == Some(EssayPhaseStatus::Completed))
        .count();
    let failed = failed_files.len()
        + views
            .iter()
            .filter(|v| {
                [v.spellcheck_status, v.cj_assessment_status]
                    .contains(&Some(EssayPhaseStatus::Failed))
            })
            .count();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let status = batch.status.into();
    let details = BatchStatusDetails {
        batch_id: batch.batch_id,
        user_id: batch.user_id,
        assignment_id: batch.assignment_id,
        overall_status: status,
        essay_count: batch.expected_essay_count.get(),
        completed_essay_count: count(completed),
        failed_essay_count: count(failed),
        requested_pipeline: batch.requested_pipeline,
        current_phase: batch.current_phase,
        phases: batch.phases,
        essays: views,
        failed_files,
        judges,
        comparisons_total,
        comparisons_budget,
        created_at: batch.created_at,
        last_updated: batch.updated_at,
        processing_started_at: batch.processing_started_at,
        processing_completed_at: batch.processing_completed_at,
        student_prompt_ref: batch.student_prompt_ref,
        error: batch.error,
        unavailable,
    };
    BatchStatusBody { status, details }
}

fn view(essay: EssayView, result: Option<CjEssayResult>) -> EssayResultView {
    let (spellcheck, cj) = phases(essay.current_status);
    let (spell_error, cj_error) = match spellcheck {
        Some(EssayPhaseStatus::Failed) => (essay.error, None),
        _ => (None, essay.error),
    };
    let mut view = EssayResultView {
        essay_id: essay.essay_id,
        filename: essay.filename,
        file_upload_id: essay.file_upload_id,
        spellcheck_status: spellcheck,
        spellcheck_correction_count: essay.corrections,
        spellcheck_corrected_text_storage_id: essay.corrected_text_storage_id,
        spellcheck_error_detail: spell_error,
        cj_assessment_status: cj,
        cj_rank: None,
        cj_score: None,
        cj_standard_error: None,
        cj_comparison_count: None,
        cj_normalized_score: None,
        cj_letter_grade: None,
        cj_confidence_label: None,
        cj_assessment_error_detail: cj_error,
        last_updated: essay.updated_at,
    };
    if let Some(result) = result {
        view.cj_rank = result.rank;
        view.cj_score = result.score;
        view.cj_standard_error = result.standard_error;
        view.cj_comparison_count = Some(result.comparisons);
        view.cj_normalized_score = result.normalized_score;
        view.cj_letter_grade = result.letter_grade;
        view.cj_confidence_label = result.confidence_label;
        if result.error.is_some() {
            view.cj_assessment_error_detail = result.error;
        }
    }
    view
}

/// How spell-checking and judgement stand for an essay in this state.
fn phases(status: EssayStatus) -> (Option<EssayPhaseStatus>, Option<EssayPhaseStatus>) {
    use EssayPhaseStatus::{Completed, Failed, Pending, Processing};
    match status {
        EssayStatus::AwaitingSpellcheck => (Some(Pending), None),
        EssayStatus::SpellcheckingInProgress => (Some(Processing), None),
        EssayStatus::SpellcheckedSuccess => (Some(Completed), None),
        EssayStatus::SpellcheckFailed => (Some(Failed), None),
        EssayStatus::AwaitingCjAssessment => (Some(Completed), Some(Pending)),
        EssayStatus::CjAssessmentInProgress => (Some(Completed), Some(Processing)),
        EssayStatus::CjAssessmentSuccess | EssayStatus::AllProcessingCompleted => {
            (Some(Completed), Some(Completed))
        }
        EssayStatus::CjAssessmentFailed => (Some(Completed), Some(Failed)),
        _ => (None, None),
    }
}
