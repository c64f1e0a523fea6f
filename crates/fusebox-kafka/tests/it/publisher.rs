//! The publisher in its modes: what is called safe arrives, once and in order, whatever Kafka does.
//!
//! The journal is a real one on a real disk, so time is real here.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fusebox::{CircuitBreaker, State};
use fusebox_journal::fs::sim::SimFs;
use fusebox_journal::{Entry, Journal, JournalConfig};
use fusebox_kafka::{
    Accepted, Broker, ErrorClass, EventBus as _, Mode, NotAcknowledged, PublishError,
    PublisherConfig, PublisherWorker, ResilientPublisher, WhenFull,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::model::{ModelBroker, breaker, error, firsts, record, until};

fn journal_config() -> JournalConfig {
    let mut config = JournalConfig::default();
    config.segment_bytes = 256 << 10;
    config.dead_segment_bytes = 256 << 10;
    config.max_record_bytes = 64 << 10;
    config.cursor_slot_bytes = 4096;
    config.reserve_bytes = 0;
    config
}

fn open(dir: &Path) -> Journal {
    Journal::open(dir, journal_config()).unwrap()
}

fn config() -> PublisherConfig {
    let mut config = PublisherConfig::default();
    config.direct_timeout = Duration::from_millis(50);
    config.drainer.stall_after = Duration::from_millis(100);
    config.drainer.stall_every = Duration::from_millis(20);
    config.drainer.settle_every = Duration::from_millis(5);
    config.drainer.shutdown_timeout = Duration::from_millis(100);
    config
}

fn as_broker(broker: &Arc<ModelBroker>) -> Arc<dyn Broker> {
    Arc::<ModelBroker>::clone(broker)
}

/// A publisher at work.
struct Running {
    publisher: ResilientPublisher,
    breaker: CircuitBreaker,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(make: impl FnOnce(CircuitBreaker) -> (ResilientPublisher, PublisherWorker)) -> Self {
        let breaker = breaker();
        let (publisher, worker) = make(breaker.clone());
        let stop = CancellationToken::new();
        let task = tokio::spawn(worker.run(stop.clone()));
        Self {
            publisher,
            breaker,
            stop,
            task,
        }
    }

    fn with_journal(
        mode: Mode,
        dir: &Path,
        broker: &Arc<ModelBroker>,
        config: PublisherConfig,
    ) -> Self {
        let (journal, broker) = (open(dir), as_broker(broker));
        Self::start(|breaker| match mode {
            Mode::Direct => ResilientPublisher::direct(journal, broker, breaker, config),
            _ => ResilientPublisher::journal_first(journal, broker, breaker, config),
        })
    }

    async fn publish(&self, n: u128, key: &str) -> Result<Accepted, PublishError> {
        self.publisher.publish(record(n, "t", key)).await
    }

    fn journal(&self) -> &Journal {
        self.publisher.journal().unwrap()
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
        if let Some(journal) = self.publisher.journal() {
            journal.close().unwrap();
        }
    }

    /// The process dies; what the producer holds is gone with it, but for `on_the_wire`.
    async fn crash(self, broker: &ModelBroker, on_the_wire: usize) {
        let journal = self.journal().clone();
        self.task.abort();
        drop(self.task.await);
        broker.crash(on_the_wire);
        broker.rebuild().unwrap();
        drop(self.publisher);
        tokio::task::spawn_blocking(move || drop(journal))
            .await
            .unwrap();
    }
}

fn sorted(log: &[u128]) -> Vec<u128> {
    let mut log = firsts(log);
    log.sort_unstable();
    log
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn journal_first_is_safe_without_kafka_and_tells_when_kafka_has_it() {
    let (dir, broker) = (
        tempfile::tempdir().unwrap(),
        ModelBroker::start(Duration::ZERO),
    );
    broker.go_down();
    let running = Running::with_journal(Mode::JournalFirst, dir.path(), &broker, config());
    let mut receipts = Vec::new();
    for n in 1..=50 {
        receipts.push(running.publish(n, "k").await.unwrap());
    }
    assert_eq!(broker.log(), [] as [u128; 0]);
    until("open", || running.breaker.state() == State::Open).await;
    let late = running.publish(51, "k").await.unwrap();
    assert!(late.position.unwrap() > receipts[49].position.unwrap());
    broker.come_up();
    for (receipt, offset) in receipts.into_iter().chain([late]).zip(1..) {
        let delivered = receipt.acknowledged().await.unwrap();
        assert_eq!((delivered.partition, delivered.offset), (0, offset));
    }
    assert_eq!(broker.log(), (1..=51).collect::<Vec<_>>());
    until("settled", || running.journal().stats().waiting == 0).await;
    let stats = running.publisher.stats();
    assert_eq!((stats.accepted, stats.latency.count), (51, 51));
    running.stop().await;
}

/// Lets a journal end whose test has failed.
struct Released(SimFs);

impl Drop for Released {
    fn drop(&mut self) {
        self.0.release_syncs();
    }
}

/// The sync takes no time on the way: only the caller waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn journal_first_is_in_kafka_while_the_journal_syncs_and_safe_when_that_is_done() {
    let (fs, broker) = (SimFs::new(1), ModelBroker::start(Duration::ZERO));
    let journal = Journal::open_on(Arc::new(fs.clone()), "/j", journal_config()).unwrap();
    let shared = as_broker(&broker);
    let running =
        Running::start(|b| ResilientPublisher::journal_first(journal, shared, b, config()));
    let publish = |n| {
        let publisher = running.publisher.clone();
        tokio::spawn(async move { publisher.publish(record(n, "t", "k")).await })
    };
    publish(1).await.unwrap().unwrap();
    let is_quiet = || {
        let stats = running.journal().stats();
        let made_ahead = fs.paths().iter().any(|path| path.ends_with("dead/spare"));
        made_ahead && stats.spare_ready && stats.waiting == 0 && stats.cursor_lag == 0
    };
    until("quiet", is_quiet).await;
    let _released = Released(fs.clone());
    fs.hold_syncs();
    let held = publish(2);
    until("in Kafka", || broker.log() == [1, 2]).await;
    assert!(!held.is_finished(), "called safe before it is");
    assert_eq!(running.journal().stats().waiting, 0);
    fs.release_syncs();
    let delivered = held.await.unwrap().unwrap().acknowledged().await.unwrap();
    assert_eq!(delivered.offset, 2);

    // The disk fails: the caller hears of it, and publishes again. Kafka's answer to the first try has nothing
    // to do with what is appended next.
    until("quiet", is_quiet).await;
    broker.go_down();
    fs.hold_syncs();
    let refused = publish(3);
    until("handed over", || broker.enqueued().ends_with(&[3])).await;
    fs.fail_sync_in(0);
    fs.release_syncs();
    let refused = refused.await.unwrap();
    assert!(
        matches!(refused, Err(PublishError::Backlog(_))),
        "{refused:?}"
    );
    for n in [4, 3] {
        publish(n).await.unwrap().unwrap();
    }
    broker.come_up();
    until("all in Kafka", || firsts(&broker.log()) == [1, 2, 3, 4]).await;
    until("all settled", || running.journal().stats().waiting == 0).await;
    assert_eq!(broker.log(), [1, 2, 3, 4, 3]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_process_left_is_sent_first_and_marked_as_possibly_there() {
    for mode in [Mode::JournalFirst, Mode::Direct] {
        let (dir, broker) = (
            tempfile::tempdir().unwrap(),
            ModelBroker::start(Duration::ZERO),
        );
        broker.go_down();
        let running = Running::with_journal(mode, dir.path(), &broker, config());
        for n in 1..=3 {
            running.publish(n, "k").await.unwrap();
        }
        until("fed", || broker.pending() > 0).await;
        // The first was on the wire when the process died.
        running.crash(&broker, 1).await;
        broker.come_up();
        let before = broker.attempts().len();
        let running = Running::with_journal(mode, dir.path(), &broker, config());
        let new = running.publish(4, "k").await.unwrap();
        new.acknowledged().await.unwrap();
        assert_eq!(broker.log(), [1, 1, 2, 3, 4], "{mode}");
        let attempts = broker.attempts()[before..].to_vec();
        let marks: Vec<_> = attempts
            .iter()
            .map(|a| (a.number, a.maybe_duplicate))
            .collect();
        assert_eq!(
            marks,
            [(2, true), (2, true), (2, true), (1, false)],
            "{mode}"
        );
        // The time of a record is that of its admission, on every try.
        assert!(attempts.is_sorted_by_key(|a| a.admitted_at_ms) && attempts[0].admitted_at_ms > 0);
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_journal_refuses_or_lets_wait_in_order_and_drops_nothing() {
    let (dir, broker) = (
        tempfile::tempdir().unwrap(),
        ModelBroker::start(Duration::ZERO),
    );
    broker.go_down();
    let mut small = journal_config();
    small.max_records = 10;
    let start = |when_full| {
        let journal = Journal::open(dir.path(), small.clone()).unwrap();
        let broker = as_broker(&broker);
        let mut config = config();
        config.when_full = when_full;
        Running::start(|b| ResilientPublisher::journal_first(journal, broker, b, config))
    };
    let running = start(WhenFull::Refuse);
    for n in 1..=10 {
        running.publish(n, "k").await.unwrap();
    }
    let refused = running.publish(11, "k").await.unwrap_err();
    assert!(matches!(refused, PublishError::Full), "{refused:?}");
    assert!(refused.is_transient());
    assert_eq!(running.publisher.stats().refused_full, 1);
    running.crash(&broker, 0).await;

    let running = start(WhenFull::Wait(Duration::from_millis(50)));
    let refused = running.publish(11, "k").await.unwrap_err();
    assert!(matches!(refused, PublishError::Full), "{refused:?}");
    running.crash(&broker, 0).await;

    let running = start(WhenFull::Wait(Duration::from_secs(30)));
    let waiting: Vec<_> = (11..=40)
        .map(|n| {
            let publisher = running.publisher.clone();
            (n, publisher)
        })
        .collect();
    let waiting = futures_util::future::join_all(
        waiting
            .iter()
            .map(|(n, publisher)| publisher.publish(record(*n, "t", "k"))),
    );
    let come_up = async {
        until("all wait", || {
            running.publisher.stats().waiting_for_room == 30
        })
        .await;
        broker.come_up();
    };
    let (accepted, ()) = tokio::join!(waiting, come_up);
    for accepted in accepted {
        accepted.unwrap().acknowledged().await.unwrap();
    }
    assert_eq!(broker.log(), (1..=40).collect::<Vec<_>>());
    assert_eq!(running.publisher.stats().waiting_for_room, 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn direct_waits_for_kafka_and_writes_nothing_while_all_is_well() {
    let (dir, broker) = (
        tempfile::tempdir().unwrap(),
        ModelBroker::start(Duration::ZERO),
    );
    let running = Running::with_journal(Mode::Direct, dir.path(), &broker, config());
    // Until the empty journal has been seen, the first may be written.
    until_direct(&running).await;
    let before = running.journal().stats().appended;
    for n in 1..=200 {
        let accepted = running.publish(n, "k").await.unwrap();
        assert_eq!(
            broker.log().last(),
            Some(&n),
            "answered before Kafka had it"
        );
        assert!(accepted.position.is_none());
        accepted.acknowledged().await.unwrap();
    }
    assert_eq!(running.journal().stats().appended, before);
    assert_eq!(firsts(&broker.log()).len(), broker.log().len());
    running.stop().await;
}

/// Publishes until an event went to Kafka without the journal.
async fn until_direct(running: &Running) {
    for n in 1_000_000.. {
        let accepted = running.publish(n, "warm-up").await.unwrap();
        if accepted.position.is_none() {
            return;
        }
        accepted.acknowledged().await.unwrap();
    }
}

/// K1, K2, K4: an event that Kafka did not take in time is in the journal, once, in its place; the
/// producer still holds it, so it is not sent twice; and later ones do not overtake it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn direct_falls_back_to_the_journal_in_order_without_repeating_and_returns() {
    let (dir, broker) = (
        tempfile::tempdir().unwrap(),
        ModelBroker::start(Duration::ZERO),
    );
    let running = Running::with_journal(Mode::Direct, dir.path(), &broker, config());
    until_direct(&running).await;
    let warm = broker.log().len();
    let spilled = || running.publisher.stats().spilled;
    let (mut rounds, mut spilling) = (0_u128, 0);
    // On a machine that is busy the warm-up may have been too slow, too: then the journal takes these
    // events at once, and the round is no test of spilling.
    while spilling < 3 {
        let (round, before) = (rounds, spilled());
        rounds += 1;
        assert!(rounds < 50, "{spilling} rounds of {rounds} began directly");
        let first = round * 100;
        broker.go_down();
        let numbers: Vec<_> = (first + 1..=first + 20).collect();
        let publishing = numbers.iter().map(|n| running.publish(*n, "k"));
        for accepted in futures_util::future::join_all(publishing).await {
            assert!(accepted.unwrap().position.is_some(), "safe, but where?");
        }
        spilling += u32::from(spilled() >= before + 20);
        // Safe at once now, behind the others.
        for n in first + 21..=first + 30 {
            running.publish(n, "k").await.unwrap();
        }
        if round > 0 {
            until("open", || running.breaker.state() == State::Open).await;
        }
        broker.come_up();
        until("drained", || running.journal().stats().waiting == 0).await;
        until("closed", || running.breaker.state() == State::Closed).await;
        until_direct(&running).await;
    }
    let log: Vec<_> = broker.log().split_off(warm);
    let log: Vec<_> = log.into_iter().filter(|n| *n < 1_000_000).collect();
    let expected: Vec<_> = (0..rounds)
        .flat_map(|r| r * 100 + 1..=r * 100 + 30)
        .collect();
    assert_eq!(log, expected);
    assert_eq!(broker.rebuilds(), 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_in_an_outage_leaves_everything_in_the_journal() {
    let (dir, broker) = (
        tempfile::tempdir().unwrap(),
        ModelBroker::start(Duration::ZERO),
    );
    let mut patient = config();
    patient.direct_timeout = Duration::from_mins(1);
    let running = Running::with_journal(Mode::Direct, dir.path(), &broker, patient);
    until_direct(&running).await;
    broker.go_down();
    let publisher = running.publisher.clone();
    let publishing = tokio::spawn(async move {
        let all = (1..=5).map(|n| publisher.publish(record(n, "t", "k")));
        futures_util::future::join_all(all).await
    });
    until("held", || broker.pending() == 5).await;
    running.stop().await;
    for accepted in publishing.await.unwrap() {
        accepted.unwrap();
    }
    broker.crash(0);
    broker.come_up();
    let running = Running::with_journal(Mode::JournalFirst, dir.path(), &broker, config());
    until("sent", || broker.log().ends_with(&[1, 2, 3, 4, 5])).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_is_a_dead_letter_and_its_publisher_hears_of_it() {
    for mode in [Mode::JournalFirst, Mode::Direct] {
        let (dir, broker) = (
            tempfile::tempdir().unwrap(),
            ModelBroker::start(Duration::ZERO),
        );
        let running = Running::with_journal(mode, dir.path(), &broker, config());
        if mode == Mode::Direct {
            until_direct(&running).await;
        }
        let refused = error(ErrorClass::Message, "INVALID_RECORD");
        broker.refuse(1, &[refused.clone(), refused]);
        let reason = match running.publish(1, "k").await {
            Ok(accepted) => match accepted.acknowledged().await {
                Err(NotAcknowledged::Dead(reason)) => reason,
                other => panic!("{other:?}"),
            },
            Err(PublishError::Dead(reason)) => reason,
            Err(error) => panic!("{error:?}"),
        };
        assert_eq!(
            (reason.code.as_str(), reason.attempts),
            ("INVALID_RECORD", 2)
        );
        let dead = running
            .journal()
            .dead_letters(fusebox_journal::Position::START, 10, |_| true);
        assert_eq!(dead.len(), 1, "{mode}");
        assert_eq!((&*dead[0].label, &*dead[0].code), ("t", "INVALID_RECORD"));
        running
            .publish(2, "k")
            .await
            .unwrap()
            .acknowledged()
            .await
            .unwrap();
        assert_eq!(broker.log().last(), Some(&2));
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_that_go_away_wedge_nothing_and_lose_nothing_of_others() {
    let (dir, broker) = (
        tempfile::tempdir().unwrap(),
        ModelBroker::start(Duration::ZERO),
    );
    let running = Running::with_journal(Mode::Direct, dir.path(), &broker, config());
    until_direct(&running).await;
    broker.go_down();
    for n in 1..=20 {
        let gone = tokio::time::timeout(Duration::from_micros(1), running.publish(n, "k")).await;
        drop(gone);
    }
    for n in 21..=25 {
        running.publish(n, "k").await.unwrap();
    }
    broker.come_up();
    until("drained", || broker.log().last() == Some(&25)).await;
    until_direct(&running).await;
    let log: Vec<_> = broker
        .log()
        .into_iter()
        .filter(|n| *n < 1_000_000)
        .collect();
    assert!(log.is_sorted(), "{log:?}");
    assert!(log.ends_with(&[21, 22, 23, 24, 25]), "{log:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_asked_for_by_name_and_is_bounded() {
    let broker = ModelBroker::start(Duration::ZERO);
    broker.go_down();
    let mut config = config();
    config.memory_records = 5;
    config.when_full = WhenFull::Refuse;
    let as_broker = as_broker(&broker);
    let running = Running::start(|b| ResilientPublisher::memory(as_broker, b, config));
    assert_eq!(running.publisher.mode(), Mode::Memory);
    let mut receipts = Vec::new();
    for n in 1..=5 {
        receipts.push(running.publish(n, "k").await.unwrap());
    }
    let refused = running.publish(6, "k").await.unwrap_err();
    assert!(matches!(refused, PublishError::Full), "{refused:?}");
    broker.come_up();
    for receipt in receipts {
        receipt.acknowledged().await.unwrap();
    }
    let publisher = running.publisher.clone();
    assert_eq!(broker.log(), [1, 2, 3, 4, 5]);
    running.stop().await;
    let refused = publisher.publish(record(7, "t", "k")).await.unwrap_err();
    assert!(matches!(refused, PublishError::Backlog(_)), "{refused:?}");
}

/// `CIRCUIT_BREAKER_ENABLED=false`: the same types, and Kafka's answer is the caller's.
#[tokio::test(start_paused = true)]
async fn bare_passes_kafkas_answer_through() {
    let broker = ModelBroker::start(Duration::ZERO);
    let (publisher, worker) = ResilientPublisher::bare(as_broker(&broker), config());
    let stop = CancellationToken::new();
    let task = tokio::spawn(worker.run(stop.clone()));
    let accepted = publisher.publish(record(1, "t", "k")).await.unwrap();
    assert_eq!(broker.log(), [1]);
    assert_eq!(accepted.acknowledged().await.unwrap().offset, 1);
    broker.refuse(2, &[error(ErrorClass::Message, "INVALID_RECORD")]);
    let refused = publisher.publish(record(2, "t", "k")).await.unwrap_err();
    assert!(!refused.is_transient());
    broker.refuse(3, &[error(ErrorClass::Fatal, "_FATAL")]);
    let refused = publisher.publish(record(3, "t", "k")).await.unwrap_err();
    assert!(refused.is_transient());
    publisher.publish(record(4, "t", "k")).await.unwrap();
    assert_eq!((broker.log(), broker.rebuilds()), (vec![1, 4], 1));
    broker.go_down();
    let refused = publisher.publish(record(5, "t", "k")).await.unwrap_err();
    assert!(matches!(&refused, PublishError::Kafka(error) if error.code == "_TIMED_OUT"));
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_never_be_sent_is_refused_before_it_is_kept() {
    let (dir, broker) = (
        tempfile::tempdir().unwrap(),
        ModelBroker::start(Duration::ZERO),
    );
    let running = Running::with_journal(Mode::JournalFirst, dir.path(), &broker, config());
    let mut events = Vec::new();
    for topic in ["", ".", "..", "sp ace", &"x".repeat(250)] {
        events.push(record(1, topic, "k"));
    }
    let mut header = record(1, "t", "k");
    header.headers.push(("a\0b".to_owned(), String::new()));
    events.push(header);
    for event in events {
        let refused = running.publisher.publish(event).await.unwrap_err();
        assert!(matches!(refused, PublishError::Invalid(_)), "{refused:?}");
        assert!(!refused.is_transient());
    }
    let mut large = record(1, "t", "k");
    large.payload = vec![0; 1_000_000].into();
    let refused = running.publisher.publish(large).await.unwrap_err();
    assert!(
        matches!(refused, PublishError::TooLarge { .. }),
        "{refused:?}"
    );
    assert_eq!(running.journal().stats().appended, 0);
    assert_eq!(running.publisher.stats().refused_invalid, 7);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_nobody_can_read_is_buried_and_holds_up_nothing() {
    let (dir, broker) = (
        tempfile::tempdir().unwrap(),
        ModelBroker::start(Duration::ZERO),
    );
    let journal = open(dir.path());
    let entry = |data: &'static [u8]| Entry {
        id: [9; 16],
        label: Arc::from("t"),
        admitted_at_ms: 1,
        data: data.into(),
    };
    // Of a later version; and none at all.
    journal
        .append(entry(b"\x63rest of the future"))
        .wait()
        .unwrap();
    journal.append(entry(b"")).wait().unwrap();
    journal.close().unwrap();
    drop(journal);
    let running = Running::with_journal(Mode::JournalFirst, dir.path(), &broker, config());
    running
        .publish(1, "k")
        .await
        .unwrap()
        .acknowledged()
        .await
        .unwrap();
    until("settled", || running.journal().stats().waiting == 0).await;
    let dead = running
        .journal()
        .dead_letters(fusebox_journal::Position::START, 10, |_| true);
    assert_eq!(dead.len(), 2);
    assert!(dead.iter().all(|letter| &*letter.code == "_UNREADABLE"));
    running.stop().await;
}

/// A small generator of reproducible numbers (`SplitMix64`).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// Four lanes, each published by one task one event after the other, while Kafka comes and goes,
/// producers die and the process crashes: everything that was called safe is there, first occurrences
/// in order. Without a crash and without a lost producer nothing is there twice.
async fn storm(mode: Mode, seed: u64, crashes: bool) {
    let dir = tempfile::tempdir().unwrap();
    let broker = ModelBroker::start(Duration::from_micros(20));
    let mut random = Random(seed);
    let mut safe: HashMap<u128, Vec<u128>> = HashMap::new();
    let mut next: HashMap<u128, u128> = HashMap::new();
    for life in 0..3 {
        let mut config = config();
        config.direct_timeout = Duration::from_millis(2 + random.below(20));
        config.drainer.max_records = 1 + usize::try_from(random.below(50)).unwrap();
        config.memory_records = 2 + usize::try_from(random.below(20)).unwrap();
        let running = Running::with_journal(mode, dir.path(), &broker, config);
        let enough = CancellationToken::new();
        let lanes: Vec<_> = (0..4_u128)
            .map(|lane| {
                let (publisher, enough) = (running.publisher.clone(), enough.clone());
                let from = next.get(&lane).copied().unwrap_or(0);
                tokio::spawn(async move {
                    let (mut safe, mut n) = (Vec::new(), from);
                    while !enough.is_cancelled() && n < from + 400 {
                        let number = lane * 1_000_000 + n;
                        n += 1;
                        let record = record(number, "t", &format!("k{lane}"));
                        match publisher.publish(record).await {
                            Ok(_) => safe.push(number),
                            // Not safe: it may be there, or not.
                            Err(_) => break,
                        }
                    }
                    (lane, safe, n)
                })
            })
            .collect();
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_millis(random.below(15))).await;
            match random.below(if crashes { 4 } else { 3 }) {
                0 | 1 => broker.go_down(),
                2 => broker.come_up(),
                _ if broker.has_drainer() => broker.trouble(error(ErrorClass::Fatal, "_FATAL")),
                _ => {}
            }
        }
        if crashes {
            running.task.abort();
            enough.cancel();
        } else {
            broker.come_up();
        }
        for lane in lanes {
            let (lane, kept, n) = lane.await.unwrap();
            safe.entry(lane).or_default().extend(kept);
            next.insert(lane, n);
        }
        if crashes {
            let on_the_wire = usize::try_from(random.below(30)).unwrap();
            running.crash(&broker, on_the_wire).await;
        } else {
            assert_eq!(
                life * 1600 + 1600,
                safe.values().map(Vec::len).sum::<usize>()
            );
            until("drained", || running.journal().stats().waiting == 0).await;
            running.stop().await;
        }
    }
    broker.come_up();
    let running = Running::with_journal(mode, dir.path(), &broker, config());
    until("drained", || running.journal().stats().waiting == 0).await;
    running.stop().await;
    let log = broker.log();
    if !crashes {
        assert_eq!(
            sorted(&log).len(),
            log.len(),
            "sent twice: {mode}, seed {seed}"
        );
    }
    for (lane, safe) in safe {
        let of_lane: Vec<_> = firsts(&log)
            .into_iter()
            .filter(|n| n / 1_000_000 == lane)
            .collect();
        assert!(
            of_lane.is_sorted(),
            "reordered: {mode}, seed {seed}, {of_lane:?}"
        );
        let there: std::collections::HashSet<_> = of_lane.into_iter().collect();
        for n in safe {
            assert!(there.contains(&n), "lost: {n}, {mode}, seed {seed}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsteady_kafka_loses_repeats_and_reorders_nothing() {
    for seed in 0..2 {
        storm(Mode::Direct, seed, false).await;
        storm(Mode::JournalFirst, seed, false).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_lose_and_reorder_nothing_that_was_called_safe() {
    for seed in 100..106 {
        storm(Mode::Direct, seed, true).await;
        storm(Mode::JournalFirst, seed, true).await;
    }
}
