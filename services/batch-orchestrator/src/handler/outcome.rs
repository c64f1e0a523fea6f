//! A phase is over: the survivors go on, or the pipeline ends.

use huleedu_contracts::{events::essay::ELSBatchPhaseOutcomeV1, ids::EssayId};
use huleedu_kit::consumer::{HandlerError, Incoming, UnitOfWork};
use jiff::Timestamp;
use tracing::warn;

use super::{apply, ignore, load};
use crate::{
    machine::{BatchState, Phase, Trigger, step, tally},
    store,
};

pub(super) async fn handle(event: &Incoming, unit: &UnitOfWork) -> Result<(), HandlerError> {
    let outcome: ELSBatchPhaseOutcomeV1 = event.data()?;
    let Some(mut tx) = unit.begin().await? else {
        return Ok(());
    };
    let before = load(&mut tx, &outcome.batch_id).await?;
    let running = match &before.state {
        BatchState::Running(run) => Some(run.current.phase),
        _ => None,
    };
    let phase = match Phase::try_from(outcome.phase_name) {
        Ok(phase) if Some(phase) == running => phase,
        _ => {
            // Late, early or repeated: the essays' texts stay those of the phase that does run.
            warn!(
                batch_id = %before.id,
                phase = %outcome.phase_name,
                running = running.map(|phase| phase.name().as_str()),
                "outcome of a phase that is not running changes nothing"
            );
            tx.commit().await?;
            return Ok(());
        }
    };
    let entered: Vec<EssayId> = store::survivors(tx.conn(), &before.id)
        .await?
        .into_iter()
        .map(|essay| essay.essay_id)
        .collect();
    let tally = tally(&entered, &outcome);
    if tally.unmentioned > 0 || tally.strangers > 0 {
        warn!(
            batch_id = %before.id,
            %phase,
            unmentioned = tally.unmentioned,
            strangers = tally.strangers,
            "outcome does not fit the essays that entered the phase"
        );
    }
    for essay in &tally.survivors {
        store::set_text(&mut tx, essay).await?;
    }
    for essay in &tally.failed {
        store::set_failed(&mut tx, essay, phase.name().as_str()).await?;
    }
    let trigger = Trigger::PhaseEnded {
        phase,
        successful: u32::try_from(tally.survivors.len()).unwrap_or(u32::MAX),
        failed: u32::try_from(tally.failed.len()).unwrap_or(u32::MAX),
    };
    match step(&before.state, trigger, before.facts(Timestamp::now())) {
        Ok(step) => apply(tx, &before, before.clone(), step).await,
        Err(reason) => ignore(tx, &before.id, &reason).await,
    }
}
