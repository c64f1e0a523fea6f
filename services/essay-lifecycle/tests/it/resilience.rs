//! Redelivery of everything, crashes in the middle, and many workers at once.

use huleedu_contracts::{
    ErrorCode,
    events::{
        batch::{
            BatchContentProvisioningCompletedV1 as Completed, BatchValidationErrorsV1 as Errors,
            ExcessContentProvisionedV1 as Excess,
        },
        cj::ELS_CJAssessmentRequestV1 as CjRequest,
        essay::{ELSBatchPhaseOutcomeV1 as Outcome, EssaySlotAssignedV1 as Assigned},
        spellcheck::EssayLifecycleSpellcheckRequestV1 as SpellRequest,
    },
    status::{EssayStatus, PhaseStatus},
};

use crate::{
    events::{Batch, corrected, metrics, text},
    phases::{filled, inputs},
    platform::Platform,
};

#[tokio::test]
async fn everything_delivered_twice_is_published_once() {
    let platform = Platform::start().await;
    let batch = Batch::of(3);
    platform.send_twice(batch.registered()).await;
    platform.send_twice(batch.content("a", 1)).await;
    platform.send_twice(batch.content("b", 2)).await;
    platform
        .send_twice(batch.failure("c", ErrorCode::EmptyContent))
        .await;
    platform.handled().await;
    platform.send_twice(batch.content("d", 4)).await;
    platform.handled().await;
    let ready: Vec<_> = platform
        .published::<Completed>()
        .await
        .remove(0)
        .essays_for_processing;
    let ids: Vec<_> = ready.iter().map(|essay| essay.essay_id.clone()).collect();
    platform.send_twice(batch.spellcheck(ready)).await;
    platform.handled().await;
    for (essay, n) in ids.iter().zip(1..) {
        platform.send_twice(batch.rich(essay, 3)).await;
        platform
            .send_twice(batch.thin(essay, Some(corrected(n))))
            .await;
    }
    platform.handled().await;
    let survivors = platform
        .published::<Outcome>()
        .await
        .remove(0)
        .processed_essays;
    platform.send_twice(batch.judgement(survivors)).await;
    platform.handled().await;
    platform.send_twice(batch.ranked(&ids, &[])).await;
    platform.handled().await;
    // A failure that comes after the ranking is of a phase that is over.
    platform.send_twice(batch.not_ranked("late")).await;
    platform.handled().await;

    assert_eq!(platform.published::<Assigned>().await.len(), 2);
    assert_eq!(platform.published::<Completed>().await.len(), 1);
    assert_eq!(platform.published::<Errors>().await.len(), 1);
    assert_eq!(platform.published::<Excess>().await.len(), 1);
    assert_eq!(platform.published::<SpellRequest>().await.len(), 2);
    assert_eq!(platform.published::<CjRequest>().await.len(), 1);
    let outcomes = platform.published::<Outcome>().await;
    let endings: Vec<_> = outcomes
        .iter()
        .map(|outcome| outcome.phase_status)
        .collect();
    assert_eq!(endings, [PhaseStatus::CompletedSuccessfully; 2]);
    assert_eq!(platform.timeline(&ids[0]).await.len(), 6);
    assert_eq!(platform.dead().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_crash_anywhere_in_the_middle_changes_nothing() {
    let mut platform = Platform::start().await;
    let batch = Batch::of(3);
    platform.send(batch.registered()).await;
    platform.send(batch.content("a", 1)).await;
    platform.crash_and_restart().await;
    platform.send(batch.content("b", 2)).await;
    platform.send(batch.content("c", 3)).await;
    platform.crash_and_restart().await;
    let ready = platform
        .received::<Completed>(1)
        .await
        .remove(0)
        .essays_for_processing;
    assert_eq!(ready.len(), 3);

    platform.send(batch.spellcheck(ready.clone())).await;
    platform.crash_and_restart().await;
    platform.received::<SpellRequest>(3).await;
    platform
        .send(batch.thin(&batch.essays[0], Some(corrected(1))))
        .await;
    platform.crash().await;
    // While nobody listens, the rest arrives.
    platform
        .send(batch.thin(&batch.essays[1], Some(corrected(2))))
        .await;
    platform.send(batch.rich(&batch.essays[1], 2)).await;
    platform.send(batch.thin(&batch.essays[2], None)).await;
    platform.restart().await;
    let outcome = platform.received::<Outcome>(1).await.remove(0);
    assert_eq!(outcome.phase_status, PhaseStatus::CompletedWithFailures);

    platform
        .send(batch.judgement(outcome.processed_essays))
        .await;
    platform.received::<CjRequest>(1).await;
    platform.crash_and_restart().await;
    platform.send(batch.ranked(&batch.essays[..2], &[])).await;
    let outcome = platform.received::<Outcome>(2).await.remove(1);
    assert_eq!(outcome.phase_status, PhaseStatus::CompletedSuccessfully);
    assert_eq!(outcome.processed_essays.len(), 2);

    assert_eq!(platform.published::<Assigned>().await.len(), 3);
    assert_eq!(platform.published::<Completed>().await.len(), 1);
    assert_eq!(platform.published::<SpellRequest>().await.len(), 3);
    assert_eq!(platform.published::<CjRequest>().await.len(), 1);
    assert_eq!(platform.published::<Outcome>().await.len(), 2);
    assert_eq!(
        platform.states(&batch.id).await,
        [
            EssayStatus::CjAssessmentSuccess,
            EssayStatus::CjAssessmentSuccess,
            EssayStatus::SpellcheckFailed
        ]
    );
}

/// The check "was that the last essay?" used to read counts that other workers were changing: the
/// outcome came twice, or never.
#[tokio::test]
async fn fifty_essays_that_come_out_at_once_give_one_outcome() {
    const ESSAYS: u8 = 50;
    let platform = Platform::start().await;
    let batch = filled(&platform, ESSAYS).await;
    platform.send(batch.spellcheck(inputs(&batch))).await;
    platform.handled().await;
    assert_eq!(
        platform.received::<SpellRequest>(ESSAYS.into()).await.len(),
        usize::from(ESSAYS)
    );

    // Every tenth fails. Findings and thin events of all essays are under way together, on three
    // partitions of two topics.
    let mut sending = tokio::task::JoinSet::new();
    let platform = std::sync::Arc::new(platform);
    for (essay, n) in batch.essays.iter().zip(1..) {
        let thin = batch.thin(essay, (n % 10 != 0).then(|| corrected(n)));
        let rich = batch.rich(essay, n.into());
        let platform = std::sync::Arc::clone(&platform);
        sending.spawn(async move {
            let sent = platform.send(thin).await;
            platform.send(rich).await;
            platform.send_again(&sent).await;
        });
    }
    while let Some(sent) = sending.join_next().await {
        sent.unwrap();
    }
    platform.handled().await;
    let outcomes = platform.published::<Outcome>().await;
    assert_eq!(outcomes.len(), 1);
    assert_eq!(outcomes[0].phase_status, PhaseStatus::CompletedWithFailures);
    assert_eq!(outcomes[0].processed_essays.len(), 45);
    assert_eq!(outcomes[0].failed_essay_ids.len(), 5);
    let second = &outcomes[0].processed_essays[1];
    assert_eq!(second.text_storage_id, corrected(2));
    assert!(
        second
            .spellcheck_metrics
            .is_none_or(|found| found == metrics(2))
    );
    let view = platform.batch(&batch.id).await;
    assert_eq!(view.status_breakdown[&EssayStatus::SpellcheckedSuccess], 45);
    assert_eq!(view.status_breakdown[&EssayStatus::SpellcheckFailed], 5);
    assert_eq!(view.essays[1].corrections, Some(2));
    assert_eq!(view.essays[1].text_storage_id, Some(text(2)));
}
