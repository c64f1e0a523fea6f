//! Commands: which of the named essays enter a phase, and the requests that go out for them.

use std::collections::{HashMap, HashSet};

use huleedu_contracts::{
    events::{
        EventName,
        cj::ELS_CJAssessmentRequestV1,
        command::{
            BatchServiceCJAssessmentInitiateCommandDataV1,
            BatchServiceSpellcheckInitiateCommandDataV1,
        },
        spellcheck::EssayLifecycleSpellcheckRequestV1,
    },
    ids::{BatchId, EssayId, UserId},
    metadata::{ENTITY_BATCH, ENTITY_ESSAY, EssayProcessingInputRefV1, SystemProcessingMetadata},
    status::{EssayStatus, ProcessingStage},
};
use huleedu_kit::{
    context::CallContext,
    store::{StoreError, Tx},
};
use jiff::Timestamp;
use thiserror::Error;
use tracing::{info, warn};

use super::outcome;
use crate::{
    machine::{self, Cause, Phase, Refused},
    store::{
        batches::{self, Tracker},
        essays::{self, Change, Essay},
        phases::{self, Counts, FIRST_RUN, OpenRun, RunKey},
    },
};

/// Why an essay that a command names does not enter the phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Refusal {
    /// The batch has no such essay.
    #[error("the batch has no such essay")]
    Unknown,
    /// Its state forbids it.
    #[error(transparent)]
    State(#[from] Refused),
}

/// Decides about each essay of a command; an essay that is named twice enters once.
pub(super) fn admit(
    named: &[EssayProcessingInputRefV1],
    states: &HashMap<EssayId, EssayStatus>,
    phase: Phase,
) -> Vec<(EssayProcessingInputRefV1, Option<Refusal>)> {
    let mut seen = HashSet::new();
    named
        .iter()
        .filter(|essay| seen.insert(&essay.essay_id))
        .map(|essay| {
            let refusal = match states.get(&essay.essay_id) {
                None => Some(Refusal::Unknown),
                Some(&state) => machine::next(state, Cause::Requested(phase))
                    .err()
                    .map(Refusal::State),
            };
            (essay.clone(), refusal)
        })
        .collect()
}

/// Asks for every essay of the batch to be spell-checked.
pub(crate) async fn request_spellcheck(
    tx: &mut Tx,
    command: &BatchServiceSpellcheckInitiateCommandDataV1,
    now: Timestamp,
) -> Result<(), StoreError> {
    let batch_id = &command.entity_id;
    let named = &command.essays_to_process;
    let Some(entered) = enter(tx, batch_id, Phase::Spellcheck, named, now).await? else {
        return Ok(());
    };
    for essay in entered.essays {
        let metadata = SystemProcessingMetadata::for_essay(&essay.essay_id, batch_id, now)
            .with_stage(ProcessingStage::Pending);
        tx.publish(EssayLifecycleSpellcheckRequestV1 {
            event_name: EventName::new(),
            entity_id: essay.essay_id,
            entity_type: Some(ENTITY_ESSAY.to_owned()),
            parent_id: batch_id.clone(),
            timestamp: now,
            status: Phase::Spellcheck.awaiting(),
            system_metadata: metadata,
            text_storage_id: essay.text_storage_id,
            language: command.language.clone(),
        })
        .await?;
    }
    outcome::tell_if_over(tx, &entered.run, entered.counts, now).await
}

/// Asks for the essays of the batch to be ranked.
pub(crate) async fn request_judgement(
    tx: &mut Tx,
    command: &BatchServiceCJAssessmentInitiateCommandDataV1,
    now: Timestamp,
) -> Result<(), StoreError> {
    let batch_id = &command.entity_id;
    let named = &command.essays_to_process;
    let Some(entered) = enter(tx, batch_id, Phase::CjAssessment, named, now).await? else {
        return Ok(());
    };
    // Essays can only have entered a batch that is registered.
    if let (false, Some(tracker)) = (entered.essays.is_empty(), &entered.tracker) {
        tx.publish(ELS_CJAssessmentRequestV1 {
            event_name: EventName::new(),
            entity_id: batch_id.clone(),
            entity_type: Some(ENTITY_BATCH.to_owned()),
            parent_id: None,
            timestamp: now,
            system_metadata: SystemProcessingMetadata::for_batch(batch_id, now)
                .with_stage(ProcessingStage::Pending),
            essays_for_cj: entered.essays,
            language: command.language.clone(),
            course_code: command.course_code,
            student_prompt_ref: command.student_prompt_ref.clone(),
            llm_config_overrides: command.llm_config_overrides.clone(),
            assignment_id: command.assignment_id.clone(),
            user_id: payer(command.user_id.as_ref(), tracker),
            org_id: command.org_id.clone().or_else(|| tracker.org_id.clone()),
        })
        .await?;
    }
    outcome::tell_if_over(tx, &entered.run, entered.counts, now).await
}

fn payer(named: Option<&UserId>, tracker: &Tracker) -> UserId {
    named.unwrap_or(&tracker.user_id).clone()
}

/// A run that has just begun.
struct Entered {
    run: OpenRun,
    counts: Counts,
    tracker: Option<Tracker>,
    /// Those that entered, with the texts of the command.
    essays: Vec<EssayProcessingInputRefV1>,
}

/// Begins the run; `None` when it had begun before.
async fn enter(
    tx: &mut Tx,
    batch_id: &BatchId,
    phase: Phase,
    named: &[EssayProcessingInputRefV1],
    now: Timestamp,
) -> Result<Option<Entered>, StoreError> {
    let tracker = batches::lock(tx, batch_id).await?;
    let known: HashMap<EssayId, Essay> = essays::of_batch(tx.conn(), batch_id)
        .await?
        .into_iter()
        .map(|essay| (essay.essay_id.clone(), essay))
        .collect();
    let states = known
        .iter()
        .map(|(id, essay)| (id.clone(), essay.status))
        .collect();
    let verdicts = admit(named, &states, phase);
    let refused = verdicts
        .iter()
        .filter(|(_, refusal)| refusal.is_some())
        .count();
    let counts = Counts {
        entered: u32::try_from(verdicts.len()).unwrap_or(u32::MAX),
        succeeded: 0,
        failed: u32::try_from(refused).unwrap_or(u32::MAX),
    };
    let run = OpenRun {
        key: RunKey {
            batch_id: batch_id.clone(),
            phase,
            run: FIRST_RUN,
        },
        correlation_id: CallContext::current().correlation_id,
    };
    if !phases::insert_run(tx, &run, counts, now).await? {
        info!(%batch_id, %phase, "phase was commanded before");
        return Ok(None);
    }
    let mut admitted = Vec::with_capacity(verdicts.len() - refused);
    for (position, (mut essay, refusal)) in verdicts.into_iter().enumerate() {
        let (id, text) = (&essay.essay_id, &essay.text_storage_id);
        if let Some(refusal) = refusal {
            warn!(%batch_id, essay_id = %id, %phase, reason = %refusal, "essay cannot enter the phase");
            let reason = refusal.to_string();
            phases::insert_member(tx, &run.key, position, id, text, Some(&reason)).await?;
            continue;
        }
        phases::insert_member(tx, &run.key, position, id, text, None).await?;
        let cause = Cause::Requested(phase);
        essays::step(tx, batch_id, id, cause, &Change::default(), now).await?;
        // The findings may have come after the outcome that the command was made from.
        if essay.spellcheck_metrics.is_none() {
            essay.spellcheck_metrics = known.get(id).and_then(|known| known.metrics);
        }
        admitted.push(essay);
    }
    info!(%batch_id, %phase, entered = admitted.len(), refused, "phase begun");
    Ok(Some(Entered {
        run,
        counts,
        tracker,
        essays: admitted,
    }))
}

#[cfg(test)]
mod tests {
    use huleedu_contracts::ids::StorageId;

    use super::*;

    fn input(id: &str, text: u8) -> EssayProcessingInputRefV1 {
        EssayProcessingInputRefV1::new(id.parse().unwrap(), StorageId::from_bytes([text; 16]))
    }

    fn states(of: &[(&str, EssayStatus)]) -> HashMap<EssayId, EssayStatus> {
        of.iter()
            .map(|(id, state)| (id.parse().unwrap(), *state))
            .collect()
    }

    #[test]
    fn only_known_essays_in_an_entrance_of_the_phase_enter() {
        for phase in [Phase::Spellcheck, Phase::CjAssessment] {
            for &state in EssayStatus::ALL {
                let verdicts = admit(&[input("a", 1)], &states(&[("a", state)]), phase);
                let enters = phase.entrances().contains(&state);
                assert_eq!(verdicts[0].1.is_none(), enters, "{phase} from {state}");
            }
            let verdicts = admit(&[input("b", 1)], &states(&[]), phase);
            assert_eq!(verdicts[0].1, Some(Refusal::Unknown));
        }
    }

    #[test]
    fn an_essay_named_twice_enters_once_with_its_first_text() {
        let known = states(&[
            ("a", EssayStatus::ReadyForProcessing),
            ("b", EssayStatus::Uploaded),
        ]);
        let named = [input("a", 1), input("b", 2), input("a", 3), input("b", 4)];
        let verdicts = admit(&named, &known, Phase::Spellcheck);
        let entered: Vec<_> = verdicts.iter().map(|(essay, _)| essay).collect();
        assert_eq!(entered, [&named[0], &named[1]]);
    }

    #[test]
    fn a_command_without_essays_has_no_members() {
        assert!(admit(&[], &states(&[]), Phase::Spellcheck).is_empty());
    }
}
