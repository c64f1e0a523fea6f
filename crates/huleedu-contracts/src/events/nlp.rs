//! Language analysis and author matching, which a system outside the nine services does.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EventName, event};
use crate::bounds::Fraction;
use crate::domain::CourseCode;
use crate::ids::{BatchId, ClassId, EssayId, LanguageTag, StorageId, StudentId};
use crate::metadata::{EssayProcessingInputRefV1, StorageReferences, SystemProcessingMetadata};
use crate::status::BatchStatus;

/// The essays of a batch are to be analysed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchNlpProcessingRequestedV2 {
    /// The event's name.
    pub event_name: EventName<Self>,
    /// The batch.
    pub entity_id: Option<BatchId>,
    /// What the id names: [`ENTITY_BATCH`](crate::metadata::ENTITY_BATCH).
    pub entity_type: Option<String>,
    /// Unused for batches.
    pub parent_id: Option<String>,
    /// When it was asked for.
    pub timestamp: Timestamp,
    /// The essays with the texts to analyse.
    pub essays_to_process: Vec<EssayProcessingInputRefV1>,
    /// Their language.
    pub language: LanguageTag,
    /// The batch.
    pub batch_id: BatchId,
    /// The assignment as the students got it.
    pub student_prompt_ref: Option<StorageReferences>,
}
event!(
    BatchNlpProcessingRequestedV2,
    BatchNlpProcessingRequested,
    "batch.nlp.processing.requested.v2",
    |it| it.batch_id.to_string()
);

/// The essays of a batch are analysed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchNlpAnalysisCompletedV1 {
    /// The event's name.
    #[serde(default)]
    pub event_name: EventName<Self>,
    /// The batch.
    pub entity_id: Option<BatchId>,
    /// What the id names: [`ENTITY_BATCH`](crate::metadata::ENTITY_BATCH).
    pub entity_type: Option<String>,
    /// Unused for batches.
    pub parent_id: Option<String>,
    /// When it was done.
    pub timestamp: Timestamp,
    /// How it ended.
    pub status: BatchStatus,
    /// Processing metadata of the batch.
    pub system_metadata: SystemProcessingMetadata,
    /// The batch.
    pub batch_id: BatchId,
    /// Which essays were analysed and which were not.
    pub processing_summary: NlpProcessingSummary,
}
event!(
    BatchNlpAnalysisCompletedV1,
    BatchNlpAnalysisCompleted,
    "batch.nlp.analysis.completed",
    |it| it.batch_id.to_string()
);

/// Which essays were analysed and which were not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NlpProcessingSummary {
    /// All essays of the request.
    pub total_essays: u32,
    /// How many were analysed.
    pub successful: u32,
    /// How many were not.
    pub failed: u32,
    /// Those that were analysed.
    pub successful_essay_ids: Vec<EssayId>,
    /// Those that were not.
    pub failed_essay_ids: Vec<EssayId>,
}

/// The authors of the essays of a batch are to be found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchStudentMatchingRequestedV1 {
    /// The event's name.
    #[serde(default)]
    pub event_name: EventName<Self>,
    /// The batch.
    pub entity_id: Option<BatchId>,
    /// What the id names: [`ENTITY_BATCH`](crate::metadata::ENTITY_BATCH).
    pub entity_type: Option<String>,
    /// Unused for batches.
    pub parent_id: Option<String>,
    /// When it was asked for.
    pub timestamp: Timestamp,
    /// The batch.
    pub batch_id: BatchId,
    /// The essays with their texts.
    pub essays_to_process: Vec<EssayProcessingInputRefV1>,
    /// The class whose students may have written them.
    pub class_id: ClassId,
    /// The course.
    pub course_code: CourseCode,
}
event!(
    BatchStudentMatchingRequestedV1,
    BatchStudentMatchingRequested,
    "batch.student.matching.requested",
    |it| it.batch_id.to_string()
);

/// Who may have written the essays of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchAuthorMatchesSuggestedV1 {
    /// The event's name.
    #[serde(default)]
    pub event_name: EventName<Self>,
    /// The batch.
    pub entity_id: Option<BatchId>,
    /// What the id names: [`ENTITY_BATCH`](crate::metadata::ENTITY_BATCH).
    pub entity_type: Option<String>,
    /// Unused for batches.
    pub parent_id: Option<String>,
    /// When it was found out.
    pub timestamp: Timestamp,
    /// The batch.
    pub batch_id: BatchId,
    /// The class.
    pub class_id: ClassId,
    /// The course.
    pub course_code: CourseCode,
    /// The suggestions for each essay.
    pub match_results: Vec<EssayMatchResult>,
    /// The same in numbers.
    pub processing_summary: BTreeMap<String, u32>,
    /// Further facts.
    #[serde(default)]
    pub processing_metadata: BTreeMap<String, Value>,
}
event!(
    BatchAuthorMatchesSuggestedV1,
    BatchAuthorMatchesSuggested,
    "batch.author.matches.suggested",
    |it| it.batch_id.to_string()
);

/// Who may have written one essay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EssayMatchResult {
    /// The essay.
    pub essay_id: EssayId,
    /// Its text.
    pub text_storage_id: StorageId,
    /// Its file.
    pub filename: String,
    /// Students who may have written it, the likeliest first.
    #[serde(default)]
    pub suggestions: Vec<StudentMatchSuggestion>,
    /// Why there is no suggestion.
    pub no_match_reason: Option<String>,
    /// Further facts.
    #[serde(default)]
    pub extraction_metadata: BTreeMap<String, Value>,
}

/// One student who may have written an essay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudentMatchSuggestion {
    /// The student.
    pub student_id: StudentId,
    /// Their name.
    pub student_name: String,
    /// Their e-mail address.
    pub student_email: Option<String>,
    /// How sure the suggestion is.
    pub confidence_score: Fraction,
    /// What speaks for it.
    pub match_reasons: Vec<String>,
    /// Further facts.
    #[serde(default)]
    pub extraction_metadata: BTreeMap<String, Value>,
}
