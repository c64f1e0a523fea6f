//! What the Batch Orchestrator commands: one phase for one batch.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{EventName, event};
use crate::domain::{ClassType, CourseCode};
use crate::events::cj::LLMConfigOverrides;
use crate::ids::{AssignmentId, BatchId, ClassId, LanguageTag, OrgId, UserId};
use crate::metadata::{EssayProcessingInputRefV1, StorageReferences};

/// Spell-check these essays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchServiceSpellcheckInitiateCommandDataV1 {
    /// The event's name.
    pub event_name: EventName<Self>,
    /// The batch.
    pub entity_id: BatchId,
    /// What the id names: [`ENTITY_BATCH`](crate::metadata::ENTITY_BATCH).
    pub entity_type: Option<String>,
    /// Unused for batches.
    pub parent_id: Option<String>,
    /// When it was commanded.
    pub timestamp: Timestamp,
    /// The essays with the texts to check.
    pub essays_to_process: Vec<EssayProcessingInputRefV1>,
    /// Their language.
    pub language: LanguageTag,
}
event!(
    BatchServiceSpellcheckInitiateCommandDataV1,
    SpellcheckInitiateCommand,
    "batch.spellcheck.initiate.command",
    |it| it.entity_id.to_string()
);

/// Rank these essays by comparative judgement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchServiceCJAssessmentInitiateCommandDataV1 {
    /// The event's name.
    pub event_name: EventName<Self>,
    /// The batch.
    pub entity_id: BatchId,
    /// What the id names: [`ENTITY_BATCH`](crate::metadata::ENTITY_BATCH).
    pub entity_type: Option<String>,
    /// Unused for batches.
    pub parent_id: Option<String>,
    /// When it was commanded.
    pub timestamp: Timestamp,
    /// The essays with the texts to compare.
    pub essays_to_process: Vec<EssayProcessingInputRefV1>,
    /// Their language.
    pub language: LanguageTag,
    /// The course.
    pub course_code: CourseCode,
    /// The assignment as the students got it.
    pub student_prompt_ref: Option<StorageReferences>,
    /// Whether the batch belongs to a class.
    pub class_type: ClassType,
    /// The assignment whose anchors and instructions apply.
    pub assignment_id: Option<AssignmentId>,
    /// Who pays. Older publishers leave it out; the batch's registration has it too.
    pub user_id: Option<UserId>,
    /// Their organisation.
    pub org_id: Option<OrgId>,
    /// What this batch wants otherwise than the settings say.
    pub llm_config_overrides: Option<LLMConfigOverrides>,
}
event!(
    BatchServiceCJAssessmentInitiateCommandDataV1,
    CjAssessmentInitiateCommand,
    "batch.cj_assessment.initiate.command",
    |it| it.entity_id.to_string()
);

/// Write feedback for these essays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchServiceAIFeedbackInitiateCommandDataV1 {
    /// The event's name.
    pub event_name: EventName<Self>,
    /// The batch.
    pub entity_id: BatchId,
    /// What the id names: [`ENTITY_BATCH`](crate::metadata::ENTITY_BATCH).
    pub entity_type: Option<String>,
    /// Unused for batches.
    pub parent_id: Option<String>,
    /// When it was commanded.
    pub timestamp: Timestamp,
    /// The essays with the texts to write about.
    pub essays_to_process: Vec<EssayProcessingInputRefV1>,
    /// Their language.
    pub language: LanguageTag,
    /// The course.
    pub course_code: CourseCode,
    /// The assignment as the students got it.
    pub student_prompt_ref: Option<StorageReferences>,
    /// Whether the batch belongs to a class.
    pub class_type: ClassType,
    /// The owner of the batch.
    pub owner_user_id: UserId,
}
event!(
    BatchServiceAIFeedbackInitiateCommandDataV1,
    AiFeedbackInitiateCommand,
    "batch.ai_feedback.initiate.command",
    |it| it.entity_id.to_string()
);

/// Analyse the language of these essays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchServiceNLPInitiateCommandDataV2 {
    /// The event's name.
    pub event_name: EventName<Self>,
    /// The batch.
    pub entity_id: BatchId,
    /// What the id names: [`ENTITY_BATCH`](crate::metadata::ENTITY_BATCH).
    pub entity_type: Option<String>,
    /// Unused for batches.
    pub parent_id: Option<String>,
    /// When it was commanded.
    pub timestamp: Timestamp,
    /// The essays with the texts to analyse.
    pub essays_to_process: Vec<EssayProcessingInputRefV1>,
    /// Their language.
    pub language: LanguageTag,
    /// The assignment as the students got it.
    pub student_prompt_ref: Option<StorageReferences>,
}
event!(
    BatchServiceNLPInitiateCommandDataV2,
    NlpInitiateCommand,
    "batch.nlp.initiate.command.v2",
    |it| it.entity_id.to_string()
);

/// Find out who wrote these essays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchServiceStudentMatchingInitiateCommandDataV1 {
    /// The event's name.
    pub event_name: EventName<Self>,
    /// The batch.
    pub entity_id: BatchId,
    /// What the id names: [`ENTITY_BATCH`](crate::metadata::ENTITY_BATCH).
    pub entity_type: Option<String>,
    /// Unused for batches.
    pub parent_id: Option<String>,
    /// When it was commanded.
    pub timestamp: Timestamp,
    /// The essays with their texts.
    pub essays_to_process: Vec<EssayProcessingInputRefV1>,
    /// The class whose students may have written them.
    pub class_id: ClassId,
    /// The course.
    pub course_code: CourseCode,
}
event!(
    BatchServiceStudentMatchingInitiateCommandDataV1,
    StudentMatchingInitiateCommand,
    "batch.student.matching.initiate.command",
    |it| it.entity_id.to_string()
);
