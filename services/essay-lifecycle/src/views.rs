//! What readers see of an essay and of a batch.

use std::collections::{BTreeMap, HashSet};

use huleedu_contracts::{
    api::lifecycle::{
        BatchEssaysResponse, EssayStatusResponse, EssayTimelineResponse, EssayView, FailedFile,
        TimelineEntry,
    },
    bounds::Percentage,
    domain::ContentType,
    ids::BatchId,
    status::EssayStatus,
};

use crate::{
    machine::Phase,
    store::{
        essays::{Essay, Step},
        files::FileFailure,
    },
};

/// The steps that an essay can show as done: its content, and each phase that the platform runs.
const STEPS: [(&str, EssayStatus); 3] = [
    ("content_provisioned", EssayStatus::ReadyForProcessing),
    ("spellcheck", Phase::Spellcheck.success()),
    ("cj_assessment", Phase::CjAssessment.success()),
];

/// One essay. A state that was reached more than once shows its last time.
pub(crate) fn essay(essay: Essay, steps: &[Step]) -> EssayStatusResponse {
    let reached: HashSet<EssayStatus> = steps.iter().map(|step| step.status).collect();
    let stored = [
        (ContentType::RawUploadBlob, essay.raw_file_storage_id),
        (ContentType::ExtractedPlaintext, essay.text_storage_id),
        (ContentType::CorrectedText, essay.corrected_text_storage_id),
    ];
    EssayStatusResponse {
        essay_id: essay.essay_id,
        current_status: essay.status,
        batch_id: Some(essay.batch_id),
        processing_progress: STEPS
            .iter()
            .map(|(name, status)| ((*name).to_owned(), reached.contains(status)))
            .collect(),
        timeline: steps
            .iter()
            .map(|step| (step.status.to_string(), step.at))
            .collect(),
        storage_references: stored
            .into_iter()
            .filter_map(|(content_type, id)| Some((content_type, id?)))
            .collect(),
        created_at: essay.created_at,
        updated_at: essay.updated_at,
    }
}

/// What happened to one essay.
pub(crate) fn timeline(essay: Essay, steps: &[Step]) -> EssayTimelineResponse {
    EssayTimelineResponse {
        essay_id: essay.essay_id,
        batch_id: Some(essay.batch_id),
        current_status: essay.status,
        entries: steps
            .iter()
            .map(|step| TimelineEntry {
                status: step.status,
                at: step.at,
            })
            .collect(),
    }
}

/// All essays of a batch.
pub(crate) fn batch(
    batch_id: BatchId,
    essays: Vec<Essay>,
    failures: Vec<FileFailure>,
) -> BatchEssaysResponse {
    let mut status_breakdown = BTreeMap::new();
    for essay in &essays {
        *status_breakdown.entry(essay.status).or_insert(0) += 1;
    }
    let total = u32::try_from(essays.len()).unwrap_or(u32::MAX);
    let over = essays.iter().filter(|essay| is_over(essay.status)).count();
    let over = u32::try_from(over).unwrap_or(u32::MAX);
    BatchEssaysResponse {
        batch_id,
        total_essays: total,
        status_breakdown,
        completion_percentage: Percentage::of(over, total),
        essays: essays.into_iter().map(view).collect(),
        failed_files: failures.into_iter().map(failed_file).collect(),
    }
}

/// Whether an essay has nothing more before it, whichever pipeline runs: it is ranked, or it has
/// failed. A spell-checked essay may still be ranked, so it is not.
const fn is_over(status: EssayStatus) -> bool {
    matches!(
        status,
        EssayStatus::CjAssessmentSuccess
            | EssayStatus::AllProcessingCompleted
            | EssayStatus::ContentIngestionFailed
            | EssayStatus::SpellcheckFailed
            | EssayStatus::NlpFailed
            | EssayStatus::AiFeedbackFailed
            | EssayStatus::CjAssessmentFailed
            | EssayStatus::EssayCriticalFailure
    )
}

fn view(essay: Essay) -> EssayView {
    EssayView {
        essay_id: essay.essay_id,
        filename: essay.file_name,
        file_upload_id: essay.file_upload_id,
        current_status: essay.status,
        text_storage_id: essay.text_storage_id,
        corrections: essay.corrections,
        spellcheck_metrics: essay.metrics,
        corrected_text_storage_id: essay.corrected_text_storage_id,
        error: essay.error,
        updated_at: essay.updated_at,
    }
}

fn failed_file(failure: FileFailure) -> FailedFile {
    FailedFile {
        file_upload_id: failure.file_upload_id,
        filename: failure.file_name,
        error_code: failure.code,
        message: failure.detail.message,
    }
}

#[cfg(test)]
mod tests {
    use huleedu_contracts::ids::StorageId;
    use jiff::Timestamp;

    use super::*;

    fn essay_in(status: EssayStatus) -> Essay {
        Essay {
            batch_id: "b".parse().unwrap(),
            essay_id: "e".parse().unwrap(),
            status,
            file_upload_id: None,
            file_name: None,
            raw_file_storage_id: None,
            text_storage_id: Some(StorageId::from_bytes([1; 16])),
            corrected_text_storage_id: None,
            corrections: None,
            metrics: None,
            error: None,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_batch_is_as_complete_as_its_essays_are_over() {
        use EssayStatus as S;
        let essays = [
            S::CjAssessmentSuccess,
            S::SpellcheckFailed,
            S::SpellcheckedSuccess,
            S::Uploaded,
        ]
        .map(essay_in)
        .to_vec();
        let response = batch("b".parse().unwrap(), essays, Vec::new());
        assert_eq!(response.completion_percentage, Percentage::of(1, 2));
        assert_eq!(response.total_essays, 4);
        assert_eq!(response.status_breakdown.values().sum::<u32>(), 4);
        assert_eq!(response.status_breakdown[&S::Uploaded], 1);
    }

    #[test]
    fn every_failure_is_an_end() {
        for &status in EssayStatus::ALL {
            let of_a_phase = Phase::ALL.iter().any(|phase| phase.failure() == status);
            if of_a_phase {
                assert!(is_over(status), "{status}");
            }
            let under_way = Phase::ALL
                .iter()
                .any(|phase| phase.awaiting() == status || phase.in_progress() == status);
            if under_way {
                assert!(!is_over(status), "{status}");
            }
        }
    }

    #[test]
    fn progress_is_what_was_reached_not_where_the_essay_stands() {
        let step = |status| Step {
            status,
            at: Timestamp::UNIX_EPOCH,
        };
        let steps = [
            step(EssayStatus::Uploaded),
            step(EssayStatus::ReadyForProcessing),
            step(EssayStatus::AwaitingSpellcheck),
            step(EssayStatus::SpellcheckedSuccess),
            step(EssayStatus::AwaitingCjAssessment),
        ];
        let answer = essay(essay_in(EssayStatus::AwaitingCjAssessment), &steps);
        assert!(answer.processing_progress["content_provisioned"]);
        assert!(answer.processing_progress["spellcheck"]);
        assert!(!answer.processing_progress["cj_assessment"]);
        assert_eq!(answer.storage_references.len(), 1);
        assert_eq!(answer.timeline.len(), 5);
    }
}
