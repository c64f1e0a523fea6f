//! What is reported about the files of a batch.

use huleedu_contracts::events::batch::{
    BatchContentProvisioningCompletedV1, BatchValidationErrorsV1,
};
use huleedu_kit::consumer::{HandlerError, Incoming, UnitOfWork};
use jiff::Timestamp;
use tracing::{info, warn};

use super::{apply, ignore, load};
use crate::{
    batch::FailedFiles,
    machine::{BatchState, Ignored, Trigger, step},
    store,
};

/// Every slot is filled or failed: takes the essays over.
pub(super) async fn provisioned(event: &Incoming, unit: &UnitOfWork) -> Result<(), HandlerError> {
    let data: BatchContentProvisioningCompletedV1 = event.data()?;
    let Some(mut tx) = unit.begin().await? else {
        return Ok(());
    };
    let before = load(&mut tx, &data.batch_id).await?;
    if !matches!(before.state, BatchState::AwaitingContent { .. }) {
        // The slots are the input of phases by now and must not be touched.
        return ignore(tx, &data.batch_id, &Ignored::ContentSettled).await;
    }
    let filled = store::fill_slots(&mut tx, &before.id, &data.essays_for_processing).await?;
    if filled != data.provisioned_count {
        warn!(
            batch_id = %before.id,
            filled,
            told = data.provisioned_count,
            "content was handed over for other slots than told"
        );
    }
    let mut after = before.clone();
    after.provisioned = Some(filled);
    let trigger = Trigger::ContentProvisioned {
        provisioned: filled,
    };
    match step(&before.state, trigger, after.facts(Timestamp::now())) {
        Ok(step) => apply(tx, &before, after, step).await,
        Err(reason) => ignore(tx, &before.id, &reason).await,
    }
}

/// Files that could not be taken in: recorded, so that the final status can tell. Status changes
/// come with [`provisioned`] alone.
pub(super) async fn validation_errors(
    event: &Incoming,
    unit: &UnitOfWork,
) -> Result<(), HandlerError> {
    let data: BatchValidationErrorsV1 = event.data()?;
    let Some(mut tx) = unit.begin().await? else {
        return Ok(());
    };
    let before = load(&mut tx, &data.batch_id).await?;
    let mut after = before.clone();
    let listed = u32::try_from(data.failed_essays.len()).unwrap_or(u32::MAX);
    after.failed_files = FailedFiles {
        total: data.error_summary.total_errors.max(listed),
        kinds: data.error_summary.error_categories,
    };
    store::save(&mut tx, &before, &mut after).await?;
    tx.commit().await?;
    info!(batch_id = %after.id, files = after.failed_files.total, "failed files recorded");
    Ok(())
}
