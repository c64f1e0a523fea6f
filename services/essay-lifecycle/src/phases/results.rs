//! Results: what the services that do the work say about essays and batches.

use std::collections::{BTreeMap, HashSet};

use huleedu_contracts::{
    error::{ErrorCode, ErrorDetail},
    events::{
        cj::{CJAssessmentCompletedV1, CJAssessmentFailedV1},
        spellcheck::{SpellcheckPhaseCompletedV1, SpellcheckResultV1},
    },
    ids::{BatchId, EssayId, StorageId},
    status::{EssayStatus, ProcessingStatus},
};
use huleedu_kit::store::{StoreError, Tx};
use jiff::Timestamp;
use tracing::{debug, info, warn};

use super::outcome;
use crate::{
    machine::{self, Cause, Phase},
    store::{
        batches,
        essays::{self, Change},
        phases::{self, MemberState, OpenRun},
    },
};

/// The greatest length of a reason that is kept, in characters.
const REASON_CHARS: usize = 500;

/// How one essay came out of a phase.
#[derive(Debug)]
enum Exit {
    Succeeded(Option<StorageId>),
    Failed(ErrorDetail),
}

/// One essay is spell-checked, has failed or has been begun.
pub(crate) async fn spellcheck_completed(
    tx: &mut Tx,
    event: &SpellcheckPhaseCompletedV1,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (batch_id, phase) = (&event.batch_id, Phase::Spellcheck);
    let Some(run) = running(tx, batch_id, phase).await? else {
        return Ok(());
    };
    let failed = |code: ErrorCode, message: &str| {
        Exit::Failed(ErrorDetail::new(
            code,
            message,
            event.correlation_id,
            event.timestamp,
            "spellchecker",
            "spellcheck",
        ))
    };
    let result = match (event.status, &event.corrected_text_storage_id) {
        (ProcessingStatus::Pending, _) => return Ok(()),
        (ProcessingStatus::InProgress, _) => return begun(tx, &run, &event.entity_id, now).await,
        (ProcessingStatus::Completed, Some(text)) => Exit::Succeeded(Some(text.clone())),
        (ProcessingStatus::Completed, None) => {
            failed(ErrorCode::InvalidResponse, "the corrected text is missing")
        }
        (ProcessingStatus::Failed, _) => failed(
            event
                .error_code
                .unwrap_or(ErrorCode::SpellcheckServiceError),
            "the essay could not be spell-checked",
        ),
    };
    settle(tx, &run, vec![(event.entity_id.clone(), result)], now).await
}

/// What spell-checking found in one essay; may come before or after the essay is done.
pub(crate) async fn add_findings(
    tx: &mut Tx,
    event: &SpellcheckResultV1,
) -> Result<(), StoreError> {
    let (batch_id, essay_id) = (&event.batch_id, &event.entity_id);
    if event.status == EssayStatus::SpellcheckFailed {
        // Nothing was found, which is not the same as that there were no mistakes.
        return Ok(());
    }
    batches::lock(tx, batch_id).await?;
    let metrics = &event.correction_metrics;
    let known =
        essays::add_spellcheck_findings(tx, batch_id, essay_id, event.corrections_made, metrics)
            .await?;
    if !known {
        debug!(%batch_id, %essay_id, "findings for an essay that is not known");
    }
    Ok(())
}

/// The batch is ranked; essays of the run that the ranking does not name have failed.
pub(crate) async fn judgement_completed(
    tx: &mut Tx,
    event: &CJAssessmentCompletedV1,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(run) = running(tx, &event.entity_id, Phase::CjAssessment).await? else {
        return Ok(());
    };
    let ranked: HashSet<&EssayId> = event
        .processing_summary
        .successful_essay_ids
        .iter()
        .collect();
    let named_failed: HashSet<&EssayId> =
        event.processing_summary.failed_essay_ids.iter().collect();
    let reason = |message: &str| judgement_error(&run, event.timestamp, message);
    let results = open_members(tx, &run)
        .await?
        .into_iter()
        .map(|id| {
            let result = if named_failed.contains(&id) {
                Exit::Failed(reason("the essay could not be ranked"))
            } else if ranked.contains(&id) {
                Exit::Succeeded(None)
            } else {
                Exit::Failed(reason("the ranking does not name the essay"))
            };
            (id, result)
        })
        .collect();
    settle(tx, &run, results, now).await
}

/// The batch cannot be ranked: every essay that is still in the run has failed.
pub(crate) async fn judgement_failed(
    tx: &mut Tx,
    event: &CJAssessmentFailedV1,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(run) = running(tx, &event.entity_id, Phase::CjAssessment).await? else {
        return Ok(());
    };
    let message = reason_of(&event.system_metadata.error_info);
    let results = open_members(tx, &run)
        .await?
        .into_iter()
        .map(|id| {
            (
                id,
                Exit::Failed(judgement_error(&run, event.timestamp, &message)),
            )
        })
        .collect();
    settle(tx, &run, results, now).await
}

fn judgement_error(run: &OpenRun, at: Timestamp, message: &str) -> ErrorDetail {
    ErrorDetail::new(
        ErrorCode::CjAssessmentServiceError,
        message,
        run.correlation_id,
        at,
        "cj_assessment",
        "rank_essays",
    )
}

/// The reason that a failed judgement gives, bounded in length.
fn reason_of(info: &BTreeMap<String, serde_json::Value>) -> String {
    let said: Vec<String> = info
        .iter()
        .map(|(key, value)| match value.as_str() {
            Some(text) => format!("{key}: {text}"),
            None => format!("{key}: {value}"),
        })
        .collect();
    let text = if said.is_empty() {
        "the batch could not be ranked".to_owned()
    } else {
        format!("the batch could not be ranked ({})", said.join("; "))
    };
    text.chars().take(REASON_CHARS).collect()
}

/// Holds the batch's row and finds the run that these results belong to.
async fn running(
    tx: &mut Tx,
    batch_id: &BatchId,
    phase: Phase,
) -> Result<Option<OpenRun>, StoreError> {
    batches::lock(tx, batch_id).await?;
    let run = phases::open_run(tx, batch_id, phase).await?;
    if run.is_none() {
        info!(%batch_id, %phase, "result for a phase that does not run");
    }
    Ok(run)
}

async fn open_members(tx: &mut Tx, run: &OpenRun) -> Result<Vec<EssayId>, StoreError> {
    let members = phases::members(tx, &run.key).await?;
    let open = members
        .into_iter()
        .filter(|member| member.state == MemberState::Open);
    Ok(open.map(|member| member.essay_id).collect())
}

/// The essay's service has begun with it.
async fn begun(
    tx: &mut Tx,
    run: &OpenRun,
    essay_id: &EssayId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (batch_id, cause) = (&run.key.batch_id, Cause::Started(run.key.phase));
    let Some(status) = essays::status(tx, batch_id, essay_id).await? else {
        return Ok(());
    };
    match machine::next(status, cause) {
        Ok(_) => essays::step(tx, batch_id, essay_id, cause, &Change::default(), now).await,
        Err(refused) => {
            debug!(%batch_id, %essay_id, reason = %refused, "essay was begun before");
            Ok(())
        }
    }
}

/// Lets essays come out of the run, and ends it with the last one.
async fn settle(
    tx: &mut Tx,
    run: &OpenRun,
    results: Vec<(EssayId, Exit)>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (mut succeeded, mut failed) = (0, 0);
    for (essay_id, result) in results {
        match settle_one(tx, run, &essay_id, result, now).await? {
            Some(MemberState::Succeeded) => succeeded += 1,
            Some(MemberState::Failed) => failed += 1,
            Some(MemberState::Open) | None => {}
        }
    }
    if succeeded + failed == 0 {
        return Ok(());
    }
    let counts = phases::add_counts(tx, &run.key, succeeded, failed).await?;
    outcome::tell_if_over(tx, run, counts, now).await
}

/// Lets one essay come out; `None` when it is not in the run any more, or never was.
async fn settle_one(
    tx: &mut Tx,
    run: &OpenRun,
    essay_id: &EssayId,
    result: Exit,
    now: Timestamp,
) -> Result<Option<MemberState>, StoreError> {
    let (key, batch_id) = (&run.key, &run.key.batch_id);
    if phases::member_state(tx, key, essay_id).await? != Some(MemberState::Open) {
        info!(%batch_id, %essay_id, phase = %key.phase, "result for an essay that is not in the phase");
        return Ok(None);
    }
    let (cause, state, text, error) = match result {
        Exit::Succeeded(text) => (
            Cause::Succeeded(key.phase),
            MemberState::Succeeded,
            text,
            None,
        ),
        Exit::Failed(error) => (
            Cause::Failed(key.phase),
            MemberState::Failed,
            None,
            Some(error),
        ),
    };
    let status = essays::status(tx, batch_id, essay_id).await?;
    let step = status.map(|status| machine::next(status, cause));
    if let Some(Ok(_)) = step {
        let change = Change {
            corrected_text: text.as_ref(),
            error: error.as_ref(),
        };
        essays::step(tx, batch_id, essay_id, cause, &change, now).await?;
        let reason = error.as_ref().map(|error| error.message.as_str());
        phases::settle_member(tx, key, essay_id, state, text.as_ref(), reason).await?;
        return Ok(Some(state));
    }
    // Something took the essay out of the phase by another way. Its state stands, but the run must
    // not wait for it.
    let reason = match step {
        Some(Err(refused)) => refused.to_string(),
        _ => "the essay is gone".to_owned(),
    };
    warn!(%batch_id, %essay_id, phase = %key.phase, reason, "essay has left the phase");
    phases::settle_member(tx, key, essay_id, MemberState::Failed, None, Some(&reason)).await?;
    Ok(Some(MemberState::Failed))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_reason_of_a_failed_judgement_is_kept_and_bounded() {
        assert_eq!(reason_of(&BTreeMap::new()), "the batch could not be ranked");
        let info = BTreeMap::from([
            ("code".to_owned(), json!(7)),
            ("message".to_owned(), json!("no provider answers")),
        ]);
        let text = reason_of(&info);
        assert_eq!(
            text,
            "the batch could not be ranked (code: 7; message: no provider answers)"
        );
        let long = BTreeMap::from([("message".to_owned(), json!("ö".repeat(2_000)))]);
        assert_eq!(reason_of(&long).chars().count(), REASON_CHARS);
    }
}
