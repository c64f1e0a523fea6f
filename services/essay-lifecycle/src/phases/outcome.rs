//! The end of a run: what is told about it, once.

use huleedu_contracts::{
    events::essay::ELSBatchPhaseOutcomeV1, metadata::EssayProcessingInputRefV1, status::PhaseStatus,
};
use huleedu_kit::store::{StoreError, Tx};
use jiff::Timestamp;
use tracing::info;

use crate::store::phases::{self, Counts, Member, MemberState, OpenRun};

/// Ends the run and tells its outcome when every member has come out. The batch's row is held.
pub(super) async fn tell_if_over(
    tx: &mut Tx,
    run: &OpenRun,
    counts: Counts,
    now: Timestamp,
) -> Result<(), StoreError> {
    if !counts.all_out() {
        return Ok(());
    }
    let outcome = outcome(run, phases::members(tx, &run.key).await?);
    if !phases::end_run(tx, &run.key, outcome.phase_status, now).await? {
        return Ok(());
    }
    info!(
        batch_id = %outcome.batch_id,
        phase = %outcome.phase_name,
        status = %outcome.phase_status,
        succeeded = outcome.processed_essays.len(),
        failed = outcome.failed_essay_ids.len(),
        "phase is over"
    );
    tx.publish(outcome).await?;
    Ok(())
}

/// What is told about a run whose members are these.
fn outcome(run: &OpenRun, members: Vec<Member>) -> ELSBatchPhaseOutcomeV1 {
    let mut processed_essays = Vec::new();
    let mut failed_essay_ids = Vec::new();
    for member in members {
        if member.state == MemberState::Succeeded {
            processed_essays.push(EssayProcessingInputRefV1 {
                essay_id: member.essay_id,
                text_storage_id: member.text_storage_id,
                spellcheck_metrics: member.metrics,
            });
        } else {
            failed_essay_ids.push(member.essay_id);
        }
    }
    ELSBatchPhaseOutcomeV1 {
        batch_id: run.key.batch_id.clone(),
        phase_name: run.key.phase.name(),
        phase_status: PhaseStatus::of(processed_essays.len(), failed_essay_ids.len()),
        processed_essays,
        failed_essay_ids,
        correlation_id: run.correlation_id,
    }
}

#[cfg(test)]
mod tests {
    use huleedu_contracts::ids::{CorrelationId, StorageId};

    use super::*;
    use crate::{machine::Phase, store::phases::RunKey};

    fn told(states: &[MemberState]) -> ELSBatchPhaseOutcomeV1 {
        let run = OpenRun {
            key: RunKey {
                batch_id: "b".parse().unwrap(),
                phase: Phase::Spellcheck,
                run: 1,
            },
            correlation_id: CorrelationId::random(),
        };
        let members = states.iter().enumerate().map(|(n, &state)| Member {
            essay_id: format!("e{n}").parse().unwrap(),
            state,
            text_storage_id: StorageId::from_bytes([u8::try_from(n).unwrap(); 16]),
            metrics: None,
        });
        outcome(&run, members.collect())
    }

    #[test]
    fn the_ending_follows_from_the_members() {
        use MemberState::{Failed, Succeeded};
        let table: [(&[MemberState], PhaseStatus); 5] = [
            (&[Succeeded, Succeeded], PhaseStatus::CompletedSuccessfully),
            (&[Succeeded, Failed], PhaseStatus::CompletedWithFailures),
            (&[Failed, Succeeded], PhaseStatus::CompletedWithFailures),
            (&[Failed, Failed], PhaseStatus::FailedCritically),
            (&[], PhaseStatus::FailedCritically),
        ];
        for (members, status) in table {
            let outcome = told(members);
            assert_eq!(outcome.phase_status, status, "{members:?}");
            let named = outcome.processed_essays.len() + outcome.failed_essay_ids.len();
            assert_eq!(named, members.len(), "every member is named once");
        }
    }

    #[test]
    fn a_run_is_over_when_nobody_is_left_in_it() {
        for entered in 0..4 {
            for succeeded in 0..=entered {
                for failed in 0..=entered - succeeded {
                    let counts = Counts {
                        entered,
                        succeeded,
                        failed,
                    };
                    assert_eq!(counts.all_out(), entered - succeeded - failed == 0);
                }
            }
        }
    }
}
