//! Takes requests to rank a batch and stores them as jobs.

use std::sync::Arc;

use async_trait::async_trait;
use huleedu_contracts::{events::cj::ELS_CJAssessmentRequestV1, topics::Topic};
use huleedu_kit::consumer::{EventHandler, HandlerError, Incoming, UnitOfWork};
use tokio::sync::Notify;

use crate::store::Jobs;

/// The handler of this service.
#[derive(Debug)]
pub(crate) struct Handler {
    pub(crate) jobs: Jobs,
    /// Wakes the driver.
    pub(crate) requested: Arc<Notify>,
}

#[async_trait]
impl EventHandler for Handler {
    async fn handle(&self, event: &Incoming, unit: &UnitOfWork) -> Result<(), HandlerError> {
        match event.topic {
            Topic::ElsCjAssessmentRequested => {}
            other => {
                return Err(HandlerError::permanent(format!(
                    "topic {other} is not ours"
                )));
            }
        }
        let request = event.data::<ELS_CJAssessmentRequestV1>()?;
        let Some(mut tx) = unit.begin().await? else {
            return Ok(());
        };
        // The event's id is the job's: a request is one job, however often it is delivered.
        let job_id = event.event_id.to_string();
        self.jobs
            .insert(&mut tx, &job_id, &request, event.context)
            .await?;
        tx.commit().await?;
        tracing::info!(
            job_id,
            batch_id = request.entity_id.as_str(),
            essays = request.essays_for_cj.len(),
            "assessment requested"
        );
        self.requested.notify_one();
        Ok(())
    }
}
