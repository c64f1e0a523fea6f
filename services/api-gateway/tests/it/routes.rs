//! Every documented route: right codes, right bodies, right identity.

use std::sync::atomic::Ordering;

use axum::http::Method;
use fusebox_kafka::{Backlog as _, JournalBacklog, Position, WallClock};
use huleedu_contracts::{
    api::gateway::{
        BatchListBody, BatchStatusBody, EssayPhaseStatus, PipelineResponse, ValidationStatusBody,
    },
    error::{ErrorBody, ErrorCode},
    status::BatchClientStatus,
    topics::Topic,
};
use serde_json::{Value, json};

use crate::stub::{BATCH, Platform};

const ROUTES: [(&str, &str); 9] = [
    ("GET", "/v1/batches"),
    ("POST", "/v1/batches/register"),
    ("PATCH", "/v1/batches/b1/prompt"),
    ("POST", "/v1/batches/b1/pipelines"),
    ("GET", "/v1/batches/b1/status"),
    ("GET", "/v1/batches/b1/validation-status"),
    ("POST", "/v1/files/batch"),
    ("GET", "/v1/classes/"),
    ("DELETE", "/v1/classes/7"),
];

async fn code(response: reqwest::Response) -> (u16, ErrorCode) {
    let status = response.status().as_u16();
    (
        status,
        response.json::<ErrorBody>().await.unwrap().error.code,
    )
}

#[tokio::test]
async fn nothing_is_answered_without_a_token() {
    let platform = Platform::start().await;
    for (method, path) in ROUTES {
        let method: Method = method.parse().unwrap();
        let response = platform
            .http
            .request(method.clone(), platform.url(path))
            .send()
            .await
            .unwrap();
        assert_eq!(
            code(response).await,
            (401, ErrorCode::AuthenticationError),
            "{method} {path}"
        );
        let response = platform
            .http
            .request(method, platform.url(path))
            .bearer_auth("x.y.z")
            .send()
            .await
            .unwrap();
        assert_eq!(
            code(response).await,
            (401, ErrorCode::AuthenticationError),
            "{path}"
        );
    }
    assert!(platform.behind.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_registration_carries_the_tokens_user_and_nobody_elses() {
    let platform = Platform::start().await;
    let body =
        json!({ "expected_essay_count": 3, "course_code": "ENG5", "user_id": "somebody else" });
    let response = platform
        .request(Method::POST, "/v1/batches/register", "teacher")
        .header("X-User-ID", "somebody else")
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 202);
    assert_eq!(response.json::<Value>().await.unwrap()["batch_id"], BATCH);
    let asked = platform.behind.last();
    assert_eq!(asked.headers["x-user-id"], "teacher");
    assert_eq!(
        serde_json::from_slice::<Value>(&asked.body).unwrap()["user_id"],
        "teacher"
    );
    assert!(
        asked.headers.contains_key("x-correlation-id") && asked.headers.contains_key("traceparent")
    );

    let bad = json!({ "expected_essay_count": 0, "course_code": "ENG5" });
    let response = platform
        .request(Method::POST, "/v1/batches/register", "teacher")
        .json(&bad)
        .send()
        .await
        .unwrap();
    assert_eq!(code(response).await.0, 400);
}

#[tokio::test]
async fn a_status_is_put_together_from_three_services() {
    let platform = Platform::start().await;
    let path = "/v1/batches/b1/status";
    let body: BatchStatusBody = platform
        .request(Method::GET, path, "teacher")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(body.status, BatchClientStatus::CompletedWithFailures);
    let details = body.details;
    let names: Vec<_> = details
        .essays
        .iter()
        .map(|e| e.filename.as_deref().unwrap())
        .collect();
    assert_eq!(names, ["b.txt", "a.txt"], "the best first");
    assert_eq!(details.essays[0].cj_rank.unwrap().get(), 1);
    assert_eq!(details.essays[0].spellcheck_correction_count, Some(3));
    assert_eq!(
        details.essays[0].cj_assessment_status,
        Some(EssayPhaseStatus::Completed)
    );
    assert_eq!(
        (
            details.essay_count,
            details.completed_essay_count,
            details.failed_essay_count
        ),
        (3, 2, 1)
    );
    assert_eq!(details.judges[0].comparisons, 4);
    assert!(details.unavailable.is_empty());

    let response = platform
        .request(Method::GET, path, "another")
        .send()
        .await
        .unwrap();
    assert_eq!(code(response).await, (403, ErrorCode::AuthorizationError));
    let response = platform
        .request(Method::GET, "/v1/batches/b9/status", "teacher")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 404);
    let list: BatchListBody = platform
        .request(Method::GET, "/v1/batches", "teacher")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!((list.batches.len(), list.pagination.total), (1, 1));
    let response = platform
        .request(Method::GET, "/v1/batches?limit=101", "teacher")
        .send()
        .await
        .unwrap();
    assert_eq!(code(response).await, (400, ErrorCode::ValidationError));
}

#[tokio::test]
async fn the_validation_status_says_what_became_of_every_file() {
    let platform = Platform::start().await;
    let ask = async |path: &str, user: &str| {
        platform
            .request(Method::GET, path, user)
            .send()
            .await
            .unwrap()
    };
    let body: ValidationStatusBody = ask("/v1/batches/b1/validation-status", "teacher")
        .await
        .json()
        .await
        .unwrap();
    assert_eq!((body.expected_count, body.pending_count), (3, 0));
    assert!(body.complete);
    let valid: Vec<_> = body.valid_files.iter().map(|f| &f.filename).collect();
    assert_eq!(valid, ["a.txt", "b.txt"]);
    assert_eq!(body.failed_files[0].error_code, ErrorCode::EmptyContent);

    // Registered, and the lifecycle has not heard of it yet.
    let body: ValidationStatusBody = ask("/v1/batches/b3/validation-status", "teacher")
        .await
        .json()
        .await
        .unwrap();
    assert_eq!((body.pending_count, body.complete), (3, false));

    let path = "/v1/batches/b1/validation-status";
    assert_eq!(
        code(ask(path, "another").await).await,
        (403, ErrorCode::AuthorizationError)
    );
    let unknown = ask("/v1/batches/b9/validation-status", "teacher").await;
    assert_eq!(unknown.status(), 404);
}

#[tokio::test]
async fn a_pipeline_request_is_safe_in_the_journal_before_it_is_answered() {
    let platform = Platform::start().await;
    let body = |id: &str| json!({ "batch_id": id, "requested_pipeline": "cj_assessment" });
    let ask = async |path: &str, id: &str| {
        platform
            .request(Method::POST, path, "teacher")
            .json(&body(id))
            .send()
            .await
            .unwrap()
    };
    let response = ask("/v1/batches/b1/pipelines", "b1").await;
    assert_eq!(response.status(), 202);
    let answer: PipelineResponse = response.json().await.unwrap();
    // Kafka is not there at all; the event is safe nevertheless.
    let journal = platform.gateway.journal().unwrap().clone();
    let backlog = JournalBacklog::new(journal, WallClock::default());
    let parked = backlog.peek(Position::START, 10).await.unwrap();
    assert_eq!(parked.len(), 1);
    assert_eq!(
        parked[0].record.topic,
        Topic::ClientBatchPipelineRequest.as_str()
    );
    assert_eq!(parked[0].record.key.as_deref(), Some("b1"));
    let event: Value = serde_json::from_slice(&parked[0].record.payload).unwrap();
    assert_eq!(event["data"]["user_id"], "teacher");
    assert_eq!(event["correlation_id"], answer.correlation_id.to_string());

    assert_eq!(
        code(ask("/v1/batches/b1/pipelines", "b2").await).await,
        (400, ErrorCode::ValidationError)
    );
    assert_eq!(
        ask("/v1/batches/b2/pipelines", "b2").await.status(),
        409,
        "the orchestrator's no is passed on"
    );
    assert_eq!(backlog.peek(Position::START, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn uploads_and_classes_are_passed_through_up_to_the_size_limit() {
    let platform = Platform::start().await;
    let form = reqwest::multipart::Form::new()
        .text("batch_id", BATCH)
        .part(
            "files",
            reqwest::multipart::Part::bytes(b"text".to_vec()).file_name("Åsa Öberg.txt"),
        );
    let response = platform
        .request(Method::POST, "/v1/files/batch", "teacher")
        .multipart(form)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 202);
    let asked = platform.behind.last();
    assert!(
        asked.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("multipart/form-data; boundary=")
    );
    assert_eq!(asked.headers["x-user-id"], "teacher");

    let before = platform.behind.asked.lock().unwrap().len();
    for (size, status) in [(4096, 202), (4097, 413)] {
        let response = platform
            .request(Method::POST, "/v1/files/batch", "teacher")
            .body(vec![b'x'; size])
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), status, "{size} bytes");
    }
    assert_eq!(platform.behind.asked.lock().unwrap().len(), before + 1);

    let response = platform
        .request(Method::POST, "/v1/classes/students?x=å", "teacher")
        .json(&json!({ "a": 1 }))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 201);
    let asked = platform.behind.last();
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("POST", "/v1/classes/students?x=%C3%A5")
    );
    assert_eq!(asked.headers["x-user-id"], "teacher");
    let response = platform
        .request(Method::GET, "/v1/classes/%2e%2e/internal", "teacher")
        .send()
        .await
        .unwrap();
    assert!(
        response.status().is_client_error(),
        "no path leaves /v1/classes: {}",
        response.status()
    );
}

#[tokio::test]
async fn an_open_circuit_answers_503_with_retry_after_and_cuts_off_only_its_service() {
    let platform = Platform::start().await;
    platform.behind.forced.store(500, Ordering::SeqCst);
    for _ in 0..5 {
        let response = platform
            .request(Method::GET, "/v1/batches", "teacher")
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 500);
    }
    let before = platform.behind.asked.lock().unwrap().len();
    let response = platform
        .request(Method::GET, "/v1/batches", "teacher")
        .send()
        .await
        .unwrap();
    assert!(
        response.headers()["retry-after"]
            .to_str()
            .unwrap()
            .parse::<u32>()
            .unwrap()
            >= 1
    );
    assert_eq!(response.headers()["x-fusebox-rejected"], "circuit");
    assert_eq!(code(response).await, (503, ErrorCode::CircuitBreakerOpen));
    assert_eq!(
        platform.behind.asked.lock().unwrap().len(),
        before,
        "refused without a call"
    );
    platform.behind.forced.store(0, Ordering::SeqCst);
    let response = platform
        .request(Method::GET, "/v1/classes/", "teacher")
        .send()
        .await
        .unwrap();
    assert_eq!(
        response.status(),
        201,
        "another service has a circuit of its own"
    );
    let health: Value = platform
        .http
        .get(platform.url("/healthz"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        health["status"], "healthy",
        "an open circuit does not make the gateway unhealthy"
    );
    assert_eq!(
        health["circuits"]["api_gateway.batch_orchestrator_client"],
        "open"
    );
}

/// K9, M3.2: what cannot be kept is refused with the time to come again, and nothing is dropped.
#[tokio::test]
async fn a_full_journal_answers_503_with_retry_after_and_what_was_accepted_stays() {
    let platform = Platform::start_with(&[("KAFKA_FALLBACK_QUEUE_SIZE", "3")]).await;
    let ask = async || {
        let body = json!({"batch_id": "b1", "requested_pipeline": "cj_assessment"});
        platform
            .request(Method::POST, "/v1/batches/b1/pipelines", "teacher")
            .json(&body)
            .send()
            .await
            .unwrap()
    };
    for _ in 0..3 {
        assert_eq!(ask().await.status(), 202);
    }
    let refused = ask().await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "5");
    assert_eq!(refused.headers()["x-fusebox-rejected"], "queue");
    let body: ErrorBody = refused.json().await.unwrap();
    assert_eq!(body.error.code, ErrorCode::KafkaPublishError);
    assert_eq!(platform.gateway.journal().unwrap().stats().waiting, 3);
    let scrape = platform.http.get(platform.url("/metrics")).send().await;
    let scrape = scrape.unwrap().text().await.unwrap();
    let full = scrape
        .lines()
        .find(|line| line.starts_with("kafka_publish_refused_total{") && line.contains("\"full\""))
        .unwrap();
    assert!(full.ends_with(" 1"), "{full}");
}
