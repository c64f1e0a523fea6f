//! The loop: takes reports, feeds what may be fed, and keeps the backlog in step.
//!
//! Everything that waits (reports, one piece of backlog work, a question to the cluster, the clock,
//! a wake-up, troubles) is waited for in one place; everything else is plain code in between. Reading
//! and settling never overlap, so a page can never hold a record that has been settled since.

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use fusebox::CircuitBreaker;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::config::DrainerConfig;
use super::gate::{Flow, Gate};
use super::handle::Shared;
use super::pauses::{Leave, Pauses};
use super::retry::Retry;
use super::window::{Trial, Window};
use crate::backlog::{Backlog, BacklogError, BacklogStats, DeadReason};
use crate::broker::{Broker, Delivered, ErrorClass, SendError};
use crate::classify::{asks_for_new_producer, is_known};
use crate::record::{Parked, Position};

/// How long a full producer is left alone when no report comes.
const BACK_PRESSURE_WAIT: Duration = Duration::from_millis(20);

/// How often the backlog's numbers are read.
const COUNT_EVERY: Duration = Duration::from_secs(1);

type Report = (Position, Result<Delivered, SendError>);

pub(super) struct Engine {
    backlog: Arc<dyn Backlog>,
    broker: Arc<dyn Broker>,
    config: DrainerConfig,
    shared: Arc<Shared>,
    gate: Gate,
    window: Window,
    pauses: Pauses,
    reports: FuturesUnordered<BoxFuture<'static, Report>>,
    troubles: mpsc::Receiver<SendError>,
    /// Records read and not fed yet, ascending, all after the window's and up to `cursor`.
    page: VecDeque<Parked>,
    cursor: Position,
    /// The last page came back short, and nobody has said since that there is more.
    at_end: bool,
    /// Somebody said so while the page was being read.
    called: bool,
    work: Option<BoxFuture<'static, Work>>,
    peek: Retry,
    settle: Retry,
    bury: Retry,
    count: Retry,
    next_poll: Instant,
    next_rescan: Instant,
    next_count: Instant,
    settle_at: Option<Instant>,
    /// Nothing is fed until then: the producer was full.
    full_until: Option<Instant>,
    /// Deliveries failed through nobody's fault: when nothing is in flight any more, begin again
    /// with the oldest.
    begin_again: bool,
    refeed: Retry,
    producer_lost: bool,
    rebuild: Retry,
    stop_by: Option<Instant>,
}

/// A piece of backlog work that has ended.
enum Work {
    Peeked {
        after: Position,
        page: Result<Vec<Parked>, BacklogError>,
    },
    Settled {
        positions: Vec<Position>,
        result: Result<(), BacklogError>,
    },
    Buried {
        position: Position,
        result: Result<(), BacklogError>,
    },
    Counted(Result<BacklogStats, BacklogError>),
}

/// What the loop was woken by.
enum Wake {
    Report(Report),
    Work(Work),
    Answer(Result<(), SendError>),
    Trouble(SendError),
    Called,
    Clock,
    Shutdown,
}

impl Engine {
    pub(super) fn new(
        backlog: Arc<dyn Backlog>,
        broker: Arc<dyn Broker>,
        breaker: CircuitBreaker,
        config: DrainerConfig,
        shared: Arc<Shared>,
    ) -> Self {
        let now = Instant::now();
        // Troubles beyond the bound are dropped: each is one failure for the circuit, no more.
        let (sink, troubles) = mpsc::channel(16);
        broker.report_trouble_to(Arc::new(move |error| {
            if sink.try_send(error).is_err() {
                tracing::debug!("Kafka trouble not booked, too many at once");
            }
        }));
        Self {
            gate: Gate::new(breaker, Arc::clone(&broker), &config, now),
            window: Window::default(),
            pauses: Pauses::new(config.topic_pause_min, config.topic_pause_max),
            reports: FuturesUnordered::new(),
            troubles,
            page: VecDeque::new(),
            cursor: Position::START,
            at_end: false,
            called: false,
            work: None,
            peek: Retry::default(),
            settle: Retry::default(),
            bury: Retry::default(),
            count: Retry::default(),
            next_poll: now + config.poll_every,
            next_rescan: now + config.rescan_every,
            next_count: now,
            settle_at: None,
            full_until: None,
            begin_again: false,
            refeed: Retry::default(),
            producer_lost: false,
            rebuild: Retry::default(),
            stop_by: None,
            backlog,
            broker,
            config,
            shared,
        }
    }

    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let now = Instant::now();
            self.advance(now);
            if self.is_finished(now) {
                break;
            }
            match self.next(&shutdown).await {
                Wake::Report(report) => self.take_reports(report),
                Wake::Work(work) => self.take_work(work),
                Wake::Answer(answer) => self.gate.question_answered(&answer, Instant::now()),
                Wake::Trouble(error) => self.take_trouble(&error),
                Wake::Called => {
                    self.at_end = false;
                    self.called = true;
                }
                Wake::Clock => {}
                Wake::Shutdown => {
                    self.stop_by = Some(Instant::now() + self.config.shutdown_timeout);
                }
            }
        }
        let left = self.window.in_flight();
        tracing::info!(
            in_flight = left,
            unsettled = self.window.delivered(),
            "drainer stopped"
        );
    }

    /// Waits for whatever comes first.
    async fn next(&mut self, shutdown: &CancellationToken) -> Wake {
        let at = self.next_look();
        let stopping = self.stop_by.is_some();
        let work = &mut self.work;
        let gate = &mut self.gate;
        let work = async {
            match work {
                Some(work) => work.await,
                None => pending().await,
            }
        };
        tokio::select! {
            Some(report) = self.reports.next(), if !self.reports.is_empty() => Wake::Report(report),
            done = work => {
                self.work = None;
                Wake::Work(done)
            }
            answer = poll_fn(|cx| gate.poll_question(cx)) => Wake::Answer(answer),
            Some(error) = self.troubles.recv() => Wake::Trouble(error),
            () = self.shared.wake.notified() => Wake::Called,
            () = shutdown.cancelled(), if !stopping => Wake::Shutdown,
            () = sleep_until(at) => Wake::Clock,
        }
    }

    /// Does all that can be done without waiting.
    fn advance(&mut self, now: Instant) {
        if self.producer_lost {
            self.replace_producer(now);
        }
        if now >= self.next_poll {
            self.next_poll = now + self.config.poll_every;
            self.at_end = false;
        }
        let window = &self.window;
        if self
            .pauses
            .end_due(now, |topic| window.is_topic_in_flight(topic))
        {
            self.read_from_start();
        }
        if now >= self.next_rescan {
            self.next_rescan = now + self.config.rescan_every;
            if self.page.is_empty() && self.at_end_of_backlog() {
                self.read_from_start();
            }
        }
        if self.begin_again && self.window.in_flight() == 0 && self.refeed.is_due(now) {
            self.begin_again = false;
            self.read_from_start();
        }
        // Feeding changes what the gate must know and the other way round: once more when it moved.
        loop {
            let before = self.window.in_flight();
            let flow = self.gate.advance(before, self.has_nothing_to_feed(), now);
            if self.stop_by.is_none() {
                self.feed(flow, now);
            }
            if self.window.in_flight() == before {
                break;
            }
        }
        self.start_work(now);
        let (in_flight, paused) = (self.window.in_flight() as u64, self.pauses.paused() as u64);
        self.shared.update(|stats| {
            stats.in_flight = in_flight;
            stats.paused_topics = paused;
        });
    }

    fn is_finished(&self, now: Instant) -> bool {
        self.stop_by.is_some_and(|by| {
            let settled = self.window.delivered() == 0 && self.window.next_burial().is_none();
            by <= now || (self.window.in_flight() == 0 && settled)
        })
    }

    /// When there is something to do even if nothing happens.
    fn next_look(&self) -> Instant {
        let now = Instant::now();
        let begin_again = self.begin_again.then(|| self.refeed.not_before()).flatten();
        let rebuild = self
            .producer_lost
            .then(|| self.rebuild.not_before())
            .flatten();
        let retries = [&self.peek, &self.settle, &self.bury, &self.count].map(|r| r.not_before());
        [
            Some(self.next_poll),
            Some(self.next_rescan),
            Some(self.next_count),
            self.gate.next_look(),
            self.pauses.next_end(now),
            self.window.suspect_due(),
            self.settle_at,
            self.full_until,
            self.stop_by,
            begin_again,
            rebuild,
        ]
        .into_iter()
        .chain(retries)
        .flatten()
        // What is due and still not done waits for something else than the clock.
        .filter(|at| *at > now)
        .min()
        .unwrap_or(self.next_poll)
    }

    // ---- feeding ----

    fn feed(&mut self, flow: Flow, now: Instant) {
        let blocked = self.producer_lost || self.begin_again || flow == Flow::Nothing;
        if blocked || self.full_until.is_some_and(|until| until > now) {
            return;
        }
        self.full_until = None;
        if self.window.has_suspects() {
            self.feed_suspect(now);
            return;
        }
        while flow == Flow::Window || self.window.in_flight() == 0 {
            let Some(parked) = self.page.pop_front() else {
                return;
            };
            let size = parked.record.wire_size();
            if !self
                .window
                .has_room(size, self.config.max_records.max(1), self.config.max_bytes)
            {
                self.page.push_front(parked);
                return;
            }
            if !self.feed_one(parked, size, now) {
                return;
            }
        }
    }

    /// Hands one record over; answers whether feeding may go on.
    fn feed_one(&mut self, parked: Parked, size: usize, now: Instant) -> bool {
        let position = parked.position;
        if size > self.config.max_record_bytes {
            let reason = DeadReason {
                code: "MSG_SIZE_TOO_LARGE".to_owned(),
                text: format!(
                    "{size} bytes, at most {} are sent",
                    self.config.max_record_bytes
                ),
                first: None,
                attempts: 0,
            };
            self.window.insert_burying(parked, reason);
            return true;
        }
        let topic = parked.record.topic.as_str();
        match self.pauses.leave(topic) {
            Leave::Feed => {}
            Leave::FeedOne if !self.window.is_topic_in_flight(topic) => {}
            Leave::FeedOne | Leave::PassOver => return true,
        }
        match self.broker.enqueue(&parked.record) {
            Ok(delivery) => {
                self.window.insert_in_flight(parked);
                self.reports
                    .push(delivery.map(move |result| (position, result)).boxed());
                true
            }
            Err(error) => match error.class {
                ErrorClass::BackPressure => {
                    self.full_until = Some(now + BACK_PRESSURE_WAIT);
                    self.page.push_front(parked);
                    false
                }
                ErrorClass::Topic => {
                    self.pause(topic, &error, now);
                    true
                }
                ErrorClass::Message | ErrorClass::Retriable => {
                    self.window.insert_suspect(parked, error);
                    false
                }
                ErrorClass::Fatal => {
                    self.lose_producer(&error, now);
                    false
                }
                ErrorClass::Unavailable | ErrorClass::Configuration => {
                    self.begin_again_after(&error, now);
                    false
                }
            },
        }
    }

    /// Sends the oldest record that was refused, alone.
    fn feed_suspect(&mut self, now: Instant) {
        let Some((position, trial)) = self.window.oldest_suspect() else {
            return;
        };
        if self.window.in_flight() > 0 || !trial.retry.is_due(now) {
            return;
        }
        let Some(record) = self.window.record(position) else {
            return;
        };
        match self.broker.enqueue(record) {
            Ok(delivery) => {
                self.window.try_suspect(position);
                self.reports
                    .push(delivery.map(move |result| (position, result)).boxed());
            }
            Err(error) if error.class == ErrorClass::BackPressure => {
                self.full_until = Some(now + BACK_PRESSURE_WAIT);
            }
            Err(error) => {
                self.window.try_suspect(position);
                self.take_failure(position, error, now);
            }
        }
    }

    fn note_retried(&self, records: usize) {
        self.shared.update(|stats| stats.retried += records as u64);
    }

    fn has_nothing_to_feed(&self) -> bool {
        self.page.is_empty() && self.at_end_of_backlog() && !self.window.has_suspects()
    }

    /// Whether every record the backlog has shown is fed, passed over, or waits in the window.
    fn at_end_of_backlog(&self) -> bool {
        self.at_end && !self.begin_again
    }

    /// Reads the backlog from its start again; what the window holds is left out.
    fn read_from_start(&mut self) {
        self.cursor = Position::START;
        self.page.clear();
        self.at_end = false;
    }

    // ---- reports ----

    /// Takes a report and all others that are there already.
    fn take_reports(&mut self, first: Report) {
        let now = Instant::now();
        let mut next = Some(first);
        while let Some((position, result)) = next {
            match result {
                Ok(_) => self.take_delivery(position, now),
                Err(error) => self.take_failure(position, error, now),
            }
            next = self.reports.next().now_or_never().flatten();
        }
    }

    fn take_delivery(&mut self, position: Position, now: Instant) {
        self.gate.delivered(now);
        self.full_until = None;
        self.refeed.succeeded();
        self.rebuild.succeeded();
        let Some(record) = self.window.record(position) else {
            return;
        };
        self.shared.delivered(record);
        let trial_ended = self.pauses.delivered(&record.topic);
        self.window.mark_delivered(position);
        if trial_ended {
            self.read_from_start();
        }
        if self.settle_at.is_none() {
            self.settle_at = Some(now + self.config.settle_every);
        }
    }

    fn take_failure(&mut self, position: Position, error: SendError, now: Instant) {
        self.note_retried(1);
        match error.class {
            ErrorClass::Message => {
                self.gate.refused(now);
                self.suspect(position, error);
            }
            ErrorClass::Retriable | ErrorClass::BackPressure => {
                self.gate.refused(now);
                self.try_later(position, error, now);
            }
            ErrorClass::Topic => {
                self.gate.refused(now);
                if let Some(parked) = self.window.remove(position) {
                    self.pause(&parked.record.topic, &error, now);
                }
            }
            ErrorClass::Unavailable | ErrorClass::Configuration => {
                self.window.remove(position);
                self.begin_again_after(&error, now);
            }
            ErrorClass::Fatal => {
                self.window.remove(position);
                self.lose_producer(&error, now);
            }
        }
    }

    /// Refused for its own sake: once more, alone, because a whole batch shares the error; then dead.
    fn suspect(&mut self, position: Position, error: SendError) {
        match self.window.trial(position) {
            // Only a second refusal of this kind is a verdict; the first may have been of another.
            Some(trial) if trial.first.class == ErrorClass::Message => {
                self.condemn(position, &error, &trial);
            }
            earlier => {
                let attempts = earlier.map_or(1, |trial| trial.attempts);
                let trial = Trial {
                    first: error,
                    attempts,
                    retry: Retry::default(),
                };
                self.window.mark_suspect(position, trial);
            }
        }
    }

    /// Not to be held against anybody: alone, later, and for as long as the error is a known one.
    fn try_later(&mut self, position: Position, error: SendError, now: Instant) {
        let trial = self.window.trial(position);
        let mut trial = trial.unwrap_or(Trial {
            first: error.clone(),
            attempts: 1,
            retry: Retry::default(),
        });
        if !is_known(&error.code) && trial.attempts > self.config.unknown_error_tries {
            self.condemn(position, &error, &trial);
            return;
        }
        if asks_for_new_producer(&error.code) && trial.attempts > 1 {
            self.window.remove(position);
            self.lose_producer(&error, now);
            return;
        }
        tracing::debug!(%position, code = error.code, attempts = trial.attempts, "record tried later");
        trial
            .retry
            .failed(now, self.config.retry_min, self.config.retry_max);
        self.window.mark_suspect(position, trial);
    }

    fn condemn(&mut self, position: Position, error: &SendError, trial: &Trial) {
        let first = format!("{}: {}", trial.first.code, trial.first.text);
        let reason = DeadReason {
            code: error.code.clone(),
            text: error.text.clone(),
            first: (trial.first != *error).then_some(first),
            attempts: trial.attempts,
        };
        if let Some(record) = self.window.record(position) {
            tracing::error!(
                %position,
                event_id = %record.event_id,
                topic = record.topic,
                code = error.code,
                "Kafka refused the record for good"
            );
        }
        self.window.mark_burying(position, reason);
    }

    // ---- faults ----

    fn pause(&mut self, topic: &str, error: &SendError, now: Instant) {
        if let Some(length) = self.pauses.fault(topic, now) {
            tracing::warn!(topic, code = error.code, text = error.text, pause = ?length, "topic paused");
        }
    }

    fn begin_again_after(&mut self, error: &SendError, now: Instant) {
        self.gate.failed(error, now);
        if !self.begin_again {
            tracing::warn!(
                code = error.code,
                text = error.text,
                "Kafka did not take records"
            );
            self.begin_again = true;
            self.refeed
                .failed(now, self.config.retry_min, self.config.retry_max);
        }
    }

    fn take_trouble(&mut self, error: &SendError) {
        let now = Instant::now();
        if error.class == ErrorClass::Fatal {
            self.lose_producer(error, now);
        } else {
            self.gate.failed(error, now);
        }
    }

    fn lose_producer(&mut self, error: &SendError, now: Instant) {
        self.gate.failed(error, now);
        if !self.producer_lost {
            tracing::error!(code = error.code, text = error.text, "Kafka producer lost");
            self.producer_lost = true;
        }
    }

    /// Makes a new producer and begins again with the oldest record that is not settled.
    fn replace_producer(&mut self, now: Instant) {
        if !self.rebuild.is_due(now) {
            return;
        }
        // What has been delivered is known; nothing else of the old producer is heard any more.
        while let Some(Some((position, result))) = self.reports.next().now_or_never() {
            if result.is_ok() {
                self.take_delivery(position, now);
            }
        }
        self.reports = FuturesUnordered::new();
        let unknown = self.window.remove_in_flight();
        self.note_retried(unknown);
        self.rebuild
            .failed(now, self.config.retry_min, self.config.retry_max);
        match self.broker.rebuild() {
            Ok(()) => {
                tracing::warn!(unknown, "Kafka producer replaced");
                self.producer_lost = false;
                self.begin_again = false;
                self.shared.update(|stats| stats.rebuilt += 1);
                self.read_from_start();
            }
            Err(error) => {
                tracing::error!(
                    code = error.code,
                    text = error.text,
                    "Kafka producer not replaced"
                );
                self.gate.failed(&error, now);
            }
        }
    }

    // ---- backlog ----

    /// Starts the most urgent piece of backlog work, if none is under way.
    fn start_work(&mut self, now: Instant) {
        if self.work.is_some() {
            return;
        }
        let backlog = Arc::clone(&self.backlog);
        if let Some((position, reason)) =
            self.window.next_burial().filter(|_| self.bury.is_due(now))
        {
            self.work = Some(Box::pin(async move {
                let result = backlog.bury(position, &reason).await;
                Work::Buried { position, result }
            }));
        } else if self.must_settle(now) {
            let positions = self.window.delivered_positions();
            self.settle_at = None;
            self.work = Some(Box::pin(async move {
                let result = backlog.settle(&positions).await;
                Work::Settled { positions, result }
            }));
        } else if self.next_count <= now && self.count.is_due(now) && self.stop_by.is_none() {
            self.next_count = now + COUNT_EVERY;
            self.work = Some(Box::pin(
                async move { Work::Counted(backlog.stats().await) },
            ));
        } else if self.must_peek(now) {
            self.called = false;
            let (after, limit) = (self.cursor, self.config.page.max(1));
            self.work = Some(Box::pin(async move {
                let page = backlog.peek(after, limit).await;
                Work::Peeked { after, page }
            }));
        }
    }

    fn must_settle(&self, now: Instant) -> bool {
        let waited = self.settle_at.is_none_or(|at| at <= now) || self.window.in_flight() == 0;
        self.window.delivered() > 0 && waited && self.settle.is_due(now)
    }

    fn must_peek(&self, now: Instant) -> bool {
        let wanted = self.page.is_empty() && !self.at_end && !self.window.has_suspects();
        let useful = self.stop_by.is_none() && !self.begin_again && !self.producer_lost;
        wanted && useful && self.peek.is_due(now) && self.gate.may_feed()
    }

    fn take_work(&mut self, work: Work) {
        let now = Instant::now();
        let (min, max) = (self.config.retry_min, self.config.retry_max);
        match work {
            Work::Peeked { after, page } => match page {
                Ok(page) => {
                    self.peek.succeeded();
                    // Reading began anew meanwhile.
                    if after == self.cursor {
                        self.take_page(page);
                    }
                }
                Err(error) => {
                    warn_of(&error, "backlog not read");
                    self.peek.failed(now, min, max);
                }
            },
            Work::Settled { positions, result } => match result {
                Ok(()) => {
                    self.settle.succeeded();
                    for position in positions {
                        self.window.remove(position);
                    }
                }
                // They stay in the window as delivered: told again, never sent again.
                Err(error) => {
                    warn_of(&error, "deliveries not settled");
                    self.settle.failed(now, min, max);
                }
            },
            Work::Buried { position, result } => match result {
                Ok(()) => {
                    self.bury.succeeded();
                    self.window.remove(position);
                    self.next_count = now;
                }
                Err(error) => {
                    warn_of(&error, "dead letter not kept");
                    self.bury.failed(now, min, max);
                }
            },
            Work::Counted(result) => match result {
                Ok(count) => {
                    self.count.succeeded();
                    self.shared.update(|stats| {
                        stats.waiting = count.waiting;
                        stats.dead = count.dead;
                        stats.oldest_age = count.oldest_age;
                    });
                }
                Err(error) => {
                    warn_of(&error, "backlog not counted");
                    self.count.failed(now, min, max);
                }
            },
        }
    }

    fn take_page(&mut self, page: Vec<Parked>) {
        self.at_end = page.len() < self.config.page.max(1) && !self.called;
        if let Some(last) = page.last() {
            self.cursor = self.cursor.max(last.position);
        }
        let window = &self.window;
        self.page.extend(
            page.into_iter()
                .filter(|parked| !window.contains(parked.position)),
        );
    }
}

fn warn_of(error: &BacklogError, message: &'static str) {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::warn!(%error, cause, "{message}");
}
