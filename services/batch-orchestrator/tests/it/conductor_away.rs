//! The conductor is down, broken, or says no.

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};

use axum::{Router, extract::State, http::StatusCode, routing::post};
use fusebox::State as CircuitState;
use huleedu_contracts::{status::BatchStatus, topics::Topic};
use huleedu_kit::testing::eventually;
use serde_json::json;

use crate::support::{LIMIT, Platform, TEACHER, request, serve};

const CIRCUIT: &str = "batch_orchestrator.batch_conductor_client";

impl Platform {
    async fn circuit_opens(&self) {
        let circuit = self.orchestrator.breakers().get(CIRCUIT).unwrap();
        eventually("circuit opens", LIMIT, || async {
            (circuit.state() == CircuitState::Open).then_some(())
        })
        .await
        .unwrap();
    }

    async fn ready_and_asked(&self, pipeline: &str) -> huleedu_contracts::ids::BatchId {
        let batch = self.register(2, json!({})).await;
        self.fill(&batch, 2).await;
        self.say(&request(&batch.id, TEACHER, pipeline)).await;
        batch.id
    }
}

#[tokio::test]
async fn a_batch_waits_for_a_conductor_that_is_down_and_goes_on_when_it_is_back() {
    let mut platform = Platform::start().await;
    platform.conductor_down().await;
    let batch = platform.ready_and_asked("cj_assessment").await;
    platform.circuit_opens().await;
    let status = platform.status(&batch).await;
    assert_eq!(status.status, BatchStatus::ReadyForPipelineExecution);
    assert!(
        status.requested_pipeline.is_some(),
        "the wish shows while it waits"
    );
    let (code, refusal) = platform.preflight(&batch, "cj_assessment").await;
    assert_eq!(code, 409, "{refusal}");

    platform.conductor_up().await;
    platform
        .event_of(Topic::SpellcheckInitiateCommand, &batch)
        .await;
    assert_eq!(
        platform.status(&batch).await.status,
        BatchStatus::ProcessingPipelines
    );
}

/// Neither answers of 5xx nor unreadable ones used to reach the circuit or the batch.
#[tokio::test]
async fn faults_of_the_conductor_open_the_circuit_and_fail_no_batch() {
    async fn define(State(status): State<Arc<AtomicU16>>) -> (StatusCode, &'static str) {
        let status = StatusCode::from_u16(status.load(Ordering::SeqCst)).unwrap();
        (status, "this is not JSON")
    }
    let answers = Arc::new(AtomicU16::new(500));
    let router = Router::new().route("/internal/v1/pipelines/define", post(define));
    let url = serve(router.with_state(Arc::clone(&answers))).await;
    let platform = Platform::start_with(json!({ "BCS_BASE_URL": url })).await;
    let batch = platform.ready_and_asked("cj_assessment").await;
    platform.circuit_opens().await;

    // 404 says that the way is wrong, 200 with garbage that the conductor is: no verdict either.
    for status in [404, 200] {
        answers.store(status, Ordering::SeqCst);
        let before = retries(&platform).await;
        eventually("tried again", LIMIT, || async {
            (retries(&platform).await > before + 1).then_some(())
        })
        .await
        .unwrap();
        let found = platform.status(&batch).await.status;
        assert_eq!(found, BatchStatus::ReadyForPipelineExecution, "{status}");
    }

    answers.store(400, Ordering::SeqCst);
    let completed = platform
        .event_of(Topic::BatchPipelineCompleted, &batch)
        .await;
    assert_eq!(completed["data"]["final_status"], "failed_critically");
}

#[tokio::test]
async fn a_pipeline_that_the_conductor_refuses_ends_with_its_words() {
    let platform = Platform::start().await;
    let batch = platform.ready_and_asked("comprehensive").await;
    let completed = platform
        .event_of(Topic::BatchPipelineCompleted, &batch)
        .await;
    assert_eq!(completed["data"]["final_status"], "failed_critically");
    let words = completed["data"]["metadata"]["error_info"]["message"]
        .as_str()
        .unwrap();
    assert!(words.contains("no service"), "{words}");
    let status = platform.status(&batch).await;
    assert_eq!(status.status, BatchStatus::FailedCritically);
    assert_eq!(status.error.unwrap().message, words);
}

/// Retries of pipeline requests so far, as the service's own metrics tell.
async fn retries(platform: &Platform) -> u64 {
    let url = format!("{}/metrics", platform.orchestrator.base_url());
    let text = huleedu_kit::testing::http_client()
        .get(url)
        .send()
        .await
        .unwrap();
    let text = text.text().await.unwrap();
    let line = |line: &&str| {
        line.contains("retried") && line.contains(Topic::ClientBatchPipelineRequest.as_str())
    };
    let line = text.lines().find(line);
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .unwrap_or(0)
}
