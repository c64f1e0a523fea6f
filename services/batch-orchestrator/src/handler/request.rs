//! A client asks for a pipeline: remembered when it comes too early, otherwise resolved by the
//! conductor and begun.
//!
//! The request is noted in the batch before the conductor is asked, so that the status shows it
//! while the conductor is away; then the event itself is tried again until there is an answer.

use huleedu_contracts::{
    api::conductor::{DefinePipelineRequest, PipelineBatchMetadata},
    events::pipeline::ClientBatchPipelineRequestV1,
};
use huleedu_kit::consumer::{HandlerError, Incoming, UnitOfWork};
use jiff::Timestamp;
use tracing::warn;

use super::{Unusable, apply, ignore, unknown};
use crate::{
    batch::Batch,
    conductor::{ConductorClient, Verdict},
    machine::{Effect, Phase, PipelineRequest, Trigger, step},
    store,
};

pub(super) async fn handle(
    conductor: &ConductorClient,
    event: &Incoming,
    unit: &UnitOfWork,
) -> Result<(), HandlerError> {
    let asked: ClientBatchPipelineRequestV1 = event.data()?;
    let pool = unit.store().pool();
    let id = asked.batch_id.clone();
    let before = store::load(pool, &id).await?.ok_or_else(|| unknown(&id))?;
    if before.registration.user_id != asked.user_id {
        warn!(batch_id = %id, user_id = %asked.user_id, "pipeline request of a stranger refused");
        return Err(HandlerError::permanent(Unusable::NotTheOwner(id)));
    }
    let now = Timestamp::now();
    let request = PipelineRequest {
        asked,
        asked_at: now,
    };
    let noted = match step(
        &before.state,
        Trigger::Requested(request.clone()),
        before.facts(now),
    ) {
        Ok(step) if step.effects.contains(&Effect::Resolve) => {
            note(unit, before, step.state).await?
        }
        Ok(step) => {
            let Some(tx) = unit.begin().await? else {
                return Ok(());
            };
            return apply(tx, &before, before.clone(), step).await;
        }
        Err(reason) => {
            let Some(tx) = unit.begin().await? else {
                return Ok(());
            };
            return ignore(tx, &id, &reason).await;
        }
    };

    let mut after = noted.clone();
    after.adopt_prompt(&request);
    let trigger = match ask(conductor, &after, &request).await? {
        Ok(phases) => {
            let essays = store::survivors(pool, &id).await?.len();
            let essays = u32::try_from(essays).unwrap_or(u32::MAX);
            Trigger::Resolved {
                request,
                phases,
                essays,
            }
        }
        Err(reason) => Trigger::Refused { request, reason },
    };
    let Some(tx) = unit.begin().await? else {
        return Ok(());
    };
    // Decided on what was read before the call; if that no longer holds, storing it conflicts.
    match step(&noted.state, trigger, after.facts(Timestamp::now())) {
        Ok(step) => apply(tx, &noted, after, step).await,
        Err(reason) => ignore(tx, &id, &reason).await,
    }
}

/// Stores that the pipeline is asked for; not yet the end of the event.
async fn note(
    unit: &UnitOfWork,
    before: Batch,
    state: crate::machine::BatchState,
) -> Result<Batch, HandlerError> {
    if before.state == state {
        return Ok(before);
    }
    let mut noted = before.clone();
    noted.state = state;
    let mut tx = unit.store().begin().await?;
    store::save(&mut tx, &before, &mut noted).await?;
    tx.commit().await?;
    Ok(noted)
}

/// The phases to run, or why there will be none.
async fn ask(
    conductor: &ConductorClient,
    batch: &Batch,
    request: &PipelineRequest,
) -> Result<Result<Vec<Phase>, String>, HandlerError> {
    let prompt_attached = batch.has_prompt();
    let question = DefinePipelineRequest {
        batch_id: batch.id.clone(),
        requested_pipeline: request.pipeline().clone(),
        correlation_id: request.asked.client_correlation_id,
        batch_metadata: Some(PipelineBatchMetadata {
            prompt_attached,
            prompt_source: prompt_attached.then(|| "stored".to_owned()),
            assignment_id: batch.registration.assignment_id.clone(),
        }),
    };
    let verdict = conductor.define(&question).await.map_err(|error| {
        // Whatever it was, it is not the batch's fault: never given up, never silent.
        HandlerError::Retry {
            after: error.retry_after(),
            source: Box::new(error),
        }
    })?;
    Ok(match verdict {
        Verdict::Refused(words) => Err(words),
        Verdict::Run(names) => names
            .into_iter()
            .map(|name| Phase::try_from(name).map_err(|error| error.to_string()))
            .collect(),
    })
}
