//! The parts that many events have in common: processing metadata, references to stored content
//! and the essays a phase works on.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bounds::NonNegative;
use crate::domain::ContentType;
use crate::ids::{BatchId, EssayId, StorageId};
use crate::status::ProcessingStage;

/// The `entity_type` of a batch.
pub const ENTITY_BATCH: &str = "batch";
/// The `entity_type` of an essay.
pub const ENTITY_ESSAY: &str = "essay";

/// What an event is about and how its processing stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SystemProcessingMetadata {
    /// The id of the batch or essay the event is about.
    pub entity_id: String,
    /// What that id names: [`ENTITY_BATCH`], [`ENTITY_ESSAY`] or another word.
    pub entity_type: String,
    /// The batch of an essay.
    pub parent_id: Option<String>,
    /// When this record was made.
    pub timestamp: Timestamp,
    /// How the processing stands.
    pub processing_stage: Option<ProcessingStage>,
    /// When the processing began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// The name of the event that carries this record.
    pub event: Option<String>,
    /// What went wrong, when something did.
    #[serde(default)]
    pub error_info: BTreeMap<String, Value>,
}

impl SystemProcessingMetadata {
    /// A record about a batch.
    pub fn for_batch(batch_id: &BatchId, timestamp: Timestamp) -> Self {
        Self::about(batch_id.to_string(), ENTITY_BATCH, None, timestamp)
    }

    /// A record about an essay of a batch.
    pub fn for_essay(essay_id: &EssayId, batch_id: &BatchId, timestamp: Timestamp) -> Self {
        Self::about(
            essay_id.to_string(),
            ENTITY_ESSAY,
            Some(batch_id.to_string()),
            timestamp,
        )
    }

    /// The same record with a stage.
    #[must_use]
    pub fn with_stage(mut self, stage: ProcessingStage) -> Self {
        self.processing_stage = Some(stage);
        self
    }

    /// The same record with the time span of the processing.
    #[must_use]
    pub fn with_span(mut self, started_at: Timestamp, completed_at: Timestamp) -> Self {
        self.started_at = Some(started_at);
        self.completed_at = Some(completed_at);
        self
    }

    /// The same record with the name of the event that carries it.
    #[must_use]
    pub fn with_event(mut self, event: impl Into<String>) -> Self {
        self.event = Some(event.into());
        self
    }

    /// The same record with one more statement about what went wrong.
    #[must_use]
    pub fn with_error_info(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.error_info.insert(key.into(), value.into());
        self
    }

    fn about(
        entity_id: String,
        entity_type: &str,
        parent_id: Option<String>,
        timestamp: Timestamp,
    ) -> Self {
        Self {
            entity_id,
            entity_type: entity_type.to_owned(),
            parent_id,
            timestamp,
            processing_stage: None,
            started_at: None,
            completed_at: None,
            event: None,
            error_info: BTreeMap::new(),
        }
    }
}

/// Stored contents by what they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageReferences {
    /// Where each content is.
    #[serde(default)]
    pub references: BTreeMap<ContentType, StorageReference>,
}

impl StorageReferences {
    /// One content alone.
    pub fn single(content_type: ContentType, storage_id: StorageId) -> Self {
        let mut references = BTreeMap::new();
        references.insert(content_type, StorageReference::new(storage_id));
        Self { references }
    }

    /// The id under which a kind of content is stored.
    pub fn storage_id(&self, content_type: ContentType) -> Option<&StorageId> {
        self.references
            .get(&content_type)
            .map(|reference| &reference.storage_id)
    }
}

/// Where one content is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageReference {
    /// Its id in the Content Service.
    pub storage_id: StorageId,
    /// A path, where a store has such a thing; usually empty.
    #[serde(default)]
    pub path: String,
}

impl StorageReference {
    /// A reference by id alone.
    pub fn new(storage_id: StorageId) -> Self {
        Self {
            storage_id,
            path: String::new(),
        }
    }
}

/// One essay as the input of a phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EssayProcessingInputRefV1 {
    /// The essay.
    pub essay_id: EssayId,
    /// The text to work on: after spell-checking the corrected one.
    pub text_storage_id: StorageId,
    /// What spell-checking found, when it has run.
    pub spellcheck_metrics: Option<SpellcheckMetricsV1>,
}

impl EssayProcessingInputRefV1 {
    /// An essay with its text and nothing else.
    pub fn new(essay_id: EssayId, text_storage_id: StorageId) -> Self {
        Self {
            essay_id,
            text_storage_id,
            spellcheck_metrics: None,
        }
    }
}

/// What spell-checking found in one essay.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpellcheckMetricsV1 {
    /// All corrections.
    pub total_corrections: u32,
    /// Those that the dictionary of learners' errors made.
    pub l2_dictionary_corrections: u32,
    /// Those that the general spell checker made.
    pub spellchecker_corrections: u32,
    /// Words in the text.
    pub word_count: u32,
    /// Corrections per 100 words.
    pub correction_density: NonNegative,
}
