//! The client of one provider: limits, gates, circuit, and errors that keep secrets.

use std::error::Error as _;
use std::fmt::Write as _;
use std::time::Duration;

use fusebox::State;
use fusebox_llm::sandbox::{Fault, FaultMode, SandboxConfig};
use fusebox_llm::verdict::Kind;
use fusebox_llm::{BuildError, JudgeError, JudgeProvider, ModelChoice, Provider, ProviderClient};
use serde_json::json;
use tokio::time::Instant;

use crate::server::{breaker, client, config, recorder, request, sandbox};

fn chain(error: &JudgeError) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(cause) = source {
        write!(text, " {cause} {cause:?}").expect("a String takes every text");
        source = cause.source();
    }
    text
}

fn told(status: u16, retry_after_seconds: Option<u32>) -> FaultMode {
    FaultMode::Status {
        status,
        retry_after_seconds,
    }
}

#[tokio::test]
async fn a_throttle_closes_the_gate_and_leaves_the_circuit_alone() {
    for provider in Provider::ALL {
        let fault = Fault::of(provider, told(429, Some(30))).times(1);
        let server = sandbox(SandboxConfig::new(1).with_fault(fault)).await;
        let client = client(provider, server.url(&format!("/{provider}")));
        let first = client.judge(&request("a", "b")).await.unwrap_err();
        assert_eq!(
            (first.kind(), first.status, first.sent),
            (Kind::RateLimited, Some(429), true)
        );
        assert_eq!(
            first.verdict.wait,
            Some(Duration::from_secs(30)),
            "{provider}"
        );
        // The gate answers now; the sandbox would have judged.
        let second = client.judge(&request("a", "b")).await.unwrap_err();
        assert_eq!(
            (second.kind(), second.status, second.sent),
            (Kind::RateLimited, None, false)
        );
        assert!(
            second
                .verdict
                .wait
                .is_some_and(|wait| wait <= Duration::from_secs(30))
        );
        assert_eq!(client.breaker().state(), State::Closed);
        client.throttle_gate().open();
        assert!(client.judge(&request("a", "b")).await.is_ok());
    }
}

#[tokio::test]
async fn a_refused_key_closes_the_gate_of_the_credential_for_minutes() {
    for status in [401, 402] {
        let fault = Fault::of(Provider::OpenAi, told(status, None)).times(1);
        let server = sandbox(SandboxConfig::new(1).with_fault(fault)).await;
        let client = client(Provider::OpenAi, server.url("/openai"));
        assert!(client.judge(&request("a", "b")).await.is_err());
        let held = client.credential_gate().held().expect("the gate is closed");
        let left = held.until.saturating_duration_since(Instant::now());
        assert!(
            left > Duration::from_secs(200) && left <= Duration::from_mins(5),
            "{left:?}"
        );
        assert!(!client.judge(&request("a", "b")).await.unwrap_err().sent);
        assert_eq!(client.breaker().state(), State::Closed);
        client.credential_gate().open();
        assert!(client.judge(&request("a", "b")).await.is_ok());
    }
}

#[tokio::test]
async fn failures_open_the_circuit_and_requests_of_the_caller_do_not() {
    let server = sandbox(
        SandboxConfig::new(1).with_fault(Fault::of(Provider::Google, told(400, None)).times(10)),
    )
    .await;
    let google = client(Provider::Google, server.url("/google"));
    for _ in 0..10 {
        let error = google.judge(&request("a", "b")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::BadRequest);
    }
    assert_eq!(google.breaker().state(), State::Closed);

    for mode in [
        told(529, None),
        FaultMode::Garbage,
        FaultMode::ErrorInSuccess,
    ] {
        let server =
            sandbox(SandboxConfig::new(1).with_fault(Fault::of(Provider::Anthropic, mode))).await;
        let client = client(Provider::Anthropic, server.url("/anthropic"));
        for _ in 0..3 {
            assert!(client.judge(&request("a", "b")).await.unwrap_err().sent);
        }
        assert_eq!(client.breaker().state(), State::Open);
        let refused = client.judge(&request("a", "b")).await.unwrap_err();
        assert_eq!((refused.kind(), refused.sent), (Kind::CircuitOpen, false));
        assert!(refused.verdict.wait.is_some());
    }
}

#[tokio::test]
async fn a_hung_provider_is_a_timeout_and_a_short_deadline_is_not() {
    let fault = Fault::of(Provider::OpenAi, FaultMode::Hang);
    let server = sandbox(SandboxConfig::new(1).with_fault(fault)).await;
    let config =
        config(Provider::OpenAi, server.url("/openai")).with_timeout(Duration::from_millis(100));
    let client = ProviderClient::new(config, breaker(Provider::OpenAi)).unwrap();
    let error = client.judge(&request("a", "b")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout);
    assert_eq!(client.breaker().snapshot().counts.failure, 1);

    let mut hurried = request("a", "b");
    hurried.deadline = Some(Instant::now() + Duration::from_millis(30));
    let error = client.judge(&hurried).await.unwrap_err();
    assert_eq!(error.kind(), Kind::DeadlinePassed);
    let error = client.judge(&hurried).await.unwrap_err();
    assert_eq!((error.kind(), error.sent), (Kind::DeadlinePassed, false));
    assert_eq!(client.breaker().snapshot().counts.failure, 1);
}

#[tokio::test]
async fn a_closed_port_is_unavailable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = client(Provider::Anthropic, format!("http://{address}"));
    let error = client.judge(&request("a", "b")).await.unwrap_err();
    assert_eq!((error.kind(), error.status), (Kind::Unavailable, None));
    assert!(!chain(&error).contains("secret"));
}

#[tokio::test]
async fn an_unreadable_judgement_is_an_error_and_no_evidence() {
    let answers = [
        json!({"choices": [{"finish_reason": "stop", "message": {"content": "Essay A, surely."}}]}),
        json!({"choices": [{"finish_reason": "stop", "message": {"content": ""}}]}),
        json!({"choices": [{"finish_reason": "length", "message": {"content": "{\"winner\":"}}]}),
        json!({"choices": [{"finish_reason": "stop", "message": {
            "content": "{\"winner\":\"Both\",\"justification\":\"\",\"confidence\":3}"}}]}),
    ];
    for answer in answers {
        let (server, _) = recorder(200, answer.to_string()).await;
        let client = client(Provider::OpenAi, server.url(""));
        let error = client.judge(&request("a", "b")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidOutput);
        assert_eq!(client.breaker().snapshot().counts.failure, 0);
    }
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let (server, _) = recorder(200, " ".repeat(3 * 1024 * 1024)).await;
    let client = client(Provider::OpenAi, server.url(""));
    let error = client.judge(&request("a", "b")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Truncated);
}

#[tokio::test]
async fn errors_never_hold_the_key() {
    let body = json!({"error": {"message": "Incorrect API key provided: sk-secret-of-the-test."}});
    let (server, _) = recorder(401, body.to_string()).await;
    let client = client(Provider::OpenAi, server.url(""));
    let error = client.judge(&request("a", "b")).await.unwrap_err();
    let shown = chain(&error);
    assert!(
        shown.contains("Incorrect API key provided: [key]"),
        "{shown}"
    );
    assert!(!shown.contains("secret"), "{shown}");
    assert!(!format!("{client:?}").contains("secret"));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (elsewhere, seen) = recorder(200, "{}".to_owned()).await;
    let router = axum::Router::new().fallback({
        let target = elsewhere.url("/stolen");
        move || {
            let target = target.clone();
            async move { axum::response::Redirect::temporary(&target) }
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let client = client(Provider::Anthropic, format!("http://{address}"));
    let error = client.judge(&request("a", "b")).await.unwrap_err();
    assert_eq!(error.status, Some(307));
    assert!(seen.lock().unwrap().is_empty(), "the key went elsewhere");
    server.abort();
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let build = |config| ProviderClient::new(config, breaker(Provider::OpenAi));
    for url in [
        "",
        "api.openai.com",
        "ftp://x",
        "http://",
        "https://x/?key=1",
        "https://u:p@x/",
        "https://x/#f",
    ] {
        let result = build(config(Provider::OpenAi, url.to_owned()));
        assert!(matches!(result, Err(BuildError::BaseUrl { .. })), "{url}");
    }
    let usable = || config(Provider::OpenAi, "http://127.0.0.1:1".to_owned());
    for model in ["", "gpt 5", "../admin?x", "modell-å"] {
        let result = build(usable().with_model(model));
        assert!(matches!(result, Err(BuildError::Model { .. })), "{model}");
    }
    let result = build(usable().with_timeout(Duration::ZERO));
    assert!(matches!(
        result,
        Err(BuildError::Zero { setting: "timeout" })
    ));
    // A request cannot smuggle in what a setting may not be.
    let mut odd = request("a", "b");
    odd.model = Some(ModelChoice {
        provider: Provider::OpenAi,
        model: "../x?".to_owned(),
    });
    let error = build(usable()).unwrap().judge(&odd).await.unwrap_err();
    assert_eq!((error.kind(), error.sent), (Kind::BadRequest, false));
}
