//! Publishing through the journal beside a bare producer with `acks=all`, in one run, on one cluster.
//!
//! `publish [EVENTS] [ROUNDS]`: for broker round trips of 0, 1 and 5 ms, 64 writers share EVENTS events of
//! 1 KiB (20,000), each waiting for one before it publishes the next; and one writer publishes a
//! twentieth of them. Bare and journal take turns, ROUNDS times (3); a figure is the median round's.
//!
//! - *safe*: until `publish` has returned: the bare producer's acknowledgement, the journal's sync.
//! - *in Kafka*: until Kafka has acknowledged the last event.
//!
//! `publish open [SECONDS] [ROUNDS] [RATE ...]`: the same events at the same times through both, RATEs in a
//! second, by default 200, and 30 and 60 % of what 64 writers get through the bare producer at 1 ms.

mod open;

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fusebox::{BreakerConfig, CircuitBreaker, TripRule};
use fusebox_journal::{Journal, JournalConfig};
use fusebox_kafka::mock::EmbeddedBroker;
use fusebox_kafka::{
    EventBus as _, KafkaProducerConfig, PublisherConfig, RdKafkaBroker, Record, ResilientPublisher,
    WhenFull,
};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

type Failure = Box<dyn Error + Send + Sync>;

const TOPIC: &str = "t";
const PAYLOAD: usize = 1024;

/// One measurement.
#[derive(Clone)]
struct Round {
    /// Events made safe in a second.
    safe: f64,
    /// Events acknowledged by Kafka in a second, from the first call to the last acknowledgement.
    kafka: f64,
    p50: Duration,
    p99: Duration,
    /// Median from the call to Kafka's acknowledgement.
    kafka_p50: Duration,
}

fn record(payload: &[u8], key: &str) -> Record {
    let event_id = Uuid::now_v7();
    Record {
        event_id,
        topic: TOPIC.to_owned(),
        key: Some(key.to_owned()),
        payload: payload.to_vec().into(),
        headers: vec![("event_id".to_owned(), event_id.to_string())],
    }
}

/// Times of one writer: until safe, until in Kafka.
type Times = Vec<(Duration, Duration)>;

fn summary(mut times: Times, safe_after: Duration, kafka_after: Duration) -> Round {
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let count = times.len() as f64;
    times.sort_unstable_by_key(|(safe, _)| *safe);
    let (p50, p99) = (times[times.len() / 2].0, times[times.len() * 99 / 100].0);
    times.sort_unstable_by_key(|(_, kafka)| *kafka);
    Round {
        safe: count / safe_after.as_secs_f64(),
        kafka: count / kafka_after.as_secs_f64(),
        p50,
        p99,
        kafka_p50: times[times.len() / 2].1,
    }
}

/// What the journal is compared with: a producer that loses nothing as long as its process lives.
fn bare_producer(kafka: &EmbeddedBroker) -> Result<FutureProducer, Failure> {
    let producer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap_servers())
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", "1")
        // The partitions of ours, so that both fill the same requests.
        .set("partitioner", "murmur2_random")
        .create()?;
    Ok(producer)
}

/// A producer with `acks=all` and everything else as librdkafka has it: it lingers for 5 ms, and numbers
/// nothing, so what is tried again may be doubled or overtaken.
fn stock_producer(kafka: &EmbeddedBroker) -> Result<FutureProducer, Failure> {
    let producer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap_servers())
        .set("acks", "all")
        .set("partitioner", "murmur2_random")
        .create()?;
    Ok(producer)
}

/// Sends an event through it, and waits for Kafka's acknowledgement.
async fn send(producer: &FutureProducer, payload: &[u8], key: &str) -> Result<(), Failure> {
    let record = record(payload, key);
    let id = record.event_id.to_string();
    let headers = OwnedHeaders::new().insert(Header {
        key: "event_id",
        value: Some(&id),
    });
    let out = FutureRecord::to(TOPIC)
        .key(key)
        .payload(&record.payload[..])
        .headers(headers);
    let sent = producer.send(out, Duration::from_secs(10)).await;
    sent.map_err(|(error, _)| error)?;
    Ok(())
}

async fn bare(kafka: &EmbeddedBroker, writers: usize, events: usize) -> Result<Round, Failure> {
    let producer = bare_producer(kafka)?;
    let warm = FutureRecord::to(TOPIC).key("warm").payload("up");
    producer
        .send(warm, Duration::from_secs(10))
        .await
        .map_err(|(error, _)| error)?;
    let start = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let producer = producer.clone();
            tokio::spawn(async move {
                let (payload, key) = (vec![b'x'; PAYLOAD], format!("k{writer}"));
                let mut times = Times::new();
                for _ in 0..events / writers {
                    let called = Instant::now();
                    send(&producer, &payload, &key).await?;
                    times.push((called.elapsed(), called.elapsed()));
                }
                Ok::<_, Failure>(times)
            })
        })
        .collect();
    let mut times = Times::new();
    for task in tasks {
        times.extend(task.await??);
    }
    let after = start.elapsed();
    Ok(summary(times, after, after))
}

async fn journal(kafka: &EmbeddedBroker, writers: usize, events: usize) -> Result<Round, Failure> {
    let dir = tempfile::tempdir_in(".")?;
    let path = dir.path().to_owned();
    let journal =
        tokio::task::spawn_blocking(move || Journal::open(path, JournalConfig::default()));
    let producer = KafkaProducerConfig::new(kafka.bootstrap_servers(), "bench");
    let broker = Arc::new(RdKafkaBroker::new(producer)?);
    let breaker = CircuitBreaker::builder("kafka")
        .config(BreakerConfig::default().with_trip_rule(TripRule::Consecutive))
        .build()?;
    let mut config = PublisherConfig::default();
    config.when_full = WhenFull::Refuse;
    let (publisher, worker) =
        ResilientPublisher::journal_first(journal.await??, broker, breaker, config);
    let stop = CancellationToken::new();
    let worker = tokio::spawn(worker.run(stop.clone()));
    let warm = publisher.publish(record(b"up", "warm")).await?;
    warm.acknowledged().await?;
    let start = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let publisher = publisher.clone();
            tokio::spawn(async move {
                let (payload, key) = (vec![b'x'; PAYLOAD], format!("k{writer}"));
                let mut safe = Vec::new();
                // Who waits for Kafka's answers does not hold up the writer.
                let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
                let listening = tokio::spawn(async move {
                    let mut kafka = Vec::new();
                    while let Some((called, accepted)) = told.recv().await {
                        let (called, accepted): (Instant, fusebox_kafka::Accepted) =
                            (called, accepted);
                        accepted.acknowledged().await?;
                        kafka.push(called.elapsed());
                    }
                    Ok::<_, Failure>(kafka)
                });
                for _ in 0..events / writers {
                    let called = Instant::now();
                    let accepted = publisher.publish(record(&payload, &key)).await?;
                    safe.push(called.elapsed());
                    tell.send((called, accepted))?;
                }
                let done = Instant::now();
                drop(tell);
                let kafka = listening.await??;
                let times: Times = safe.into_iter().zip(kafka).collect();
                Ok::<_, Failure>((times, done))
            })
        })
        .collect();
    let (mut times, mut last) = (Times::new(), start);
    for task in tasks {
        let (of_one, done) = task.await??;
        times.extend(of_one);
        last = last.max(done);
    }
    let (safe_after, kafka_after) = (last - start, start.elapsed());
    stop.cancel();
    worker.await?;
    if let Some(journal) = publisher.journal().cloned() {
        tokio::task::spawn_blocking(move || journal.close()).await??;
    }
    Ok(summary(times, safe_after, kafka_after))
}

/// The round whose rate in Kafka is in the middle.
fn median(mut rounds: Vec<Round>) -> Round {
    rounds.sort_by(|a, b| a.safe.total_cmp(&b.safe));
    rounds[rounds.len() / 2].clone()
}

fn millis(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e3)
}

async fn open_loop(mut arguments: impl Iterator<Item = String>) -> Result<(), Failure> {
    let seconds: u64 = arguments.next().map_or(Ok(2), |text| text.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let mut rates = Vec::new();
    for rate in arguments {
        rates.push(rate.parse()?);
    }
    if rates.is_empty() {
        let kafka = EmbeddedBroker::start(&[(TOPIC, 4)])?;
        kafka.delay(Duration::from_millis(1))?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate"
        )]
        let most = bare(&kafka, 64, 20_000).await?.kafka as u64;
        println!("64 writers get {most} events a second through the bare producer at 1 ms.\n");
        rates.extend([200, most * 3 / 10, most * 6 / 10]);
    }
    open::compare(&rates, &[1, 5], Duration::from_secs(seconds), rounds).await
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| first == "open").is_some() {
        return open_loop(arguments).await;
    }
    let events: usize = arguments.next().map_or(Ok(20_000), |text| text.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(3), |text| text.parse())?;
    println!(
        "| writers | round trip | through | safe/s | p50 ms | p99 ms | in Kafka/s | p50 ms to Kafka |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (writers, events) in [(64, events), (1, events / 20)] {
        for round_trip in [0, 1, 5] {
            let kafka = EmbeddedBroker::start(&[(TOPIC, 4)])?;
            kafka.delay(Duration::from_millis(round_trip))?;
            let (mut plain, mut ours) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                plain.push(bare(&kafka, writers, events).await?);
                ours.push(journal(&kafka, writers, events).await?);
            }
            let (plain, ours) = (median(plain), median(ours));
            for (name, round) in [("bare producer", &plain), ("journal", &ours)] {
                println!(
                    "| {writers} | {round_trip} ms | {name} | {:.0} | {} | {} | {:.0} | {} |",
                    round.safe,
                    millis(round.p50),
                    millis(round.p99),
                    round.kafka,
                    millis(round.kafka_p50),
                );
            }
            println!(
                "| {writers} | {round_trip} ms | *journal / bare* | *×{:.2}* | *×{:.2}* | *×{:.2}* | *×{:.2}* | *×{:.2}* |",
                ours.safe / plain.safe,
                ours.p50.as_secs_f64() / plain.p50.as_secs_f64(),
                ours.p99.as_secs_f64() / plain.p99.as_secs_f64(),
                ours.kafka / plain.kafka,
                ours.kafka_p50.as_secs_f64() / plain.kafka_p50.as_secs_f64(),
            );
        }
    }
    Ok(())
}
