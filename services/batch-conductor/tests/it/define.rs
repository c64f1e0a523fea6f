//! Resolving pipelines: history from Kafka and HTTP, refusals, announcements of skipped phases.

use huleedu_contracts::{
    ids::{BatchId, CorrelationId},
    status::{
        PhaseName::{self, CjAssessment, Spellcheck},
        PhaseStatus,
    },
    topics::Topic,
};
use huleedu_kit::testing::TopicReader;
use serde_json::json;

use crate::support::{Conductor, LIMIT, question};

#[tokio::test]
async fn a_fresh_batch_runs_every_phase_in_order() {
    let conductor = Conductor::start(&[]).await;
    let batch = BatchId::random();
    let (status, body) = conductor.define(&batch, "cj_assessment").await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["batch_id"], json!(batch));
    assert_eq!(
        body["final_pipeline"],
        json!(["spellcheck", "cj_assessment"])
    );
    assert!(
        body["analysis_summary"]
            .as_str()
            .unwrap()
            .contains("spellcheck"),
        "{body}"
    );
    assert_eq!(
        conductor.published(Topic::BatchPhaseSkipped.as_str()).await,
        0
    );
}

#[tokio::test]
async fn what_cannot_run_is_refused_with_what_can() {
    let conductor = Conductor::start(&[]).await;
    let batch = BatchId::random();
    let (status, body) = conductor.define(&batch, "spelling").await;
    assert_eq!(status, 400, "{body}");
    assert_eq!(
        body["error"]["details"]["known_pipelines"],
        json!(["ai_feedback", "cj_assessment", "nlp", "comprehensive"])
    );
    for pipeline in ["ai_feedback", "nlp", "comprehensive"] {
        let (status, body) = conductor.define(&batch, pipeline).await;
        assert_eq!(status, 400, "{body}");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains("no service"), "{message}");
    }
    let (status, body) = conductor
        .post("/internal/v1/pipelines/define", &json!({}))
        .await;
    assert_eq!(status, 400, "{body}");
}

#[tokio::test]
async fn a_missing_prompt_is_refused_only_when_it_is_required() {
    let conductor = Conductor::start(&[("REQUIRE_PROMPT", "true")]).await;
    let batch = BatchId::random();
    let (status, body) = conductor.define(&batch, "cj_assessment").await;
    assert_eq!(status, 400, "{body}");
    assert!(
        body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("prompt"),
        "{body}"
    );

    let mut with_prompt = question(&batch, "cj_assessment", CorrelationId::random());
    with_prompt["batch_metadata"]["prompt_attached"] = json!(true);
    let (status, body) = conductor
        .post("/internal/v1/pipelines/define", &with_prompt)
        .await;
    assert_eq!(status, 200, "{body}");
}

/// A phase that was completed with failures used to be run again, and one that failed used to count
/// as done after its first essay.
#[tokio::test]
async fn outcomes_decide_what_is_left_and_a_crash_forgets_nothing() {
    let conductor = Conductor::start(&[]).await;
    let (partial, failed, done) = (BatchId::random(), BatchId::random(), BatchId::random());
    conductor
        .outcome(&partial, Spellcheck, PhaseStatus::CompletedWithFailures)
        .await;
    conductor
        .outcome(&failed, Spellcheck, PhaseStatus::FailedCritically)
        .await;
    for phase in [Spellcheck, CjAssessment] {
        conductor
            .outcome(&done, phase, PhaseStatus::CompletedSuccessfully)
            .await;
    }
    let conductor = conductor.crash_and_restart().await;
    let nothing: [PhaseName; 0] = [];
    assert_eq!(
        conductor.phases(&partial, "cj_assessment").await,
        [CjAssessment]
    );
    assert_eq!(
        conductor.phases(&failed, "cj_assessment").await,
        [Spellcheck, CjAssessment]
    );
    assert_eq!(conductor.phases(&done, "cj_assessment").await, nothing);
}

#[tokio::test]
async fn each_skipped_phase_is_announced_once_per_request() {
    let conductor = Conductor::start(&[]).await;
    let batch = BatchId::random();
    let complete = json!({ "batch_id": batch, "completed_phase": "spellcheck" });
    let (status, body) = conductor
        .post("/internal/v1/phases/complete", &complete)
        .await;
    assert_eq!((status, &body["recorded"]), (200, &json!(true)), "{body}");
    let (_, body) = conductor
        .post("/internal/v1/phases/complete", &complete)
        .await;
    assert_eq!(body["recorded"], json!(false));

    let correlation = CorrelationId::random();
    let asked = question(&batch, "cj_assessment", correlation);
    for _ in 0..2 {
        let (_, body) = conductor
            .post("/internal/v1/pipelines/define", &asked)
            .await;
        assert_eq!(body["final_pipeline"], json!(["cj_assessment"]));
    }
    assert_eq!(
        conductor.published(Topic::BatchPhaseSkipped.as_str()).await,
        1
    );
    let topics = [Topic::BatchPhaseSkipped];
    let reader = TopicReader::new(conductor.broker.bootstrap_servers(), &topics).unwrap();
    let (_, event) = reader.next(LIMIT).await.unwrap();
    assert_eq!(event["data"]["batch_id"], json!(batch));
    assert_eq!(event["data"]["phase_name"], "spellcheck");
    assert_eq!(event["data"]["skip_reason"], "already_completed");
    assert_eq!(event["data"]["correlation_id"], json!(correlation));

    // Another request is told again.
    conductor.define(&batch, "cj_assessment").await;
    assert_eq!(
        conductor.published(Topic::BatchPhaseSkipped.as_str()).await,
        2
    );
}

#[tokio::test]
async fn a_reported_failure_takes_a_completion_back() {
    let conductor = Conductor::start(&[]).await;
    let batch = BatchId::random();
    for (success, left) in [
        (true, vec![CjAssessment]),
        (false, vec![Spellcheck, CjAssessment]),
    ] {
        let report =
            json!({ "batch_id": batch, "completed_phase": "spellcheck", "success": success });
        let (_, body) = conductor
            .post("/internal/v1/phases/complete", &report)
            .await;
        assert_eq!(body["recorded"], json!(true), "{body}");
        assert_eq!(conductor.phases(&batch, "cj_assessment").await, left);
    }
}
