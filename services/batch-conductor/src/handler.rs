//! Learns from Kafka how phases end.

use async_trait::async_trait;
use huleedu_contracts::events::essay::ELSBatchPhaseOutcomeV1;
use huleedu_kit::consumer::{EventHandler, HandlerError, Incoming, UnitOfWork};
use tracing::info;

use crate::store;

/// Applies `els.batch.phase.outcome`, the only topic it listens to.
pub(crate) struct Handler;

#[async_trait]
impl EventHandler for Handler {
    async fn handle(&self, event: &Incoming, unit: &UnitOfWork) -> Result<(), HandlerError> {
        let outcome: ELSBatchPhaseOutcomeV1 = event.data()?;
        let Some(mut tx) = unit.begin().await? else {
            return Ok(());
        };
        let (phase, status) = (outcome.phase_name, outcome.phase_status);
        store::note_outcome(&mut tx, &outcome.batch_id, phase, status).await?;
        tx.commit().await?;
        info!(batch_id = %outcome.batch_id, %phase, %status, "phase outcome noted");
        Ok(())
    }
}
