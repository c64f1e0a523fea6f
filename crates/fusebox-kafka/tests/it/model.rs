//! A backlog in memory, a scripted model of Kafka, and a breaker on the runtime's clock.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fusebox::{BreakerConfig, CircuitBreaker, Clock, TripRule};
use fusebox_kafka::{
    Attempt, Backlog, BacklogError, BacklogStats, Broker, DeadReason, Delivered, Delivery, Drainer,
    DrainerConfig, DrainerHandle, ErrorClass, Parked, Position, Record, SendError, TroubleSink,
};
use futures_util::FutureExt as _;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The event number `n`.
pub(crate) fn record(n: u128, topic: &str, key: &str) -> Record {
    Record {
        event_id: Uuid::from_u128(n),
        topic: topic.to_owned(),
        key: Some(key.to_owned()),
        payload: Bytes::from(format!("event {n}")),
        headers: vec![("event_id".to_owned(), Uuid::from_u128(n).to_string())],
    }
}

pub(crate) fn error(class: ErrorClass, code: &str) -> SendError {
    SendError {
        class,
        code: code.to_owned(),
        text: format!("scripted {code}"),
    }
}

/// Waits until `condition` holds; with paused time that costs nothing.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_mins(2);
    while !condition() {
        assert!(Instant::now() < limit, "did not come about: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

// ---- backlog ----

#[derive(Default)]
pub(crate) struct MemoryBacklog {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    waiting: BTreeMap<Position, Record>,
    dead: Vec<(Position, DeadReason)>,
    settled: Vec<Position>,
    refuse_settle: usize,
    settle_calls: usize,
    next: i64,
    lent_until: Option<Instant>,
    given_up: usize,
}

impl MemoryBacklog {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(crate) fn push(&self, record: Record) -> Position {
        let mut inner = self.lock();
        inner.next += 1;
        let position = Position(inner.next);
        inner.waiting.insert(position, record);
        position
    }

    /// Adds a record at a place before others: a transaction that took long to commit.
    pub(crate) fn push_at(&self, position: Position, record: Record) {
        self.lock().waiting.insert(position, record);
    }

    /// Leaves room for a late one.
    pub(crate) fn reserve(&self) -> Position {
        let mut inner = self.lock();
        inner.next += 1;
        Position(inner.next)
    }

    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    pub(crate) fn dead(&self) -> Vec<(Position, DeadReason)> {
        self.lock().dead.clone()
    }

    pub(crate) fn settled(&self) -> usize {
        self.lock().settled.len()
    }

    pub(crate) fn settle_calls(&self) -> usize {
        self.lock().settle_calls
    }

    /// Until when this process may send.
    pub(crate) fn lend_until(&self, until: Option<Instant>) {
        self.lock().lent_until = until;
    }

    pub(crate) fn given_up(&self) -> usize {
        self.lock().given_up
    }

    pub(crate) fn refuse_settle(&self, times: usize) {
        self.lock().refuse_settle = times;
    }
}

#[async_trait]
impl Backlog for MemoryBacklog {
    async fn peek(&self, after: Position, limit: usize) -> Result<Vec<Parked>, BacklogError> {
        let inner = self.lock();
        let rows = inner
            .waiting
            .iter()
            .filter(|(position, _)| **position > after)
            .take(limit);
        Ok(rows
            .map(|(position, record)| Parked {
                position: *position,
                record: record.clone(),
                admitted_at_ms: 0,
                attempts: 0,
            })
            .collect())
    }

    async fn settle(&self, positions: &[Position]) -> Result<(), BacklogError> {
        let mut inner = self.lock();
        inner.settle_calls += 1;
        if inner.refuse_settle > 0 {
            inner.refuse_settle -= 1;
            return Err(BacklogError::new("settle", "scripted"));
        }
        for position in positions {
            assert!(
                inner.waiting.remove(position).is_some(),
                "{position} was settled twice"
            );
            inner.settled.push(*position);
        }
        Ok(())
    }

    async fn bury(&self, position: Position, reason: &DeadReason) -> Result<(), BacklogError> {
        let mut inner = self.lock();
        assert!(
            inner.waiting.remove(&position).is_some(),
            "{position} was buried twice"
        );
        inner.dead.push((position, reason.clone()));
        Ok(())
    }

    async fn stats(&self) -> Result<BacklogStats, BacklogError> {
        let inner = self.lock();
        Ok(BacklogStats {
            waiting: inner.waiting.len() as u64,
            dead: inner.dead.len() as u64,
            oldest_age: None,
        })
    }

    fn may_send_until(&self) -> Option<Instant> {
        self.lock().lent_until
    }

    async fn give_up(&self) {
        self.lock().given_up += 1;
    }
}

// ---- broker ----

/// A producer and the cluster behind it, as one.
pub(crate) struct ModelBroker {
    state: Mutex<State>,
    wake: Notify,
}

type Report = oneshot::Sender<Result<Delivered, SendError>>;

#[derive(Default)]
struct State {
    down: bool,
    dead: bool,
    /// The cluster is there, and this producer does not find it.
    lost: bool,
    asked_whether_lost: usize,
    /// Handed over and not reported, in order.
    pending: VecDeque<(Record, Report)>,
    /// What the cluster keeps.
    log: Vec<Uuid>,
    /// Answers for records, used up one by one.
    verdicts: HashMap<Uuid, VecDeque<SendError>>,
    /// Answers for the next calls to enqueue.
    refusals: VecDeque<SendError>,
    enqueued: Vec<Uuid>,
    attempts: Vec<Attempt>,
    most_pending: usize,
    probes: usize,
    rebuilds: usize,
    rebuild_failures: usize,
    sink: Option<TroubleSink>,
}

impl ModelBroker {
    /// A cluster that answers each record after `latency`, in order.
    pub(crate) fn start(latency: Duration) -> Arc<Self> {
        let broker = Arc::new(Self {
            state: Mutex::default(),
            wake: Notify::new(),
        });
        let worker = Arc::downgrade(&broker);
        tokio::spawn(async move {
            while let Some(broker) = worker.upgrade() {
                if broker.answer_next() {
                    drop(broker);
                    tokio::time::sleep(latency).await;
                } else {
                    broker.wake.notified().await;
                }
            }
        });
        broker
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn answer_next(&self) -> bool {
        let mut state = self.lock();
        if state.down || state.dead || state.lost {
            return false;
        }
        let Some((record, report)) = state.pending.pop_front() else {
            return false;
        };
        let id = record.event_id;
        let verdict = state.verdicts.get_mut(&id).and_then(VecDeque::pop_front);
        let answer = match verdict {
            Some(error) if error.class == ErrorClass::Fatal => {
                state.dead = true;
                for (_, report) in std::mem::take(&mut state.pending) {
                    drop(report.send(Err(error.clone())));
                }
                Err(error)
            }
            Some(error) => {
                if matches!(error.class, ErrorClass::Message | ErrorClass::Retriable) {
                    state.end_refused();
                }
                Err(error)
            }
            None => {
                state.log.push(id);
                Ok(Delivered {
                    partition: 0,
                    offset: i64::try_from(state.log.len()).unwrap(),
                })
            }
        };
        drop(report.send(answer));
        true
    }

    /// Black hole: nothing is answered any more.
    pub(crate) fn go_down(&self) {
        self.lock().down = true;
    }

    /// Nothing is answered any more until there is a new producer.
    pub(crate) fn lose_cluster(&self) {
        self.lock().lost = true;
    }

    /// What the producer holds is delivered, in order.
    pub(crate) fn come_up(&self) {
        self.lock().down = false;
        self.wake.notify_one();
    }

    /// The record's next deliveries end so, one after the other.
    pub(crate) fn refuse(&self, n: u128, errors: &[SendError]) {
        self.lock()
            .verdicts
            .insert(Uuid::from_u128(n), errors.iter().cloned().collect());
    }

    /// The next calls to enqueue end so.
    pub(crate) fn refuse_enqueue(&self, errors: impl IntoIterator<Item = SendError>) {
        self.lock().refusals.extend(errors);
    }

    pub(crate) fn fail_rebuilds(&self, times: usize) {
        self.lock().rebuild_failures = times;
    }

    /// Whether a drainer is listening.
    pub(crate) fn has_drainer(&self) -> bool {
        self.lock().sink.is_some()
    }

    pub(crate) fn trouble(&self, error: SendError) {
        let sink = self.lock().sink.clone().unwrap();
        sink(error);
    }

    /// The process dies: of what the producer holds the first `on_the_wire` still arrive.
    pub(crate) fn crash(&self, on_the_wire: usize) -> usize {
        let mut state = self.lock();
        let pending = std::mem::take(&mut state.pending);
        let held = pending.len();
        for (record, _) in pending.into_iter().take(on_the_wire) {
            state.log.push(record.event_id);
        }
        held
    }

    /// Numbers of the events in the log.
    pub(crate) fn log(&self) -> Vec<u128> {
        self.lock().log.iter().map(Uuid::as_u128).collect()
    }

    pub(crate) fn enqueued(&self) -> Vec<u128> {
        self.lock().enqueued.iter().map(Uuid::as_u128).collect()
    }

    /// The tries that went with them.
    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        self.lock().attempts.clone()
    }

    pub(crate) fn pending(&self) -> usize {
        self.lock().pending.len()
    }

    pub(crate) fn most_pending(&self) -> usize {
        self.lock().most_pending
    }

    pub(crate) fn probes(&self) -> usize {
        self.lock().probes
    }

    pub(crate) fn rebuilds(&self) -> usize {
        self.lock().rebuilds
    }

    pub(crate) fn asked_whether_lost(&self) -> usize {
        self.lock().asked_whether_lost
    }
}

#[async_trait]
impl Broker for ModelBroker {
    fn enqueue(&self, record: &Record, attempt: Attempt) -> Result<Delivery, SendError> {
        let mut state = self.lock();
        if state.dead {
            return Err(error(ErrorClass::Fatal, "_FATAL"));
        }
        if let Some(error) = state.refusals.pop_front() {
            return Err(error);
        }
        let (report, reported) = oneshot::channel();
        state.enqueued.push(record.event_id);
        state.attempts.push(attempt);
        state.pending.push_back((record.clone(), report));
        state.most_pending = state.most_pending.max(state.pending.len());
        self.wake.notify_one();
        let gone = || error(ErrorClass::Unavailable, "_DESTROY");
        Ok(reported
            .map(move |report| report.unwrap_or_else(|_| Err(gone())))
            .boxed())
    }

    async fn probe(&self) -> Result<(), SendError> {
        let down = {
            let mut state = self.lock();
            state.probes += 1;
            state.down
        };
        if down {
            Err(error(ErrorClass::Unavailable, "_TRANSPORT"))
        } else {
            Ok(())
        }
    }

    async fn has_lost_cluster(&self) -> bool {
        let mut state = self.lock();
        state.asked_whether_lost += 1;
        state.lost
    }

    fn rebuild(&self) -> Result<(), SendError> {
        let mut state = self.lock();
        state.rebuilds += 1;
        state.lost = false;
        state.pending.clear();
        if state.rebuild_failures > 0 {
            state.rebuild_failures -= 1;
            state.dead = true;
            return Err(error(ErrorClass::Configuration, "_INVALID_CONFIG"));
        }
        state.dead = false;
        Ok(())
    }

    fn report_trouble_to(&self, sink: TroubleSink) {
        self.lock().sink = Some(sink);
    }
}

impl State {
    /// A refusal ends the producer: what shared the batch is refused with it, nothing else is sent.
    fn end_refused(&mut self) {
        self.dead = true;
        for (record, report) in std::mem::take(&mut self.pending) {
            let verdicts = self.verdicts.get_mut(&record.event_id);
            let verdict = verdicts.and_then(VecDeque::pop_front);
            let given_up = || error(ErrorClass::Unavailable, "_PURGE_QUEUE");
            drop(report.send(Err(verdict.unwrap_or_else(given_up))));
        }
        if let Some(sink) = &self.sink {
            sink(error(ErrorClass::Fatal, "_GAPLESS_GUARANTEE"));
        }
    }
}

// ---- breaker and drainer ----

struct RuntimeClock(Instant);

impl Clock for RuntimeClock {
    fn now(&self) -> Duration {
        Instant::now() - self.0
    }
}

/// Opens after three failures in a row, closes after two successes, breaks for 1 s to 30 s.
pub(crate) fn breaker() -> CircuitBreaker {
    let config = BreakerConfig::default()
        .with_trip_rule(TripRule::Consecutive)
        .with_failure_threshold(3)
        .with_success_threshold(2)
        .with_recovery_timeout(Duration::from_secs(30));
    CircuitBreaker::builder("kafka")
        .config(config)
        .clock(Arc::new(RuntimeClock(Instant::now())))
        .build()
        .unwrap()
}

/// A drainer at work.
pub(crate) struct Running {
    pub(crate) handle: DrainerHandle,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<()>,
}

pub(crate) fn run(
    backlog: &Arc<MemoryBacklog>,
    broker: Arc<dyn Broker>,
    breaker: &CircuitBreaker,
    config: DrainerConfig,
) -> Running {
    let backlog: Arc<dyn Backlog> = Arc::<MemoryBacklog>::clone(backlog);
    let drainer = Drainer::new(backlog, broker, breaker.clone(), config);
    let handle = drainer.handle();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(drainer.run(shutdown.clone()));
    Running {
        handle,
        shutdown,
        task,
    }
}

impl Running {
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

/// First occurrences, in the order in which they appear.
pub(crate) fn firsts(log: &[u128]) -> Vec<u128> {
    let mut seen = std::collections::HashSet::new();
    log.iter().copied().filter(|n| seen.insert(*n)).collect()
}
