//! One partition's worker: takes events one by one and does not let go of one until it is applied
//! or kept as a dead letter.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use fusebox::backoff::Backoff;
use futures_util::FutureExt as _;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error, info_span, warn};

use super::{EventHandler, HandlerError, Incoming, UnitOfWork, dead, incoming::Taken};
use crate::{
    metrics::{ConsumerMetrics, EventResult},
    store::Store,
};

/// A handler that panics at an event may do so for a passing reason; more often it never will not.
const PANICS: u32 = 3;

/// What every worker of a group shares.
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) handler: Arc<dyn EventHandler>,
    pub(super) backoff: Backoff,
    /// How long one event may be tried.
    pub(super) give_up_after: Duration,
    /// Whether a dead letter is also sent to the topic's `.DLQ`.
    pub(super) dead_letter_topics: bool,
    /// Who gives up, for the dead letter.
    pub(super) group: String,
    pub(super) metrics: ConsumerMetrics,
}

/// What waits for a worker, and how far it has come.
#[derive(Debug)]
pub(super) struct Load {
    waiting: AtomicUsize,
    bytes: AtomicUsize,
    /// The offset behind the last finished event, or -1.
    finished: AtomicI64,
}

impl Load {
    pub(super) fn new() -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            finished: AtomicI64::new(-1),
        }
    }

    pub(super) fn add(&self, size: usize) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.bytes.fetch_add(size, Ordering::SeqCst);
    }

    fn finish(&self, message: &Taken) {
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        self.bytes.fetch_sub(message.size(), Ordering::SeqCst);
        self.finished.store(message.offset + 1, Ordering::SeqCst);
    }

    /// Messages and bytes that wait, the one under way included.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let count = self.waiting.load(Ordering::SeqCst);
        (count, self.bytes.load(Ordering::SeqCst))
    }

    /// The offset at which another member would have to go on.
    pub(super) fn next(&self) -> Option<i64> {
        let next = self.finished.load(Ordering::SeqCst);
        (next >= 0).then_some(next)
    }
}

/// Works until it is stopped: at once between events and while one waits to be tried again. Whoever
/// stops it decides how long an event in mid-flight may take, and aborts the task then.
pub(super) async fn work(
    shared: Arc<Shared>,
    mut queue: mpsc::UnboundedReceiver<Taken>,
    load: Arc<Load>,
    stop: CancellationToken,
) {
    loop {
        let message = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            message = queue.recv() => message,
        };
        let Some(message) = message else { return };
        if !one(&shared, &message, &stop).await {
            return;
        }
        load.finish(&message);
    }
}

/// Why an event is given up.
#[derive(Debug, Clone)]
pub(super) struct Cause {
    /// A word that does not change: `UNREADABLE`, `PERMANENT`, `RETRIES_EXHAUSTED`, `PANICKED`.
    pub(super) code: &'static str,
    /// The last error with its causes.
    pub(super) text: String,
    /// Tries of this process.
    pub(super) attempts: u32,
}

/// Applies or buries one message; `false` when the worker is stopped before that.
async fn one(shared: &Shared, message: &Taken, stop: &CancellationToken) -> bool {
    let mut event = match message.open() {
        Ok(event) => event,
        Err(text) => {
            let cause = Cause {
                code: "UNREADABLE",
                text,
                attempts: 1,
            };
            return bury(shared, message, None, cause, stop).await;
        }
    };
    let span = info_span!(
        "event",
        topic = %message.topic,
        partition = message.partition,
        offset = message.offset,
        event_id = %event.event_id,
        correlation_id = %event.context.correlation_id,
        trace_id = %event.context.trace.trace_id(),
        span_id = %event.context.trace.span_id(),
    );
    let context = event.context;
    context
        .scope(apply(shared, message, &mut event, stop).instrument(span))
        .await
}

/// How one try ended.
enum Try {
    Done(EventResult),
    Again {
        after: Option<Duration>,
        text: String,
    },
    Never {
        code: &'static str,
        text: String,
    },
}

async fn apply(
    shared: &Shared,
    message: &Taken,
    event: &mut Incoming,
    stop: &CancellationToken,
) -> bool {
    let first = Instant::now();
    let mut panics = 0;
    loop {
        let started = Instant::now();
        let tried = attempt(shared, event, &mut panics).await;
        shared.metrics.handled(&message.topic, started.elapsed());
        let attempts = event.attempt.saturating_add(1);
        let (after, text) = match tried {
            Try::Done(result) => {
                shared.metrics.count(&message.topic, result);
                return true;
            }
            Try::Never { code, text } => {
                let cause = Cause {
                    code,
                    text,
                    attempts,
                };
                return bury(shared, message, Some(event), cause, stop).await;
            }
            Try::Again { after, text } => (after, text),
        };
        let own = shared.backoff.delay(event.attempt, rand::random());
        let wait = after.map_or(own, |asked| asked.max(own));
        if first.elapsed() + wait > shared.give_up_after {
            let cause = Cause {
                code: "RETRIES_EXHAUSTED",
                text,
                attempts,
            };
            return bury(shared, message, Some(event), cause, stop).await;
        }
        shared.metrics.count(&message.topic, EventResult::retried);
        warn!(
            attempt = event.attempt,
            wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            error = text,
            "event will be tried again"
        );
        event.attempt = attempts;
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return false,
        }
    }
}

async fn attempt(shared: &Shared, event: &Incoming, panics: &mut u32) -> Try {
    // A panic must not end the worker: the next event would be applied and committed past this one.
    let tried = AssertUnwindSafe(handle(shared, event)).catch_unwind().await;
    match tried {
        Ok(Ok(result)) => Try::Done(result),
        Ok(Err(HandlerError::Permanent { source })) => Try::Never {
            code: "PERMANENT",
            text: chain(source.as_ref()),
        },
        Ok(Err(HandlerError::Retry { after, source })) => Try::Again {
            after,
            text: chain(source.as_ref()),
        },
        Err(panic) => {
            *panics += 1;
            let text = format!("the handler panicked: {}", panic_text(panic.as_ref()));
            if *panics < PANICS {
                Try::Again { after: None, text }
            } else {
                Try::Never {
                    code: "PANICKED",
                    text,
                }
            }
        }
    }
}

async fn handle(shared: &Shared, event: &Incoming) -> Result<EventResult, HandlerError> {
    if shared.store.was_applied(event.event_id).await? {
        return Ok(EventResult::duplicate);
    }
    let unit = UnitOfWork::new(shared.store.clone(), event.event_id);
    shared.handler.handle(event, &unit).await?;
    Ok(EventResult::applied)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without words")
}

/// Keeps what can never be applied; tries until the store takes it, because nothing may be skipped
/// by committing past it.
async fn bury(
    shared: &Shared,
    message: &Taken,
    event: Option<&Incoming>,
    cause: Cause,
    stop: &CancellationToken,
) -> bool {
    error!(
        topic = %message.topic,
        partition = message.partition,
        offset = message.offset,
        code = cause.code,
        reason = cause.text,
        attempts = cause.attempts,
        "event is given up and kept in dead_events"
    );
    let mut attempt = 0;
    while let Err(error) = dead::keep(shared, message, event, &cause).await {
        warn!(error = chain(&error), "dead event could not be stored yet");
        tokio::select! {
            () = tokio::time::sleep(shared.backoff.delay(attempt, rand::random())) => {}
            () = stop.cancelled() => return false,
        }
        attempt += 1;
    }
    shared.metrics.count(&message.topic, EventResult::dead);
    true
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    if let Some(call) = crate::context::call_of(error) {
        // Where and for whom, which the sentences above do not say.
        text.push_str(" [");
        text.push_str(&call.to_string());
        text.push(']');
    }
    text
}
