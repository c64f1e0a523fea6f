//! Registration and files: slots, failures, early, excess, repeated and equal files.

use huleedu_contracts::{
    ErrorBody, ErrorCode,
    events::{
        batch::{
            BatchContentProvisioningCompletedV1 as Completed, BatchValidationErrorsV1 as Errors,
            ExcessContentProvisionedV1 as Excess,
        },
        essay::EssaySlotAssignedV1 as Assigned,
    },
    status::EssayStatus,
};

use crate::{
    events::{Batch, text},
    platform::Platform,
};

#[tokio::test]
async fn a_batch_is_handed_over_when_every_slot_is_filled() {
    let platform = Platform::start().await;
    let batch = Batch::of(2);
    platform.send(batch.registered()).await;
    platform.handled().await;
    assert_eq!(platform.states(&batch.id).await, [EssayStatus::Uploaded; 2]);

    platform.send(batch.content("a", 1)).await;
    platform.handled().await;
    assert_eq!(
        platform.published::<Completed>().await,
        [],
        "one slot is still free"
    );

    platform.send(batch.content("b", 2)).await;
    let completed = platform.received::<Completed>(1).await.remove(0);
    assert_eq!(
        (completed.provisioned_count, completed.expected_count),
        (2, 2)
    );
    assert_eq!(completed.user_id, "teacher");
    let handed: Vec<_> = completed
        .essays_for_processing
        .iter()
        .map(|essay| (essay.essay_id.clone(), essay.text_storage_id.clone()))
        .collect();
    let expected: Vec<_> = batch
        .essays
        .iter()
        .cloned()
        .zip([text(1), text(2)])
        .collect();
    assert_eq!(handed, expected);
    let assigned = platform.received::<Assigned>(2).await;
    assert_eq!(assigned[0].essay_id, batch.essays[0]);
    assert_eq!(assigned[1].original_file_name, "b.txt");
    assert_eq!(platform.published::<Errors>().await, []);

    let view = platform.batch(&batch.id).await;
    assert_eq!(view.status_breakdown[&EssayStatus::ReadyForProcessing], 2);
    assert_eq!(view.essays[1].filename.as_deref(), Some("b.txt"));
    assert_eq!(view.essays[1].text_storage_id, Some(text(2)));
}

#[tokio::test]
async fn failed_files_use_slots_up_and_are_reported_with_their_reasons() {
    let platform = Platform::start().await;
    let batch = Batch::of(3);
    platform.send(batch.registered()).await;
    platform.send(batch.content("a", 1)).await;
    platform
        .send(batch.failure("b", ErrorCode::EmptyContent))
        .await;
    platform.handled().await;
    assert_eq!(
        platform.published::<Errors>().await,
        [],
        "a slot is still free"
    );
    platform.send(batch.content("c", 3)).await;

    let completed = platform.received::<Completed>(1).await.remove(0);
    assert_eq!(
        (completed.provisioned_count, completed.expected_count),
        (2, 3)
    );
    assert_eq!(completed.essays_for_processing.len(), 2);
    let errors = platform.received::<Errors>(1).await.remove(0);
    assert_eq!(errors.error_summary.total_errors, 1);
    assert!(!errors.error_summary.critical_failure);
    assert_eq!(errors.failed_essays[0].file_name, "b.txt");
    assert_eq!(
        errors.failed_essays[0].error_detail.error_code,
        ErrorCode::EmptyContent
    );
    let failed_slot = errors.failed_essays[0].essay_id.clone();
    assert!(
        completed
            .essays_for_processing
            .iter()
            .all(|essay| essay.essay_id != failed_slot)
    );

    let view = platform.batch(&batch.id).await;
    assert_eq!(view.failed_files.len(), 1);
    assert_eq!(view.failed_files[0].error_code, ErrorCode::EmptyContent);
    assert_eq!(view.failed_files[0].message, "b.txt cannot be assessed");
    let slot = view
        .essays
        .iter()
        .find(|essay| essay.essay_id == failed_slot)
        .unwrap();
    assert_eq!(slot.current_status, EssayStatus::ContentIngestionFailed);
    assert_eq!(
        slot.error.as_ref().unwrap().message,
        "b.txt cannot be assessed"
    );
}

#[tokio::test]
async fn a_batch_whose_files_all_failed_is_handed_over_empty() {
    let platform = Platform::start().await;
    let batch = Batch::of(2);
    platform.send(batch.registered()).await;
    platform
        .send(batch.failure("a", ErrorCode::ContentTooShort))
        .await;
    platform
        .send(batch.failure("b", ErrorCode::EmptyContent))
        .await;
    let completed = platform.received::<Completed>(1).await.remove(0);
    assert_eq!(
        (completed.provisioned_count, completed.expected_count),
        (0, 2)
    );
    assert_eq!(completed.essays_for_processing, []);
    let errors = platform.received::<Errors>(1).await.remove(0);
    assert!(errors.error_summary.critical_failure);
    assert_eq!(errors.error_summary.total_errors, 2);
    assert!((platform.batch(&batch.id).await.completion_percentage.get() - 100.0).abs() < 1e-9);
}

#[tokio::test]
async fn files_that_come_before_their_batch_wait_for_it() {
    let platform = Platform::start().await;
    let batch = Batch::of(3);
    platform.send_twice(batch.content("a", 1)).await;
    platform.send(batch.content("a", 1)).await;
    platform
        .send_twice(batch.failure("b", ErrorCode::EmptyContent))
        .await;
    platform.handled().await;
    let path = format!("/v1/batches/{}/status", batch.id);
    let error: ErrorBody = platform.get(&path, 404).await;
    assert_eq!(error.error.code, ErrorCode::ResourceNotFound);
    assert_eq!(platform.published::<Assigned>().await, []);

    platform.send_twice(batch.registered()).await;
    platform.handled().await;
    assert_eq!(platform.published::<Assigned>().await.len(), 1);
    assert_eq!(platform.published::<Completed>().await, []);
    platform.send(batch.content("c", 3)).await;
    let completed = platform.received::<Completed>(1).await.remove(0);
    assert_eq!(
        (completed.provisioned_count, completed.expected_count),
        (2, 3)
    );
    assert_eq!(platform.published::<Errors>().await.len(), 1);
}

#[tokio::test]
async fn a_registration_can_complete_a_batch_whose_files_were_all_early() {
    let platform = Platform::start().await;
    let batch = Batch::of(2);
    platform.send(batch.content("a", 1)).await;
    platform.send(batch.content("b", 2)).await;
    platform.handled().await;
    platform.send(batch.registered()).await;
    let completed = platform.received::<Completed>(1).await.remove(0);
    assert_eq!(completed.provisioned_count, 2);
    platform.handled().await;
    assert_eq!(platform.published::<Completed>().await.len(), 1);
}

#[tokio::test]
async fn a_file_without_a_slot_is_told_once() {
    let platform = Platform::start().await;
    let batch = Batch::of(1);
    platform.send(batch.registered()).await;
    platform.send(batch.content("a", 1)).await;
    platform.handled().await;
    platform.send_twice(batch.content("b", 2)).await;
    // The same upload under a new event id, and a failed file too many.
    platform.send(batch.content("b", 2)).await;
    platform
        .send(batch.failure("c", ErrorCode::EmptyContent))
        .await;
    platform.handled().await;
    let excess = platform.published::<Excess>().await;
    assert_eq!(excess.len(), 1);
    assert_eq!(excess[0].original_file_name, "b.txt");
    assert_eq!(excess[0].text_storage_id, text(2));
    assert_eq!(platform.published::<Completed>().await.len(), 1);
    assert_eq!(platform.published::<Errors>().await, []);
    let view = platform.batch(&batch.id).await;
    assert_eq!(
        view.failed_files.len(),
        1,
        "the report names it all the same"
    );
    assert_eq!(
        platform.states(&batch.id).await,
        [EssayStatus::ReadyForProcessing]
    );
}

/// Slots used to be claimed by text: the second of two equal essays vanished and the batch hung.
#[tokio::test]
async fn two_files_with_the_same_text_are_two_essays() {
    let platform = Platform::start().await;
    let batch = Batch::of(2);
    platform.send(batch.registered()).await;
    platform.send(batch.content("a", 7)).await;
    platform.send(batch.content("b", 7)).await;
    let completed = platform.received::<Completed>(1).await.remove(0);
    assert_eq!(completed.provisioned_count, 2);
    let texts: Vec<_> = completed
        .essays_for_processing
        .iter()
        .map(|essay| &essay.text_storage_id)
        .collect();
    assert_eq!(texts, [&text(7), &text(7)]);
    assert_ne!(
        completed.essays_for_processing[0].essay_id,
        completed.essays_for_processing[1].essay_id
    );
}

#[tokio::test]
async fn what_waits_for_registrations_is_bounded_and_the_rest_is_kept_as_dead() {
    let limits = |env: huleedu_kit::settings::Env| {
        env.with("PENDING_CONTENT_LIMIT", "3")
            .with("PENDING_CONTENT_PER_BATCH_LIMIT", "2")
    };
    let platform = Platform::start_with(limits).await;
    let (one, two) = (Batch::of(3), Batch::of(3));
    for name in ["a", "b", "c"] {
        platform.send(one.content(name, 1)).await;
    }
    platform.handled().await;
    let dead = platform.dead().await;
    assert_eq!(dead.len(), 1);
    assert!(dead[0].contains("one batch"), "{dead:?}");
    for name in ["d", "e"] {
        platform.send(two.content(name, 1)).await;
    }
    platform.handled().await;
    let dead = platform.dead().await;
    assert_eq!(dead.len(), 2);
    assert!(dead[1].contains("all batches"), "{dead:?}");
    // What was let in is not lost, and gives its room back.
    platform.send(one.registered()).await;
    platform.handled().await;
    assert_eq!(platform.published::<Assigned>().await.len(), 2);
    platform.send(two.content("f", 1)).await;
    platform.handled().await;
    assert_eq!(platform.dead().await.len(), 2);
}

#[tokio::test]
async fn batches_that_were_never_registered_make_room_after_a_time() {
    let limits = |env: huleedu_kit::settings::Env| {
        env.with("PENDING_CONTENT_LIMIT", "1")
            .with("PENDING_CONTENT_MAX_AGE_SECONDS", "0.001")
    };
    let platform = Platform::start_with(limits).await;
    let (one, two) = (Batch::of(1), Batch::of(1));
    platform.send(one.content("a", 1)).await;
    platform.handled().await;
    // By now the first file has waited for longer than a millisecond.
    platform.send(two.content("b", 2)).await;
    platform.handled().await;
    platform.send(two.registered()).await;
    platform.send(one.registered()).await;
    platform.handled().await;
    assert_eq!(
        platform.states(&two.id).await,
        [EssayStatus::ReadyForProcessing]
    );
    assert_eq!(platform.states(&one.id).await, [EssayStatus::Uploaded]);
}

#[tokio::test]
async fn a_registration_whose_slots_do_not_fit_is_refused_for_good() {
    let platform = Platform::start().await;
    let mut batch = Batch::of(2);
    batch.essays[1] = batch.essays[0].clone();
    platform.send(batch.registered()).await;
    platform.handled().await;
    let dead = platform.dead().await;
    assert_eq!(dead.len(), 1);
    assert!(
        dead[0].contains("expects 2 files and has 1 different slots"),
        "{dead:?}"
    );
}

#[tokio::test]
async fn unknown_essays_and_batches_are_404_in_the_error_model() {
    let platform = Platform::start().await;
    for path in [
        "/v1/essays/x/status",
        "/v1/essays/x/timeline",
        "/v1/batches/x/status",
    ] {
        let body: ErrorBody = platform.get(path, 404).await;
        assert_eq!(body.error.code, ErrorCode::ResourceNotFound, "{path}");
        assert_eq!(body.error.service, "essay_lifecycle");
    }
}

/// Clients may choose essay ids, so two batches may have the same one; each keeps its own state.
#[tokio::test]
async fn the_same_essay_id_in_two_batches_is_two_essays() {
    let platform = Platform::start().await;
    let first = Batch::of(1);
    let second = Batch {
        id: Batch::of(1).id,
        essays: first.essays.clone(),
    };
    platform.send(first.registered()).await;
    platform.send(first.content("a", 1)).await;
    platform.handled().await;
    platform.send(second.registered()).await;
    platform.handled().await;
    assert_eq!(
        platform.states(&first.id).await,
        [EssayStatus::ReadyForProcessing]
    );
    assert_eq!(platform.states(&second.id).await, [EssayStatus::Uploaded]);
    let shown = platform.essay(&first.essays[0]).await;
    assert_eq!(
        shown.batch_id,
        Some(second.id.clone()),
        "the batch registered last"
    );
}
