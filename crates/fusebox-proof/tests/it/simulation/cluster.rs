//! Kafka and the idempotent producer in front of it, in simulated time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use fusebox_kafka::{
    Attempt, Broker, Delivered, Delivery, ErrorClass, Record, SendError, TroubleSink,
};
use fusebox_proof::history::{EventName, Found};
use futures_util::FutureExt as _;
use tokio::sync::{Notify, oneshot};

use super::chance::Chance;

type Report = oneshot::Sender<Result<Delivered, SendError>>;

/// What the producer may hold.
const QUEUE: usize = 60;

/// Requests that may be on the wire.
const WIRE: u64 = 5;

/// The partition and, while a life lasts, a producer.
pub(super) struct Cluster {
    state: Mutex<State>,
    wake: Notify,
}

struct State {
    log: Vec<Found>,
    up: bool,
    /// Time from a request to its append, and from there to its answer.
    latency: Duration,
    answer: Duration,
    /// Handed over, in order; appended, and not answered.
    queue: VecDeque<(Found, Report)>,
    answers: VecDeque<(Result<Delivered, SendError>, Report)>,
    /// Grows with each producer: what the one before had under way is nobody's.
    producer: u64,
    dead: bool,
    /// A request was refused: the broker takes none of this producer's any more, for the number of the
    /// next one is wrong.
    gap: bool,
    fatal: u64,
    refused: u64,
    sink: Option<TroubleSink>,
    chance: Chance,
}

fn error(class: ErrorClass, code: &str) -> SendError {
    SendError {
        class,
        code: code.to_owned(),
        text: "simulated".to_owned(),
    }
}

/// Events that Kafka refuses for their own sake.
pub(super) fn is_poisoned(event: EventName) -> bool {
    (event.lane + event.number * 7) % 61 == 60
}

fn is_refusal(class: ErrorClass) -> bool {
    matches!(class, ErrorClass::Message | ErrorClass::Retriable)
}

impl Cluster {
    pub(super) fn new(chance: Chance) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                log: Vec::new(),
                up: true,
                latency: Duration::from_millis(1),
                answer: Duration::from_millis(1),
                queue: VecDeque::new(),
                answers: VecDeque::new(),
                producer: 0,
                dead: false,
                gap: false,
                fatal: 0,
                refused: 0,
                sink: None,
                chance,
            }),
            wake: Notify::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn log(&self) -> Vec<Found> {
        self.lock().log.clone()
    }

    /// How many producers have failed for good.
    pub(super) fn fatal(&self) -> u64 {
        self.lock().fatal
    }

    /// How many requests were refused, for the record's sake or for nobody's.
    pub(super) fn refused(&self) -> u64 {
        self.lock().refused
    }

    /// Takes requests and appends them, for ever.
    pub(super) async fn serve(&self) {
        loop {
            let (ready, latency, producer) = {
                let state = self.lock();
                let ready = state.up && !state.dead && !state.queue.is_empty();
                (ready, state.latency, state.producer)
            };
            if !ready {
                self.wake.notified().await;
                continue;
            }
            tokio::time::sleep(latency).await;
            let mut state = self.lock();
            if state.up && !state.dead && state.producer == producer {
                state.append();
            }
            drop(state);
            self.wake.notify_waiters();
        }
    }

    /// Answers what was appended, in order, for ever.
    pub(super) async fn answer(&self) {
        loop {
            let (ready, time, producer) = {
                let state = self.lock();
                (!state.answers.is_empty(), state.answer, state.producer)
            };
            if !ready {
                // Woken too often rather than never.
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
            tokio::time::sleep(time).await;
            let mut state = self.lock();
            if state.producer == producer
                && let Some((answer, report)) = state.answers.pop_front()
            {
                let refused = answer.as_ref().err().is_some_and(|e| is_refusal(e.class));
                drop(report.send(answer));
                if refused {
                    state.end_refused();
                }
            }
        }
    }

    /// Something happens to it.
    pub(super) fn change(&self, chance: &mut Chance) {
        let mut state = self.lock();
        match chance.below(9) {
            0 | 1 => {
                state.up = false;
                if chance.one_in(2) {
                    state.trouble(error(ErrorClass::Unavailable, "_ALL_BROKERS_DOWN"));
                }
            }
            2 | 3 => state.up = true,
            4 => state.latency = chance.up_to(Duration::from_millis(400)),
            // Late, or lost and sent again: the producer's numbers see to it that both are the same.
            5 => state.answer = chance.up_to(Duration::from_secs(4)),
            6 => state.fail_for_good(chance),
            _ => {
                state.latency = chance.up_to(Duration::from_millis(5));
                state.answer = chance.up_to(Duration::from_millis(5));
            }
        }
        drop(state);
        self.wake.notify_waiters();
        self.wake.notify_one();
    }

    /// All is well from now on.
    pub(super) fn heal(&self) {
        let mut state = self.lock();
        state.up = true;
        state.latency = Duration::from_millis(1);
        state.answer = Duration::from_millis(1);
        drop(state);
        self.wake.notify_one();
    }

    /// The process is gone; some of what was on the wire arrives all the same.
    pub(super) fn producer_dies(&self) {
        let mut state = self.lock();
        let mut chance = state.chance.fork();
        state.replace_producer(&mut chance);
    }
}

impl State {
    fn append(&mut self) {
        let Some((found, report)) = self.queue.pop_front() else {
            return;
        };
        let answer = if is_poisoned(found.event) {
            Err(error(ErrorClass::Message, "MSG_SIZE_TOO_LARGE"))
        } else if self.gap {
            Err(error(ErrorClass::Fatal, "OUT_OF_ORDER_SEQUENCE_NUMBER"))
        } else if self.chance.one_in(300) {
            Err(error(ErrorClass::Retriable, "THROTTLING_QUOTA_EXCEEDED"))
        } else {
            self.log.push(found);
            Ok(Delivered {
                partition: 0,
                offset: i64::try_from(self.log.len()).unwrap(),
            })
        };
        let refused = answer.as_ref().err().is_some_and(|e| is_refusal(e.class));
        self.gap |= refused;
        self.refused += u64::from(refused);
        self.answers.push_back((answer, report));
    }

    /// The producer hears of a refusal, and ends.
    fn end_refused(&mut self) {
        self.dead = true;
        self.trouble(error(ErrorClass::Fatal, "_GAPLESS_GUARANTEE"));
        for (_, report) in std::mem::take(&mut self.queue) {
            drop(report.send(Err(error(ErrorClass::Unavailable, "_PURGE_QUEUE"))));
        }
    }

    fn trouble(&self, error: SendError) {
        if let Some(sink) = &self.sink {
            sink(error);
        }
    }

    /// The producer is finished. Of the reports those of the queue come before those of the wire.
    fn fail_for_good(&mut self, chance: &mut Chance) {
        if self.dead || self.queue.is_empty() {
            return;
        }
        self.fatal += 1;
        self.dead = true;
        let fatal = error(ErrorClass::Fatal, "OUT_OF_ORDER_SEQUENCE_NUMBER");
        let wire = usize::try_from(chance.below(WIRE))
            .unwrap()
            .min(self.queue.len());
        let waiting = self.queue.split_off(wire);
        let on_the_wire = std::mem::take(&mut self.queue);
        for (_, report) in waiting {
            drop(report.send(Err(fatal.clone())));
        }
        for (found, report) in on_the_wire {
            // It arrived, and nobody will ever say so.
            self.arrive_unheard(found);
            drop(report.send(Err(fatal.clone())));
        }
        self.trouble(fatal);
    }

    fn replace_producer(&mut self, chance: &mut Chance) {
        self.producer += 1;
        self.dead = false;
        self.answers.clear();
        let arrive = usize::try_from(chance.below(WIRE)).unwrap();
        for (found, _) in std::mem::take(&mut self.queue).into_iter().take(arrive) {
            self.arrive_unheard(found);
        }
        self.gap = false;
    }

    /// A request whose producer does not listen any more is dealt with all the same.
    fn arrive_unheard(&mut self, found: Found) {
        self.gap |= is_poisoned(found.event);
        if self.up && !self.gap {
            self.log.push(found);
        }
    }
}

#[async_trait]
impl Broker for Cluster {
    fn enqueue(&self, record: &Record, attempt: Attempt) -> Result<Delivery, SendError> {
        let mut state = self.lock();
        if state.dead {
            return Err(error(ErrorClass::Fatal, "_FATAL"));
        }
        if state.queue.len() + state.answers.len() >= QUEUE {
            return Err(error(ErrorClass::BackPressure, "QUEUE_FULL"));
        }
        let found = Found {
            event: EventName::of(record.event_id.as_u128()).unwrap(),
            marked: attempt.maybe_duplicate,
        };
        let (report, reported) = oneshot::channel();
        state.queue.push_back((found, report));
        drop(state);
        self.wake.notify_one();
        let gone = || error(ErrorClass::Unavailable, "_DESTROY");
        Ok(reported
            .map(move |report| report.unwrap_or_else(|_| Err(gone())))
            .boxed())
    }

    async fn probe(&self) -> Result<(), SendError> {
        let up = self.lock().up;
        tokio::time::sleep(Duration::from_millis(1)).await;
        if up {
            Ok(())
        } else {
            Err(error(ErrorClass::Unavailable, "_TRANSPORT"))
        }
    }

    fn rebuild(&self) -> Result<(), SendError> {
        let mut state = self.lock();
        let mut chance = state.chance.fork();
        state.replace_producer(&mut chance);
        Ok(())
    }

    fn report_trouble_to(&self, sink: TroubleSink) {
        self.lock().sink = Some(sink);
    }
}
