//! What the services around Essay Lifecycle say, with made-up but valid contents.

use std::num::NonZeroU32;

use huleedu_contracts::{
    ErrorCode, ErrorDetail, EventName,
    bounds::NonNegative,
    domain::{ClassType, CourseCode, Language},
    events::{
        batch::BatchEssaysRegistered,
        cj::{CJAssessmentCompletedV1, CJAssessmentFailedV1, CjProcessingSummary},
        command::{
            BatchServiceCJAssessmentInitiateCommandDataV1,
            BatchServiceSpellcheckInitiateCommandDataV1,
        },
        file::{EssayContentProvisionedV1, EssayValidationFailedV1},
        spellcheck::{SpellcheckPhaseCompletedV1, SpellcheckResultV1},
    },
    ids::{BatchId, CorrelationId, EssayId, FileUploadId, StorageId},
    metadata::{
        ENTITY_BATCH, ENTITY_ESSAY, EssayProcessingInputRefV1, SpellcheckMetricsV1,
        SystemProcessingMetadata,
    },
    status::{BatchStatus, EssayStatus, ProcessingStatus},
};
use jiff::Timestamp;

/// A batch with its slots.
pub(crate) struct Batch {
    pub(crate) id: BatchId,
    pub(crate) essays: Vec<EssayId>,
}

/// The text of a file, by number.
pub(crate) fn text(number: u8) -> StorageId {
    StorageId::from_bytes([number; 16])
}

/// The corrected text of the essay with this text.
pub(crate) fn corrected(number: u8) -> StorageId {
    let mut bytes = [number; 16];
    bytes[0] = 0xff;
    StorageId::from_bytes(bytes)
}

pub(crate) fn upload(name: &str) -> FileUploadId {
    name.parse().expect("a plain word")
}

pub(crate) fn metrics(corrections: u32) -> SpellcheckMetricsV1 {
    SpellcheckMetricsV1 {
        total_corrections: corrections,
        l2_dictionary_corrections: 0,
        spellchecker_corrections: corrections,
        word_count: 100,
        correction_density: NonNegative::new(f64::from(corrections)).expect("not negative"),
    }
}

impl Batch {
    pub(crate) fn of(slots: usize) -> Self {
        Self {
            id: BatchId::random(),
            essays: (0..slots).map(|_| EssayId::random()).collect(),
        }
    }

    pub(crate) fn registered(&self) -> BatchEssaysRegistered {
        let slots = u32::try_from(self.essays.len()).expect("few slots");
        BatchEssaysRegistered {
            event: EventName::new(),
            entity_id: self.id.clone(),
            expected_essay_count: NonZeroU32::new(slots).expect("at least one slot"),
            essay_ids: self.essays.clone(),
            metadata: SystemProcessingMetadata::for_batch(&self.id, Timestamp::now()),
            course_code: CourseCode::Eng5,
            student_prompt_ref: None,
            user_id: "teacher".parse().expect("a plain word"),
            org_id: Some("school".parse().expect("a plain word")),
            class_id: None,
        }
    }

    pub(crate) fn content(&self, name: &str, number: u8) -> EssayContentProvisionedV1 {
        EssayContentProvisionedV1 {
            event: EventName::new(),
            entity_id: self.id.clone(),
            file_upload_id: upload(name),
            original_file_name: format!("{name}.txt"),
            raw_file_storage_id: text(200),
            text_storage_id: text(number),
            file_size_bytes: 1000,
            content_md5_hash: None,
            correlation_id: CorrelationId::random(),
            timestamp: Timestamp::now(),
        }
    }

    pub(crate) fn failure(&self, name: &str, code: ErrorCode) -> EssayValidationFailedV1 {
        let correlation_id = CorrelationId::random();
        let detail = ErrorDetail::new(
            code,
            format!("{name}.txt cannot be assessed"),
            correlation_id,
            Timestamp::now(),
            "file",
            "validate",
        );
        EssayValidationFailedV1 {
            event: EventName::new(),
            entity_id: self.id.clone(),
            file_upload_id: upload(name),
            original_file_name: format!("{name}.txt"),
            raw_file_storage_id: None,
            validation_error_code: code,
            validation_error_detail: detail,
            file_size_bytes: 3,
            correlation_id,
            timestamp: Timestamp::now(),
        }
    }

    pub(crate) fn spellcheck(
        &self,
        essays: Vec<EssayProcessingInputRefV1>,
    ) -> BatchServiceSpellcheckInitiateCommandDataV1 {
        BatchServiceSpellcheckInitiateCommandDataV1 {
            event_name: EventName::new(),
            entity_id: self.id.clone(),
            entity_type: Some(ENTITY_BATCH.to_owned()),
            parent_id: None,
            timestamp: Timestamp::now(),
            essays_to_process: essays,
            language: Language::English.into(),
        }
    }

    pub(crate) fn judgement(
        &self,
        essays: Vec<EssayProcessingInputRefV1>,
    ) -> BatchServiceCJAssessmentInitiateCommandDataV1 {
        BatchServiceCJAssessmentInitiateCommandDataV1 {
            event_name: EventName::new(),
            entity_id: self.id.clone(),
            entity_type: Some(ENTITY_BATCH.to_owned()),
            parent_id: None,
            timestamp: Timestamp::now(),
            essays_to_process: essays,
            language: Language::English.into(),
            course_code: CourseCode::Eng5,
            student_prompt_ref: None,
            class_type: ClassType::Guest,
            assignment_id: Some("assignment".parse().expect("a plain word")),
            user_id: None,
            org_id: None,
            llm_config_overrides: None,
        }
    }

    /// The thin answer; without a text the essay has failed.
    pub(crate) fn thin(
        &self,
        essay: &EssayId,
        corrected_text: Option<StorageId>,
    ) -> SpellcheckPhaseCompletedV1 {
        let failed = corrected_text.is_none();
        SpellcheckPhaseCompletedV1 {
            entity_id: essay.clone(),
            batch_id: self.id.clone(),
            correlation_id: CorrelationId::random(),
            status: if failed {
                ProcessingStatus::Failed
            } else {
                ProcessingStatus::Completed
            },
            corrected_text_storage_id: corrected_text,
            error_code: failed.then_some(ErrorCode::ContentServiceError),
            processing_duration_ms: 5,
            timestamp: Timestamp::now(),
        }
    }

    pub(crate) fn rich(&self, essay: &EssayId, corrections: u32) -> SpellcheckResultV1 {
        SpellcheckResultV1 {
            event_name: EventName::new(),
            entity_id: essay.clone(),
            entity_type: Some(ENTITY_ESSAY.to_owned()),
            parent_id: Some(self.id.clone()),
            timestamp: Timestamp::now(),
            status: EssayStatus::SpellcheckedSuccess,
            system_metadata: SystemProcessingMetadata::for_essay(essay, &self.id, Timestamp::now()),
            batch_id: self.id.clone(),
            correlation_id: CorrelationId::random(),
            user_id: None,
            corrections_made: corrections,
            correction_metrics: metrics(corrections),
            original_text_storage_id: text(1),
            corrected_text_storage_id: Some(corrected(1)),
            processing_duration_ms: 5,
            processor_version: "test".to_owned(),
        }
    }

    pub(crate) fn ranked(&self, ranked: &[EssayId], failed: &[EssayId]) -> CJAssessmentCompletedV1 {
        let number = |ids: &[EssayId]| u32::try_from(ids.len()).expect("few essays");
        CJAssessmentCompletedV1 {
            event_name: EventName::new(),
            entity_id: self.id.clone(),
            entity_type: Some(ENTITY_BATCH.to_owned()),
            parent_id: None,
            timestamp: Timestamp::now(),
            status: BatchStatus::CompletedSuccessfully,
            system_metadata: SystemProcessingMetadata::for_batch(&self.id, Timestamp::now()),
            cj_assessment_job_id: "job".to_owned(),
            processing_summary: CjProcessingSummary {
                total_essays: number(ranked) + number(failed),
                successful: number(ranked),
                failed: number(failed),
                successful_essay_ids: ranked.to_vec(),
                failed_essay_ids: failed.to_vec(),
                processing_time_seconds: NonNegative::new(1.0).expect("not negative"),
            },
        }
    }

    pub(crate) fn not_ranked(&self, reason: &str) -> CJAssessmentFailedV1 {
        CJAssessmentFailedV1 {
            event_name: EventName::new(),
            entity_id: self.id.clone(),
            entity_type: Some(ENTITY_BATCH.to_owned()),
            parent_id: None,
            timestamp: Timestamp::now(),
            status: BatchStatus::FailedCritically,
            system_metadata: SystemProcessingMetadata::for_batch(&self.id, Timestamp::now())
                .with_error_info("message", reason),
            cj_assessment_job_id: "job".to_owned(),
        }
    }
}
