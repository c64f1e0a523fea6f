//! Faults by class: a record's, a topic's, the producer's, nobody's.

use std::sync::Arc;
use std::time::Duration;

use fusebox::State;
use fusebox_kafka::{
    Backlog as _, Broker, DrainerConfig, ErrorClass, PoisonPolicy, Position, Resolution,
};
use tokio::time::Instant;

use crate::model::{MemoryBacklog, ModelBroker, breaker, error, firsts, record, run, until};

fn setup() -> (Arc<MemoryBacklog>, Arc<ModelBroker>, Arc<dyn Broker>) {
    let broker = ModelBroker::start(Duration::from_micros(100));
    let as_broker: Arc<dyn Broker> = Arc::<ModelBroker>::clone(&broker);
    (Arc::default(), broker, as_broker)
}

#[tokio::test(start_paused = true)]
async fn poison_is_tried_alone_once_and_buried_and_the_rest_is_delivered() {
    let (backlog, broker, as_broker) = setup();
    let breaker = breaker();
    let refused = error(ErrorClass::Message, "INVALID_RECORD");
    // 5 is poison; 6 and 7 only shared its batch.
    broker.refuse(5, &[refused.clone(), refused.clone()]);
    broker.refuse(6, std::slice::from_ref(&refused));
    broker.refuse(7, std::slice::from_ref(&refused));
    for n in 1..=20 {
        backlog.push(record(n, "t", "k"));
    }
    let running = run(&backlog, as_broker, &breaker, DrainerConfig::default());
    until("done", || backlog.waiting() == 0).await;
    let dead = backlog.dead();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].0.0, 5);
    assert_eq!(
        (dead[0].1.code.as_str(), dead[0].1.attempts),
        ("INVALID_RECORD", 2)
    );
    assert!(
        dead[0].1.first.is_none(),
        "the same error twice is one error"
    );
    assert_eq!(
        broker.log(),
        (1..=20).filter(|n| *n != 5).collect::<Vec<_>>()
    );
    assert_eq!(
        broker.enqueued()[20..],
        (5..=20).collect::<Vec<_>>(),
        "not once, or not in order"
    );
    assert_eq!(
        broker.rebuilds(),
        2,
        "a refusal costs the producer, nothing else"
    );
    assert_eq!(
        breaker.snapshot().counts.failure,
        0,
        "a record's fault was held against Kafka"
    );
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_overtakes_a_refused_record() {
    let (backlog, broker, as_broker) = setup();
    broker.refuse(1, &[error(ErrorClass::Message, "POLICY_VIOLATION")]);
    for n in 1..=10 {
        backlog.push(record(n, "t", "k"));
    }
    let running = run(&backlog, as_broker, &breaker(), DrainerConfig::default());
    until("done", || backlog.waiting() == 0).await;
    assert_eq!(broker.log(), (1..=10).collect::<Vec<_>>());
    running.stop().await;
}

/// The broker looks at sizes before it looks at numbers: 1 is refused, 2 and 3 only have the wrong
/// number now, 4 is refused like 1. Alone means in its turn: 4 must not go before 2 and 3.
#[tokio::test(start_paused = true)]
async fn a_second_refused_record_waits_for_its_turn() {
    let (backlog, broker, as_broker) = setup();
    let refused = error(ErrorClass::Message, "MSG_SIZE_TOO_LARGE");
    broker.refuse(1, std::slice::from_ref(&refused));
    broker.refuse(4, std::slice::from_ref(&refused));
    for n in 1..=6 {
        backlog.push(record(n, "t", "k"));
    }
    let running = run(&backlog, as_broker, &breaker(), DrainerConfig::default());
    until("done", || backlog.waiting() == 0).await;
    assert_eq!(broker.log(), [1, 2, 3, 4, 5, 6]);
    assert!(backlog.dead().is_empty());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_too_large_is_buried_unsent() {
    let (backlog, broker, as_broker) = setup();
    let mut large = record(1, "t", "k");
    large.payload = vec![0; 1_000_000].into();
    backlog.push(large);
    backlog.push(record(2, "t", "k"));
    let running = run(&backlog, as_broker, &breaker(), DrainerConfig::default());
    until("done", || backlog.waiting() == 0).await;
    assert_eq!(broker.enqueued(), [2]);
    assert_eq!(backlog.dead()[0].1.code, "MSG_SIZE_TOO_LARGE");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_topic_at_fault_is_paused_while_others_go_on_and_keeps_its_order() {
    let (backlog, broker, as_broker) = setup();
    let breaker = breaker();
    let fault = error(ErrorClass::Topic, "TOPIC_AUTHORIZATION_FAILED");
    // Record 1 meets the fault three times; 3 shared its batch.
    broker.refuse(1, &[fault.clone(), fault.clone(), fault.clone()]);
    broker.refuse(3, std::slice::from_ref(&fault));
    broker.refuse(5, std::slice::from_ref(&fault));
    for n in 1..=6 {
        backlog.push(record(n, if n % 2 == 1 { "sick" } else { "well" }, "k"));
    }
    let start = Instant::now();
    let running = run(&backlog, as_broker, &breaker, DrainerConfig::default());
    until("the well topic", || broker.log() == [2, 4, 6]).await;
    assert!(start.elapsed() < Duration::from_millis(500));
    until("paused", || running.handle.stats().paused_topics == 1).await;
    for n in 7..=300 {
        backlog.push(record(n, if n % 2 == 1 { "sick" } else { "well" }, "k"));
    }
    until("done", || backlog.waiting() == 0).await;
    let log = broker.log();
    let sick: Vec<_> = log.iter().copied().filter(|n| n % 2 == 1).collect();
    assert_eq!(sick, (1..=300).filter(|n| n % 2 == 1).collect::<Vec<_>>());
    assert_eq!(log.len(), 300, "sent twice");
    // 1 s, 2 s, 4 s of pause.
    assert!(
        start.elapsed() > Duration::from_secs(6),
        "{:?}",
        start.elapsed()
    );
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(
        breaker.snapshot().counts.failure,
        0,
        "a topic's fault was held against Kafka"
    );
    until("resumed", || running.handle.stats().paused_topics == 0).await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_topic_refused_before_sending_is_paused_too() {
    let (backlog, broker, as_broker) = setup();
    broker.refuse_enqueue([error(ErrorClass::Topic, "_UNKNOWN_TOPIC")]);
    backlog.push(record(1, "sick", "k"));
    backlog.push(record(2, "sick", "k"));
    backlog.push(record(3, "well", "k"));
    let running = run(&backlog, as_broker, &breaker(), DrainerConfig::default());
    until("done", || backlog.waiting() == 0).await;
    assert_eq!(broker.log(), [3, 1, 2]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_fatal_error_replaces_the_producer_and_begins_with_the_oldest() {
    let (backlog, broker, as_broker) = setup();
    broker.refuse(
        30,
        &[error(ErrorClass::Fatal, "OUT_OF_ORDER_SEQUENCE_NUMBER")],
    );
    broker.fail_rebuilds(2);
    for n in 1..=100 {
        backlog.push(record(n, "t", "k"));
    }
    let running = run(&backlog, as_broker, &breaker(), DrainerConfig::default());
    until("done", || backlog.waiting() == 0).await;
    assert_eq!(broker.log(), (1..=100).collect::<Vec<_>>());
    assert_eq!(broker.rebuilds(), 3);
    assert_eq!(running.handle.stats().rebuilt, 1);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_fatal_trouble_between_records_replaces_the_producer() {
    let (backlog, broker, as_broker) = setup();
    let running = run(&backlog, as_broker, &breaker(), DrainerConfig::default());
    until("started", || broker.has_drainer()).await;
    broker.trouble(error(ErrorClass::Fatal, "_FATAL"));
    until("replaced", || running.handle.stats().rebuilt == 1).await;
    backlog.push(record(1, "t", "k"));
    until("done", || backlog.waiting() == 0).await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_dies_again_and_again_opens_the_circuit_and_not_the_processor() {
    let (backlog, broker, as_broker) = setup();
    let breaker = breaker();
    let fatal = error(ErrorClass::Fatal, "OUT_OF_ORDER_SEQUENCE_NUMBER");
    broker.refuse(1, &vec![fatal; 12]);
    backlog.push(record(1, "t", "k"));
    let running = run(&backlog, as_broker, &breaker, DrainerConfig::default());
    until("open", || breaker.state() == State::Open).await;
    // The cluster answers questions all the while; that must not close it.
    let opened = breaker.snapshot().counts.success;
    assert_eq!(opened, 0);
    until("done", || backlog.waiting() == 0).await;
    assert_eq!(broker.log(), [1]);
    assert_eq!(broker.rebuilds(), 12);
    until("closed", || breaker.state() == State::Closed).await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_has_lost_its_cluster_is_replaced() {
    let (backlog, broker, as_broker) = setup();
    let breaker = breaker();
    let running = run(&backlog, as_broker, &breaker, DrainerConfig::default());
    backlog.push(record(1, "t", "k"));
    until("healthy", || backlog.waiting() == 0).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(broker.asked_whether_lost(), 0, "nothing was under way");

    broker.lose_cluster();
    let lost = Instant::now();
    for n in 2..=20 {
        backlog.push(record(n, "t", "k"));
    }
    running.handle.wake();
    until("done", || backlog.waiting() == 0).await;
    let took = lost.elapsed();
    // Five until it is asked, two for the reports that do not come, and the break of the circuit.
    assert!(
        took >= Duration::from_secs(5) && took < Duration::from_secs(13),
        "{took:?}"
    );
    assert_eq!((broker.rebuilds(), broker.asked_whether_lost()), (1, 1));
    assert_eq!(broker.log(), (1..=20).collect::<Vec<_>>());
    let again = &broker.attempts()[20..];
    assert!(
        again.iter().all(|a| a.number == 2 && a.maybe_duplicate),
        "{again:?}"
    );
    assert_eq!(breaker.state(), State::Closed);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn deliveries_that_fail_for_want_of_a_cluster_are_sent_again_in_order() {
    let (backlog, broker, as_broker) = setup();
    let breaker = breaker();
    let lost = error(ErrorClass::Unavailable, "_MSG_TIMED_OUT");
    for n in 5..=40 {
        broker.refuse(n, &[lost.clone(), lost.clone()]);
    }
    for n in 1..=40 {
        backlog.push(record(n, "t", "k"));
    }
    let running = run(&backlog, as_broker, &breaker, DrainerConfig::default());
    until("done", || backlog.waiting() == 0).await;
    assert_eq!(firsts(&broker.log()), (1..=40).collect::<Vec<_>>());
    let failures = breaker.snapshot().counts.failure;
    assert!(
        (1..=4).contains(&failures),
        "{failures} failures for two batches"
    );
    assert!(backlog.dead().is_empty());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_throttled_record_is_never_buried_and_holds_back_what_follows() {
    let (backlog, broker, as_broker) = setup();
    let breaker = breaker();
    broker.refuse(
        1,
        &vec![error(ErrorClass::Retriable, "THROTTLING_QUOTA_EXCEEDED"); 20],
    );
    for n in 1..=6 {
        backlog.push(record(n, "t", "k"));
    }
    let running = run(&backlog, as_broker, &breaker, DrainerConfig::default());
    until("done", || backlog.waiting() == 0).await;
    assert_eq!(broker.log(), [1, 2, 3, 4, 5, 6]);
    assert!(backlog.dead().is_empty());
    assert_eq!(breaker.snapshot().counts.failure, 0);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_error_nobody_knows_ends_in_a_dead_letter_after_its_tries() {
    let (backlog, broker, as_broker) = setup();
    broker.refuse(
        1,
        &vec![error(ErrorClass::Retriable, "NewErrorOfKafka9"); 50],
    );
    backlog.push(record(1, "t", "k"));
    backlog.push(record(2, "t", "k"));
    let running = run(&backlog, as_broker, &breaker(), DrainerConfig::default());
    until("done", || backlog.waiting() == 0).await;
    let dead = backlog.dead();
    assert_eq!((dead[0].0.0, dead[0].1.attempts), (1, 11));
    assert_eq!(broker.log(), [2]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_fenced_producer_is_replaced() {
    let (backlog, broker, as_broker) = setup();
    broker.refuse(1, &vec![error(ErrorClass::Retriable, "PRODUCER_FENCED"); 2]);
    backlog.push(record(1, "t", "k"));
    let running = run(&backlog, as_broker, &breaker(), DrainerConfig::default());
    until("done", || backlog.waiting() == 0).await;
    assert_eq!((broker.log(), broker.rebuilds()), (vec![1], 2));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn wrong_credentials_open_the_circuit_and_keep_everything() {
    let (backlog, broker, as_broker) = setup();
    let breaker = breaker();
    let denied = error(ErrorClass::Configuration, "CLUSTER_AUTHORIZATION_FAILED");
    for n in 1..=10 {
        broker.refuse(n, &vec![denied.clone(); if n == 1 { 6 } else { 5 }]);
        backlog.push(record(n, "t", "k"));
    }
    let running = run(&backlog, as_broker, &breaker, DrainerConfig::default());
    until("open", || breaker.state() == State::Open).await;
    assert_eq!(backlog.waiting(), 10);
    until("done", || backlog.waiting() == 0).await;
    assert_eq!(firsts(&broker.log()), (1..=10).collect::<Vec<_>>());
    assert!(backlog.dead().is_empty());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_try_says_whether_an_earlier_one_may_have_arrived() {
    let (backlog, broker, as_broker) = setup();
    broker.refuse(2, &[error(ErrorClass::Fatal, "_FATAL")]);
    broker.refuse(5, &[error(ErrorClass::Message, "INVALID_RECORD")]);
    for n in 1..=5 {
        backlog.push(record(n, "t", "k"));
    }
    let running = run(&backlog, as_broker, &breaker(), DrainerConfig::default());
    until("done", || backlog.waiting() == 0).await;
    let tries: Vec<_> = broker
        .enqueued()
        .into_iter()
        .zip(broker.attempts())
        .map(|(n, attempt)| (n, attempt.number, attempt.maybe_duplicate))
        .collect();
    assert_eq!(
        tries,
        [
            (1, 1, false),
            (2, 1, false),
            (3, 1, false),
            (4, 1, false),
            (5, 1, false),
            // The producer died with these in its hands.
            (2, 2, true),
            (3, 2, true),
            (4, 2, true),
            (5, 2, true),
            // Refused for certain, but its first try is still unknown.
            (5, 3, true),
        ]
    );
    assert_eq!(running.handle.stats().maybe_duplicates, 5);
    running.stop().await;
}

fn policy(policy: PoisonPolicy) -> DrainerConfig {
    let mut config = DrainerConfig::default();
    config.poison_by_topic.insert("strict".to_owned(), policy);
    config
}

/// Two refusals of record 3, then it would be taken.
fn poison_three(broker: &ModelBroker, backlog: &MemoryBacklog) {
    let refused = error(ErrorClass::Message, "POLICY_VIOLATION");
    broker.refuse(3, &[refused.clone(), refused]);
    for n in 1..=3 {
        backlog.push(record(n, "strict", "k"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_record_holds_up_its_key_until_somebody_decides() {
    for resolution in [Resolution::Retry, Resolution::Bury] {
        let (backlog, broker, as_broker) = setup();
        poison_three(&broker, &backlog);
        let running = run(
            &backlog,
            Arc::clone(&as_broker),
            &breaker(),
            policy(PoisonPolicy::BlockKey),
        );
        until("blocked", || running.handle.stats().blocked == 1).await;
        for n in 4..=9 {
            backlog.push(record(n, "strict", if n % 2 == 0 { "k" } else { "other" }));
        }
        running.handle.wake();
        until("the other key", || broker.log() == [1, 2, 5, 7, 9]).await;
        let blocked = running.handle.blocked();
        assert_eq!(blocked.len(), 1);
        assert_eq!(
            (blocked[0].topic.as_str(), blocked[0].key.as_deref()),
            ("strict", Some("k"))
        );
        assert_eq!(blocked[0].reason.code, "POLICY_VIOLATION");
        assert!(backlog.dead().is_empty());

        // Nothing is remembered over a restart, and the key is held up again all the same.
        running.stop().await;
        if resolution == Resolution::Bury {
            let refused = error(ErrorClass::Message, "POLICY_VIOLATION");
            broker.refuse(3, &[refused.clone(), refused]);
        }
        let running = run(
            &backlog,
            as_broker,
            &breaker(),
            policy(PoisonPolicy::BlockKey),
        );
        if resolution == Resolution::Bury {
            until("blocked again", || running.handle.stats().blocked == 1).await;
            assert_eq!(broker.log(), [1, 2, 5, 7, 9]);
            running.handle.resolve(Position(999), Resolution::Bury);
            running.handle.resolve(blocked[0].position, resolution);
        }
        until("done", || backlog.waiting() == 0).await;
        let rest: &[u128] = match resolution {
            Resolution::Retry => &[3, 4, 6, 8],
            Resolution::Bury => &[4, 6, 8],
        };
        assert_eq!(broker.log()[5..], *rest);
        assert_eq!(
            backlog.dead().len(),
            usize::from(resolution == Resolution::Bury)
        );
        assert_eq!(running.handle.stats().blocked, 0);
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_record_holds_up_its_topic_and_a_retry_frees_it() {
    let (backlog, broker, as_broker) = setup();
    poison_three(&broker, &backlog);
    let running = run(
        &backlog,
        as_broker,
        &breaker(),
        policy(PoisonPolicy::BlockTopic),
    );
    until("blocked", || running.handle.stats().blocked == 1).await;
    backlog.push(record(4, "strict", "other"));
    backlog.push(record(5, "lax", "k"));
    running.handle.wake();
    until("the other topic", || broker.log() == [1, 2, 5]).await;
    assert_eq!(running.handle.blocked()[0].key, None);
    running.handle.resolve(Position(3), Resolution::Retry);
    until("done", || backlog.waiting() == 0).await;
    assert_eq!(broker.log(), [1, 2, 5, 3, 4]);
    running.stop().await;
}

/// What holds up a lane is decided where it is sent from. A process that had stopped sending used to keep
/// its own list: when the other one had buried the record, nothing could free the lane here any more.
#[tokio::test(start_paused = true)]
async fn what_another_process_has_buried_holds_nothing_up_when_this_one_sends_again() {
    let (backlog, broker, as_broker) = setup();
    poison_three(&broker, &backlog);
    let running = run(
        &backlog,
        as_broker,
        &breaker(),
        policy(PoisonPolicy::BlockKey),
    );
    until("blocked", || running.handle.stats().blocked == 1).await;
    let blocked = running.handle.blocked().remove(0);
    assert_eq!(blocked.event_id, record(3, "strict", "k").event_id);
    assert!(blocked.since <= Instant::now());
    backlog.push(record(4, "strict", "k"));
    backlog.lend_until(Some(Instant::now()));
    running.handle.wake();
    until("not ours", || running.handle.stats().blocked == 0).await;
    assert!(running.handle.blocked().is_empty());
    backlog.bury(Position(3), &blocked.reason).await.unwrap();
    backlog.lend_until(None);
    running.handle.wake();
    until("done", || backlog.waiting() == 0).await;
    assert_eq!(broker.log(), [1, 2, 4]);
    running.stop().await;
}
