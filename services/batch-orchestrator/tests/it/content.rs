//! Files that come in, fail, or never come.

use huleedu_contracts::{
    status::{
        BatchStatus,
        PhaseName::{CjAssessment, Spellcheck},
    },
    topics::Topic,
};
use serde_json::json;

use crate::support::{Platform, TEACHER, outcome, request, validation_errors};

#[tokio::test]
async fn a_request_that_comes_too_early_is_remembered_and_started() {
    let platform = Platform::start().await;
    let batch = platform.register(2, json!({})).await;
    let asked = request(&batch.id, TEACHER, "cj_assessment");
    let early = platform.say(&asked).await;
    platform.applied(early).await;
    let status = platform.status(&batch.id).await;
    assert_eq!(status.status, BatchStatus::AwaitingContentValidation);
    assert_eq!(
        status.requested_pipeline,
        Some(asked.requested_pipeline.clone())
    );

    platform.say(&crate::support::provisioned(&batch, 2)).await;
    let command = platform
        .event_of(Topic::SpellcheckInitiateCommand, &batch.id)
        .await;
    assert_eq!(
        command["correlation_id"],
        json!(asked.client_correlation_id)
    );
}

#[tokio::test]
async fn a_batch_with_failed_files_never_ends_without_failures() {
    let platform = Platform::start().await;
    let batch = platform.register(3, json!({})).await;
    let errors = validation_errors(&batch, &[("EMPTY_CONTENT", 1)]);
    let errors = platform.say(&errors).await;
    platform.applied(errors).await;
    platform.fill(&batch, 2).await;
    let (_, preflight) = platform.preflight(&batch.id, "cj_assessment").await;
    assert_eq!(preflight["required_credits"], 1, "two essays make one pair");
    platform
        .say(&request(&batch.id, TEACHER, "cj_assessment"))
        .await;
    let (_, essays) = platform
        .commanded(Topic::SpellcheckInitiateCommand, &batch.id)
        .await;
    assert_eq!(essays.len(), 2);
    platform
        .say(&outcome(&batch, Spellcheck, &[0, 1], &[]))
        .await;
    platform
        .event_of(Topic::CjAssessmentInitiateCommand, &batch.id)
        .await;
    platform
        .say(&outcome(&batch, CjAssessment, &[0, 1], &[]))
        .await;
    let completed = platform
        .event_of(Topic::BatchPipelineCompleted, &batch.id)
        .await;
    assert_eq!(completed["data"]["final_status"], "completed_with_failures");
    assert_eq!(completed["data"]["successful_essay_count"], 2);
    assert_eq!(completed["data"]["failed_essay_count"], 1);
}

#[tokio::test]
async fn a_batch_without_any_content_has_failed_for_good_and_says_why() {
    let platform = Platform::start().await;
    let batch = platform.register(2, json!({})).await;
    let asked = request(&batch.id, TEACHER, "cj_assessment");
    let early = platform.say(&asked).await;
    platform.applied(early).await;
    let kinds = [("EMPTY_CONTENT", 1), ("CONTENT_TOO_SHORT", 1)];
    let errors = platform.say(&validation_errors(&batch, &kinds)).await;
    platform.applied(errors).await;
    platform.fill(&batch, 0).await;

    let completed = platform
        .event_of(Topic::BatchPipelineCompleted, &batch.id)
        .await;
    assert_eq!(
        completed["data"]["final_status"],
        "content_ingestion_failed"
    );
    assert_eq!(completed["data"]["failed_essay_count"], 2);
    let status = platform.status(&batch.id).await;
    assert_eq!(status.status, BatchStatus::ContentIngestionFailed);
    let error = status.error.unwrap();
    assert_eq!(
        json!(error.details["failed_files"]),
        json!({ "EMPTY_CONTENT": 1, "CONTENT_TOO_SHORT": 1 })
    );
    let (code, refusal) = platform.preflight(&batch.id, "cj_assessment").await;
    assert_eq!(code, 409);
    assert_eq!(
        refusal["error"]["details"]["status"],
        "content_ingestion_failed"
    );

    // Final: content that comes later does not bring it back.
    platform.fill(&batch, 2).await;
    assert_eq!(
        platform.status(&batch.id).await.status,
        BatchStatus::ContentIngestionFailed
    );
}
