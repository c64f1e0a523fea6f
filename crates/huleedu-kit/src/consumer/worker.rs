//! One partition's worker: takes events one by one and does not let go of one until it is applied
//! or buried.

use std::{sync::Arc, time::Duration};

use fusebox::backoff::Backoff;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error, info_span, warn};

use super::{EventHandler, HandlerError, Incoming, UnitOfWork, incoming::Taken};
use crate::{
    metrics::{ConsumerMetrics, EventResult},
    store::{DeadEvent, Store},
};

/// What every worker of a group shares.
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) handler: Arc<dyn EventHandler>,
    pub(super) backoff: Backoff,
    pub(super) metrics: ConsumerMetrics,
    pub(super) shutdown: CancellationToken,
}

/// Works until the queue closes or the service stops. `done` is told each finished offset, in order.
pub(super) async fn work(
    shared: Arc<Shared>,
    mut queue: mpsc::UnboundedReceiver<Taken>,
    done: impl Fn(&Taken) + Send,
) {
    while let Some(message) = queue.recv().await {
        let stop = shared.shutdown.clone();
        let finished = tokio::select! {
            // The event under way is finished first when it can be; the runtime bounds that wait.
            finished = one(&shared, &message) => finished,
            () = stopped_while_waiting(&stop) => false,
        };
        if finished {
            done(&message);
        }
        if !finished || stop.is_cancelled() {
            return;
        }
    }
}

/// Resolves a grace period after stop was asked, so that a handler in mid-flight may end.
async fn stopped_while_waiting(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
}

/// Applies or buries one message; `false` when the service stops before that.
async fn one(shared: &Shared, message: &Taken) -> bool {
    let mut event = match message.open() {
        Ok(event) => event,
        Err(reason) => return bury(shared, message, None, &reason).await,
    };
    let span = info_span!(
        "event",
        topic = %message.topic,
        event_id = %event.event_id,
        correlation_id = %event.context.correlation_id,
        trace_id = %event.context.trace.trace_id(),
        span_id = %event.context.trace.span_id(),
    );
    let context = event.context;
    context
        .scope(apply(shared, message, &mut event).instrument(span))
        .await
}

async fn apply(shared: &Shared, message: &Taken, event: &mut Incoming) -> bool {
    loop {
        let started = tokio::time::Instant::now();
        let result = attempt(shared, event).await;
        shared.metrics.handled(&message.topic, started.elapsed());
        match result {
            Ok(applied) => {
                let result = if applied {
                    EventResult::applied
                } else {
                    EventResult::duplicate
                };
                shared.metrics.count(&message.topic, result);
                return true;
            }
            Err(HandlerError::Permanent { source }) => {
                let reason = chain(source.as_ref());
                return bury(shared, message, Some(event), &reason).await;
            }
            Err(HandlerError::Retry { after, source }) => {
                shared.metrics.count(&message.topic, EventResult::retried);
                let own = shared.backoff.delay(event.attempt, rand::random());
                let wait = after.map_or(own, |asked| asked.max(own));
                warn!(
                    attempt = event.attempt,
                    wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                    error = chain(source.as_ref()),
                    "event will be tried again"
                );
                event.attempt = event.attempt.saturating_add(1);
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = shared.shutdown.cancelled() => return false,
                }
            }
        }
    }
}

/// One try; `false` when the event had been applied before.
async fn attempt(shared: &Shared, event: &Incoming) -> Result<bool, HandlerError> {
    if shared.store.was_applied(event.event_id).await? {
        return Ok(false);
    }
    let unit = UnitOfWork::new(shared.store.clone(), event.event_id);
    shared.handler.handle(event, &unit).await?;
    Ok(true)
}

/// Keeps what can never be applied; tries until the store takes it, because nothing may be skipped
/// by committing past it.
async fn bury(shared: &Shared, message: &Taken, event: Option<&Incoming>, reason: &str) -> bool {
    error!(
        topic = %message.topic,
        partition = message.partition,
        offset = message.offset,
        reason,
        "event can never be applied and is kept in dead_events"
    );
    shared.metrics.count(&message.topic, EventResult::dead);
    let dead = DeadEvent {
        event_id: event.map(|e| e.event_id),
        topic: &message.topic,
        partition: message.partition,
        offset: message.offset,
        payload: &message.payload,
        reason,
    };
    let mut attempt = 0;
    while let Err(error) = shared.store.bury(&dead).await {
        warn!(error = chain(&error), "dead event could not be stored yet");
        tokio::select! {
            () = tokio::time::sleep(shared.backoff.delay(attempt, rand::random())) => {}
            () = shared.shutdown.cancelled() => return false,
        }
        attempt += 1;
    }
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
    text
}
