//! One orchestrator with its own broker, store and conductor, and the words of the other services.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use batch_orchestrator::{SERVICE, start};
use fusebox_kafka::mock::EmbeddedBroker;
use huleedu_contracts::{
    api::orchestrator::BatchStatusResponse,
    envelope::EventEnvelope,
    events::{
        Event, EventName,
        batch::{BatchContentProvisioningCompletedV1, BatchErrorSummary, BatchValidationErrorsV1},
        essay::ELSBatchPhaseOutcomeV1,
        pipeline::ClientBatchPipelineRequestV1,
    },
    ids::{BatchId, CorrelationId, EssayId, EventId, PipelineName, StorageId, UserId},
    metadata::{EssayProcessingInputRefV1, SystemProcessingMetadata},
    status::{BatchStatus, PhaseName, PhaseStatus},
    topics::Topic,
};
use huleedu_kit::{
    RunningService, ServiceInput,
    testing::{TopicReader, embedded_broker, eventually, http_client, publish, service_env},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// Long enough for a consumer group to form on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);
pub(crate) const TEACHER: &str = "teacher-1";

pub(crate) struct Platform {
    pub(crate) broker: EmbeddedBroker,
    pub(crate) orchestrator: RunningService,
    pub(crate) content: Arc<ContentStub>,
    settings: Vec<(String, String)>,
    folder: TempDir,
    conductor: Option<RunningService>,
    conductor_address: SocketAddr,
}

/// A batch and its slots as the registration event names them.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    pub(crate) id: BatchId,
    pub(crate) essays: Vec<EssayId>,
}

impl Platform {
    pub(crate) async fn start() -> Self {
        Self::start_with(json!({})).await
    }

    /// Starts with settings of the orchestrator, given as an object of texts.
    pub(crate) async fn start_with(settings: Value) -> Self {
        let broker = embedded_broker().unwrap();
        let folder = TempDir::new().unwrap();
        let content = Arc::new(ContentStub::default());
        let content_url = serve(ContentStub::router(&content)).await;
        let conductor = start_conductor(&broker, folder.path(), "127.0.0.1:0").await;
        let conductor_address = conductor.address();
        let mut all = vec![
            ("CONTENT_SERVICE_URL".to_owned(), content_url),
            ("BCS_BASE_URL".to_owned(), conductor.base_url()),
            // Waits between tries are short, so that tests are.
            ("EVENT_RETRY_MAX_SECONDS".to_owned(), "0.2".to_owned()),
        ];
        for (name, value) in settings.as_object().unwrap() {
            all.retain(|(known, _)| known != name);
            all.push((name.clone(), value.as_str().unwrap().to_owned()));
        }
        let orchestrator = start_orchestrator(&broker, folder.path(), &all).await;
        Self {
            broker,
            orchestrator,
            content,
            settings: all,
            folder,
            conductor: Some(conductor),
            conductor_address,
        }
    }

    /// Crashes the orchestrator; the rest stays.
    pub(crate) async fn crash(self) -> Down {
        let Self {
            broker,
            orchestrator,
            content,
            settings,
            folder,
            conductor,
            ..
        } = self;
        orchestrator.kill().await;
        let conductor_address = self.conductor_address;
        Down {
            broker,
            content,
            settings,
            folder,
            conductor,
            conductor_address,
        }
    }

    /// Crashes the conductor.
    pub(crate) async fn conductor_down(&mut self) {
        self.conductor.take().unwrap().kill().await;
    }

    /// Starts the conductor again on the same store and address.
    pub(crate) async fn conductor_up(&mut self) {
        let address = self.conductor_address.to_string();
        let conductor = start_conductor(&self.broker, self.folder.path(), &address).await;
        self.conductor = Some(conductor);
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let url = format!("{}{path}", self.orchestrator.base_url());
        let answer = http_client().get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    pub(crate) async fn post(&self, path: &str, user: Option<&str>, body: &Value) -> (u16, Value) {
        let url = format!("{}{path}", self.orchestrator.base_url());
        let mut request = http_client().post(url).json(body);
        if let Some(user) = user {
            request = request.header("x-user-id", user);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    pub(crate) async fn attach_prompt(
        &self,
        batch: &BatchId,
        user: &str,
        storage_id: &StorageId,
    ) -> (u16, Value) {
        let url = format!("{}/v1/batches/{batch}/prompt", self.orchestrator.base_url());
        let body = json!({ "student_prompt_ref": prompt(storage_id) });
        let request = http_client()
            .patch(url)
            .header("x-user-id", user)
            .json(&body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    pub(crate) async fn preflight(&self, batch: &BatchId, pipeline: &str) -> (u16, Value) {
        let path = format!("/internal/v1/batches/{batch}/pipelines/{pipeline}/preflight");
        self.post(&path, Some(TEACHER), &json!({})).await
    }

    /// Registers a batch of `count` files with further fields and reads its slots from the event.
    pub(crate) async fn register(&self, count: u32, more: Value) -> Registered {
        let mut body =
            json!({ "expected_essay_count": count, "course_code": "ENG5", "user_id": TEACHER });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let (status, answer) = self.post("/v1/batches/register", None, &body).await;
        assert_eq!(status, 202, "{answer}");
        assert_eq!(answer["status"], "registered");
        let id: BatchId = serde_json::from_value(answer["batch_id"].clone()).unwrap();
        let event = self.event_of(Topic::BatchEssaysRegistered, &id).await;
        let essays = serde_json::from_value(event["data"]["essay_ids"].clone()).unwrap();
        Registered { id, essays }
    }

    /// The first event of a topic that is about a batch.
    pub(crate) async fn event_of(&self, topic: Topic, batch: &BatchId) -> Value {
        let reader = TopicReader::new(self.broker.bootstrap_servers(), &[topic]).unwrap();
        loop {
            let (_, event) = reader.next(LIMIT).await.unwrap();
            let data = &event["data"];
            if [&data["entity_id"], &data["batch_id"]].contains(&&json!(batch)) {
                return event;
            }
        }
    }

    /// How many events of a topic were ever put into the outbox, sent or not.
    pub(crate) async fn published(&self, topic: Topic) -> i64 {
        let query = sqlx::query("SELECT COUNT(*) FROM outbox WHERE topic = $1");
        let row = query
            .bind(topic.as_str())
            .fetch_one(self.orchestrator.store().pool())
            .await
            .unwrap();
        sqlx::Row::get(&row, 0)
    }

    /// Publishes as another service and answers the event's id.
    pub(crate) async fn say<T: Event + Clone>(&self, data: &T) -> EventId {
        say(&self.broker, data).await
    }

    /// Waits until the conductor has applied an event.
    pub(crate) async fn conductor_applied(&self, event: EventId) {
        let store = self.conductor.as_ref().unwrap().store();
        eventually("conductor applied", LIMIT, || async {
            store.was_applied(event).await.unwrap().then_some(())
        })
        .await
        .unwrap();
    }

    /// Waits until an event is applied.
    pub(crate) async fn applied(&self, event: EventId) {
        eventually("event applied", LIMIT, || async {
            self.orchestrator
                .store()
                .was_applied(event)
                .await
                .unwrap()
                .then_some(())
        })
        .await
        .unwrap();
    }

    pub(crate) async fn status(&self, batch: &BatchId) -> BatchStatusResponse {
        let (status, body) = self.get(&format!("/v1/batches/{batch}/status")).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_value(body).unwrap()
    }

    pub(crate) async fn reaches(&self, batch: &BatchId, wanted: BatchStatus) {
        eventually(wanted.as_str(), LIMIT, || async {
            (self.status(batch).await.status == wanted).then_some(())
        })
        .await
        .unwrap();
    }

    /// Hands over the texts of the first `filled` slots and waits until the batch has them.
    pub(crate) async fn fill(&self, batch: &Registered, filled: usize) {
        let event = self.say(&provisioned(batch, filled)).await;
        self.applied(event).await;
    }

    /// The texts that a command hands over.
    pub(crate) async fn commanded(&self, topic: Topic, batch: &BatchId) -> (Value, Vec<Value>) {
        let event = self.event_of(topic, batch).await;
        let essays = event["data"]["essays_to_process"]
            .as_array()
            .unwrap()
            .clone();
        (event, essays)
    }

    /// Kinds of change in the phase log of a batch, in order.
    pub(crate) async fn phase_log(&self, batch: &BatchId) -> Vec<String> {
        let query = sqlx::query(
            "SELECT phase || ' ' || COALESCE(from_status, '-') || ' ' || to_status \
             FROM phase_status_log WHERE batch_id = $1 ORDER BY id",
        );
        let rows = query
            .bind(batch.as_str())
            .fetch_all(self.orchestrator.store().pool())
            .await
            .unwrap();
        rows.iter().map(|row| sqlx::Row::get(row, 0)).collect()
    }
}

/// A platform whose orchestrator is dead.
pub(crate) struct Down {
    broker: EmbeddedBroker,
    content: Arc<ContentStub>,
    settings: Vec<(String, String)>,
    folder: TempDir,
    conductor: Option<RunningService>,
    conductor_address: SocketAddr,
}

impl Down {
    /// Publishes as another service.
    pub(crate) async fn say<T: Event + Clone>(&self, data: &T) -> EventId {
        say(&self.broker, data).await
    }

    /// Starts the orchestrator again on the same store.
    pub(crate) async fn restart(self) -> Platform {
        let Self {
            broker,
            content,
            settings,
            folder,
            conductor,
            conductor_address,
        } = self;
        let orchestrator = start_orchestrator(&broker, folder.path(), &settings).await;
        Platform {
            broker,
            orchestrator,
            content,
            settings,
            folder,
            conductor,
            conductor_address,
        }
    }
}

async fn say<T: Event + Clone>(broker: &EmbeddedBroker, data: &T) -> EventId {
    let envelope = EventEnvelope::new(
        "another_service",
        CorrelationId::random(),
        Timestamp::now(),
        data.clone(),
    );
    publish(broker.bootstrap_servers(), &envelope)
        .await
        .unwrap();
    envelope.event_id
}

/// A text that no other essay and no other phase has.
pub(crate) fn text(essay: usize, phase: u8) -> StorageId {
    let mut bytes = [phase; 16];
    bytes[15] = u8::try_from(essay).unwrap();
    StorageId::from_bytes(bytes)
}

pub(crate) fn prompt(storage_id: &StorageId) -> Value {
    json!({ "references": { "student_prompt_text": { "storage_id": storage_id, "path": "" } } })
}

pub(crate) fn refs(
    batch: &Registered,
    which: &[usize],
    phase: u8,
) -> Vec<EssayProcessingInputRefV1> {
    let essay =
        |&i: &usize| EssayProcessingInputRefV1::new(batch.essays[i].clone(), text(i, phase));
    which.iter().map(essay).collect()
}

pub(crate) fn provisioned(
    batch: &Registered,
    filled: usize,
) -> BatchContentProvisioningCompletedV1 {
    let slots: Vec<usize> = (0..filled).collect();
    BatchContentProvisioningCompletedV1 {
        event: EventName::new(),
        batch_id: batch.id.clone(),
        provisioned_count: u32::try_from(filled).unwrap(),
        expected_count: u32::try_from(batch.essays.len()).unwrap(),
        course_code: huleedu_contracts::domain::CourseCode::Eng5,
        user_id: UserId::new(TEACHER).unwrap(),
        essays_for_processing: refs(batch, &slots, 0),
        correlation_id: CorrelationId::random(),
        timestamp: Timestamp::now(),
    }
}

pub(crate) fn request(batch: &BatchId, user: &str, pipeline: &str) -> ClientBatchPipelineRequestV1 {
    ClientBatchPipelineRequestV1 {
        batch_id: batch.clone(),
        requested_pipeline: PipelineName::new(pipeline).unwrap(),
        client_correlation_id: CorrelationId::random(),
        user_id: UserId::new(user).unwrap(),
        is_retry: false,
        retry_reason: None,
        prompt_payload: None,
    }
}

/// The outcome of a phase in which these essays succeed and all others of `entered` fail.
pub(crate) fn outcome(
    batch: &Registered,
    phase: PhaseName,
    survivors: &[usize],
    failed: &[usize],
) -> ELSBatchPhaseOutcomeV1 {
    ELSBatchPhaseOutcomeV1 {
        batch_id: batch.id.clone(),
        phase_name: phase,
        phase_status: PhaseStatus::of(survivors.len(), failed.len()),
        processed_essays: refs(batch, survivors, 1),
        failed_essay_ids: failed.iter().map(|i| batch.essays[*i].clone()).collect(),
        correlation_id: CorrelationId::random(),
    }
}

pub(crate) fn validation_errors(
    batch: &Registered,
    kinds: &[(&str, u32)],
) -> BatchValidationErrorsV1 {
    BatchValidationErrorsV1 {
        event: EventName::new(),
        batch_id: batch.id.clone(),
        failed_essays: vec![],
        error_summary: BatchErrorSummary {
            total_errors: kinds.iter().map(|(_, count)| count).sum(),
            error_categories: kinds.iter().map(|(k, n)| ((*k).to_owned(), *n)).collect(),
            critical_failure: false,
        },
        correlation_id: CorrelationId::random(),
        metadata: SystemProcessingMetadata::for_batch(&batch.id, Timestamp::now()),
    }
}

/// Serves a router on a free port until the test ends.
pub(crate) async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

/// A Content Service that answers every request with one status.
#[derive(Debug)]
pub(crate) struct ContentStub(AtomicU16);

impl Default for ContentStub {
    fn default() -> Self {
        Self(AtomicU16::new(200))
    }
}

impl ContentStub {
    pub(crate) fn answers(&self, status: u16) {
        self.0.store(status, Ordering::SeqCst);
    }

    fn router(stub: &Arc<Self>) -> Router {
        async fn content(State(stub): State<Arc<ContentStub>>) -> (StatusCode, &'static str) {
            let status = stub.0.load(Ordering::SeqCst);
            (
                StatusCode::from_u16(status).unwrap(),
                "Write about the sea.",
            )
        }
        Router::new()
            .route("/v1/content/{id}", get(content))
            .with_state(Arc::clone(stub))
    }
}

async fn start_conductor(broker: &EmbeddedBroker, folder: &Path, address: &str) -> RunningService {
    let env = service_env(batch_conductor::SERVICE, broker.bootstrap_servers(), folder);
    let listener = TcpListener::bind(address).await.unwrap();
    batch_conductor::start(ServiceInput::new(env).on(listener))
        .await
        .unwrap()
}

async fn start_orchestrator(
    broker: &EmbeddedBroker,
    folder: &Path,
    settings: &[(String, String)],
) -> RunningService {
    let mut env = service_env(SERVICE, broker.bootstrap_servers(), &PathBuf::from(folder));
    for (name, value) in settings {
        env = env.with(name, value);
    }
    start(ServiceInput::new(env)).await.unwrap()
}
