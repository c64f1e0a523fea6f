//! Order, bounds, outage and recovery, idle healing, settling, shutdown: over the model.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fusebox::State;
use fusebox_kafka::{Broker, DrainerConfig, ErrorClass, PaceCuts, PaceNow};
use tokio::time::Instant;

use crate::model::{MemoryBacklog, ModelBroker, breaker, error, record, run, until};

fn fill(backlog: &MemoryBacklog, numbers: impl IntoIterator<Item = u128>) {
    for n in numbers {
        backlog.push(record(n, "t", &format!("k{}", n % 7)));
    }
}

fn as_broker(broker: &Arc<ModelBroker>) -> Arc<dyn Broker> {
    Arc::<ModelBroker>::clone(broker)
}

#[tokio::test(start_paused = true)]
async fn everything_is_delivered_once_in_order_within_the_window() {
    let (backlog, broker) = (
        Arc::new(MemoryBacklog::default()),
        ModelBroker::start(Duration::from_micros(50)),
    );
    fill(&backlog, 1..=5_000);
    let mut config = DrainerConfig::default();
    config.max_records = 100;
    let running = run(&backlog, as_broker(&broker), &breaker(), config);
    until("all settled", || backlog.waiting() == 0).await;
    assert_eq!(broker.log(), (1..=5_000).collect::<Vec<_>>());
    assert!(
        broker.most_pending() <= 100,
        "{} were in flight",
        broker.most_pending()
    );
    assert!(
        backlog.settle_calls() < 2_500,
        "settled one by one: {} calls",
        backlog.settle_calls()
    );
    assert_eq!(running.handle.stats().delivered, 5_000);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_window_is_bounded_in_bytes_but_takes_any_one_record() {
    let (backlog, broker) = (
        Arc::new(MemoryBacklog::default()),
        ModelBroker::start(Duration::from_millis(1)),
    );
    for n in 1..=20 {
        let mut record = record(n, "t", "k");
        record.payload = vec![b'x'; 10_000].into();
        backlog.push(record);
    }
    let mut config = DrainerConfig::default();
    config.max_bytes = 35_000;
    let running = run(&backlog, as_broker(&broker), &breaker(), config.clone());
    until("all settled", || backlog.waiting() == 0).await;
    assert_eq!(broker.most_pending(), 3);
    running.stop().await;

    config.max_bytes = 1;
    fill(&backlog, 21..=23);
    let running = run(&backlog, as_broker(&broker), &breaker(), config);
    until("all settled", || backlog.waiting() == 0).await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_record_is_sent_at_once_when_woken_and_soon_when_not() {
    let (backlog, broker) = (
        Arc::new(MemoryBacklog::default()),
        ModelBroker::start(Duration::ZERO),
    );
    let running = run(
        &backlog,
        as_broker(&broker),
        &breaker(),
        DrainerConfig::default(),
    );
    until("started", || broker.has_drainer()).await;
    let start = Instant::now();
    fill(&backlog, [1]);
    running.handle.wake();
    until("sent", || broker.log() == [1]).await;
    assert!(
        start.elapsed() < Duration::from_millis(50),
        "{:?}",
        start.elapsed()
    );
    fill(&backlog, [2]);
    until("sent without a call", || broker.log() == [1, 2]).await;
    assert!(
        start.elapsed() < Duration::from_millis(1_500),
        "{:?}",
        start.elapsed()
    );
    running.stop().await;
}

/// K3, B5: nobody publishes any more, and still the backlog drains when the broker is back.
#[tokio::test(start_paused = true)]
async fn an_outage_opens_the_circuit_and_the_backlog_drains_at_once_afterwards() {
    let (backlog, broker) = (
        Arc::new(MemoryBacklog::default()),
        ModelBroker::start(Duration::from_micros(10)),
    );
    let breaker = breaker();
    let mut config = DrainerConfig::default();
    config.max_records = 50;
    let running = run(&backlog, as_broker(&broker), &breaker, config);
    fill(&backlog, 1..=100);
    until("healthy", || backlog.waiting() == 0).await;

    broker.go_down();
    fill(&backlog, 101..=1_000);
    let down = Instant::now();
    until("open", || breaker.state() == State::Open).await;
    let took = down.elapsed();
    assert!(
        took >= Duration::from_millis(2_900) && took < Duration::from_millis(4_500),
        "{took:?}"
    );
    let held = broker.pending();
    assert_eq!(held, 50, "fed beyond the window");
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(broker.pending(), held, "an open circuit was fed");
    assert_eq!(
        broker.rebuilds(),
        0,
        "the producer was given up for an outage"
    );
    let asked = broker.asked_whether_lost();
    assert!((18..=21).contains(&asked), "asked {asked} times in 100 s");

    broker.come_up();
    let up = Instant::now();
    until("drained", || backlog.waiting() == 0).await;
    assert!(up.elapsed() < Duration::from_secs(1), "{:?}", up.elapsed());
    assert_eq!(broker.log(), (1..=1_000).collect::<Vec<_>>());
    assert_eq!(breaker.state(), State::Closed);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_circuit_heals_by_signs_of_life() {
    let (backlog, broker) = (
        Arc::new(MemoryBacklog::default()),
        ModelBroker::start(Duration::ZERO),
    );
    let breaker = breaker();
    let running = run(
        &backlog,
        as_broker(&broker),
        &breaker,
        DrainerConfig::default(),
    );
    until("started", || broker.has_drainer()).await;
    broker.go_down();
    for code in ["_ALL_BROKERS_DOWN", "_AUTHENTICATION", "_SSL"] {
        broker.trouble(error(ErrorClass::Configuration, code));
    }
    until("open", || breaker.state() == State::Open).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_ne!(breaker.state(), State::Closed);
    broker.come_up();
    let up = Instant::now();
    until("closed", || breaker.state() == State::Closed).await;
    assert!(up.elapsed() < Duration::from_secs(4), "{:?}", up.elapsed());
    assert!(broker.probes() > 0);
    assert_eq!(broker.enqueued(), [] as [u128; 0]);
    running.stop().await;
}

/// One record is fewer than the successes that close a circuit.
#[tokio::test(start_paused = true)]
async fn a_single_record_is_the_probe_and_signs_of_life_do_the_rest() {
    let (backlog, broker) = (
        Arc::new(MemoryBacklog::default()),
        ModelBroker::start(Duration::ZERO),
    );
    let breaker = breaker();
    broker.go_down();
    fill(&backlog, [1]);
    let running = run(
        &backlog,
        as_broker(&broker),
        &breaker,
        DrainerConfig::default(),
    );
    until("open", || breaker.state() == State::Open).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    broker.come_up();
    until("closed", || {
        breaker.state() == State::Closed && backlog.waiting() == 0
    })
    .await;
    assert_eq!(broker.log(), [1]);
    assert!(breaker.snapshot().counts.success >= 2);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_is_fed_one_record_as_its_probe() {
    let (backlog, broker) = (
        Arc::new(MemoryBacklog::default()),
        ModelBroker::start(Duration::from_millis(1)),
    );
    let breaker = breaker();
    let running = run(
        &backlog,
        as_broker(&broker),
        &breaker,
        DrainerConfig::default(),
    );
    until("started", || broker.has_drainer()).await;
    breaker.force_open("drill");
    fill(&backlog, 1..=20);
    running.handle.wake();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(
        broker.enqueued(),
        [] as [u128; 0],
        "a circuit forced open was fed"
    );
    broker.go_down();
    breaker.automatic();
    until("fed", || broker.pending() > 0).await;
    until("open by its own", || breaker.state() == State::Open).await;
    broker.come_up();
    until("drained", || backlog.waiting() == 0).await;
    assert_eq!(broker.log(), (1..=20).collect::<Vec<_>>());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_producer_is_waited_for_and_is_no_failure() {
    let (backlog, broker) = (
        Arc::new(MemoryBacklog::default()),
        ModelBroker::start(Duration::ZERO),
    );
    let breaker = breaker();
    broker.refuse_enqueue(std::iter::repeat_n(
        error(ErrorClass::BackPressure, "_QUEUE_FULL"),
        200,
    ));
    fill(&backlog, 1..=10);
    let running = run(
        &backlog,
        as_broker(&broker),
        &breaker,
        DrainerConfig::default(),
    );
    until("drained", || backlog.waiting() == 0).await;
    assert_eq!(broker.log(), (1..=10).collect::<Vec<_>>());
    assert_eq!(breaker.snapshot().counts.failure, 0);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failing_settle_is_repeated_and_nothing_is_sent_twice() {
    let (backlog, broker) = (
        Arc::new(MemoryBacklog::default()),
        ModelBroker::start(Duration::ZERO),
    );
    backlog.refuse_settle(7);
    fill(&backlog, 1..=300);
    let mut config = DrainerConfig::default();
    config.max_records = 100;
    let running = run(&backlog, as_broker(&broker), &breaker(), config);
    until("settled", || backlog.waiting() == 0).await;
    assert_eq!(broker.enqueued(), (1..=300).collect::<Vec<_>>());
    assert_eq!(backlog.settled(), 300);
    running.stop().await;
}

/// A transaction that began early and committed late must not be overlooked.
#[tokio::test(start_paused = true)]
async fn a_record_that_becomes_visible_late_is_found() {
    let (backlog, broker) = (
        Arc::new(MemoryBacklog::default()),
        ModelBroker::start(Duration::ZERO),
    );
    let late = backlog.reserve();
    fill(&backlog, [2, 3]);
    let running = run(
        &backlog,
        as_broker(&broker),
        &breaker(),
        DrainerConfig::default(),
    );
    until("the others", || broker.log() == [2, 3]).await;
    backlog.push_at(late, record(1, "t", "k"));
    running.handle.wake();
    until("the late one", || {
        broker.log() == [2, 3, 1] && backlog.waiting() == 0
    })
    .await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn shutdown_feeds_nothing_more_and_settles_what_is_under_way() {
    let (backlog, broker) = (
        Arc::new(MemoryBacklog::default()),
        ModelBroker::start(Duration::from_millis(20)),
    );
    fill(&backlog, 1..=500);
    let mut config = DrainerConfig::default();
    config.max_records = 50;
    let running = run(&backlog, as_broker(&broker), &breaker(), config);
    until("under way", || broker.log().len() > 20).await;
    let handle = running.handle.clone();
    running.stop().await;
    assert_eq!(broker.pending(), 0, "left before the reports had come");
    assert_eq!(
        backlog.settled(),
        broker.log().len(),
        "delivered but not settled"
    );
    assert!(backlog.waiting() > 300, "went on feeding");
    assert_eq!(handle.stats().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn shutdown_in_an_outage_is_bounded_and_loses_nothing() {
    let (backlog, broker) = (
        Arc::new(MemoryBacklog::default()),
        ModelBroker::start(Duration::ZERO),
    );
    broker.go_down();
    fill(&backlog, 1..=10);
    let running = run(
        &backlog,
        as_broker(&broker),
        &breaker(),
        DrainerConfig::default(),
    );
    until("fed", || broker.pending() == 10).await;
    let start = Instant::now();
    running.stop().await;
    let took = start.elapsed();
    assert!(
        took >= Duration::from_secs(5) && took < Duration::from_secs(6),
        "{took:?}"
    );
    assert_eq!(backlog.waiting(), 10);
}

#[tokio::test(start_paused = true)]
async fn watchers_hear_of_each_delivery_and_the_numbers_add_up() {
    let (backlog, broker) = (
        Arc::new(MemoryBacklog::default()),
        ModelBroker::start(Duration::ZERO),
    );
    let running = run(
        &backlog,
        as_broker(&broker),
        &breaker(),
        DrainerConfig::default(),
    );
    let (count, seen) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(Mutex::new(Vec::new())),
    );
    let (counted, kept) = (Arc::clone(&count), Arc::clone(&seen));
    running.handle.on_delivered(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    running
        .handle
        .on_delivered(move |record| kept.lock().unwrap().push(record.event_id.as_u128()));
    fill(&backlog, 1..=30);
    broker.refuse(
        30,
        &[
            error(ErrorClass::Message, "INVALID_RECORD"),
            error(ErrorClass::Message, "INVALID_RECORD"),
        ],
    );
    until("done", || backlog.waiting() == 0).await;
    until("counted", || {
        let stats = running.handle.stats();
        stats.dead == 1 && stats.waiting == 0
    })
    .await;
    assert_eq!(count.load(Ordering::SeqCst), 29);
    assert_eq!(*seen.lock().unwrap(), (1..=29).collect::<Vec<_>>());
    let stats = running.handle.stats();
    assert_eq!(
        (stats.delivered, stats.in_flight, stats.retried),
        (29, 0, 2)
    );
    running.stop().await;
}

/// After an outage the cluster gets one record, then two, then four.
#[tokio::test(start_paused = true)]
async fn after_an_outage_the_window_grows_with_each_round_trip() {
    let (backlog, broker) = (
        Arc::new(MemoryBacklog::default()),
        ModelBroker::start(Duration::from_millis(5)),
    );
    let breaker = breaker();
    let running = run(
        &backlog,
        as_broker(&broker),
        &breaker,
        DrainerConfig::default(),
    );
    broker.go_down();
    fill(&backlog, [1]);
    until("open", || breaker.state() == State::Open).await;
    fill(&backlog, 2..=400);
    broker.come_up();
    until("closed", || breaker.state() == State::Closed).await;
    let at_first = broker.log().len();
    let mut widest = 0;
    while backlog.waiting() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let (under_way, delivered) = (broker.pending(), broker.log().len() - at_first);
        assert!(
            under_way <= 2 + delivered,
            "{under_way} at once after {delivered}"
        );
        widest = widest.max(under_way);
    }
    assert!(widest > 50, "never wider than {widest}");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_made_up_for_at_the_recoverys_pace_and_then_at_full_speed() {
    let (backlog, broker) = (
        Arc::new(MemoryBacklog::default()),
        ModelBroker::start(Duration::ZERO),
    );
    let breaker = breaker();
    let mut config = DrainerConfig::default();
    config.recovery_pace.records = std::num::NonZeroU32::new(100);
    let running = run(&backlog, as_broker(&broker), &breaker, config);
    broker.go_down();
    fill(&backlog, [1]);
    until("open", || breaker.state() == State::Open).await;
    fill(&backlog, 2..=300);
    broker.come_up();
    let start = Instant::now();
    until("made up for", || backlog.waiting() == 0).await;
    let took = start.elapsed();
    assert!(took > Duration::from_millis(2_700), "{took:?}");
    assert!(took < Duration::from_millis(4_500), "{took:?}");
    fill(&backlog, 301..=1_300);
    running.handle.wake();
    let start = Instant::now();
    until("full speed", || backlog.waiting() == 0).await;
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(broker.log(), (1..=1_300).collect::<Vec<_>>());
    running.stop().await;
}

/// Also without an outage: whoever starts may have left a backlog because the cluster was weak.
#[tokio::test(start_paused = true)]
async fn a_backlog_that_is_found_is_begun_slowly_and_soon_drained_at_full_speed() {
    let (backlog, broker) = (
        Arc::new(MemoryBacklog::default()),
        ModelBroker::start(Duration::ZERO),
    );
    fill(&backlog, 1..=20_000);
    let running = run(
        &backlog,
        as_broker(&broker),
        &breaker(),
        DrainerConfig::default(),
    );
    until("begun", || broker.has_drainer()).await;
    assert_eq!(running.handle.stats().pace.records, Some(1_000.0));
    tokio::time::sleep(Duration::from_millis(95)).await;
    let soon = broker.enqueued().len();
    assert!((100..=160).contains(&soon), "{soon}");
    let start = Instant::now();
    until("drained", || backlog.waiting() == 0).await;
    // Evenly it would take twenty seconds.
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    until("free", || running.handle.stats().pace == PaceNow::default()).await;
    assert_eq!(running.handle.stats().pace_cuts, PaceCuts::default());
    assert_eq!(broker.log(), (1..=20_000).collect::<Vec<_>>());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_cluster_and_the_producer_do_not_take_slows_the_drainer_and_nothing_else_does() {
    for (class, code, cuts) in [
        (ErrorClass::BackPressure, "_QUEUE_FULL", (1, 0)),
        (ErrorClass::BackPressure, "_FIRST_UNDER_WAY", (0, 0)),
        (ErrorClass::Retriable, "THROTTLING_QUOTA_EXCEEDED", (0, 1)),
        (ErrorClass::Message, "INVALID_RECORD", (0, 0)),
        (ErrorClass::Topic, "TOPIC_EXCEPTION", (0, 0)),
    ] {
        let (backlog, broker) = (
            Arc::new(MemoryBacklog::default()),
            ModelBroker::start(Duration::ZERO),
        );
        fill(&backlog, 1..=2_000);
        let running = run(
            &backlog,
            as_broker(&broker),
            &breaker(),
            DrainerConfig::default(),
        );
        until("well under way", || broker.log().len() > 400).await;
        assert_eq!(running.handle.stats().pace_cuts, PaceCuts::default());
        if class == ErrorClass::BackPressure {
            broker.refuse_enqueue([error(class, code)]);
        } else {
            let next = broker.log().len() as u128 + 50;
            broker.refuse(next, &[error(class, code)]);
        }
        until("drained", || backlog.waiting() == 0).await;
        let seen = running.handle.stats().pace_cuts;
        assert_eq!((seen.full, seen.refused), cuts, "{code}");
        assert_eq!(seen.slow, 0, "{code}");
        running.stop().await;
    }
}

/// Of two processes on one backlog, one sends; when it cannot prolong its lease it gives its producer
/// up, and the other goes on with what is left.
#[tokio::test(start_paused = true)]
async fn a_process_that_may_not_send_any_more_gives_its_producer_up() {
    let (backlog, broker) = (
        Arc::new(MemoryBacklog::default()),
        ModelBroker::start(Duration::from_millis(10)),
    );
    backlog.lend_until(Some(Instant::now() + Duration::from_secs(3)));
    broker.go_down();
    fill(&backlog, 1..=20);
    let running = run(
        &backlog,
        as_broker(&broker),
        &breaker(),
        DrainerConfig::default(),
    );
    until("fed", || broker.pending() == 20).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(broker.pending(), 0, "another process sends these now");
    assert_eq!(broker.rebuilds(), 1);
    broker.come_up();
    running.handle.wake();
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(broker.log(), [] as [u128; 0]);
    backlog.lend_until(None);
    running.handle.wake();
    until("sent", || backlog.waiting() == 0).await;
    assert_eq!(broker.log(), (1..=20).collect::<Vec<_>>());
    running.stop().await;
    assert_eq!(backlog.given_up(), 1);
}
