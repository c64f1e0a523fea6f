//! The journal's threads: one commits groups, one saves the cursor, one keeps spares ready.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::Shared;
use super::promise::Promise;
use crate::format::frame::NewRecord;
use crate::{AppendError, JournalError, Position};

/// A record that waits for its group.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) record: NewRecord,
    pub(super) size: u64,
    pub(super) promise: Promise<Result<Position, AppendError>>,
}

/// What the threads are asked to do.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pub(super) queue: VecDeque<Waiting>,
    /// Records and bytes that are in the queue or being written.
    pub(super) admitted: (u64, u64),
    pub(super) settlers: Vec<Promise<Result<(), JournalError>>>,
    pub(super) save: bool,
    pub(super) prepare: bool,
    pub(super) closing: bool,
    /// Called when a quota may have room again.
    pub(super) room_waiters: Vec<Promise<()>>,
    pub(super) refused_full: u64,
    pub(super) refused_no_space: u64,
}

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

/// Commits groups until the journal closes and its queue is empty.
pub(super) fn commit(shared: &Arc<Shared>) {
    let desk = &shared.desk;
    let most = shared.config.max_group_bytes as u64;
    loop {
        let group = {
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
            orders.queue.drain(..count).collect::<Vec<_>>()
        };
        let size: u64 = group.iter().map(|w| w.size).sum();
        let count = group.len() as u64;
        let (records, promises): (Vec<_>, Vec<_>) =
            group.into_iter().map(|w| (w.record, w.promise)).unzip();
        let appended = shared.log.append(&records);
        {
            let mut orders = desk.lock();
            orders.admitted.0 -= count;
            orders.admitted.1 -= size;
            let refused = (records.len() - appended.accepted) as u64;
            match appended.error {
                Some(AppendError::Full) => orders.refused_full += refused,
                Some(AppendError::NoSpace) => orders.refused_no_space += refused,
                _ => {}
            }
            orders.prepare = !shared.log.spare_ready();
        }
        desk.prepare.notify_one();
        let accepted = appended.accepted;
        for (index, promise) in promises.into_iter().enumerate() {
            promise.answer(if index < accepted {
                Ok(Position(appended.first + index as u64))
            } else {
                Err(appended.error.clone().unwrap_or(AppendError::Closed))
            });
        }
        if appended.error.is_some() {
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
        for made in [shared.log.prepare_spare(), shared.dead.prepare_spare()] {
            if let Err(error) = made {
                // The next append looks again, and says so to its caller if it needs the space.
                tracing::warn!(%error, "no segment made ahead");
            }
        }
    }
}
