//! Carries out the effects of a step inside the transaction that stores the new state.

use huleedu_contracts::bounds::NonNegative;
use huleedu_contracts::{
    domain::ClassType,
    events::{
        Event as _, EventName,
        cj::LLMConfigOverrides,
        command::{
            BatchServiceCJAssessmentInitiateCommandDataV1,
            BatchServiceSpellcheckInitiateCommandDataV1,
        },
        pipeline::BatchPipelineCompletedV1,
    },
    ids::CorrelationId,
    metadata::{ENTITY_BATCH, SystemProcessingMetadata},
    status::{BatchStatus, ProcessingStage},
};
use huleedu_kit::{
    CallContext,
    store::{StoreError, Tx},
};
use jiff::Timestamp;
use tracing::info;

use crate::{
    batch::Batch,
    machine::{Announcement, Effect, Phase},
    store,
};

/// Carries out `effects`, in order. [`Effect::Resolve`] is not among them: it needs the network.
pub(crate) async fn carry_out(
    tx: &mut Tx,
    batch: &Batch,
    effects: Vec<Effect>,
) -> Result<(), StoreError> {
    for effect in effects {
        match effect {
            Effect::Resolve => {}
            Effect::Resubmit(request) => {
                let correlation = request.asked.client_correlation_id;
                within(correlation, tx.publish(request.asked)).await?;
                info!(batch_id = %batch.id, "remembered pipeline request is taken up");
            }
            Effect::Dispatch(phase) => dispatch(tx, batch, phase).await?,
            Effect::Announce(announcement) => announce(tx, batch, announcement).await?,
        }
    }
    Ok(())
}

/// Events of a pipeline carry the correlation id of the request for it, whatever event caused them.
async fn within<F: Future>(correlation_id: CorrelationId, work: F) -> F::Output {
    CallContext {
        correlation_id,
        ..CallContext::current()
    }
    .scope(work)
    .await
}

async fn dispatch(tx: &mut Tx, batch: &Batch, phase: Phase) -> Result<(), StoreError> {
    let essays_to_process = store::survivors(tx.conn(), &batch.id).await?;
    let essays = essays_to_process.len();
    let registration = &batch.registration;
    let language = registration.course_code.language().into();
    let timestamp = Timestamp::now();
    let entity_type = Some(ENTITY_BATCH.to_owned());
    let correlation = batch.state.request().map_or_else(
        || CallContext::current().correlation_id,
        |request| request.asked.client_correlation_id,
    );
    match phase {
        Phase::Spellcheck => {
            let command = BatchServiceSpellcheckInitiateCommandDataV1 {
                event_name: EventName::new(),
                entity_id: batch.id.clone(),
                entity_type,
                parent_id: None,
                timestamp,
                essays_to_process,
                language,
            };
            within(correlation, tx.publish(command)).await?;
        }
        Phase::CjAssessment => {
            let command = BatchServiceCJAssessmentInitiateCommandDataV1 {
                event_name: EventName::new(),
                entity_id: batch.id.clone(),
                entity_type,
                parent_id: None,
                timestamp,
                essays_to_process,
                language,
                course_code: registration.course_code,
                student_prompt_ref: registration.student_prompt_ref.clone(),
                class_type: ClassType::Guest,
                assignment_id: registration.assignment_id.clone(),
                user_id: Some(registration.user_id.clone()),
                org_id: registration.org_id.clone(),
                llm_config_overrides: llm_overrides(batch),
            };
            within(correlation, tx.publish(command)).await?;
        }
    }
    info!(batch_id = %batch.id, %phase, essays, "phase commanded");
    Ok(())
}

/// What the registration wants otherwise; a temperature of 0 is a wish like any other.
fn llm_overrides(batch: &Batch) -> Option<LLMConfigOverrides> {
    let overrides = LLMConfigOverrides {
        model_override: batch.registration.cj_default_llm_model.clone(),
        temperature_override: batch.registration.cj_default_temperature,
        ..LLMConfigOverrides::default()
    };
    (overrides != LLMConfigOverrides::default()).then_some(overrides)
}

async fn announce(tx: &mut Tx, batch: &Batch, end: Announcement) -> Result<(), StoreError> {
    let now = Timestamp::now();
    let took = now
        .duration_since(end.started_at)
        .try_into()
        .unwrap_or_default();
    let correlation_id = end.request.asked.client_correlation_id;
    let stage = match end.status {
        BatchStatus::CompletedSuccessfully | BatchStatus::CompletedWithFailures => {
            ProcessingStage::Completed
        }
        _ => ProcessingStage::Failed,
    };
    let metadata = SystemProcessingMetadata::for_batch(&batch.id, now)
        .with_stage(stage)
        .with_span(end.started_at, now)
        .with_event(BatchPipelineCompletedV1::NAME);
    let metadata = match batch.view().error {
        Some(error) => metadata
            .with_error_info("error_code", error.error_code.as_str())
            .with_error_info("message", error.message),
        None => metadata,
    };
    let event = BatchPipelineCompletedV1 {
        event: EventName::new(),
        batch_id: batch.id.clone(),
        completed_phases: end.completed.iter().map(|phase| phase.name()).collect(),
        final_status: end.status,
        processing_duration_seconds: NonNegative::from_duration(took),
        successful_essay_count: end.successful,
        failed_essay_count: end.failed,
        correlation_id,
        metadata,
    };
    within(correlation_id, tx.publish(event)).await?;
    info!(
        batch_id = %batch.id,
        status = %end.status,
        successful = end.successful,
        failed = end.failed,
        "pipeline is over"
    );
    Ok(())
}
