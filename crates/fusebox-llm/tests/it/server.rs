//! Servers for tests: the sandbox, and one that records a request and answers with a fixed body.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse;
use fusebox::{BreakerConfig, CircuitBreaker};
use fusebox_llm::sandbox::{Sandbox, SandboxConfig};
use fusebox_llm::{ApiKey, ClientConfig, JudgeRequest, Provider, ProviderClient, prompt};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A server that ends when it is dropped.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    _end: DropGuard,
}

impl Served {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// What a request looked like.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

pub(crate) async fn sandbox(config: SandboxConfig) -> Served {
    let (listener, address) = listen().await;
    let token = CancellationToken::new();
    let shutdown = token.clone();
    tokio::spawn(async move {
        Sandbox::serve(listener, config, shutdown)
            .await
            .expect("the sandbox serves");
    });
    Served {
        address,
        _end: token.drop_guard(),
    }
}

/// Answers every request with the same status and body, and keeps what was asked.
pub(crate) async fn recorder(status: u16, answer: String) -> (Served, Arc<Mutex<Vec<Seen>>>) {
    let (listener, address) = listen().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let router = Router::new().fallback(move |uri: Uri, headers: HeaderMap, body: Bytes| {
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        log.lock()
            .expect("no test panics with the lock")
            .push(Seen { uri, headers, body });
        let status = StatusCode::from_u16(status).expect("a valid status");
        let answer = answer.clone();
        async move { (status, answer).into_response() }
    });
    let token = CancellationToken::new();
    let shutdown = token.clone();
    tokio::spawn(async move {
        axum::serve(listener, router)
            .with_graceful_shutdown(async move { shutdown.cancelled().await })
            .await
            .expect("the recorder serves");
    });
    (
        Served {
            address,
            _end: token.drop_guard(),
        },
        seen,
    )
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener
        .local_addr()
        .expect("a bound socket has an address");
    (listener, address)
}

pub(crate) fn breaker(provider: Provider) -> CircuitBreaker {
    CircuitBreaker::builder(format!("{provider}_provider"))
        .service("test")
        .config(BreakerConfig::default().with_failure_threshold(3))
        .build()
        .expect("the settings are valid")
}

pub(crate) fn config(provider: Provider, base_url: String) -> ClientConfig {
    let key = ApiKey::new("sk-secret-of-the-test").expect("a usable key");
    ClientConfig::new(provider, key).with_base_url(base_url)
}

pub(crate) fn client(provider: Provider, base_url: String) -> ProviderClient {
    ProviderClient::new(config(provider, base_url), breaker(provider)).expect("a usable client")
}

pub(crate) fn request(essay_a: &str, essay_b: &str) -> JudgeRequest {
    let context = prompt::Context {
        assignment: Some("Phones in school?"),
        ..prompt::Context::default()
    };
    let blocks = prompt::comparison(context, essay_a, essay_b, b"salt of the tests");
    JudgeRequest::new(prompt::system(None), blocks)
}
