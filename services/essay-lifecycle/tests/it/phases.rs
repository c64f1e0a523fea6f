//! Phases: from command to outcome, with failures, refusals and repetitions.

use huleedu_contracts::{
    ErrorCode,
    domain::ContentType,
    events::{
        cj::ELS_CJAssessmentRequestV1 as CjRequest, essay::ELSBatchPhaseOutcomeV1 as Outcome,
        spellcheck::EssayLifecycleSpellcheckRequestV1 as SpellRequest,
    },
    metadata::EssayProcessingInputRefV1,
    status::{EssayStatus, PhaseName, PhaseStatus, ProcessingStatus},
};

use crate::{
    events::{Batch, corrected, metrics, text},
    platform::{Platform, envelope},
};

/// Registers and fills a batch; essay n has text n + 1.
pub(crate) async fn filled(platform: &Platform, slots: u8) -> Batch {
    let batch = Batch::of(slots.into());
    platform.send(batch.registered()).await;
    for number in 0..slots {
        platform
            .send(batch.content(&format!("file-{number}"), number + 1))
            .await;
    }
    platform.handled().await;
    batch
}

/// All essays of a batch with their texts.
pub(crate) fn inputs(batch: &Batch) -> Vec<EssayProcessingInputRefV1> {
    let numbered = batch.essays.iter().zip(1..);
    numbered
        .map(|(id, n)| EssayProcessingInputRefV1::new(id.clone(), text(n)))
        .collect()
}

/// A batch whose spell-checking is over, and what came out of it.
async fn spellchecked(platform: &Platform, slots: u8) -> (Batch, Vec<EssayProcessingInputRefV1>) {
    let batch = filled(platform, slots).await;
    platform.send(batch.spellcheck(inputs(&batch))).await;
    platform.handled().await;
    for (essay, n) in batch.essays.iter().zip(1..) {
        platform.send(batch.thin(essay, Some(corrected(n)))).await;
    }
    let outcome = platform.received::<Outcome>(1).await.remove(0);
    (batch, outcome.processed_essays)
}

#[tokio::test]
async fn a_batch_goes_through_both_phases() {
    let platform = Platform::start().await;
    let batch = filled(&platform, 2).await;
    let survivors = through_spellcheck(&platform, &batch).await;
    through_judgement(&platform, &batch, survivors).await;
    assert_eq!(
        platform.timeline(&batch.essays[0]).await,
        [
            EssayStatus::Uploaded,
            EssayStatus::ReadyForProcessing,
            EssayStatus::AwaitingSpellcheck,
            EssayStatus::SpellcheckingInProgress,
            EssayStatus::SpellcheckedSuccess,
            EssayStatus::AwaitingCjAssessment,
            EssayStatus::CjAssessmentSuccess,
        ]
    );
    let essay = platform.essay(&batch.essays[1]).await;
    assert_eq!(essay.current_status, EssayStatus::CjAssessmentSuccess);
    assert_eq!(essay.batch_id, Some(batch.id.clone()));
    assert_eq!(
        essay.storage_references[&ContentType::CorrectedText],
        corrected(2)
    );
    assert!(essay.processing_progress.values().all(|done| *done));
}

async fn through_spellcheck(platform: &Platform, batch: &Batch) -> Vec<EssayProcessingInputRefV1> {
    let command = platform.send(batch.spellcheck(inputs(batch))).await;
    let requests = platform.received::<SpellRequest>(2).await;
    for request in &requests {
        let n = batch
            .essays
            .iter()
            .position(|id| *id == request.entity_id)
            .expect("asked for and given");
        assert_eq!(request.parent_id, batch.id);
        assert_eq!(
            request.text_storage_id,
            text(u8::try_from(n).expect("asked for and given") + 1)
        );
        assert_eq!(request.status, EssayStatus::AwaitingSpellcheck);
        assert_eq!(request.language, "en");
    }
    assert_eq!(
        platform.states(&batch.id).await,
        [EssayStatus::AwaitingSpellcheck; 2]
    );

    let mut begun = batch.thin(&batch.essays[0], None);
    begun.status = ProcessingStatus::InProgress;
    begun.error_code = None;
    platform.send(begun).await;
    platform.handled().await;
    assert_eq!(
        platform.states(&batch.id).await,
        [
            EssayStatus::SpellcheckingInProgress,
            EssayStatus::AwaitingSpellcheck
        ]
    );

    // The findings of one essay come before its thin event, those of the other after it.
    platform.send(batch.rich(&batch.essays[0], 4)).await;
    platform.handled().await;
    platform
        .send(batch.thin(&batch.essays[0], Some(corrected(1))))
        .await;
    platform.handled().await;
    assert_eq!(
        platform.published::<Outcome>().await,
        [],
        "one essay is still in the phase"
    );
    platform
        .send(batch.thin(&batch.essays[1], Some(corrected(2))))
        .await;
    let outcome = platform.received::<Outcome>(1).await.remove(0);
    assert_eq!(outcome.phase_name, PhaseName::Spellcheck);
    assert_eq!(outcome.phase_status, PhaseStatus::CompletedSuccessfully);
    assert_eq!(outcome.correlation_id, command.correlation_id);
    assert_eq!(outcome.processed_essays[0].text_storage_id, corrected(1));
    assert_eq!(
        outcome.processed_essays[0].spellcheck_metrics,
        Some(metrics(4))
    );
    assert_eq!(outcome.processed_essays[1].spellcheck_metrics, None);
    platform.send(batch.rich(&batch.essays[1], 6)).await;
    platform.handled().await;
    let view = platform.batch(&batch.id).await;
    let shown: Vec<_> = view.essays.iter().map(|essay| essay.corrections).collect();
    assert_eq!(shown, [Some(4), Some(6)]);
    assert_eq!(view.essays[1].corrected_text_storage_id, Some(corrected(2)));

    outcome.processed_essays
}

async fn through_judgement(
    platform: &Platform,
    batch: &Batch,
    survivors: Vec<EssayProcessingInputRefV1>,
) {
    platform.send(batch.judgement(survivors)).await;
    let request = platform.received::<CjRequest>(1).await.remove(0);
    let judged: Vec<_> = request
        .essays_for_cj
        .iter()
        .map(|e| e.text_storage_id.clone())
        .collect();
    assert_eq!(judged, [corrected(1), corrected(2)]);
    assert_eq!(
        request.essays_for_cj[1].spellcheck_metrics,
        Some(metrics(6))
    );
    assert_eq!(request.user_id, "teacher", "from the registration");
    assert_eq!(request.org_id.expect("asked for and given"), "school");
    assert_eq!(
        request.assignment_id.expect("asked for and given"),
        "assignment"
    );
    assert_eq!(
        platform.states(&batch.id).await,
        [EssayStatus::AwaitingCjAssessment; 2]
    );

    platform.send(batch.ranked(&batch.essays, &[])).await;
    let outcome = platform.received::<Outcome>(2).await.remove(1);
    assert_eq!(outcome.phase_name, PhaseName::CjAssessment);
    assert_eq!(outcome.phase_status, PhaseStatus::CompletedSuccessfully);
    assert_eq!(outcome.processed_essays[0].text_storage_id, corrected(1));
    assert!((platform.batch(&batch.id).await.completion_percentage.get() - 100.0).abs() < 1e-9);
}

#[tokio::test]
async fn an_essay_that_fails_is_left_behind_and_says_why() {
    let platform = Platform::start().await;
    let batch = filled(&platform, 3).await;
    platform.send(batch.spellcheck(inputs(&batch))).await;
    platform.handled().await;
    platform
        .send(batch.thin(&batch.essays[0], Some(corrected(1))))
        .await;
    platform.send(batch.thin(&batch.essays[1], None)).await;
    let mut without_text = batch.thin(&batch.essays[2], Some(corrected(3)));
    without_text.corrected_text_storage_id = None;
    platform.send(without_text).await;
    let outcome = platform.received::<Outcome>(1).await.remove(0);
    assert_eq!(outcome.phase_status, PhaseStatus::CompletedWithFailures);
    assert_eq!(outcome.processed_essays.len(), 1);
    assert_eq!(outcome.failed_essay_ids, batch.essays[1..]);
    let view = platform.batch(&batch.id).await;
    let codes: Vec<_> = view
        .essays
        .iter()
        .map(|e| e.error.as_ref().map(|error| error.error_code))
        .collect();
    let expected = [
        None,
        Some(ErrorCode::ContentServiceError),
        Some(ErrorCode::InvalidResponse),
    ];
    assert_eq!(codes, expected);
    assert_eq!(view.essays[1].current_status, EssayStatus::SpellcheckFailed);

    // A result that changes its mind comes too late.
    platform
        .send(batch.thin(&batch.essays[1], Some(corrected(2))))
        .await;
    platform.handled().await;
    assert_eq!(platform.published::<Outcome>().await.len(), 1);
    assert_eq!(
        platform.states(&batch.id).await[1],
        EssayStatus::SpellcheckFailed
    );
}

/// A failed judgement used to be heard by nobody: the batch waited for ever.
#[tokio::test]
async fn a_failed_judgement_ends_the_phase() {
    let platform = Platform::start().await;
    let (batch, survivors) = spellchecked(&platform, 2).await;
    platform.send(batch.judgement(survivors)).await;
    platform.handled().await;
    platform
        .send_twice(batch.not_ranked("no provider answers"))
        .await;
    let outcome = platform.received::<Outcome>(2).await.remove(1);
    assert_eq!(outcome.phase_name, PhaseName::CjAssessment);
    assert_eq!(outcome.phase_status, PhaseStatus::FailedCritically);
    assert_eq!(outcome.failed_essay_ids, batch.essays);
    platform.handled().await;
    assert_eq!(platform.published::<Outcome>().await.len(), 2);
    assert_eq!(
        platform.states(&batch.id).await,
        [EssayStatus::CjAssessmentFailed; 2]
    );
    let view = platform.batch(&batch.id).await;
    let message = &view.essays[0].error.as_ref().unwrap().message;
    assert!(message.contains("no provider answers"), "{message}");
}

#[tokio::test]
async fn essays_that_the_ranking_fails_or_forgets_have_failed() {
    let platform = Platform::start().await;
    let (batch, survivors) = spellchecked(&platform, 4).await;
    platform.send(batch.judgement(survivors)).await;
    platform.handled().await;
    // An anchor essay that is ranked with the batch is none of its essays.
    let anchor = Batch::of(1).essays.remove(0);
    let ranked = [batch.essays[0].clone(), anchor, batch.essays[3].clone()];
    platform
        .send(batch.ranked(&ranked, &batch.essays[1..2]))
        .await;
    let outcome = platform.received::<Outcome>(2).await.remove(1);
    assert_eq!(outcome.phase_status, PhaseStatus::CompletedWithFailures);
    let survivors: Vec<_> = outcome
        .processed_essays
        .iter()
        .map(|e| e.essay_id.clone())
        .collect();
    assert_eq!(
        survivors,
        [batch.essays[0].clone(), batch.essays[3].clone()]
    );
    assert_eq!(outcome.failed_essay_ids, batch.essays[1..3]);
}

#[tokio::test]
async fn a_command_without_essays_ends_at_once() {
    let platform = Platform::start().await;
    let batch = filled(&platform, 1).await;
    platform.send(batch.spellcheck(Vec::new())).await;
    let outcome = platform.received::<Outcome>(1).await.remove(0);
    assert_eq!(outcome.phase_status, PhaseStatus::FailedCritically);
    assert_eq!(
        (
            outcome.processed_essays.len(),
            outcome.failed_essay_ids.len()
        ),
        (0, 0)
    );
    assert_eq!(platform.published::<SpellRequest>().await.len(), 0);
}

#[tokio::test]
async fn essays_that_are_unknown_or_in_another_state_are_in_the_outcome_as_failed() {
    let platform = Platform::start().await;
    let batch = filled(&platform, 2).await;
    let stranger = Batch::of(1).essays.remove(0);
    let mut named = inputs(&batch);
    named.push(EssayProcessingInputRefV1::new(stranger.clone(), text(9)));
    // Judgement before spell-checking: nobody may enter, and nothing is asked for.
    platform.send(batch.judgement(named.clone())).await;
    let outcome = platform.received::<Outcome>(1).await.remove(0);
    assert_eq!(outcome.phase_name, PhaseName::CjAssessment);
    assert_eq!(outcome.phase_status, PhaseStatus::FailedCritically);
    assert_eq!(outcome.failed_essay_ids.len(), 3);
    assert_eq!(platform.published::<CjRequest>().await.len(), 0);
    assert_eq!(
        platform.states(&batch.id).await,
        [EssayStatus::ReadyForProcessing; 2],
        "a refused command changes no state"
    );

    platform.send(batch.spellcheck(named)).await;
    platform.handled().await;
    assert_eq!(platform.published::<SpellRequest>().await.len(), 2);
    for (essay, n) in batch.essays.iter().zip(1..) {
        platform.send(batch.thin(essay, Some(corrected(n)))).await;
    }
    let outcome = platform.received::<Outcome>(2).await.remove(1);
    assert_eq!(outcome.phase_status, PhaseStatus::CompletedWithFailures);
    assert_eq!(outcome.failed_essay_ids, [stranger]);
}

#[tokio::test]
async fn a_command_for_an_unknown_batch_is_answered() {
    let platform = Platform::start().await;
    let batch = Batch::of(2);
    platform.send(batch.spellcheck(inputs(&batch))).await;
    let outcome = platform.received::<Outcome>(1).await.remove(0);
    assert_eq!(outcome.phase_status, PhaseStatus::FailedCritically);
    assert_eq!(outcome.failed_essay_ids, batch.essays);
}

#[tokio::test]
async fn a_phase_is_dispatched_once_however_often_it_is_commanded() {
    let platform = Platform::start().await;
    let batch = filled(&platform, 2).await;
    let command = envelope(batch.spellcheck(inputs(&batch)));
    platform.send_again(&command).await;
    platform.send_again(&command).await;
    platform.send(batch.spellcheck(inputs(&batch))).await;
    platform.handled().await;
    assert_eq!(platform.published::<SpellRequest>().await.len(), 2);
    for (essay, n) in batch.essays.iter().zip(1..) {
        platform.send(batch.thin(essay, Some(corrected(n)))).await;
    }
    platform.handled().await;
    platform.send(batch.spellcheck(inputs(&batch))).await;
    platform.handled().await;
    assert_eq!(platform.published::<SpellRequest>().await.len(), 2);
    assert_eq!(platform.published::<Outcome>().await.len(), 1);
    assert_eq!(
        platform.states(&batch.id).await,
        [EssayStatus::SpellcheckedSuccess; 2]
    );
}
