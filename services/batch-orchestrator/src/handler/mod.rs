//! Applies events: reads the batch, lets the rules decide, stores state and effects in one
//! transaction together with the event's id.
//!
//! An event that changes nothing (a duplicate, a late outcome, a second request) is logged with its
//! reason and noted as applied. A change that meets another one is tried again from a fresh reading.

mod content;
mod outcome;
mod request;

use async_trait::async_trait;
use huleedu_contracts::{ids::BatchId, topics::Topic};
use huleedu_kit::{
    consumer::{EventHandler, HandlerError, Incoming, UnitOfWork},
    store::Tx,
};
use thiserror::Error;
use tracing::{info, warn};

use crate::{
    batch::Batch,
    conductor::ConductorClient,
    effects,
    machine::{Ignored, Step},
    store,
};

/// The rules of the service for the events it consumes.
pub(crate) struct Handler {
    conductor: ConductorClient,
}

/// An event that cannot be applied, now or later.
#[derive(Debug, Error)]
enum Unusable {
    #[error("batch {0} does not exist")]
    UnknownBatch(BatchId),
    #[error("the request for batch {0} does not come from its owner")]
    NotTheOwner(BatchId),
    #[error("topic {0} is not handled here")]
    Topic(Topic),
}

impl Handler {
    pub(crate) fn new(conductor: ConductorClient) -> Self {
        Self { conductor }
    }
}

#[async_trait]
impl EventHandler for Handler {
    async fn handle(&self, event: &Incoming, unit: &UnitOfWork) -> Result<(), HandlerError> {
        match event.topic {
            Topic::BatchContentProvisioningCompleted => content::provisioned(event, unit).await,
            Topic::BatchValidationErrors => content::validation_errors(event, unit).await,
            Topic::ClientBatchPipelineRequest => {
                request::handle(&self.conductor, event, unit).await
            }
            Topic::ElsBatchPhaseOutcome => outcome::handle(event, unit).await,
            other => Err(HandlerError::permanent(Unusable::Topic(other))),
        }
    }
}

/// Reads a batch inside the transaction.
async fn load(tx: &mut Tx, id: &BatchId) -> Result<Batch, HandlerError> {
    store::load(tx.conn(), id).await?.ok_or_else(|| unknown(id))
}

/// The batch was registered in the transaction that announced it, so an event about another one is
/// not early but wrong.
fn unknown(id: &BatchId) -> HandlerError {
    HandlerError::permanent(Unusable::UnknownBatch(id.clone()))
}

/// Stores the step's state, carries out its effects and commits.
async fn apply(
    mut tx: Tx,
    before: &Batch,
    mut after: Batch,
    step: Step,
) -> Result<(), HandlerError> {
    after.state = step.state;
    store::save(&mut tx, before, &mut after).await?;
    effects::carry_out(&mut tx, &after, step.effects).await?;
    tx.commit().await?;
    let (from, to) = (before.state.status(), after.state.status());
    info!(batch_id = %after.id, %from, %to, "batch moved on");
    Ok(())
}

/// Notes the event as applied although it changes nothing.
async fn ignore(tx: Tx, id: &BatchId, reason: &Ignored) -> Result<(), HandlerError> {
    warn!(batch_id = %id, %reason, "event changes nothing");
    tx.commit().await?;
    Ok(())
}
