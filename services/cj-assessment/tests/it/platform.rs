//! What the service needs around it: a broker, a Content Service, providers.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use fusebox_kafka::mock::EmbeddedBroker;
use fusebox_llm::sandbox::{Fault, Sandbox, SandboxConfig};
use huleedu_contracts::{
    api::cj::BatchResultsResponse,
    domain::CourseCode,
    envelope::EventEnvelope,
    events::{
        EventName,
        cj::{ELS_CJAssessmentRequestV1, LLMConfigOverrides},
    },
    ids::{BatchId, CorrelationId, EssayId, LanguageTag, StorageId, UserId},
    metadata::{ENTITY_BATCH, EssayProcessingInputRefV1, SystemProcessingMetadata},
    topics::Topic,
};
use huleedu_kit::{
    RunningService, ServiceInput,
    settings::Env,
    testing::{TopicReader, embedded_broker, eventually, http_client, publish, service_env},
};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Longest wait for anything in these tests.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// What the Content Service holds, and whether it is away.
type Texts = Arc<Mutex<(HashMap<String, String>, bool)>>;

/// Everything but the service itself.
pub(crate) struct Platform {
    broker: EmbeddedBroker,
    texts: Texts,
    sandbox: SocketAddr,
    pub(crate) env: Env,
    _folder: tempfile::TempDir,
    _end: DropGuard,
}

impl Platform {
    pub(crate) async fn with_sandbox(config: SandboxConfig) -> Self {
        let end = CancellationToken::new();
        let texts = Texts::default();
        let (listener, content) = listen().await;
        let router = Router::new()
            .route("/v1/content/{id}", get(content_text))
            .with_state(Arc::clone(&texts));
        let stop = end.clone();
        tokio::spawn(async move {
            axum::serve(listener, router)
                .with_graceful_shutdown(async move { stop.cancelled().await })
                .await
                .expect("the content stub serves");
        });
        let (listener, sandbox) = listen().await;
        let stop = end.clone();
        tokio::spawn(async move {
            Sandbox::serve(listener, config, stop)
                .await
                .expect("the sandbox serves");
        });
        let broker = embedded_broker().expect("librdkafka has one built in");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let env = service_env(
            cj_assessment::SERVICE,
            broker.bootstrap_servers(),
            folder.path(),
        )
        .with("CONTENT_SERVICE_URL", format!("http://{content}"))
        .with("LLM_SANDBOX_URL", format!("http://{sandbox}"))
        .with("PARK_MAX_SECONDS", "0.3");
        // Circuits that open are tried again soon.
        let env = ["ANTHROPIC", "OPENAI", "GOOGLE", "OPENROUTER", "CONTENT"]
            .iter()
            .fold(env, |env, of| {
                env.with(format!("{of}_CIRCUIT_BREAKER_RECOVERY_TIMEOUT"), "0.2")
            });
        Self {
            broker,
            texts,
            sandbox,
            env,
            _folder: folder,
            _end: end.drop_guard(),
        }
    }

    pub(crate) async fn start(&self) -> RunningService {
        cj_assessment::start(ServiceInput::new(self.env.clone()))
            .await
            .expect("the service starts")
    }

    /// Stores a text and gives its id.
    pub(crate) fn store(&self, text: &str) -> StorageId {
        let mut id = [0; 16];
        id.copy_from_slice(&Sha256::digest(text.as_bytes())[..16]);
        let id = StorageId::from_bytes(id);
        let mut texts = self.texts.lock().expect("no test panics with the lock");
        texts.0.insert(id.as_str().to_owned(), text.to_owned());
        id
    }

    /// Asks for a batch of these texts to be ranked.
    pub(crate) async fn request(&self, texts: &[String]) -> ELS_CJAssessmentRequestV1 {
        let request = self.prepare(texts, None);
        self.send(&envelope(request.clone())).await;
        request
    }

    pub(crate) fn prepare(
        &self,
        texts: &[String],
        overrides: Option<LLMConfigOverrides>,
    ) -> ELS_CJAssessmentRequestV1 {
        let batch = BatchId::random();
        let now = jiff::Timestamp::now();
        ELS_CJAssessmentRequestV1 {
            event_name: EventName::new(),
            entity_id: batch.clone(),
            entity_type: Some(ENTITY_BATCH.to_owned()),
            parent_id: None,
            timestamp: now,
            system_metadata: SystemProcessingMetadata::for_batch(&batch, now),
            essays_for_cj: texts
                .iter()
                .map(|text| EssayProcessingInputRefV1::new(EssayId::random(), self.store(text)))
                .collect(),
            language: LanguageTag::new("en").expect("a tag"),
            course_code: CourseCode::Eng5,
            student_prompt_ref: None,
            llm_config_overrides: overrides,
            assignment_id: None,
            user_id: UserId::new("teacher-1").expect("an id"),
            org_id: None,
        }
    }

    pub(crate) async fn send(&self, envelope: &EventEnvelope<ELS_CJAssessmentRequestV1>) {
        publish(self.broker.bootstrap_servers(), envelope)
            .await
            .expect("the broker takes it");
    }

    pub(crate) fn reader(&self) -> TopicReader {
        let topics = [
            Topic::CjAssessmentCompleted,
            Topic::CjAssessmentFailed,
            Topic::AssessmentResultPublished,
            Topic::ResourceConsumption,
        ];
        TopicReader::new(self.broker.bootstrap_servers(), &topics).expect("a reader")
    }

    /// Lets the Content Service be away, or come back.
    pub(crate) fn content_is_away(&self, away: bool) {
        self.texts.lock().expect("no test panics with the lock").1 = away;
    }

    pub(crate) async fn set_fault(&self, fault: &Fault) {
        let response = http_client()
            .post(format!("http://{}/sandbox/faults", self.sandbox))
            .body(serde_json::to_string(fault).expect("a fault is JSON"))
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
    }

    pub(crate) async fn clear_faults(&self) {
        let url = format!("http://{}/sandbox/faults", self.sandbox);
        http_client().delete(url).send().await.expect("an answer");
    }
}

pub(crate) fn envelope(
    request: ELS_CJAssessmentRequestV1,
) -> EventEnvelope<ELS_CJAssessmentRequestV1> {
    EventEnvelope::new(
        "essay_lifecycle",
        CorrelationId::random(),
        jiff::Timestamp::now(),
        request,
    )
}

/// The results of a batch; `None` while the service does not know it.
pub(crate) async fn results(
    service: &RunningService,
    batch: &BatchId,
) -> Option<BatchResultsResponse> {
    let url = format!("{}/internal/v1/batches/{batch}/results", service.base_url());
    let response = http_client().get(url).send().await.expect("an answer");
    if response.status() == StatusCode::NOT_FOUND {
        return None;
    }
    assert_eq!(response.status(), StatusCode::OK);
    Some(response.json().await.expect("the documented body"))
}

/// Waits until the results of a batch fulfil a condition.
pub(crate) async fn results_when(
    service: &RunningService,
    batch: &BatchId,
    what: &str,
    condition: impl Fn(&BatchResultsResponse) -> bool,
) -> BatchResultsResponse {
    let condition = &condition;
    eventually(what, LIMIT, || async {
        results(service, batch)
            .await
            .filter(|results| condition(results))
    })
    .await
    .expect("in time")
}

/// Waits until a batch has ended.
pub(crate) async fn ended(service: &RunningService, batch: &BatchId) -> BatchResultsResponse {
    results_when(service, batch, "the batch ends", |results| {
        results.status.is_terminal()
    })
    .await
}

/// Texts of falling quality.
pub(crate) fn texts(count: usize) -> Vec<String> {
    const GOOD: [&str; 6] = [
        "Nevertheless, a total prohibition removes every opportunity to practise judgement.",
        "Furthermore, the same device serves as a dictionary, a camera and a calendar.",
        "Although temptation is real, discipline develops only where freedom exists.",
        "A reasonable policy would therefore distinguish between purposes rather than objects.",
        "Teachers, however, deserve clear rules that protect concentration during lessons.",
        "Whereas opponents emphasise distraction, supporters point to genuine benefits.",
    ];
    const BAD: [&str; 6] = [
        "i think that phones is bad becouse it is bad for the scool .",
        "the students is look on it all the time and dont lisen .",
        "the teacher are angry and say put it away but they dont do it .",
        "it is also good becouse you can call your mom if it is bad .",
        "i like games so i think it is good that we have phones .",
        "everyone have a phone so it is ok i think , i think so .",
    ];
    (0..count)
        .map(|level| {
            let good = 18 * (count - level) / count;
            let lines: Vec<String> = (0..18)
                .map(|line| {
                    let from = if line < good { GOOD } else { BAD };
                    format!("{} ({level}.{line})", from[line % 6])
                })
                .collect();
            lines.join(if good > 9 { "\n" } else { " " })
        })
        .collect()
}

async fn content_text(
    State(texts): State<Texts>,
    Path(id): Path<String>,
) -> Result<String, StatusCode> {
    let texts = texts.lock().expect("no test panics with the lock");
    if texts.1 {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    texts.0.get(&id).cloned().ok_or(StatusCode::NOT_FOUND)
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener
        .local_addr()
        .expect("a bound socket has an address");
    (listener, address)
}
