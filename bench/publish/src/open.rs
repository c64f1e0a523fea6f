//! At an equal rate: events come when they come, whether the ones before them have arrived or not.
//!
//! A closed loop, where each writer waits, compares two different loads: through the journal the same
//! writers publish several times as much, and their events queue longer. Here both get the same events at
//! the same times, and a time is counted from when the event was due.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fusebox::{BreakerConfig, CircuitBreaker, TripRule};
use fusebox_journal::{Journal, JournalConfig};
use fusebox_kafka::mock::EmbeddedBroker;
use fusebox_kafka::{
    EventBus as _, KafkaProducerConfig, PublisherConfig, RdKafkaBroker, ResilientPublisher,
};
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio_util::sync::CancellationToken;

use crate::{Failure, PAYLOAD, TOPIC, bare_producer, millis, record, send, stock_producer};

/// Keys, and so lanes.
const LANES: u64 = 64;

/// When an event was due, and how long it took from then: until safe, until in Kafka.
type Times = Vec<(Duration, Duration)>;

/// Calls `publish` for each event when it is due.
async fn offer<F>(
    rate: u64,
    length: Duration,
    publish: impl Fn(u64, Instant) -> F,
) -> Result<Times, Failure>
where
    F: Future<Output = Result<(Duration, Duration), Failure>> + Send + 'static,
{
    let gap = Duration::from_secs(1) / u32::try_from(rate)?;
    let start = Instant::now() + Duration::from_millis(5);
    let mut tasks = Vec::new();
    let mut n = 0;
    loop {
        let due = start + gap * u32::try_from(n)?;
        if due > start + length {
            break;
        }
        if due > Instant::now() {
            // The runtime's timer is no finer than a millisecond: several are due at once then.
            tokio::time::sleep_until(due.into()).await;
        }
        tasks.push(tokio::spawn(publish(n, due)));
        n += 1;
    }
    let mut times = Times::new();
    for task in tasks {
        times.push(task.await??);
    }
    // The first tenth warms up.
    times.drain(..times.len() / 10);
    Ok(times)
}

async fn bare(producer: FutureProducer, rate: u64, length: Duration) -> Result<Times, Failure> {
    // Both have their connections and the producer's number before it begins.
    for key in 0..LANES {
        let key = format!("k{key}");
        let warm = FutureRecord::to(TOPIC).key(&key).payload("up");
        let sent = producer.send(warm, Duration::from_secs(10)).await;
        sent.map_err(|(error, _)| error)?;
    }
    offer(rate, length, |n, due| {
        let producer = producer.clone();
        async move {
            let key = format!("k{}", n % LANES);
            send(&producer, &[b'x'; PAYLOAD], &key).await?;
            Ok((due.elapsed(), due.elapsed()))
        }
    })
    .await
}

/// How events get to Kafka through ours.
#[derive(Clone, Copy)]
enum Ours {
    /// Journal first.
    Journal { linger: Option<Duration> },
    /// Mode *direct*: without a sync on the way.
    Direct,
}

async fn ours(
    kafka: &EmbeddedBroker,
    rate: u64,
    length: Duration,
    how: Ours,
) -> Result<Times, Failure> {
    let dir = tempfile::tempdir_in(".")?;
    let path = dir.path().to_owned();
    let journal = tokio::task::spawn_blocking(|| Journal::open(path, JournalConfig::default()));
    let mut producer = KafkaProducerConfig::new(kafka.bootstrap_servers(), "bench");
    if let Ours::Journal {
        linger: Some(linger),
    } = how
    {
        producer.linger = linger;
    }
    let broker = Arc::new(RdKafkaBroker::new(producer)?);
    let breaker = CircuitBreaker::builder("kafka")
        .config(BreakerConfig::default().with_trip_rule(TripRule::Consecutive))
        .build()?;
    let make = match how {
        Ours::Journal { .. } => ResilientPublisher::journal_first,
        Ours::Direct => ResilientPublisher::direct,
    };
    let (publisher, worker) = make(journal.await??, broker, breaker, PublisherConfig::default());
    let stop = CancellationToken::new();
    let worker = tokio::spawn(worker.run(stop.clone()));
    for key in 0..LANES {
        let warm = publisher.publish(record(b"up", &format!("k{key}"))).await?;
        warm.acknowledged().await?;
    }
    let times = offer(rate, length, |n, due| {
        let publisher = publisher.clone();
        async move {
            let key = format!("k{}", n % LANES);
            let accepted = publisher
                .publish(record(&vec![b'x'; PAYLOAD], &key))
                .await?;
            let safe = due.elapsed();
            accepted.acknowledged().await?;
            Ok((safe, due.elapsed()))
        }
    })
    .await?;
    stop.cancel();
    worker.await?;
    if let Some(journal) = publisher.journal().cloned() {
        tokio::task::spawn_blocking(move || journal.close()).await??;
    }
    Ok(times)
}

/// Medians and 99th percentiles: until safe, until in Kafka.
fn summary(times: &Times) -> [Duration; 4] {
    type Part = fn(&(Duration, Duration)) -> Duration;
    let part = |of: Part, percent: usize| {
        let mut list: Vec<_> = times.iter().map(of).collect();
        list.sort_unstable();
        list[(list.len() - 1) * percent / 100]
    };
    let [safe, kafka]: [Part; 2] = [|t| t.0, |t| t.1];
    [
        part(safe, 50),
        part(safe, 99),
        part(kafka, 50),
        part(kafka, 99),
    ]
}

/// The round whose median to Kafka is in the middle.
fn median(mut rounds: Vec<[Duration; 4]>) -> [Duration; 4] {
    rounds.sort_by_key(|round| round[2]);
    rounds[rounds.len() / 2]
}

const NAMES: [&str; 5] = [
    "bare producer, linger 1 ms",
    "bare producer, only `acks=all`",
    "journal, as it is by default",
    "journal, linger 1 ms",
    "direct",
];

/// Prints a table: for each round trip and rate, bare producers and ours, taking turns.
pub(crate) async fn compare(
    rates: &[u64],
    round_trips: &[u64],
    length: Duration,
    rounds: usize,
) -> Result<(), Failure> {
    println!(
        "| events/s | round trip | through | p50 ms safe | p99 ms safe | p50 ms to Kafka | p99 ms to Kafka |"
    );
    println!("|---|---|---|---|---|---|---|");
    let linger = Some(Duration::from_millis(1));
    for &round_trip in round_trips {
        for &rate in rates {
            let kafka = EmbeddedBroker::start(&[(TOPIC, 4)])?;
            kafka.delay(Duration::from_millis(round_trip))?;
            let mut all: [Vec<_>; 5] = Default::default();
            for _ in 0..rounds {
                let times = [
                    bare(bare_producer(&kafka)?, rate, length).await?,
                    bare(stock_producer(&kafka)?, rate, length).await?,
                    ours(&kafka, rate, length, Ours::Journal { linger: None }).await?,
                    ours(&kafka, rate, length, Ours::Journal { linger }).await?,
                    ours(&kafka, rate, length, Ours::Direct).await?,
                ];
                for (rounds, times) in all.iter_mut().zip(&times) {
                    rounds.push(summary(times));
                }
            }
            let all = all.map(median);
            let plain = all[0];
            for (name, round) in NAMES.into_iter().zip(all) {
                let ratio = |at: usize| {
                    let ratio = round[at].as_secs_f64() / plain[at].as_secs_f64();
                    if name == NAMES[0] {
                        String::new()
                    } else {
                        format!(" (×{ratio:.2})")
                    }
                };
                println!(
                    "| {rate} | {round_trip} ms | {name} | {} | {} | {}{} | {}{} |",
                    millis(round[0]),
                    millis(round[1]),
                    millis(round[2]),
                    ratio(2),
                    millis(round[3]),
                    ratio(3),
                );
            }
        }
    }
    Ok(())
}
