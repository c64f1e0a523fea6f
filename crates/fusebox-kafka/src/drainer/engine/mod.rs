//! The loop: takes reports, feeds what may be fed, and keeps the backlog in step.
//!
//! Everything that waits (reports, backlog work, a question to the cluster, the clock, a wake-up,
//! troubles) is waited for in one place; everything else is plain code in between. Reading again what
//! was read before never overlaps with settling, so a page can never hold a record that has been
//! settled since. Reading on behind it may, where the backlog can do that.

mod feed;
mod reports;
mod upkeep;

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use fusebox::CircuitBreaker;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::blocks::Blocks;
use super::config::DrainerConfig;
use super::gate::Gate;
use super::handle::Shared;
use super::pace::Pace;
use super::pauses::Pauses;
use super::rates::Rates;
use super::reader::Reader;
use super::retry::Retry;
use super::tries::Tries;
use super::watch::{Watch, lost_cluster};
use super::window::Window;
use crate::backlog::{Backlog, BacklogError, BacklogStats, DeadReason};
use crate::broker::{Broker, Delivered, SendError};
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
    watch: Watch,
    window: Window,
    pauses: Pauses,
    blocks: Blocks,
    pace: Pace,
    /// When the pace allows the next record.
    pace_until: Option<Instant>,
    /// When the next record may be sent, which must go alone.
    alone_at: Option<Instant>,
    reports: FuturesUnordered<BoxFuture<'static, Report>>,
    troubles: mpsc::Receiver<SendError>,
    tries: Tries,
    rates: Rates,
    reader: Reader,
    /// Settling, burying, counting, or reading again.
    work: Option<BoxFuture<'static, Work>>,
    /// Reading on.
    reading: Option<BoxFuture<'static, Work>>,
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
    /// The producer has ended, and is replaced when its reports are in.
    lost: Option<Lost>,
    rebuild: Retry,
    stop_by: Option<Instant>,
    /// Whether this process is the one that sends.
    may_send: bool,
}

/// A producer that has ended.
struct Lost {
    /// By then it is replaced, whatever it has not reported.
    by: Instant,
    /// It ended because a record was refused: nobody is to blame.
    refused: bool,
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
        reason: DeadReason,
        result: Result<(), BacklogError>,
    },
    Counted(Result<BacklogStats, BacklogError>),
}

/// What the loop was woken by.
enum Wake {
    Report(Report),
    Work(Work),
    Answer(Result<(), SendError>),
    Watched(bool),
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
            watch: Watch::default(),
            window: Window::default(),
            pauses: Pauses::new(config.topic_pause_min, config.topic_pause_max),
            blocks: Blocks::default(),
            pace: Pace::new(config.pace, config.recovery_pace, now),
            pace_until: None,
            alone_at: None,
            reports: FuturesUnordered::new(),
            troubles,
            tries: Tries::default(),
            rates: Rates::default(),
            reader: Reader::new(config.page),
            work: None,
            reading: None,
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
            lost: None,
            rebuild: Retry::default(),
            stop_by: None,
            may_send: true,
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
                Wake::Watched(true) => {
                    self.shared.update(|stats| stats.lost_cluster += 1);
                    self.lose_producer(&lost_cluster(), Instant::now());
                }
                Wake::Trouble(error) => self.take_trouble(&error),
                Wake::Called => self.take_call(),
                Wake::Watched(false) | Wake::Clock => {}
                Wake::Shutdown => {
                    self.stop_by = Some(Instant::now() + self.config.shutdown_timeout);
                }
            }
        }
        let left = self.window.in_flight();
        if left == 0 {
            self.backlog.give_up().await;
        }
        tracing::info!(
            in_flight = left,
            unsettled = self.window.delivered(),
            "drainer stopped"
        );
    }

    /// Whether this process is the one that sends. When it is not any more, what the producer holds is
    /// given up: another process sends it.
    fn judge_lease(&mut self, now: Instant) -> bool {
        let until = self.backlog.may_send_until();
        let may = until.is_none_or(|until| now < until);
        let might = std::mem::replace(&mut self.may_send, may);
        if may && !might {
            // Nobody knows what the process before has left, or why.
            self.pace.catch_up(now);
        }
        if may || !might {
            return may;
        }
        self.reader.start_over();
        // Whoever sends now tries them, and asks again what is to become of them.
        self.blocks.clear();
        self.shared.set_blocked(Vec::new());
        self.tries.acquit_all();
        if self.window.in_flight() > 0 {
            tracing::warn!(
                in_flight = self.window.in_flight(),
                "backlog sent by another process, producer given up"
            );
            self.lost = Some(Lost {
                by: now,
                refused: false,
            });
            self.rebuild = Retry::default();
            self.replace_producer(now);
        }
        false
    }

    /// Waits for whatever comes first.
    async fn next(&mut self, shutdown: &CancellationToken) -> Wake {
        let at = self.next_look();
        let stopping = self.stop_by.is_some();
        let (gate, watch) = (&mut self.gate, &mut self.watch);
        // In a fixed order, so that a simulated run can be repeated. Nothing is starved: there are no
        // more reports than were fed, and feeding needs the backlog's work.
        tokio::select! {
            biased;
            () = shutdown.cancelled(), if !stopping => Wake::Shutdown,
            Some(report) = self.reports.next(), if !self.reports.is_empty() => Wake::Report(report),
            done = ended(&mut self.reading) => {
                self.reading = None;
                Wake::Work(done)
            }
            done = ended(&mut self.work) => {
                self.work = None;
                Wake::Work(done)
            }
            answer = poll_fn(|cx| gate.poll_question(cx)) => Wake::Answer(answer),
            lost = poll_fn(|cx| watch.poll(cx)) => Wake::Watched(lost),
            Some(error) = self.troubles.recv() => Wake::Trouble(error),
            () = self.shared.wake.notified() => Wake::Called,
            () = sleep_until(at) => Wake::Clock,
        }
    }

    /// Does all that can be done without waiting.
    fn advance(&mut self, now: Instant) {
        if self.lost.is_some() {
            self.replace_producer(now);
        }
        let window = &self.window;
        if self
            .pauses
            .end_due(now, |topic| window.is_topic_in_flight(topic))
        {
            self.reader.start_over();
        }
        // While pages are being read it stays due.
        if now >= self.next_rescan && self.has_nothing_to_feed() {
            self.next_rescan = now + self.config.rescan_every;
            if !self.backlog.appears_in_order() {
                self.reader.start_over();
            }
        }
        if now >= self.next_poll {
            self.next_poll = now + self.config.poll_every;
            self.reader.there_is_more();
        }
        if self.begin_again && self.window.in_flight() == 0 && self.refeed.is_due(now) {
            self.begin_again = false;
            self.reader.start_over();
        }
        let may_send = self.judge_lease(now);
        // Feeding changes what the gate must know and the other way round: once more when it moved.
        loop {
            let before = self.window.in_flight();
            // A backlog that cannot be read has nothing to try either.
            let nothing = self.has_nothing_to_feed() || !self.peek.is_due(now);
            let flow = self.gate.advance(before, nothing, now);
            if self.gate.take_recovery() {
                self.pace.catch_up(now);
            }
            if self.stop_by.is_none() && may_send {
                self.feed(flow, now);
            }
            if self.reader.is_exhausted() {
                self.pace.caught_up();
            }
            if self.window.in_flight() == before {
                break;
            }
        }
        let waiting_since = self.gate.waiting_since().filter(|_| self.lost.is_none());
        self.watch.advance(waiting_since, &self.broker, now);
        self.start_work(now);
        let (in_flight, paused) = (self.window.in_flight() as u64, self.pauses.paused() as u64);
        let (pace, pace_cuts) = (self.pace.now(), self.pace.cuts());
        self.shared.update(|stats| {
            stats.in_flight = in_flight;
            stats.paused_topics = paused;
            stats.pace = pace;
            stats.pace_cuts = pace_cuts;
        });
    }

    /// The backlog has something new, or somebody has decided about a blocked record.
    fn take_call(&mut self) {
        self.reader.there_is_more();
        let decisions = self.shared.take_decisions();
        if decisions.is_empty() {
            return;
        }
        for (position, resolution) in decisions {
            if self.blocks.resolve(position, resolution) {
                tracing::info!(%position, ?resolution, "blocked record resolved");
            }
        }
        self.shared.set_blocked(self.blocks.list());
        self.reader.start_over();
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
        // Once the reports are in, only the last attempt's failure is waited out.
        let rebuild = self.lost.as_ref().and_then(|lost| {
            let reports = (self.window.in_flight() > 0).then_some(lost.by);
            self.rebuild.not_before().max(reports)
        });
        let retries = [&self.peek, &self.settle, &self.bury, &self.count].map(Retry::not_before);
        [
            Some(self.next_poll),
            Some(self.next_rescan),
            Some(self.next_count),
            self.backlog.may_send_until(),
            self.gate.next_look(),
            self.watch.next_look(),
            self.pauses.next_end(now),
            self.alone_at,
            self.settle_at,
            self.full_until,
            self.pace_until,
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
}

/// Waits for a piece of work, for ever if there is none.
async fn ended(work: &mut Option<BoxFuture<'static, Work>>) -> Work {
    match work {
        Some(work) => work.await,
        None => pending().await,
    }
}

impl Drop for Engine {
    /// However it ends, nobody waits for it any longer.
    fn drop(&mut self) {
        self.shared.close();
    }
}
