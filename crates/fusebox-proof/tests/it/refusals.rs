//! A broker refuses requests now and then, with others of the same lanes under way behind them.
//!
//! Real are the publisher, its journal, librdkafka and our broker. What is behind a refused record must
//! not arrive before it; a producer that goes on after a refusal shows that it would.

use std::collections::HashSet;
use std::time::Duration;

use fusebox::State;
use fusebox_devbroker::{ApiKey, Effect, Fault, ResponseError, SetFault, When};
use fusebox_journal::Position;
use fusebox_proof::history::{EventName, Ledger, Verdict};
use fusebox_proof::publishing::{Options, Publishing, publish};
use tokio::task::JoinSet;

use crate::support::cluster::broker_in;
use crate::support::topics::{PARTITIONS, create, fresh, read_all};
use crate::support::until;

const LANES: u32 = 8;
const EACH: u32 = 100;

/// What became of the events, and how many producers it took.
struct Outcome {
    verdict: Verdict,
    refused: u64,
    rebuilt: u64,
}

/// Publishes under refusals with this code.
async fn publish_under(code: ResponseError, ends_when_refused: bool) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker_in(folder.path()).await;
    let bootstrap = broker.bootstrap_servers();
    let topic = fresh("refused");
    create(&bootstrap, 1, [topic.as_str()]).await;

    let mut options = Options::new(&bootstrap);
    options.producer.linger = Duration::ZERO;
    options.producer.ends_when_refused = ends_when_refused;
    options.publisher.drainer.retry_min = Duration::from_millis(5);
    let publishing = Publishing::start(&folder.path().join("journal"), options).unwrap();
    // So that several requests are under way.
    let slow = Fault::new(ApiKey::Produce, Effect::Delay(Duration::from_millis(2)));
    broker.faults().set(slow);
    let refusals = [4, 11, 19].map(|nth| {
        let fault = Fault::new(ApiKey::Produce, Effect::Reject(code));
        broker.faults().set(fault.when(When::Nth(nth)))
    });

    let mut tasks = JoinSet::new();
    for lane in 0..LANES {
        let (bus, topic) = (publishing.bus.clone(), topic.clone());
        tasks.spawn(async move {
            for number in 0..EACH {
                publish(&bus, &topic, EventName { lane, number })
                    .await
                    .unwrap();
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    let journal = publishing.bus.journal().unwrap().clone();
    until("drained", || journal.stats().waiting == 0).await;
    assert_eq!(publishing.breaker.state(), State::Closed);
    let rebuilt = publishing.bus.drainer().stats().rebuilt;
    assert_eq!(publishing.breaker.snapshot().counts.failure, 0);
    // Whoever is refused twice for its own sake is in no topic, and so out of order nowhere.
    let letters = journal.dead_letters(Position::START, 1_000, |_| true);
    let dead: HashSet<_> = letters
        .iter()
        .map(|letter| EventName::of(u128::from_be_bytes(letter.id)).unwrap())
        .collect();
    publishing.stop().await;

    let mut ledger = Ledger::default();
    for lane in 0..LANES {
        for number in 0..EACH {
            ledger.safe(EventName { lane, number });
        }
    }
    let found = tokio::task::spawn_blocking(move || read_all(&bootstrap, &topic, PARTITIONS));
    let verdict = ledger.judge(found.await.unwrap().values(), &dead);
    let refused = refusals.iter().map(SetFault::fired).sum();
    println!(
        "{code:?}, {refused} refusals, {} dead: {verdict}",
        dead.len()
    );
    Outcome {
        verdict,
        refused,
        rebuilt,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_overtakes_a_record_that_is_refused_for_now() {
    for code in [
        ResponseError::ThrottlingQuotaExceeded,
        // Nobody knows what that should mean to a producer.
        ResponseError::ElectionNotNeeded,
        ResponseError::TopicAuthorizationFailed,
        // The batch's fault, and whoever was with it is innocent.
        ResponseError::InvalidRecord,
    ] {
        let outcome = publish_under(code, true).await;
        outcome.verdict.assert_exact();
        assert_eq!((outcome.refused, outcome.rebuilt), (3, 3), "{code:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_goes_on_after_a_refusal_is_found() {
    // Only what is under way behind a refused record can overtake it, and a busy machine sends little.
    for round in 1..=10 {
        let outcome = publish_under(ResponseError::ThrottlingQuotaExceeded, false).await;
        if !outcome.verdict.reordered.is_empty() {
            println!("found in round {round}");
            return;
        }
    }
    panic!("not found");
}
