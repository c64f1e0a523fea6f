//! Who may upload, to what, how much: every refusal says why and keeps nothing.

use http::StatusCode;
use reqwest::multipart::Form;

use crate::platform::{Platform, batch_state, essay, form, rows, upload_as};

const KEPT: &str = "SELECT COUNT(*) FROM file_uploads";

fn one(batch: &str) -> Form {
    form(batch, &[("a.txt", essay(1).as_slice())])
}

#[tokio::test]
async fn refusals_name_their_reason_and_keep_nothing() {
    let platform = Platform::new().await;
    let service = platform.start().await;
    let (status, _, body) = upload_as(&service, None, one("batch-1")).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (StatusCode::UNAUTHORIZED, &"AUTHENTICATION_ERROR".into())
    );
    let (status, _, body) = upload_as(&service, Some("stranger"), one("batch-1")).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (StatusCode::FORBIDDEN, &"AUTHORIZATION_ERROR".into())
    );
    let (status, ..) = upload_as(&service, Some("teacher"), one("unknown")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _, body) = upload_as(&service, Some("teacher"), form("batch-1", &[])).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (StatusCode::BAD_REQUEST, &"MISSING_REQUIRED_FIELD".into())
    );
    let (status, ..) = upload_as(&service, Some("teacher"), Form::new().text("x", "y")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    platform.orchestrator.set_phase("in_progress");
    let (status, _, body) = upload_as(&service, Some("teacher"), one("batch-1")).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(
        body["error"]["message"],
        "batch batch-1 takes no files: its phase spellcheck is running"
    );
    let (status, state) = batch_state(&service, "batch-1").await;
    assert_eq!(
        (status, &state["lock_status"]["is_locked"]),
        (StatusCode::OK, &true.into())
    );
    assert_eq!(rows(&service, KEPT).await, 0);
    service.stop().await.expect("an orderly end");
}

#[tokio::test]
async fn limits_of_a_request_refuse_the_request_and_not_the_service() {
    let platform = Platform::new().await;
    let service = platform.start().await;
    let big = vec![b'x'; 90_000];
    let five: Vec<(&str, &[u8])> = vec![("big.txt", big.as_slice()); 5];
    let (status, _, body) = upload_as(&service, Some("teacher"), form("batch-1", &five)).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (StatusCode::PAYLOAD_TOO_LARGE, &"PAYLOAD_TOO_LARGE".into())
    );
    let text = essay(1);
    let many: Vec<(&str, &[u8])> = vec![("small.txt", text.as_slice()); 21];
    let (status, _, body) = upload_as(&service, Some("teacher"), form("batch-1", &many)).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (StatusCode::PAYLOAD_TOO_LARGE, &"PAYLOAD_TOO_LARGE".into())
    );
    assert_eq!(
        rows(&service, KEPT).await,
        0,
        "staged files of refused requests are discarded"
    );
    let (status, ..) = upload_as(&service, Some("teacher"), one("batch-1")).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    service.stop().await.expect("an orderly end");
}

#[tokio::test]
async fn while_the_orchestrator_is_away_the_answer_says_when_to_come_again() {
    let platform = Platform::new().await;
    let service = platform.start().await;
    platform.orchestrator.set_down(true);
    for _ in 0..5 {
        let (status, retry_after, _) = upload_as(&service, Some("teacher"), one("batch-1")).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(retry_after.is_some_and(|seconds| seconds.parse::<u32>().is_ok_and(|s| s >= 1)));
    }
    // Now the circuit is open: refused at once, without a call.
    let calls = platform.orchestrator.requests();
    let (status, retry_after, body) = upload_as(&service, Some("teacher"), one("batch-1")).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (
            StatusCode::SERVICE_UNAVAILABLE,
            &"CIRCUIT_BREAKER_OPEN".into()
        )
    );
    assert_eq!(
        body["error"]["details"]["circuit"],
        "file.batch_orchestrator_client"
    );
    assert!(retry_after.is_some());
    assert_eq!(platform.orchestrator.requests(), calls);
    assert_eq!(rows(&service, KEPT).await, 0);
    service.stop().await.expect("an orderly end");
}
