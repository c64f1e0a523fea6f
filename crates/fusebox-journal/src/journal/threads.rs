//! The journal's threads: one commits groups, one answers those who appended them while the next is
//! committed, one saves the cursor, one keeps spares ready.

use std::collections::VecDeque;
use std::fmt;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Shared;
use super::promise::Promise;
use crate::format::frame::NewRecord;
use crate::log::Load;
use crate::{AppendError, Histogram, JournalError, Position, Stored};

/// A record that waits for its group.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) record: NewRecord,
    pub(super) size: u64,
    /// When `append` was called.
    pub(super) since: Duration,
    pub(super) promise: Promise<Result<Position, AppendError>>,
}

/// What the threads are asked to do.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pub(super) queue: VecDeque<Waiting>,
    /// Records that were queued so far and their bytes, without those that were not accepted then.
    pub(super) admitted: (u64, u64),
    pub(super) settlers: Vec<Promise<Result<(), JournalError>>>,
    pub(super) save: bool,
    pub(super) prepare: bool,
    /// When making a segment ahead failed last; not tried again at once.
    pub(super) prepare_failed: Option<Duration>,
    pub(super) closing: bool,
    /// Called when a quota may have room again.
    pub(super) room_waiters: Vec<Promise<()>>,
    pub(super) refused: Refusals,
    pub(super) append_times: Histogram,
    /// Called when a group is written and not synced yet.
    pub(super) on_write: Option<Hook>,
    /// Called after each group that was not handed out before.
    pub(super) on_append: Option<Hook>,
}

/// What somebody else wants to be done.
#[derive(Clone)]
pub(super) struct Hook(pub(super) Arc<dyn Fn() + Send + Sync>);

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

impl Orders {
    /// Records and bytes that are queued or being written: never counted with those that wait in the
    /// log, since both change at once there.
    pub(super) fn under_way(&self, load: &Load) -> (u64, u64) {
        (
            self.admitted.0 - load.accepted.0,
            self.admitted.1 - load.accepted.1,
        )
    }
}

/// Records that were not accepted, by reason.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Refusals {
    pub(super) full: u64,
    pub(super) busy: u64,
    pub(super) no_space: u64,
    pub(super) invalid: u64,
    pub(super) disk: u64,
}

impl Refusals {
    pub(super) fn count(&mut self, error: &AppendError, records: u64) {
        *match error {
            AppendError::Full => &mut self.full,
            AppendError::Busy => &mut self.busy,
            AppendError::NoSpace => &mut self.no_space,
            AppendError::TooLarge { .. } | AppendError::Label => &mut self.invalid,
            AppendError::ReadOnly | AppendError::Io(_) => &mut self.disk,
            // Nothing is wrong when a journal closes.
            AppendError::Closed => return,
        } += records;
    }
}

/// How long to wait after a segment could not be made ahead.
const PREPARE_PAUSE: Duration = Duration::from_secs(1);

/// The orders, and what wakes each thread.
#[derive(Debug, Default)]
pub(super) struct Desk {
    orders: Mutex<Orders>,
    pub(super) commit: Condvar,
    pub(super) settle: Condvar,
    pub(super) prepare: Condvar,
}

impl Desk {
    pub(super) fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one who waits for room; those who have gone away make place now and then.
    pub(super) fn wait_for_room(&self, waiter: Promise<()>) {
        let mut orders = self.lock();
        if orders.closing {
            return;
        }
        if orders.room_waiters.len().is_power_of_two() {
            orders.room_waiters.retain(Promise::is_wanted);
        }
        orders.room_waiters.push(waiter);
    }

    /// Wakes all who wait for room.
    pub(super) fn call_room_waiters(&self) {
        let waiters = std::mem::take(&mut self.lock().room_waiters);
        for waiter in waiters {
            waiter.answer(());
        }
    }
}

fn wait<'a>(condvar: &Condvar, orders: MutexGuard<'a, Orders>) -> MutexGuard<'a, Orders> {
    condvar.wait(orders).unwrap_or_else(PoisonError::into_inner)
}

/// What a thread leaves behind, also when it panics: nobody waits for it in vain.
pub(super) struct Leaving<'a>(pub(super) &'a Desk);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let (queue, settlers) = {
            let mut orders = self.0.lock();
            if orders.closing && !std::thread::panicking() {
                return;
            }
            orders.closing = true;
            (
                std::mem::take(&mut orders.queue),
                std::mem::take(&mut orders.settlers),
            )
        };
        // Their promises answer that the journal is closed.
        drop((queue, settlers));
        self.0.call_room_waiters();
        for other in [&self.0.commit, &self.0.settle, &self.0.prepare] {
            other.notify_all();
        }
    }
}

/// A record's size, when it was appended, and who waits for it.
type Caller = (u64, Duration, Promise<Result<Position, AppendError>>);

/// A group that was written or refused, and those who wait to hear of it.
pub(super) struct Committed {
    callers: Vec<Caller>,
    first: u64,
    /// The first so many are durable.
    accepted: usize,
    error: Option<AppendError>,
    /// Memory to free when all are answered.
    gone: Vec<Stored>,
}

impl Committed {
    fn answer(self) {
        for (index, (_, _, promise)) in self.callers.into_iter().enumerate() {
            promise.answer(if index < self.accepted {
                Ok(Position(self.first + index as u64))
            } else {
                Err(self.error.clone().unwrap_or(AppendError::Closed))
            });
        }
        drop(self.gone);
    }
}

/// Answers those whose groups are committed, until there is no one who commits.
pub(super) fn answer(committed: &Receiver<Committed>) {
    while let Ok(group) = committed.recv() {
        group.answer();
    }
}

/// Commits groups until the journal closes and its queue is empty.
///
/// To wake many callers takes a good part of the time of a sync. So when the next group waits already, it is
/// committed meanwhile, and `answers` has the callers.
pub(super) fn commit(shared: &Arc<Shared>, answers: &SyncSender<Committed>) {
    let desk = &shared.desk;
    let most = shared.config.max_group_bytes as u64;
    loop {
        let (group, (on_write, on_append)) = {
            let mut orders = desk.lock();
            while orders.queue.is_empty() {
                if orders.closing {
                    return;
                }
                orders = wait(&desk.commit, orders);
            }
            let mut bytes = 0;
            let mut count = 0;
            for waiting in &orders.queue {
                bytes += waiting.size;
                if count > 0 && bytes > most {
                    break;
                }
                count += 1;
            }
            let hooks = (orders.on_write.clone(), orders.on_append.clone());
            (orders.queue.drain(..count).collect::<Vec<_>>(), hooks)
        };
        let size: u64 = group.iter().map(|w| w.size).sum();
        let (records, callers): (Vec<_>, Vec<Caller>) = group
            .into_iter()
            .map(|w| (w.record, (w.size, w.since, w.promise)))
            .unzip();
        let appended = shared.log.append(records, &|| {
            if let Some(Hook(hook)) = &on_write {
                hook();
            }
        });
        if let Some(Hook(hook)) = on_append
            && appended.unseen
        {
            hook();
        }
        let now = shared.fs.now();
        let (was_busy, more_waits) = {
            let mut orders = desk.lock();
            let (_, under_way) = orders.under_way(&shared.log.load());
            let was_busy =
                under_way + size + shared.config.max_record_bytes > shared.config.max_queue_bytes;
            if let Some(error) = &appended.error {
                let refused = &callers[appended.accepted..];
                orders.admitted.0 -= refused.len() as u64;
                orders.admitted.1 -= refused.iter().map(|(size, ..)| size).sum::<u64>();
                orders.refused.count(error, refused.len() as u64);
            }
            for (_, since, _) in callers.iter().take(appended.accepted) {
                orders.append_times.add(now.saturating_sub(*since));
            }
            if appended.delivered > 0 {
                orders.save = true;
                desk.settle.notify_one();
            }
            let rested = orders
                .prepare_failed
                .is_none_or(|at| now >= at + PREPARE_PAUSE);
            if rested && !shared.log.spare_ready() {
                orders.prepare = true;
                desk.prepare.notify_one();
            }
            (was_busy, !orders.queue.is_empty())
        };
        let room = appended.error.is_some() || was_busy;
        let committed = Committed {
            callers,
            first: appended.first,
            accepted: appended.accepted,
            error: appended.error,
            gone: appended.gone,
        };
        // One group behind is enough: whoever cannot keep up holds up the next.
        let left = if more_waits {
            answers.try_send(committed).err()
        } else {
            Some(TrySendError::Full(committed))
        };
        if let Some(TrySendError::Full(group) | TrySendError::Disconnected(group)) = left {
            group.answer();
        }
        if room {
            desk.call_room_waiters();
        }
    }
}

/// Saves the cursor whenever something was settled.
pub(super) fn settle(shared: &Arc<Shared>) {
    let desk = &shared.desk;
    loop {
        let settlers = {
            let mut orders = desk.lock();
            while !orders.save {
                if orders.closing {
                    return;
                }
                orders = wait(&desk.settle, orders);
            }
            orders.save = false;
            std::mem::take(&mut orders.settlers)
        };
        let saved = shared.log.save_cursor();
        for settler in settlers {
            settler.answer(saved.clone());
        }
        desk.call_room_waiters();
    }
}

/// Makes the next segments ahead.
pub(super) fn prepare(shared: &Arc<Shared>) {
    let desk = &shared.desk;
    loop {
        {
            let mut orders = desk.lock();
            while !orders.prepare {
                if orders.closing {
                    return;
                }
                orders = wait(&desk.prepare, orders);
            }
            orders.prepare = false;
            if orders.closing {
                return;
            }
        }
        let made = [shared.log.prepare_spare(), shared.dead.prepare_spare()];
        let error = made.into_iter().find_map(Result::err);
        let failed = error.is_some().then(|| shared.fs.now());
        let before = std::mem::replace(&mut desk.lock().prepare_failed, failed);
        match error {
            // The append that needs the space looks again, and tells its caller.
            Some(error) if before.is_none() => {
                tracing::warn!(%error, "no segment made ahead");
            }
            None if before.is_some() => tracing::info!("segment made ahead again"),
            _ => {}
        }
    }
}
