//! The line of those who wait for room: served in the order of coming.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, timeout_at};

use super::config::WhenFull;

/// How soon room is looked for without being told: a disk does not say when others free space on it.
const LOOK_EVERY: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(super) struct Line {
    when_full: WhenFull,
    head: Mutex<()>,
    waiting: AtomicUsize,
}

/// The head of the line; leaving it lets the next one try.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    _head: MutexGuard<'a, ()>,
    _place: Place<'a>,
}

#[derive(Debug)]
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Line {
    pub(super) fn new(when_full: WhenFull) -> Self {
        Self {
            when_full,
            head: Mutex::default(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Until when who comes now may wait; `None` when nobody may.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.when_full {
            WhenFull::Refuse => None,
            WhenFull::Wait(longest) => Some(Instant::now() + longest),
        }
    }

    /// Whether others wait, so that a newcomer must line up.
    pub(super) fn is_formed(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    pub(super) fn length(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Lines up until it is one's turn; `None` after the deadline.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the line.
    pub(super) async fn turn(&self, deadline: Instant) -> Option<Turn<'_>> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let place = Place(&self.waiting);
        let head = timeout_at(deadline, self.head.lock()).await.ok()?;
        Some(Turn {
            _head: head,
            _place: place,
        })
    }
}

/// Waits until `room` answers or it is time to look again; answers whether the deadline allows it.
pub(super) async fn wait_for_room(room: impl Future<Output = ()>, deadline: Instant) -> bool {
    let look = Instant::now() + LOOK_EVERY;
    // Answered or not: the next try tells.
    drop(timeout_at(look.min(deadline), room).await);
    Instant::now() < deadline
}
