//! The limit itself: a handle, its lock, and what it tells about itself.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use fusebox::Clock;

use crate::aimd::{Aimd, Ended};
use crate::config::{AdaptiveConfig, LimitConfigError, MOST, PLACES, check};
use crate::error::Full;
use crate::place::{Enter, Place, Sample};
use crate::queue::{Asked, Queue, Wakers};

/// A bound on the calls to one dependency that are under way at once.
///
/// Clones are handles to the same bound.
#[derive(Clone)]
pub struct Limit {
    inner: Arc<Inner>,
}

/// What a limit knows about itself, taken at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitSnapshot {
    /// Most calls at once, at present.
    pub limit: u32,
    /// Places in use. More than `limit` for a while after the limit was lowered.
    pub in_use: u32,
    /// Calls that wait for a place.
    pub waiting: usize,
    /// Calls that got a place, since the limit was built.
    pub admitted: u64,
    /// Calls that were refused, since the limit was built.
    pub refused: u64,
    /// Calls that left the queue before their turn, since the limit was built.
    pub gave_up: u64,
    /// Times the limit was cut by a sign of overload, since it was built.
    pub cuts: u64,
}

impl Limit {
    /// A fixed limit: `max_concurrent` calls at once, and `max_waiting` that wait for a place.
    ///
    /// # Errors
    /// `max_concurrent` is zero, or one of the two is more than a million.
    pub fn bulkhead(max_concurrent: u32, max_waiting: u32) -> Result<Self, LimitConfigError> {
        check_fixed(max_concurrent)?;
        check(
            max_waiting <= MOST,
            "max_waiting",
            &max_waiting,
            "0 to 1000000",
        )?;
        Ok(Self::build(max_concurrent, max_waiting, None))
    }

    /// A limit that adapts; how, is told at the [crate's page](crate).
    ///
    /// # Errors
    /// A setting makes no sense.
    pub fn adaptive(
        config: AdaptiveConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, LimitConfigError> {
        config.validate()?;
        let (initial, max_waiting) = (config.initial, config.max_waiting);
        let learning = (Aimd::new(config), clock);
        Ok(Self::build(initial, max_waiting, Some(learning)))
    }

    fn build(limit: u32, max_waiting: u32, learning: Option<(Aimd, Arc<dyn Clock>)>) -> Self {
        let (aimd, clock) = learning.unzip();
        let max_waiting = usize::try_from(max_waiting).unwrap_or(usize::MAX);
        Self {
            inner: Arc::new(Inner {
                clock,
                state: Mutex::new(State {
                    queue: Queue::new(limit, max_waiting),
                    aimd,
                    admitted: 0,
                    refused: 0,
                    gave_up: 0,
                }),
            }),
        }
    }

    /// Takes a place if one is free. Nobody who waits is overtaken.
    ///
    /// # Errors
    /// All places are taken.
    pub fn try_enter(&self) -> Result<Place, Full> {
        let mut state = self.inner.lock();
        match state.ask(false) {
            Ok(Asked::Inside) => {
                let round = state.round();
                drop(state);
                Ok(Place::new(Arc::clone(&self.inner), round))
            }
            Ok(_) => unreachable!("asked without leave to wait"),
            Err(full) => Err(full),
        }
    }

    /// Takes a place, or a position in the queue when none is free.
    ///
    /// The answer is [`Full`] when the queue has no room either.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue; a place granted meanwhile goes to the next.
    pub fn enter(&self) -> Enter {
        let mut state = self.inner.lock();
        let asked = state.ask(true);
        let round = state.round();
        drop(state);
        let inner = Arc::clone(&self.inner);
        match asked {
            Ok(Asked::Waits(number)) => Enter::waiting(inner, number),
            Ok(_) => Enter::decided(Ok(Place::new(inner, round))),
            Err(full) => Enter::decided(Err(full)),
        }
    }

    /// True for a limit that adapts.
    pub fn is_adaptive(&self) -> bool {
        self.inner.clock.is_some()
    }

    /// Changes the limit of a bulkhead; one that adapts finds its own and is left alone.
    ///
    /// Calls under way beyond a lower limit go on.
    ///
    /// # Errors
    /// `max_concurrent` is zero or more than a million; the old limit stays in force.
    pub fn set_max_concurrent(&self, max_concurrent: u32) -> Result<(), LimitConfigError> {
        check_fixed(max_concurrent)?;
        if !self.is_adaptive() {
            let wakers = self.inner.lock().queue.set_limit(max_concurrent);
            wake(wakers);
        }
        Ok(())
    }

    /// Everything the limit knows about itself.
    pub fn snapshot(&self) -> LimitSnapshot {
        let state = self.inner.lock();
        LimitSnapshot {
            limit: state.queue.limit(),
            in_use: state.queue.in_use(),
            waiting: state.queue.waiting(),
            admitted: state.admitted,
            refused: state.refused,
            gave_up: state.gave_up,
            cuts: state.round(),
        }
    }
}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = self.snapshot();
        f.debug_struct("Limit")
            .field("adaptive", &self.is_adaptive())
            .field("limit", &now.limit)
            .field("in_use", &now.in_use)
            .field("waiting", &now.waiting)
            .finish_non_exhaustive()
    }
}

/// What the handles share. One lock, held for a few instructions, never across a wake-up.
pub(crate) struct Inner {
    /// Only a limit that adapts reads time.
    clock: Option<Arc<dyn Clock>>,
    state: Mutex<State>,
}

struct State {
    queue: Queue,
    aimd: Option<Aimd>,
    admitted: u64,
    refused: u64,
    gave_up: u64,
}

impl State {
    fn ask(&mut self, may_wait: bool) -> Result<Asked, Full> {
        match self.queue.ask(may_wait) {
            Asked::Full => {
                self.refused += 1;
                Err(Full {
                    limit: self.queue.limit(),
                    waiting: self.queue.waiting(),
                })
            }
            Asked::Inside => {
                self.admitted += 1;
                Ok(Asked::Inside)
            }
            waits @ Asked::Waits(_) => Ok(waits),
        }
    }

    fn round(&self) -> u64 {
        self.aimd.as_ref().map_or(0, Aimd::round)
    }
}

impl Inner {
    pub(crate) fn now(&self) -> Duration {
        self.clock
            .as_ref()
            .map_or(Duration::ZERO, |clock| clock.now())
    }

    /// The round of admission, once the turn of `number` has come.
    pub(crate) fn poll_turn(&self, number: u64, waker: &Waker) -> Option<u64> {
        let mut state = self.lock();
        if !state.queue.poll(number, waker) {
            return None;
        }
        state.admitted += 1;
        Some(state.round())
    }

    pub(crate) fn give_up(&self, number: u64) {
        let mut state = self.lock();
        state.gave_up += 1;
        let wakers = state.queue.give_up(number);
        drop(state);
        wake(wakers);
    }

    pub(crate) fn leave(&self, sample: Sample, since: Duration, round: u64) {
        let took = self.now().saturating_sub(since);
        let mut state = self.lock();
        let State { queue, aimd, .. } = &mut *state;
        let mut wakers = Wakers::new();
        if let Some(aimd) = aimd {
            aimd.learn(Ended {
                sample,
                took,
                round,
                in_use: queue.in_use(),
            });
            wakers = queue.set_limit(aimd.limit());
        }
        wakers.extend(queue.leave());
        drop(state);
        wake(wakers);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No foreign code but `Waker::clone` runs under the lock, before anything is changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(wakers: Wakers) {
    for waker in wakers {
        waker.wake();
    }
}

fn check_fixed(max_concurrent: u32) -> Result<(), LimitConfigError> {
    check(
        (1..=MOST).contains(&max_concurrent),
        "max_concurrent",
        &max_concurrent,
        PLACES,
    )
}
