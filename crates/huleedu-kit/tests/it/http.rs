//! What every service's HTTP server does: health, metrics, errors, limits, context.

use axum::{
    Json, Router,
    routing::{get, post},
};
use fusebox_http::REJECTED_HEADER;
use huleedu_contracts::error::{ErrorBody, ErrorCode};
use huleedu_kit::{
    CallContext, RunningService, ServiceCore, ServiceId, ServiceInput,
    http::{ApiError, ApiJson, ApiResult, Caller},
    runtime,
    settings::CircuitDefaults,
    testing::{http_client, service_env},
};
use std::time::Duration;

async fn start(folder: &tempfile::TempDir) -> RunningService {
    let env = service_env(ServiceId::File, "127.0.0.1:1", folder.path())
        .with("MAX_REQUEST_BYTES", "2048");
    let input = ServiceInput::new(env);
    let (common, ()) = runtime::load_settings(ServiceId::File, &input.env, |_| ()).unwrap();
    let core = ServiceCore::build(ServiceId::File, common, input, &[])
        .await
        .unwrap();
    let routes = Router::new()
        .route(
            "/v1/things/{id}",
            get(async || -> ApiResult<()> { Err(ApiError::not_found("thing does not exist")) }),
        )
        .route(
            "/v1/context",
            get(async || CallContext::current().correlation_id.to_string()),
        )
        .route(
            "/v1/caller",
            get(async |Caller(user): Caller| user.to_string()),
        )
        .route(
            "/v1/echo",
            post(async |ApiJson(v): ApiJson<Vec<u32>>| Json(v)),
        )
        .route(
            "/v1/refused",
            get(async || -> ApiResult<()> {
                Err(ApiError::new(ErrorCode::CircuitBreakerOpen, "not now")
                    .with_retry_after(Duration::from_millis(1200))
                    .refused_by("circuit"))
            }),
        );
    core.launch(routes)
}

async fn body(response: reqwest::Response) -> ErrorBody {
    response.json().await.unwrap()
}

#[tokio::test]
async fn errors_have_the_platforms_body_and_status() {
    let folder = tempfile::tempdir().unwrap();
    let service = start(&folder).await;
    let (url, http) = (service.base_url(), http_client());
    let correlation = "7f3f6a3e-3c3b-4d5e-9a53-0a2b3c4d5e6f";
    let response = http
        .get(format!("{url}/v1/things/7"))
        .header("X-Correlation-ID", correlation)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 404);
    assert_eq!(response.headers()["x-correlation-id"], correlation);
    let error = body(response).await.error;
    assert_eq!(error.code, ErrorCode::ResourceNotFound);
    assert_eq!(error.service, "file");
    assert_eq!(error.correlation_id.to_string(), correlation);

    let response = http.get(format!("{url}/nowhere")).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), body(response).await.error.code),
        (404, ErrorCode::ResourceNotFound)
    );
    let response = http
        .delete(format!("{url}/v1/context"))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 405);
    let response = http.get(format!("{url}/v1/caller")).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), body(response).await.error.code),
        (401, ErrorCode::AuthenticationError)
    );
    let response = http
        .get(format!("{url}/v1/caller"))
        .header("X-User-ID", "u1")
        .send()
        .await
        .unwrap();
    assert_eq!(response.text().await.unwrap(), "u1");
    service.stop().await.unwrap();
}

#[tokio::test]
async fn a_body_is_read_up_to_the_limit_and_refused_beyond_it() {
    let folder = tempfile::tempdir().unwrap();
    let service = start(&folder).await;
    let (url, http) = (format!("{}/v1/echo", service.base_url()), http_client());
    let json = |size: usize| format!("[{}1]", " ".repeat(size - 3));
    let post = async |body: String| {
        http.post(&url)
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .unwrap()
    };
    assert_eq!(post(json(2048)).await.status(), 200);
    let response = post(json(2049)).await;
    assert_eq!(
        (response.status().as_u16(), body(response).await.error.code),
        (413, ErrorCode::PayloadTooLarge)
    );
    let response = post("[1".to_owned()).await;
    assert_eq!(
        (response.status().as_u16(), body(response).await.error.code),
        (400, ErrorCode::ParsingError)
    );
    let response = post("[-1]".to_owned()).await;
    assert_eq!(
        (response.status().as_u16(), body(response).await.error.code),
        (400, ErrorCode::ValidationError)
    );
    service.stop().await.unwrap();
}

#[tokio::test]
async fn our_own_refusal_says_when_to_come_again_and_is_marked() {
    let folder = tempfile::tempdir().unwrap();
    let service = start(&folder).await;
    let response = http_client()
        .get(format!("{}/v1/refused", service.base_url()))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "2");
    assert_eq!(response.headers()[REJECTED_HEADER], "circuit");
    service.stop().await.unwrap();
}

#[tokio::test]
async fn health_and_metrics_tell_of_circuits_and_requests() {
    let folder = tempfile::tempdir().unwrap();
    let service = start(&folder).await;
    let url = service.base_url();
    http_client()
        .get(format!("{url}/v1/things/7"))
        .send()
        .await
        .unwrap();
    let health: serde_json::Value = http_client()
        .get(format!("{url}/healthz"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(health["status"], "healthy");
    assert_eq!(health["circuits"]["file.kafka_producer"], "closed");
    let text = http_client()
        .get(format!("{url}/metrics"))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    for line in [
        r#"circuit_breaker_state{service_name="file",circuit_name="file.kafka_producer"} 0"#,
        r#"circuit_breaker_fallback_queue_size{service_name="file",circuit_name="file.kafka_producer"} 0"#,
        // The route, never the path.
        r#"http_requests_total{service_name="file",method="GET",route="/v1/things/{id}",status_code="404"} 1"#,
    ] {
        assert!(text.contains(line), "{line}\nnot in\n{text}");
    }
    service.stop().await.unwrap();
}

#[test]
fn circuits_have_the_missions_names_and_numbers() {
    use huleedu_kit::settings::{Env, SettingsReader, circuit_config};
    let env = Env::empty();
    let numbers = |of| {
        let mut reader = SettingsReader::new(ServiceId::CjAssessment, &env);
        let config = circuit_config(&mut reader, of);
        reader.finish().unwrap();
        (
            config.failure_threshold,
            config.recovery_timeout.as_secs(),
            config.success_threshold,
        )
    };
    assert_eq!(numbers(CircuitDefaults::BCS), (5, 60, 2));
    assert_eq!(numbers(CircuitDefaults::KAFKA), (10, 30, 3));
    assert_eq!(numbers(CircuitDefaults::CONTENT), (3, 30, 2));
    assert_eq!(numbers(CircuitDefaults::HTTP), (5, 60, 2));
    for of in [
        CircuitDefaults::ANTHROPIC,
        CircuitDefaults::OPENAI,
        CircuitDefaults::GOOGLE,
        CircuitDefaults::OPENROUTER,
    ] {
        assert_eq!(numbers(of), (3, 120, 2));
    }
    assert_eq!(numbers(CircuitDefaults::API), (3, 120, 2));
    let env = Env::empty()
        .with("API_CIRCUIT_BREAKER_FAILURE_THRESHOLD", "4")
        .with("API_CIRCUIT_BREAKER_RECOVERY_TIMEOUT", "90")
        .with("OPENAI_CIRCUIT_BREAKER_RECOVERY_TIMEOUT", "45");
    let mut reader = SettingsReader::new(ServiceId::CjAssessment, &env);
    let of_any = circuit_config(&mut reader, CircuitDefaults::API);
    let openai = circuit_config(&mut reader, CircuitDefaults::OPENAI.based_on(&of_any));
    reader.finish().unwrap();
    assert_eq!(
        (openai.failure_threshold, openai.recovery_timeout.as_secs()),
        (4, 45),
        "its own variable, and where there is none that of any provider"
    );
    let env = Env::empty()
        .with("BCS_CIRCUIT_BREAKER_FAILURE_THRESHOLD", "7")
        .with(
            "CJ_ASSESSMENT_SERVICE_BCS_CIRCUIT_BREAKER_RECOVERY_TIMEOUT",
            "0.5",
        )
        .with("BCS_CIRCUIT_BREAKER_RECOVERY_TIMEOUT", "9");
    let mut reader = SettingsReader::new(ServiceId::CjAssessment, &env);
    let config = circuit_config(&mut reader, CircuitDefaults::BCS);
    reader.finish().unwrap();
    assert_eq!(config.failure_threshold, 7);
    assert_eq!(config.recovery_timeout, Duration::from_millis(500));
}

#[tokio::test]
async fn a_killed_service_cuts_its_connections_and_another_takes_its_place() {
    // A connection that was kept alive used to go on reaching the dead service, which answered
    // 500 from its closed store for ever.
    let folder = tempfile::tempdir().unwrap();
    let service = start(&folder).await;
    let (http, address) = (http_client(), service.address());
    let url = format!("http://{address}/healthz");
    assert_eq!(http.get(&url).send().await.unwrap().status(), 200);
    service.kill().await;
    assert!(http.get(&url).send().await.is_err());
    let env = service_env(ServiceId::File, "127.0.0.1:1", folder.path())
        .with("HTTP_PORT", address.port().to_string());
    let input = ServiceInput::new(env);
    let (common, ()) = runtime::load_settings(ServiceId::File, &input.env, |_| ()).unwrap();
    let core = ServiceCore::build(ServiceId::File, common, input, &[])
        .await
        .unwrap();
    let service = core.launch(Router::new());
    assert_eq!(http.get(&url).send().await.unwrap().status(), 200);
    service.stop().await.unwrap();
}

/// M2.4: who called what, for whom, in which trace.
#[tokio::test]
async fn the_error_of_a_protected_call_knows_its_service_operation_and_ids() {
    use huleedu_kit::{clients::ContentError, providers::provide_content_client};
    let registry = fusebox::Registry::new("spellchecker");
    // Nobody listens on port 1.
    let nowhere = "http://127.0.0.1:1".parse().unwrap();
    let content = provide_content_client(
        &registry,
        ServiceId::Spellchecker,
        fusebox::BreakerConfig::default(),
        &nowhere,
        Duration::from_secs(5),
    )
    .unwrap();
    let work = CallContext::fresh();
    let error = work.scope(content.store_text("text")).await.unwrap_err();
    let ContentError::Call(error) = error else {
        panic!("{error:?}");
    };
    let call = error.context().unwrap();
    assert_eq!(call.service(), "spellchecker");
    assert_eq!(call.circuit(), "spellchecker.content_client");
    assert_eq!(call.operation(), "store");
    let (trace, span) = (work.trace.trace_id(), work.trace.span_id());
    assert_eq!(
        call.correlation_id(),
        Some(work.correlation_id.to_string().as_str())
    );
    assert_eq!(call.trace_id(), Some(trace.as_str()));
    assert_eq!(call.span_id(), Some(span.as_str()));
    // Outside of any work no ids are made up.
    let error = content.store_text("text").await.unwrap_err();
    let ContentError::Call(error) = error else {
        panic!("{error:?}");
    };
    assert_eq!(error.context().unwrap().correlation_id(), None);
}
