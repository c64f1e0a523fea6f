//! The life of a batch until its essays are in: registered, filled, ready.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{EventName, event};
use crate::domain::{ClassType, CourseCode};
use crate::error::{ErrorCode, ErrorDetail};
use crate::ids::{BatchId, ClassId, CorrelationId, EssayId, LanguageTag, OrgId, StorageId, UserId};
use crate::metadata::{EssayProcessingInputRefV1, StorageReferences, SystemProcessingMetadata};

/// A batch was registered and has its slots.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchEssaysRegistered {
    /// The event's name.
    #[serde(default)]
    pub event: EventName<Self>,
    /// The batch.
    pub entity_id: BatchId,
    /// How many files the client will upload.
    pub expected_essay_count: NonZeroU32,
    /// The slots, as many as files are expected.
    pub essay_ids: Vec<EssayId>,
    /// Processing metadata of the batch.
    pub metadata: SystemProcessingMetadata,
    /// The course.
    pub course_code: CourseCode,
    /// The assignment as the students got it, when it is stored already.
    pub student_prompt_ref: Option<StorageReferences>,
    /// The owner.
    pub user_id: UserId,
    /// The owner's organisation.
    pub org_id: Option<OrgId>,
    /// The class; none means a guest batch.
    pub class_id: Option<ClassId>,
}
event!(
    BatchEssaysRegistered,
    BatchEssaysRegistered,
    "batch.essays.registered",
    |it| it.entity_id.to_string()
);

/// Every slot of a batch is filled or has failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchContentProvisioningCompletedV1 {
    /// The event's name.
    #[serde(default)]
    pub event: EventName<Self>,
    /// The batch.
    pub batch_id: BatchId,
    /// How many slots are filled.
    pub provisioned_count: u32,
    /// How many files were expected.
    pub expected_count: u32,
    /// The course.
    pub course_code: CourseCode,
    /// The owner.
    pub user_id: UserId,
    /// The filled slots with their texts.
    pub essays_for_processing: Vec<EssayProcessingInputRefV1>,
    /// The request it happened for.
    pub correlation_id: CorrelationId,
    /// When the last slot was settled.
    pub timestamp: Timestamp,
}
event!(
    BatchContentProvisioningCompletedV1,
    BatchContentProvisioningCompleted,
    "batch.content.provisioning.completed",
    |it| it.batch_id.to_string()
);

/// A regular batch may run: its students are known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchEssaysReady {
    /// The event's name.
    #[serde(default)]
    pub event: EventName<Self>,
    /// The batch.
    pub batch_id: BatchId,
    /// The essays that are ready.
    pub ready_essays: Vec<EssayProcessingInputRefV1>,
    /// Processing metadata of the batch.
    pub metadata: SystemProcessingMetadata,
    /// The course.
    pub course_code: CourseCode,
    /// The language of the course.
    pub course_language: LanguageTag,
    /// The assignment as the students got it.
    pub student_prompt_ref: Option<StorageReferences>,
    /// Whether the batch belongs to a class.
    pub class_type: ClassType,
    /// The teacher's first name.
    pub teacher_first_name: Option<String>,
    /// The teacher's last name.
    pub teacher_last_name: Option<String>,
}
event!(
    BatchEssaysReady,
    BatchEssaysReady,
    "batch.essays.ready",
    |it| it.batch_id.to_string()
);

/// Slots of a batch failed because their files cannot be assessed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchValidationErrorsV1 {
    /// The event's name.
    #[serde(default)]
    pub event: EventName<Self>,
    /// The batch.
    pub batch_id: BatchId,
    /// The slots that failed.
    pub failed_essays: Vec<EssayValidationError>,
    /// The same in numbers.
    pub error_summary: BatchErrorSummary,
    /// The request it happened for.
    pub correlation_id: CorrelationId,
    /// Processing metadata of the batch.
    pub metadata: SystemProcessingMetadata,
}
event!(
    BatchValidationErrorsV1,
    BatchValidationErrors,
    "batch.validation.errors.v1",
    |it| it.batch_id.to_string()
);

/// One slot that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EssayValidationError {
    /// The slot.
    pub essay_id: EssayId,
    /// The file that was to fill it.
    pub file_name: String,
    /// Why it could not.
    pub error_detail: ErrorDetail,
    /// When it failed.
    pub failed_at: Timestamp,
}

/// The failures of a batch in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchErrorSummary {
    /// How many slots failed.
    pub total_errors: u32,
    /// How many failed for which reason.
    pub error_categories: BTreeMap<String, u32>,
    /// Whether no slot was filled at all.
    #[serde(default)]
    pub critical_failure: bool,
}

impl BatchErrorSummary {
    /// Counts failures by their codes.
    pub fn count(codes: impl IntoIterator<Item = ErrorCode>, critical_failure: bool) -> Self {
        let mut summary = Self {
            critical_failure,
            ..Self::default()
        };
        for code in codes {
            summary.total_errors += 1;
            *summary
                .error_categories
                .entry(code.as_str().to_owned())
                .or_default() += 1;
        }
        summary
    }
}

/// A file came that no slot was left for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExcessContentProvisionedV1 {
    /// The event's name.
    #[serde(default)]
    pub event: EventName<Self>,
    /// The batch.
    pub batch_id: BatchId,
    /// The file's name.
    pub original_file_name: String,
    /// Its stored text.
    pub text_storage_id: StorageId,
    /// Why there is no slot.
    pub reason: String,
    /// The request it happened for.
    pub correlation_id: CorrelationId,
    /// When it happened.
    pub timestamp: Timestamp,
}
event!(
    ExcessContentProvisionedV1,
    ExcessContentProvisioned,
    "excess.content.provisioned",
    |it| it.batch_id.to_string()
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_by_their_codes() {
        let codes = [
            ErrorCode::EmptyContent,
            ErrorCode::ContentTooShort,
            ErrorCode::EmptyContent,
        ];
        let summary = BatchErrorSummary::count(codes, true);
        assert_eq!(summary.total_errors, 3);
        assert!(summary.critical_failure);
        assert_eq!(summary.error_categories["EMPTY_CONTENT"], 2);
        assert_eq!(summary.error_categories["CONTENT_TOO_SHORT"], 1);
    }
}
