//! The orchestrator dies and comes back on the same database.

use huleedu_contracts::{
    status::{
        BatchStatus,
        PhaseName::{CjAssessment, Spellcheck},
    },
    topics::Topic,
};
use serde_json::json;

use crate::support::{Platform, TEACHER, outcome, provisioned, request};

#[tokio::test]
async fn a_batch_survives_a_crash_between_any_two_steps() {
    let platform = Platform::start().await;
    let batch = platform.register(2, json!({})).await;

    let platform = platform.crash().await.restart().await;
    let asked = platform
        .say(&request(&batch.id, TEACHER, "cj_assessment"))
        .await;
    platform.applied(asked).await;

    // What is said while it is down is heard when it is back.
    let down = platform.crash().await;
    down.say(&provisioned(&batch, 2)).await;
    let platform = down.restart().await;
    platform
        .event_of(Topic::SpellcheckInitiateCommand, &batch.id)
        .await;

    let down = platform.crash().await;
    down.say(&outcome(&batch, Spellcheck, &[0, 1], &[])).await;
    let platform = down.restart().await;
    platform
        .event_of(Topic::CjAssessmentInitiateCommand, &batch.id)
        .await;

    let down = platform.crash().await;
    down.say(&outcome(&batch, CjAssessment, &[0, 1], &[])).await;
    let platform = down.restart().await;
    platform
        .reaches(&batch.id, BatchStatus::CompletedSuccessfully)
        .await;
    for topic in [
        Topic::SpellcheckInitiateCommand,
        Topic::CjAssessmentInitiateCommand,
        Topic::BatchPipelineCompleted,
    ] {
        assert_eq!(platform.published(topic).await, 1, "{topic}");
    }
}
