//! Events in: each is decoded and given to its rule inside the one transaction that applies it.

use async_trait::async_trait;
use huleedu_contracts::{Event, topics::Topic};
use huleedu_kit::{
    consumer::{EventHandler, HandlerError, Incoming, UnitOfWork},
    store::Tx,
};
use jiff::Timestamp;
use thiserror::Error;

use crate::{
    intake::{self, Arrival},
    phases,
    settings::Settings,
};

/// An event on a topic that this service does not ask for.
#[derive(Debug, Error)]
#[error("topic {0} is not consumed here")]
struct NotOurs(Topic);

/// The rules of this service for the events it consumes.
#[derive(Debug)]
pub(crate) struct Handler {
    settings: Settings,
}

impl Handler {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings }
    }

    async fn apply(&self, event: &Incoming, tx: &mut Tx) -> Result<(), HandlerError> {
        let now = Timestamp::now();
        match event.topic {
            Topic::BatchEssaysRegistered => intake::register(tx, &data(event)?, now).await,
            Topic::EssayContentProvisioned => {
                let arrival = Arrival::Content(data(event)?);
                intake::take_in(tx, &arrival, &self.settings, now).await
            }
            Topic::EssayValidationFailed => {
                let arrival = Arrival::Failure(data(event)?);
                intake::take_in(tx, &arrival, &self.settings, now).await
            }
            Topic::SpellcheckInitiateCommand => {
                Ok(phases::request_spellcheck(tx, &data(event)?, now).await?)
            }
            Topic::CjAssessmentInitiateCommand => {
                Ok(phases::request_judgement(tx, &data(event)?, now).await?)
            }
            Topic::SpellcheckPhaseCompleted => {
                Ok(phases::spellcheck_completed(tx, &data(event)?, now).await?)
            }
            Topic::EssaySpellcheckResults => Ok(phases::add_findings(tx, &data(event)?).await?),
            Topic::CjAssessmentCompleted => {
                Ok(phases::judgement_completed(tx, &data(event)?, now).await?)
            }
            Topic::CjAssessmentFailed => {
                Ok(phases::judgement_failed(tx, &data(event)?, now).await?)
            }
            other => Err(HandlerError::permanent(NotOurs(other))),
        }
    }
}

#[async_trait]
impl EventHandler for Handler {
    async fn handle(&self, event: &Incoming, unit: &UnitOfWork) -> Result<(), HandlerError> {
        let Some(mut tx) = unit.begin().await? else {
            return Ok(());
        };
        self.apply(event, &mut tx).await?;
        Ok(tx.commit().await?)
    }
}

fn data<T: Event>(event: &Incoming) -> Result<T, HandlerError> {
    event.data::<T>()
}
