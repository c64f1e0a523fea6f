//! Upkeep: reading, settling, burying and counting in the backlog, one piece of work at a time.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::{COUNT_EVERY, Engine, Work};
use crate::backlog::BacklogError;

impl Engine {
    /// Starts the most urgent piece of backlog work, if none is under way.
    pub(super) fn start_work(&mut self, now: Instant) {
        let backlog = Arc::clone(&self.backlog);
        let reads_on = self.reader.reads_on() && backlog.reads_beside_other_work();
        if reads_on && self.reading.is_none() && self.must_peek(now) {
            self.reading = Some(self.next_page());
        }
        if self.work.is_some() {
            return;
        }
        if let Some((position, reason)) =
            self.window.next_burial().filter(|_| self.bury.is_due(now))
        {
            self.work = Some(Box::pin(async move {
                let result = backlog.bury(position, &reason).await;
                Work::Buried {
                    position,
                    reason,
                    result,
                }
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
        } else if self.reading.is_none() && self.must_peek(now) {
            self.work = Some(self.next_page());
        }
    }

    fn next_page(&mut self) -> BoxFuture<'static, Work> {
        let (after, limit) = self.reader.begin_page();
        let backlog = Arc::clone(&self.backlog);
        Box::pin(async move {
            let page = backlog.peek(after, limit).await;
            Work::Peeked { after, page }
        })
    }

    fn must_settle(&self, now: Instant) -> bool {
        let delivered = self.window.delivered();
        let waited = self.settle_at.is_none_or(|at| at <= now) || self.stop_by.is_some();
        // What is delivered and not settled takes room in the window.
        let crowded = delivered * 2 > self.config.max_records;
        delivered > 0 && (waited || crowded) && self.settle.is_due(now)
    }

    fn must_peek(&self, now: Instant) -> bool {
        let wanted = self.reader.wants_page();
        let able = self.may_send && !self.begin_again && self.lost.is_none();
        let useful = able && self.stop_by.is_none();
        wanted && useful && self.peek.is_due(now) && self.gate.may_feed()
    }

    pub(super) fn take_work(&mut self, work: Work) {
        let now = Instant::now();
        let (min, max) = (self.config.retry_min, self.config.retry_max);
        match work {
            Work::Peeked { after, page } => match page {
                Ok(page) => {
                    self.peek.succeeded();
                    let window = &self.window;
                    self.reader
                        .take_page(after, page, |position| window.contains(position));
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
                        self.tries.forget(position);
                    }
                }
                // They stay in the window as delivered: told again, never sent again.
                Err(error) => {
                    warn_of(&error, "deliveries not settled");
                    self.settle.failed(now, min, max);
                }
            },
            Work::Buried {
                position,
                reason,
                result,
            } => match result {
                Ok(()) => {
                    self.bury.succeeded();
                    self.tries.forget(position);
                    if let Some(parked) = self.window.remove(position) {
                        self.shared.died(parked.record.event_id, reason);
                    }
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
                    let rates = &mut self.rates;
                    self.shared.update(|stats| {
                        stats.waiting = count.waiting;
                        stats.dead = count.dead;
                        stats.oldest_age = count.oldest_age;
                        let gone = stats.delivered + count.dead;
                        (stats.drain_rate, stats.arrival_rate) =
                            rates.take(now, stats.delivered, gone + count.waiting);
                    });
                }
                Err(error) => {
                    warn_of(&error, "backlog not counted");
                    self.count.failed(now, min, max);
                }
            },
        }
    }
}
fn warn_of(error: &BacklogError, message: &'static str) {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::warn!(%error, cause, "{message}");
}
