//! Requests from Kafka: check the essay, then write its row and both answers in one transaction.

use std::time::Instant;

use async_trait::async_trait;
use huleedu_contracts::{
    bounds::NonNegative,
    events::{
        Event as _, EventName,
        spellcheck::{
            EssayLifecycleSpellcheckRequestV1, SpellcheckPhaseCompletedV1, SpellcheckResultV1,
        },
    },
    ids::CorrelationId,
    metadata::{ENTITY_ESSAY, SpellcheckMetricsV1, SystemProcessingMetadata},
    status::{EssayStatus, ProcessingStage, ProcessingStatus},
};
use huleedu_kit::consumer::{EventHandler, HandlerError, Incoming, UnitOfWork};
use jiff::Timestamp;
use tracing::{info, warn};

use crate::{
    check::{Checked, Checker, Rejected},
    engine::{self, Metrics},
    store,
};

/// Handles requests to check an essay.
#[derive(Debug)]
pub(crate) struct Handler {
    checker: Checker,
}

impl Handler {
    pub(crate) fn new(checker: Checker) -> Self {
        Self { checker }
    }
}

#[async_trait]
impl EventHandler for Handler {
    async fn handle(&self, event: &Incoming, unit: &UnitOfWork) -> Result<(), HandlerError> {
        let request: EssayLifecycleSpellcheckRequestV1 = event.data()?;
        let started_at = Timestamp::now();
        let clock = Instant::now();
        let result = self
            .checker
            .check(&request.text_storage_id, &request.language)
            .await?;
        let answer = Answer {
            request: &request,
            result: &result,
            correlation_id: event.context.correlation_id,
            started_at,
            completed_at: Timestamp::now(),
            duration_ms: u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX),
        };

        let Some(mut tx) = unit.begin().await? else {
            return Ok(());
        };
        store::insert_job(
            &mut tx,
            event.event_id,
            &request,
            answer.correlation_id.to_string(),
            &result,
            answer.duration_ms,
        )
        .await?;
        tx.publish(answer.rich()).await?;
        tx.publish(answer.thin()).await?;
        tx.commit().await?;
        answer.log();
        Ok(())
    }
}

/// What is told about one request.
#[derive(Debug)]
struct Answer<'a> {
    request: &'a EssayLifecycleSpellcheckRequestV1,
    result: &'a Result<Checked, Rejected>,
    correlation_id: CorrelationId,
    started_at: Timestamp,
    completed_at: Timestamp,
    duration_ms: u64,
}

impl Answer<'_> {
    /// What those need who keep states.
    fn thin(&self) -> SpellcheckPhaseCompletedV1 {
        let (status, text, error_code) = match self.result {
            Ok(checked) => (
                ProcessingStatus::Completed,
                Some(checked.corrected_text.clone()),
                None,
            ),
            Err(rejected) => (ProcessingStatus::Failed, None, Some(rejected.code())),
        };
        SpellcheckPhaseCompletedV1 {
            entity_id: self.request.entity_id.clone(),
            batch_id: self.request.parent_id.clone(),
            correlation_id: self.correlation_id,
            status,
            corrected_text_storage_id: text,
            error_code,
            processing_duration_ms: self.duration_ms,
            timestamp: self.completed_at,
        }
    }

    /// What those need who show results.
    fn rich(&self) -> SpellcheckResultV1 {
        let metadata = SystemProcessingMetadata::for_essay(
            &self.request.entity_id,
            &self.request.parent_id,
            self.completed_at,
        )
        .with_span(self.started_at, self.completed_at)
        .with_event(SpellcheckResultV1::NAME);
        let (status, metadata, text, metrics) = match self.result {
            Ok(checked) => (
                EssayStatus::SpellcheckedSuccess,
                metadata.with_stage(ProcessingStage::Completed),
                Some(checked.corrected_text.clone()),
                checked.correction.metrics,
            ),
            Err(rejected) => (
                EssayStatus::SpellcheckFailed,
                metadata
                    .with_stage(ProcessingStage::Failed)
                    .with_error_info("error_code", rejected.code().as_str())
                    .with_error_info("message", rejected.message()),
                None,
                Metrics::default(),
            ),
        };
        let metrics = on_the_wire(metrics);
        SpellcheckResultV1 {
            event_name: EventName::new(),
            entity_id: self.request.entity_id.clone(),
            entity_type: Some(ENTITY_ESSAY.to_owned()),
            parent_id: Some(self.request.parent_id.clone()),
            timestamp: self.completed_at,
            status,
            system_metadata: metadata,
            batch_id: self.request.parent_id.clone(),
            correlation_id: self.correlation_id,
            user_id: None,
            corrections_made: metrics.total_corrections,
            correction_metrics: metrics,
            original_text_storage_id: self.request.text_storage_id.clone(),
            corrected_text_storage_id: text,
            processing_duration_ms: self.duration_ms,
            processor_version: engine::VERSION.to_owned(),
        }
    }

    fn log(&self) {
        let essay_id = self.request.entity_id.as_str();
        match self.result {
            Ok(checked) => info!(
                essay_id,
                language = %self.request.language,
                corrections = checked.correction.metrics.total_corrections,
                words = checked.correction.metrics.word_count,
                limit_reached = checked.correction.limit_reached,
                duration_ms = self.duration_ms,
                "essay spell-checked"
            ),
            Err(rejected) => warn!(
                essay_id,
                language = %self.request.language,
                code = rejected.code().as_str(),
                error = rejected.message(),
                "essay cannot be spell-checked"
            ),
        }
    }
}

fn on_the_wire(metrics: Metrics) -> SpellcheckMetricsV1 {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    SpellcheckMetricsV1 {
        total_corrections: count(metrics.total_corrections),
        l2_dictionary_corrections: count(metrics.l2_dictionary_corrections),
        spellchecker_corrections: count(metrics.spellchecker_corrections),
        word_count: count(metrics.word_count),
        correction_density: NonNegative::new(metrics.correction_density)
            .unwrap_or(NonNegative::MIN),
    }
}
