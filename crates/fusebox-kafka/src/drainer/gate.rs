//! The circuit of the drainer: whether anything is being delivered, and so what may be fed.
//!
//! | circuit | fed | what is told to the circuit |
//! |---|---|---|
//! | closed | the whole window; after an outage first one record, doubling with each round trip | each delivery: success; a stall: a failure now and then |
//! | open | nothing | nothing; what the producer holds may still be delivered, and an idle producer's cluster is asked for a sign of life: either ends the break |
//! | half-open | one record at a time | a delivery or a sign of life: success; none in time: failure |

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use fusebox::{CircuitBreaker, Permit, State};
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout};

use super::config::DrainerConfig;
use crate::broker::{Broker, ErrorClass, SendError};

/// How soon an open circuit is looked at again when nobody can say when its break ends.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How often the cluster is asked for a sign of life while the circuit is open and nothing is under
/// way.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// What may be fed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// As many at once as the window takes, or at most so many.
    Window(usize),
    OneAtATime,
    Nothing,
}

impl Flow {
    /// Whether one more record may be fed.
    pub(super) fn allows(self, in_flight: usize) -> bool {
        match self {
            Self::Window(most) => in_flight < most,
            Self::OneAtATime => in_flight == 0,
            Self::Nothing => false,
        }
    }
}

pub(super) struct Gate {
    breaker: CircuitBreaker,
    broker: Arc<dyn Broker>,
    stall_after: Duration,
    stall_every: Duration,
    probe_timeout: Duration,
    in_flight: usize,
    /// When the last answer came, or the first record went out since nothing was in flight.
    progress: Instant,
    last_stall: Option<Instant>,
    last_trouble: Option<(String, Instant)>,
    trial: Trial,
    /// The next look at an open circuit.
    look_at: Option<Instant>,
    question: Option<BoxFuture<'static, Result<(), SendError>>>,
    next_question: Instant,
    /// A sign of life ended a break, and then a record was not delivered: signs of life count for
    /// nothing until the circuit has closed.
    misled: bool,
    /// After an outage: how many records may be under way; it grows with each delivery.
    ramp: Option<usize>,
    most: usize,
    /// The circuit was not closed when it was looked at last.
    was_ill: bool,
    recovered: bool,
}

/// What half-open permits are held for.
enum Trial {
    None,
    /// Waiting for the delivery of a record; `fed` once one is in flight.
    Record {
        permit: Permit,
        deadline: Option<Instant>,
    },
    /// Waiting for a sign of life, because there is no record to try.
    SignOfLife {
        permit: Permit,
    },
}

impl Gate {
    pub(super) fn new(
        breaker: CircuitBreaker,
        broker: Arc<dyn Broker>,
        config: &DrainerConfig,
        now: Instant,
    ) -> Self {
        Self {
            breaker,
            broker,
            stall_after: config.stall_after,
            stall_every: config.stall_every,
            probe_timeout: config.probe_timeout,
            in_flight: 0,
            progress: now,
            last_stall: None,
            last_trouble: None,
            trial: Trial::None,
            look_at: None,
            question: None,
            next_question: now,
            misled: false,
            ramp: None,
            most: config.max_records.max(1),
            was_ill: false,
            recovered: false,
        }
    }

    pub(super) fn breaker(&self) -> &CircuitBreaker {
        &self.breaker
    }

    /// Whether an outage has ended since the last call.
    pub(super) fn take_recovery(&mut self) -> bool {
        std::mem::take(&mut self.recovered)
    }

    /// Brings the gate up to date; `nothing_to_feed` says that no record is ready to be tried.
    pub(super) fn advance(
        &mut self,
        in_flight: usize,
        nothing_to_feed: bool,
        now: Instant,
    ) -> Flow {
        if self.in_flight == 0 && in_flight > 0 {
            self.progress = now;
        }
        self.in_flight = in_flight;
        if self.breaker.state() == State::Closed {
            self.trial = Trial::None;
            self.question = None;
            self.look_at = None;
            self.misled = false;
            self.next_question = now + ASK_EVERY;
            if std::mem::take(&mut self.was_ill) {
                self.ramp = Some(1);
                self.recovered = true;
            }
            self.judge_progress(now);
            // The last failure may have opened it.
            return if self.breaker.state() == State::Closed {
                Flow::Window(self.ramp.unwrap_or(usize::MAX))
            } else {
                Flow::Nothing
            };
        }
        self.was_ill = true;
        if matches!(self.trial, Trial::None) && self.look_at.is_none_or(|at| at <= now) {
            match self.breaker.try_acquire() {
                Ok(permit) => {
                    self.look_at = None;
                    self.question = None;
                    self.trial = Trial::Record {
                        permit,
                        deadline: None,
                    };
                }
                Err(refusal) => {
                    let wait = refusal.retry_after().unwrap_or(LOOK_AGAIN);
                    self.look_at = Some(now + wait.clamp(Duration::from_millis(5), LOOK_AGAIN));
                }
            }
        }
        self.judge_trial(nothing_to_feed, now);
        match self.trial {
            Trial::Record { .. } => Flow::OneAtATime,
            Trial::SignOfLife { .. } => Flow::Nothing,
            Trial::None => {
                self.ask_while_open(now);
                Flow::Nothing
            }
        }
    }

    /// A record was delivered.
    pub(super) fn delivered(&mut self, now: Instant) {
        self.answered(now);
        // One more for each delivery: twice as many with each round trip.
        self.ramp = self
            .ramp
            .map(|most| most + 1)
            .filter(|most| *most < self.most);
        match std::mem::replace(&mut self.trial, Trial::None) {
            Trial::Record { permit, .. } => {
                permit.success();
                return;
            }
            other => self.trial = other,
        }
        if self.breaker.state() == State::Open {
            self.breaker.end_break();
            self.look_at = None;
        }
        if let Ok(permit) = self.breaker.try_acquire() {
            permit.success();
        }
    }

    /// Kafka answered, though not with a delivery: nobody has stalled.
    pub(super) fn refused(&mut self, now: Instant) {
        self.answered(now);
        if matches!(self.trial, Trial::Record { .. }) {
            self.trial = Trial::None;
        }
    }

    /// The cluster, the credentials or the producer failed; it counts at once.
    ///
    /// The same trouble within the interval of stalls is one failure: the library may tell it twice,
    /// and a whole batch shares one.
    pub(super) fn failed(&mut self, error: &SendError, now: Instant) {
        let repeated = self.last_trouble.as_ref().is_some_and(|(code, at)| {
            *code == error.code && now.duration_since(*at) < self.stall_every
        });
        if repeated {
            return;
        }
        self.last_trouble = Some((error.code.clone(), now));
        self.last_stall = Some(now);
        self.fail();
    }

    /// Ends when the cluster has answered a question; never ends while none is asked.
    pub(super) fn poll_question(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        match &mut self.question {
            Some(question) => {
                let answer = question.as_mut().poll(cx);
                if answer.is_ready() {
                    self.question = None;
                }
                answer
            }
            None => Poll::Pending,
        }
    }

    /// Takes the answer to a question.
    pub(super) fn question_answered(&mut self, answer: &Result<(), SendError>, now: Instant) {
        self.next_question = now + ASK_EVERY;
        let trial = std::mem::replace(&mut self.trial, Trial::None);
        match (trial, answer) {
            (Trial::SignOfLife { permit }, Ok(())) => permit.success(),
            (Trial::SignOfLife { permit }, Err(_)) => permit.failure(),
            (Trial::None, Ok(())) => {
                if self.breaker.end_break() {
                    self.look_at = None;
                    self.misled = true;
                }
            }
            // The break ended meanwhile, or there is still no sign of life.
            (other, _) => self.trial = other,
        }
    }

    /// Whether a record might be fed now.
    pub(super) fn may_feed(&self) -> bool {
        match self.trial {
            Trial::Record { .. } => true,
            Trial::SignOfLife { .. } => false,
            Trial::None => self.breaker.state() == State::Closed,
        }
    }

    /// When something came back last, or went out first, while anything is under way.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        (self.in_flight > 0).then_some(self.progress)
    }

    /// When the gate must be looked at again.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let trial = match &self.trial {
            Trial::Record {
                deadline: Some(at), ..
            } => Some(*at),
            Trial::Record { .. } | Trial::SignOfLife { .. } => None,
            Trial::None => self.look_at,
        };
        let stall = (self.in_flight > 0).then(|| {
            let stalled = self.progress + self.stall_after;
            self.last_stall
                .map_or(stalled, |last| stalled.max(last + self.stall_every))
        });
        let stall = stall.filter(|_| self.look_at.is_none() && matches!(self.trial, Trial::None));
        [trial, stall].into_iter().flatten().min()
    }

    fn answered(&mut self, now: Instant) {
        self.progress = now;
        self.last_stall = None;
    }

    fn judge_progress(&mut self, now: Instant) {
        let stalled = self.in_flight > 0 && now.duration_since(self.progress) >= self.stall_after;
        let due = self
            .last_stall
            .is_none_or(|last| now.duration_since(last) >= self.stall_every);
        if stalled && due {
            self.last_stall = Some(now);
            tracing::debug!(in_flight = self.in_flight, "Kafka delivers nothing");
            self.fail();
        }
    }

    fn judge_trial(&mut self, nothing_to_feed: bool, now: Instant) {
        let Trial::Record { deadline, .. } = &mut self.trial else {
            return;
        };
        if self.in_flight > 0 {
            let deadline = *deadline.get_or_insert(now + self.probe_timeout);
            if deadline <= now {
                self.fail();
            }
            return;
        }
        if nothing_to_feed {
            let trial = std::mem::replace(&mut self.trial, Trial::None);
            if let Trial::Record { permit, .. } = trial {
                self.trial = Trial::SignOfLife { permit };
                self.ask();
            }
        }
    }

    /// Books one failure, on the permit of the trial if there is one.
    fn fail(&mut self) {
        match std::mem::replace(&mut self.trial, Trial::None) {
            Trial::Record { permit, .. } => permit.failure(),
            Trial::SignOfLife { permit } => {
                self.question = None;
                permit.failure();
            }
            Trial::None => {
                if self.breaker.state() == State::Closed
                    && let Ok(permit) = self.breaker.try_acquire()
                {
                    permit.failure();
                }
            }
        }
    }

    fn ask_while_open(&mut self, now: Instant) {
        let asked = self.question.is_some();
        if !asked && !self.misled && self.in_flight == 0 && self.next_question <= now {
            self.ask();
        }
    }

    fn ask(&mut self) {
        let broker = Arc::clone(&self.broker);
        let limit = self.probe_timeout;
        self.question = Some(Box::pin(async move {
            match timeout(limit, broker.probe()).await {
                Ok(answer) => answer,
                Err(_) => Err(SendError {
                    class: ErrorClass::Unavailable,
                    code: "_TIMED_OUT".to_owned(),
                    text: "the cluster gave no sign of life".to_owned(),
                }),
            }
        }));
    }
}
