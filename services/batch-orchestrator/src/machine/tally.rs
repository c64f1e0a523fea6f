//! Reads the outcome of a phase against the essays that entered it.

use std::collections::{BTreeMap, BTreeSet};

use huleedu_contracts::{
    events::essay::ELSBatchPhaseOutcomeV1, ids::EssayId, metadata::EssayProcessingInputRefV1,
};

/// What became of the essays that entered a phase. Each is in exactly one of the first two lists.
#[derive(Debug, Clone, PartialEq)]
pub struct Tally {
    /// Those that go on, with their new texts, in the order in which they entered.
    pub survivors: Vec<EssayProcessingInputRefV1>,
    /// Those that do not, in the same order.
    pub failed: Vec<EssayId>,
    /// How many of the failed the outcome does not mention.
    pub unmentioned: usize,
    /// How many essays the outcome mentions that never entered.
    pub strangers: usize,
}

/// Sorts the essays that entered a phase by its outcome.
///
/// The numbers always add up to those that entered: an essay that is reported failed, reported both
/// ways or not reported at all has failed, one that never entered counts for nothing, and a phase
/// that is reported failed has failed for all.
pub fn tally(entered: &[EssayId], outcome: &ELSBatchPhaseOutcomeV1) -> Tally {
    let processed: BTreeMap<&EssayId, &EssayProcessingInputRefV1> = outcome
        .processed_essays
        .iter()
        .map(|essay| (&essay.essay_id, essay))
        .collect();
    let reported_failed: BTreeSet<&EssayId> = outcome.failed_essay_ids.iter().collect();
    let known: BTreeSet<&EssayId> = entered.iter().collect();
    let mentioned: BTreeSet<&EssayId> = processed
        .keys()
        .copied()
        .chain(reported_failed.iter().copied())
        .collect();
    let (mut survivors, mut failed) = (Vec::new(), Vec::new());
    for id in entered {
        match processed.get(id) {
            Some(&essay)
                if outcome.phase_status.has_survivors() && !reported_failed.contains(id) =>
            {
                survivors.push(essay.clone());
            }
            _ => failed.push(id.clone()),
        }
    }
    Tally {
        survivors,
        failed,
        unmentioned: known.difference(&mentioned).count(),
        strangers: mentioned.difference(&known).count(),
    }
}

#[cfg(test)]
mod tests {
    use huleedu_contracts::{
        ids::{BatchId, CorrelationId, StorageId},
        status::{PhaseName, PhaseStatus},
    };
    use proptest::prelude::*;

    use super::*;

    fn id(n: u8) -> EssayId {
        EssayId::new(format!("essay-{n}")).unwrap()
    }

    fn text(n: u8) -> EssayProcessingInputRefV1 {
        EssayProcessingInputRefV1::new(id(n), StorageId::from_bytes([n; 16]))
    }

    fn outcome(status: PhaseStatus, processed: &[u8], failed: &[u8]) -> ELSBatchPhaseOutcomeV1 {
        ELSBatchPhaseOutcomeV1 {
            batch_id: BatchId::random(),
            phase_name: PhaseName::Spellcheck,
            phase_status: status,
            processed_essays: processed.iter().copied().map(text).collect(),
            failed_essay_ids: failed.iter().copied().map(id).collect(),
            correlation_id: CorrelationId::random(),
        }
    }

    #[test]
    fn survivors_keep_their_order_and_get_their_new_texts() {
        let entered = [id(1), id(2), id(3)];
        let result = tally(
            &entered,
            &outcome(PhaseStatus::CompletedWithFailures, &[3, 1], &[2]),
        );
        assert_eq!(result.survivors, [text(1), text(3)]);
        assert_eq!(result.failed, [id(2)]);
        assert_eq!((result.unmentioned, result.strangers), (0, 0));
    }

    #[test]
    fn doubt_counts_as_failure_and_strangers_as_nothing() {
        let entered = [id(1), id(2)];
        // 1 is reported both ways, 2 not at all, 9 never entered.
        let result = tally(
            &entered,
            &outcome(PhaseStatus::CompletedSuccessfully, &[1, 9], &[1]),
        );
        assert_eq!(result.survivors, []);
        assert_eq!(result.failed, entered);
        assert_eq!((result.unmentioned, result.strangers), (1, 1));
    }

    #[test]
    fn a_failed_phase_has_failed_for_all() {
        let result = tally(&[id(1)], &outcome(PhaseStatus::FailedCritically, &[1], &[]));
        assert_eq!(result.failed, [id(1)]);
    }

    proptest! {
        #[test]
        fn the_numbers_add_up_whatever_is_reported(
            entered in 0u8..8,
            processed in proptest::collection::vec(0u8..10, 0..12),
            failed in proptest::collection::vec(0u8..10, 0..12),
        ) {
            let entered: Vec<EssayId> = (0..entered).map(id).collect();
            let outcome = outcome(PhaseStatus::CompletedWithFailures, &processed, &failed);
            let result = tally(&entered, &outcome);
            prop_assert_eq!(result.survivors.len() + result.failed.len(), entered.len());
            let survived: Vec<_> = result.survivors.iter().map(|e| &e.essay_id).collect();
            for id in &entered {
                prop_assert_ne!(survived.contains(&id), result.failed.contains(id));
            }
        }
    }
}
