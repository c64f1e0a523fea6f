//! One conductor with its own broker and store.

use std::{path::Path, time::Duration};

use batch_conductor::{SERVICE, start};
use fusebox_kafka::mock::EmbeddedBroker;
use huleedu_contracts::{
    api::conductor::DefinePipelineResponse,
    envelope::EventEnvelope,
    events::essay::ELSBatchPhaseOutcomeV1,
    ids::{BatchId, CorrelationId},
    status::{PhaseName, PhaseStatus},
};
use huleedu_kit::{
    RunningService, ServiceInput,
    testing::{embedded_broker, eventually, http_client, publish, service_env},
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Long enough for a consumer group to form on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

pub(crate) struct Conductor {
    pub(crate) broker: EmbeddedBroker,
    pub(crate) service: RunningService,
    folder: TempDir,
}

impl Conductor {
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        let broker = embedded_broker().unwrap();
        let folder = TempDir::new().unwrap();
        let service = run(&broker, folder.path(), settings).await;
        Self {
            broker,
            service,
            folder,
        }
    }

    /// Crashes and starts again on the same store.
    pub(crate) async fn crash_and_restart(self) -> Self {
        let Self {
            broker,
            service,
            folder,
        } = self;
        service.kill().await;
        let service = run(&broker, folder.path(), &[]).await;
        Self {
            broker,
            service,
            folder,
        }
    }

    /// POST with a JSON body; answers status and body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}{path}", self.service.base_url());
        let answer = http_client().post(url).json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Resolves a pipeline under a fresh correlation id.
    pub(crate) async fn define(&self, batch: &BatchId, pipeline: &str) -> (u16, Value) {
        let body = question(batch, pipeline, CorrelationId::random());
        self.post("/internal/v1/pipelines/define", &body).await
    }

    /// The phases to run, of an answer that must be 200.
    pub(crate) async fn phases(&self, batch: &BatchId, pipeline: &str) -> Vec<PhaseName> {
        let (status, body) = self.define(batch, pipeline).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_value::<DefinePipelineResponse>(body)
            .unwrap()
            .final_pipeline
    }

    /// Publishes the outcome of a phase and waits until it is applied.
    pub(crate) async fn outcome(&self, batch: &BatchId, phase: PhaseName, status: PhaseStatus) {
        let data = ELSBatchPhaseOutcomeV1 {
            batch_id: batch.clone(),
            phase_name: phase,
            phase_status: status,
            processed_essays: vec![],
            failed_essay_ids: vec![],
            correlation_id: CorrelationId::random(),
        };
        let envelope = EventEnvelope::new(
            "essay_lifecycle",
            data.correlation_id,
            jiff::Timestamp::now(),
            data,
        );
        publish(self.broker.bootstrap_servers(), &envelope)
            .await
            .unwrap();
        eventually("outcome applied", LIMIT, || async {
            let applied = self.service.store().was_applied(envelope.event_id).await;
            applied.unwrap().then_some(())
        })
        .await
        .unwrap();
    }

    /// How many events of a topic were ever put into the outbox.
    pub(crate) async fn published(&self, topic: &str) -> i64 {
        let row = sqlx::query("SELECT COUNT(*) FROM outbox WHERE topic = $1").bind(topic);
        let row = row.fetch_one(self.service.store().pool()).await.unwrap();
        sqlx::Row::get(&row, 0)
    }
}

pub(crate) fn question(batch: &BatchId, pipeline: &str, correlation: CorrelationId) -> Value {
    json!({
        "batch_id": batch,
        "requested_pipeline": pipeline,
        "correlation_id": correlation,
        "batch_metadata": { "prompt_attached": false },
    })
}

async fn run(broker: &EmbeddedBroker, folder: &Path, settings: &[(&str, &str)]) -> RunningService {
    let mut env = service_env(SERVICE, broker.bootstrap_servers(), folder);
    for (name, value) in settings {
        env = env.with(*name, *value);
    }
    start(ServiceInput::new(env)).await.unwrap()
}
