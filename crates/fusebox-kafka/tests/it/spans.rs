//! The span of each try at a record.

use std::sync::Arc;
use std::time::Duration;

use fusebox_kafka::{Broker, DrainerConfig, ErrorClass};

use crate::model::{MemoryBacklog, ModelBroker, breaker, error, record, run, until};
use crate::recorder::{CLOSED, Recorder, check};

/// Of each try: which event, how it ended, and how often the call was really made.
fn tries(recorder: &Recorder) -> Vec<(u128, String, String)> {
    let spans = recorder.spans();
    let tries = spans.iter().map(|fields| {
        let id: uuid::Uuid = fields["event_id"].parse().unwrap();
        let field = |name| fields.get(name).cloned().unwrap_or_default();
        (
            id.as_u128(),
            field("circuit.call_result"),
            field("attempts"),
        )
    });
    tries.collect()
}

fn setup(numbers: u128) -> (Arc<MemoryBacklog>, Arc<ModelBroker>, Arc<dyn Broker>) {
    let broker = ModelBroker::start(Duration::from_micros(100));
    let as_broker: Arc<dyn Broker> = Arc::<ModelBroker>::clone(&broker);
    let backlog = Arc::<MemoryBacklog>::default();
    for n in 1..=numbers {
        backlog.push(record(n, "t", "k"));
    }
    (backlog, broker, as_broker)
}

#[tokio::test(start_paused = true)]
async fn a_try_tells_its_circuit_its_event_and_its_result() {
    let (recorder, _guard) = Recorder::start();
    let (backlog, _, broker) = setup(0);
    let mut event = record(1, "essays", "k");
    let headers = [
        ("correlation_id", "c-1"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    event.headers.extend(headers);
    backlog.push(event);
    let running = run(&backlog, broker, &breaker(), DrainerConfig::default());
    until("settled", || backlog.waiting() == 0).await;
    let spans = recorder.spans();
    assert_eq!(spans.len(), 1);
    check(
        &spans[0],
        &[
            ("otel.name", "circuit_breaker.kafka.publish"),
            ("operation", "publish"),
            ("circuit.name", "kafka"),
            ("circuit.state", "closed"),
            ("circuit.failure_count", "0"),
            ("circuit.success_count", "0"),
            ("circuit.call_result", "success"),
            ("circuit.blocked", "false"),
            ("attempts", "1"),
            ("topic", "essays"),
            ("attempt", "1"),
            ("maybe_duplicate", "false"),
            ("correlation_id", "c-1"),
            ("trace_id", "0af7651916cd43dd8448eb211c80319c"),
            ("span_id", "b7ad6b7169203331"),
            (CLOSED, ""),
        ],
    );
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn each_try_is_a_span_and_says_how_it_ended() {
    let (recorder, _guard) = Recorder::start();
    let (backlog, broker, as_broker) = setup(3);
    broker.refuse_enqueue([error(ErrorClass::BackPressure, "_QUEUE_FULL")]);
    broker.refuse(2, &[error(ErrorClass::Message, "INVALID_RECORD")]);
    let running = run(&backlog, as_broker, &breaker(), DrainerConfig::default());
    until("settled", || backlog.waiting() == 0).await;
    let expected = [
        // Our own producer was full.
        (1, "blocked", "0"),
        (1, "success", "1"),
        (2, "neutral", "1"),
        // The refusal of the one before has ended the producer.
        (3, "abandoned", "1"),
        (2, "success", "1"),
        (3, "success", "1"),
    ];
    let expected = expected.map(|(n, result, made)| (n, result.to_owned(), made.to_owned()));
    assert_eq!(tries(&recorder), expected);
    let spans = recorder.spans();
    assert_eq!(spans[4]["attempt"], "2");
    assert!(spans.iter().all(|fields| fields.contains_key(CLOSED)));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failing_cluster_and_a_lost_producer_show_in_the_spans() {
    let (recorder, _guard) = Recorder::start();
    let (backlog, broker, as_broker) = setup(2);
    broker.refuse(1, &[error(ErrorClass::Unavailable, "_TRANSPORT")]);
    broker.refuse(2, &[error(ErrorClass::Fatal, "_FATAL")]);
    let breaker = breaker();
    let running = run(&backlog, as_broker, &breaker, DrainerConfig::default());
    until("settled", || backlog.waiting() == 0).await;
    let ends: Vec<_> = tries(&recorder)
        .into_iter()
        .map(|(n, end, _)| (n, end))
        .collect();
    for n in [1, 2] {
        assert!(ends.contains(&(n, "failure".to_owned())), "{ends:?}");
        assert!(ends.contains(&(n, "success".to_owned())), "{ends:?}");
    }
    let failed = recorder.spans();
    let failed = failed
        .iter()
        .filter(|f| f["circuit.call_result"] == "failure");
    assert!(failed.clone().all(|f| f["otel.status_code"] == "ERROR"));
    running.stop().await;
}
