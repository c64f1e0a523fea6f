//! Integration tests of the Content Service, over real HTTP.

use bytes::Bytes;
use fusebox_kafka::mock::EmbeddedBroker;
use huleedu_kit::{
    RunningService, ServiceInput,
    settings::Env,
    testing::{embedded_broker, http_client, service_env},
};
use reqwest::StatusCode;
use serde_json::Value;

struct Platform {
    _broker: EmbeddedBroker,
    env: Env,
    _folder: tempfile::TempDir,
}

impl Platform {
    fn new() -> Self {
        let broker = embedded_broker().expect("librdkafka has one built in");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let env = service_env(content::SERVICE, broker.bootstrap_servers(), folder.path())
            .with("MAX_CONTENT_BYTES", "1000");
        Self {
            _broker: broker,
            env,
            _folder: folder,
        }
    }

    async fn start(&self) -> RunningService {
        content::start(ServiceInput::new(self.env.clone()))
            .await
            .expect("the service starts")
    }
}

async fn put(
    service: &RunningService,
    content_type: Option<&str>,
    bytes: &[u8],
) -> (StatusCode, Value) {
    let mut request = http_client()
        .post(format!("{}/v1/content", service.base_url()))
        .header("x-correlation-id", "0d6ec3cb-df8b-5805-9dc3-3d0db66985a6")
        .body(Bytes::copy_from_slice(bytes));
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    let response = request.send().await.expect("an answer");
    (response.status(), response.json().await.expect("JSON"))
}

async fn get(service: &RunningService, id: &str) -> (StatusCode, String, Bytes) {
    let response = http_client()
        .get(format!("{}/v1/content/{id}", service.base_url()))
        .send()
        .await
        .expect("an answer");
    let content_type = response
        .headers()
        .get("content-type")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    (
        response.status(),
        content_type,
        response.bytes().await.expect("a body"),
    )
}

fn id_of(body: &Value) -> String {
    body["storage_id"]
        .as_str()
        .expect("a storage id")
        .to_owned()
}

#[tokio::test]
async fn what_is_put_in_comes_out_with_its_type() {
    let platform = Platform::new();
    let service = platform.start().await;
    let bytes = [0, 159, 146, 150, b'\n', 255];
    let (status, body) = put(&service, Some("image/x-odd; q=\"å\""), &bytes).await;
    assert_eq!(
        status,
        StatusCode::BAD_REQUEST,
        "a type must be plain text: {body}"
    );
    let (status, body) = put(&service, Some("application/x-odd; v=1"), &bytes).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(
        body["correlation_id"],
        "0d6ec3cb-df8b-5805-9dc3-3d0db66985a6"
    );
    let (status, content_type, read) = get(&service, &id_of(&body)).await;
    assert_eq!(
        (status, content_type.as_str()),
        (StatusCode::OK, "application/x-odd; v=1")
    );
    assert_eq!(read, bytes.as_slice());
    let (_, body) = put(&service, None, &bytes).await;
    let (_, content_type, _) = get(&service, &id_of(&body)).await;
    assert_eq!(content_type, "application/octet-stream");
    service.stop().await.expect("an orderly end");
}

#[tokio::test]
async fn the_same_content_has_the_same_id_even_when_put_in_at_once() {
    let platform = Platform::new();
    let service = platform.start().await;
    let answers =
        futures_util::future::join_all((0..8).map(|_| put(&service, Some("text/plain"), b"same")))
            .await;
    let ids: std::collections::HashSet<String> =
        answers.iter().map(|(_, body)| id_of(body)).collect();
    assert!(
        answers
            .iter()
            .all(|(status, _)| *status == StatusCode::CREATED),
        "{answers:?}"
    );
    assert_eq!(ids.len(), 1);
    let (_, other) = put(&service, Some("text/html"), b"same").await;
    assert!(
        !ids.contains(&id_of(&other)),
        "the type is part of a content"
    );
    assert_eq!(
        content::storage_id("text/html", b"same").as_str(),
        id_of(&other)
    );
    service.stop().await.expect("an orderly end");
}

#[tokio::test]
async fn what_was_answered_survives_a_crash() {
    let platform = Platform::new();
    let service = platform.start().await;
    let (status, body) = put(&service, Some("text/plain"), b"durable").await;
    assert_eq!(status, StatusCode::CREATED);
    service.kill().await;
    let service = platform.start().await;
    let (status, _, read) = get(&service, &id_of(&body)).await;
    assert_eq!(
        (status, read),
        (StatusCode::OK, Bytes::from_static(b"durable"))
    );
    service.stop().await.expect("an orderly end");
}

#[tokio::test]
async fn bad_requests_are_refused_with_their_reason() {
    let platform = Platform::new();
    let service = platform.start().await;
    let (status, body) = put(&service, Some("text/plain"), b"").await;
    assert_eq!(
        (status, body["error"]["code"].as_str()),
        (StatusCode::BAD_REQUEST, Some("EMPTY_CONTENT"))
    );
    let (status, _) = put(&service, Some("text/plain"), &[b'x'; 1000]).await;
    assert_eq!(status, StatusCode::CREATED, "the limit itself is allowed");
    let (status, body) = put(&service, Some("text/plain"), &[b'x'; 1001]).await;
    assert_eq!(
        (status, body["error"]["code"].as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, Some("PAYLOAD_TOO_LARGE"))
    );
    for bad in [
        "abc",
        "000102030405060708090A0B0C0D0EFF",
        "..%2F..%2Fetc%2Fpasswd",
    ] {
        assert_eq!(get(&service, bad).await.0, StatusCode::BAD_REQUEST, "{bad}");
    }
    let (status, _, body) = get(&service, &"0".repeat(32)).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let body: Value = serde_json::from_slice(&body).expect("an error body");
    assert_eq!(body["error"]["code"], "RESOURCE_NOT_FOUND");
    assert_eq!(body["error"]["service"], "content");
    service.stop().await.expect("an orderly end");
}
