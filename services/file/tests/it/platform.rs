//! What these tests run the service in: an embedded broker, and stand-ins for the Batch
//! Orchestrator and the Content Service that can be told to fail.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    routing::{get, post},
};
use fusebox_kafka::mock::EmbeddedBroker;
use http::{HeaderMap, StatusCode};
use huleedu_contracts::topics::Topic;
use huleedu_kit::{
    RunningService, ServiceInput,
    settings::Env,
    testing::{TopicReader, embedded_broker, eventually, http_client, service_env},
};
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// A dependency that answers 503 while it is down.
#[derive(Debug, Default)]
pub(crate) struct Stub {
    down: AtomicBool,
    requests: AtomicU32,
    contents: Mutex<HashMap<String, Bytes>>,
    phase: Mutex<Option<&'static str>>,
}

impl Stub {
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    pub(crate) fn requests(&self) -> u32 {
        self.requests.load(Ordering::SeqCst)
    }

    /// Gives the batch a phase spellcheck with this status.
    pub(crate) fn set_phase(&self, status: &'static str) {
        *self.phase.lock().expect("no test panics inside") = Some(status);
    }

    pub(crate) fn text(&self, id: &str) -> String {
        let contents = self.contents.lock().expect("no test panics inside");
        String::from_utf8(contents.get(id).expect("the content is stored").to_vec()).expect("text")
    }

    pub(crate) fn bytes(&self, id: &str) -> Bytes {
        self.contents
            .lock()
            .expect("no test panics inside")
            .get(id)
            .expect("stored")
            .clone()
    }

    fn count(&self) -> Result<(), StatusCode> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) {
            Err(StatusCode::SERVICE_UNAVAILABLE)
        } else {
            Ok(())
        }
    }
}

async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

async fn content_stub(stub: Arc<Stub>) -> String {
    async fn put(
        State(stub): State<Arc<Stub>>,
        headers: HeaderMap,
        bytes: Bytes,
    ) -> Result<(StatusCode, Json<Value>), StatusCode> {
        stub.count()?;
        if bytes.is_empty() {
            return Err(StatusCode::BAD_REQUEST);
        }
        let kind = headers
            .get("content-type")
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or("");
        let id = content::storage_id(kind, &bytes);
        stub.contents
            .lock()
            .expect("no test panics inside")
            .insert(id.to_string(), bytes);
        let body = json!({ "storage_id": id, "correlation_id": uuid::Uuid::nil() });
        Ok((StatusCode::CREATED, Json(body)))
    }
    serve(
        Router::new()
            .route("/v1/content", post(put))
            .with_state(stub),
    )
    .await
}

/// Knows every batch that begins with `batch`, all owned by `teacher`.
async fn orchestrator_stub(stub: Arc<Stub>) -> String {
    async fn state(
        State(stub): State<Arc<Stub>>,
        Path(batch): Path<String>,
    ) -> Result<Json<Value>, StatusCode> {
        stub.count()?;
        if !batch.starts_with("batch") {
            return Err(StatusCode::NOT_FOUND);
        }
        let phase = *stub.phase.lock().expect("no test panics inside");
        Ok(Json(json!({
            "batch_id": batch,
            "user_id": "teacher",
            "pipeline_state": {
                "batch_id": batch,
                "requested_pipelines": [],
                "spellcheck": phase.map(|status| json!({ "status": status })),
                "last_updated": "2025-01-07T12:00:00Z",
            },
        })))
    }
    let route = "/internal/v1/batches/{batch_id}/pipeline-state";
    serve(Router::new().route(route, get(state)).with_state(stub)).await
}

/// Everything around the service.
pub(crate) struct Platform {
    pub(crate) broker: EmbeddedBroker,
    pub(crate) content: Arc<Stub>,
    pub(crate) orchestrator: Arc<Stub>,
    env: Env,
    folder: tempfile::TempDir,
}

impl Platform {
    pub(crate) async fn new() -> Self {
        let broker = embedded_broker().expect("librdkafka has one built in");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (content, orchestrator) = (Arc::<Stub>::default(), Arc::<Stub>::default());
        let env = service_env(file::SERVICE, broker.bootstrap_servers(), folder.path())
            .with(
                "CONTENT_SERVICE_URL",
                content_stub(Arc::clone(&content)).await,
            )
            .with(
                "BATCH_ORCHESTRATOR_URL",
                orchestrator_stub(Arc::clone(&orchestrator)).await,
            )
            .with("CONTENT_CIRCUIT_BREAKER_RECOVERY_TIMEOUT", "0.2")
            .with("INTAKE_RETRY_MIN_SECONDS", "0.05")
            .with("INTAKE_RETRY_MAX_SECONDS", "0.2")
            .with("MAX_FILE_BYTES", "100000")
            .with("MAX_REQUEST_BYTES", "400000")
            .with("MAX_FILES_PER_REQUEST", "20");
        Self {
            broker,
            content,
            orchestrator,
            env,
            folder,
        }
    }

    pub(crate) async fn start(&self) -> RunningService {
        file::start(ServiceInput::new(self.env.clone()))
            .await
            .expect("the service starts")
    }

    /// Starts the real Content Service beside it, and this one on that.
    pub(crate) async fn start_with_content(&self) -> (RunningService, RunningService) {
        let env = service_env(
            content::SERVICE,
            self.broker.bootstrap_servers(),
            self.folder.path(),
        );
        let content = content::start(ServiceInput::new(env))
            .await
            .expect("it starts");
        let env = self
            .env
            .clone()
            .with("CONTENT_SERVICE_URL", content.base_url());
        let file = file::start(ServiceInput::new(env))
            .await
            .expect("it starts");
        (file, content)
    }

    pub(crate) fn reader(&self, topics: &[Topic]) -> TopicReader {
        TopicReader::new(self.broker.bootstrap_servers(), topics).expect("a reader")
    }
}

/// The form of an upload.
pub(crate) fn form(batch: &str, files: &[(&str, &[u8])]) -> Form {
    files.iter().fold(
        Form::new().text("batch_id", batch.to_owned()),
        |form, (name, bytes)| {
            form.part(
                "files",
                Part::bytes(bytes.to_vec()).file_name((*name).to_owned()),
            )
        },
    )
}

/// Sends a form; the answer with its `Retry-After`.
pub(crate) async fn upload_as(
    service: &RunningService,
    user: Option<&str>,
    form: Form,
) -> (StatusCode, Option<String>, Value) {
    let mut request = http_client()
        .post(format!("{}/v1/files/batch", service.base_url()))
        .multipart(form);
    if let Some(user) = user {
        request = request.header("x-user-id", user);
    }
    let response = request.timeout(LIMIT).send().await.expect("an answer");
    let retry_after = response
        .headers()
        .get("retry-after")
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    (
        response.status(),
        retry_after,
        response.json().await.expect("JSON"),
    )
}

/// The state of a batch's files.
pub(crate) async fn batch_state(service: &RunningService, batch: &str) -> (StatusCode, Value) {
    let response = http_client()
        .get(format!(
            "{}/v1/files/batch/{batch}/state",
            service.base_url()
        ))
        .header("x-user-id", "teacher")
        .send()
        .await
        .expect("an answer");
    (response.status(), response.json().await.expect("JSON"))
}

/// How many rows of the uploads table the condition holds for.
pub(crate) async fn rows(service: &RunningService, sql: &'static str) -> i64 {
    use sqlx::Row as _;
    let row = sqlx::query(sql)
        .fetch_one(service.store().pool())
        .await
        .expect("the query runs");
    row.try_get(0).expect("a number")
}

/// Waits until every file of a batch is settled.
pub(crate) async fn settled(service: &RunningService, batch: &str) -> Value {
    eventually("every file is settled", LIMIT, || async {
        let (_, state) = batch_state(service, batch).await;
        let files = state["files"].as_array()?;
        let is_done = |file: &Value| file["status"] == "provisioned" || file["status"] == "failed";
        (!files.is_empty() && files.iter().all(is_done)).then_some(state)
    })
    .await
    .expect("the worker settles files")
}

/// Reads this many different events, as pairs of topic and payload. After a crash an event may
/// come twice, with the same id, and consumers apply it once; so does this.
pub(crate) async fn events(reader: &TopicReader, count: usize) -> Vec<(String, Value)> {
    let mut seen = HashSet::new();
    let mut events = Vec::with_capacity(count);
    while events.len() < count {
        let (topic, envelope) = reader.next(LIMIT).await.expect("an event");
        if seen.insert(envelope["event_id"].to_string()) {
            events.push((topic, envelope["data"].clone()));
        }
    }
    events
}

/// A text that the rules accept, different for each number.
pub(crate) fn essay(number: usize) -> Vec<u8> {
    format!("Essay {number}: I think that phones should be allowed, but only on the breaks.")
        .into_bytes()
}
