//! Which partitions this member has, and the worker of each.
//!
//! All of it is driven by the member's own thread (`group`): it hands messages over, looks how far
//! the workers have come, and in the middle of a rebalance stops those whose partitions go away. The
//! thread may block, the workers run on the runtime.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc as blocking},
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, sync::mpsc, task::AbortHandle};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, warn};

use super::{
    incoming::Taken,
    worker::{self, Load, Shared},
};

/// A topic and one of its partitions.
pub(super) type Lane = (String, i32);

/// A partition is paused when this many messages wait for its worker, or this many bytes …
const PAUSE_AT: (usize, usize) = (256, 8 * 1024 * 1024);
/// … and goes on when no more than this is left.
const RESUME_AT: (usize, usize) = (32, 1024 * 1024);
/// How long an aborted worker may take to be gone: it ends at its next await.
const ABORT_LIMIT: Duration = Duration::from_secs(1);

/// The workers.
pub(super) struct Lanes {
    shared: Arc<Shared>,
    runtime: Handle,
    /// What log lines of the workers belong to.
    span: Span,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: HashMap<Lane, Open>,
    /// Nothing is dispatched any more.
    closed: bool,
    /// Partitions came or went since the last look.
    rebalanced: bool,
}

struct Open {
    sender: mpsc::UnboundedSender<Taken>,
    load: Arc<Load>,
    stop: CancellationToken,
    task: AbortHandle,
    /// Says "disconnected" as soon as the worker is no more, however it ended.
    gone: blocking::Receiver<()>,
    paused: bool,
    /// What Kafka's client was told.
    stored: Option<i64>,
}

/// A worker that ended although nobody stopped it: going on would skip what it had not finished.
#[derive(Debug)]
pub(super) struct WorkerEnded(pub(super) Lane);

impl Lanes {
    /// Workers run on `runtime` and log within `span`.
    pub(super) fn new(shared: Arc<Shared>, runtime: Handle, span: Span) -> Self {
        Self {
            shared,
            runtime,
            span,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a message to its worker. `Some` says that the partition must be paused now.
    pub(super) fn dispatch(&self, message: Taken) -> Result<Option<Lane>, WorkerEnded> {
        let lane = (message.topic.clone(), message.partition);
        let mut state = self.state();
        if state.closed {
            return Ok(None);
        }
        let open = state
            .open
            .entry(lane.clone())
            .or_insert_with(|| self.open());
        open.load.add(message.size());
        if open.sender.send(message).is_err() {
            return Err(WorkerEnded(lane));
        }
        let (count, bytes) = open.load.waiting();
        if open.paused || (count < PAUSE_AT.0 && bytes < PAUSE_AT.1) {
            return Ok(None);
        }
        open.paused = true;
        self.shared.metrics.paused(&lane.0, 1);
        Ok(Some(lane))
    }

    fn open(&self) -> Open {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (alive, gone) = blocking::channel::<()>();
        let (load, stop) = (Arc::new(Load::new()), CancellationToken::new());
        let work = worker::work(
            Arc::clone(&self.shared),
            receiver,
            Arc::clone(&load),
            stop.clone(),
        );
        let task = async move {
            // Dropped with the task, also when it is aborted or the runtime ends.
            let _alive = alive;
            work.await;
        };
        let task = self.runtime.spawn(task.instrument(self.span.clone()));
        Open {
            sender,
            load,
            stop,
            task: task.abort_handle(),
            gone,
            paused: false,
            stored: None,
        }
    }

    /// Partitions whose workers have caught up and that can go on.
    pub(super) fn to_resume(&self) -> Vec<Lane> {
        let mut state = self.state();
        let mut lanes = Vec::new();
        for (lane, open) in &mut state.open {
            let (count, bytes) = open.load.waiting();
            if open.paused && count <= RESUME_AT.0 && bytes <= RESUME_AT.1 {
                open.paused = false;
                self.shared.metrics.paused(&lane.0, -1);
                lanes.push(lane.clone());
            }
        }
        lanes
    }

    /// Whether any partition waits for its worker.
    pub(super) fn any_paused(&self) -> bool {
        self.state().open.values().any(|open| open.paused)
    }

    /// Offsets at which to go on that Kafka's client was not told yet.
    pub(super) fn to_store(&self) -> Vec<(Lane, i64)> {
        let mut state = self.state();
        let mut news = Vec::new();
        for (lane, open) in &mut state.open {
            if let Some(next) = open.load.next().filter(|next| open.stored != Some(*next)) {
                open.stored = Some(next);
                news.push((lane.clone(), next));
            }
        }
        news
    }

    /// Offsets at which the workers would go on.
    pub(super) fn next(&self) -> HashMap<Lane, i64> {
        let state = self.state();
        let next = state.open.iter();
        next.filter_map(|(lane, open)| Some((lane.clone(), open.load.next()?)))
            .collect()
    }

    /// Stops the workers of some partitions and waits until they are gone. An event in mid-flight has
    /// `grace` to end; then it is dropped, which leaves nothing of it. Returns how far each has come,
    /// where it finished anything. Blocks.
    pub(super) fn stop(&self, wanted: &HashSet<Lane>, grace: Duration) -> Vec<(Lane, i64)> {
        let stopped: Vec<(Lane, Open)> = {
            let mut state = self.state();
            let lanes = wanted.iter();
            lanes
                .filter_map(|lane| state.open.remove_entry(lane))
                .collect()
        };
        self.end(stopped, grace)
    }

    /// Stops every worker like [`stop`](Self::stop), and no new one begins.
    pub(super) fn close(&self, grace: Duration) -> Vec<(Lane, i64)> {
        let stopped = {
            let mut state = self.state();
            state.closed = true;
            state.open.drain().collect()
        };
        self.end(stopped, grace)
    }

    fn end(&self, stopped: Vec<(Lane, Open)>, grace: Duration) -> Vec<(Lane, i64)> {
        for (lane, open) in &stopped {
            open.stop.cancel();
            if open.paused {
                self.shared.metrics.paused(&lane.0, -1);
            }
        }
        let rest = still_there(stopped.iter(), grace);
        for (_, open) in &rest {
            open.task.abort();
        }
        for (lane, _) in still_there(rest.into_iter(), ABORT_LIMIT) {
            warn!(topic = %lane.0, partition = lane.1, "a worker does not end");
        }
        let next = stopped.into_iter();
        next.filter_map(|(lane, open)| Some((lane, open.load.next()?)))
            .collect()
    }

    /// Ends every worker wherever it is, without waiting, as a crash would.
    pub(super) fn abort(&self) {
        let mut state = self.state();
        state.closed = true;
        for open in state.open.values() {
            open.task.abort();
        }
    }

    pub(super) fn note_rebalance(&self) {
        self.state().rebalanced = true;
    }

    /// Whether partitions came or went since the last call.
    pub(super) fn take_rebalanced(&self) -> bool {
        std::mem::take(&mut self.state().rebalanced)
    }
}

/// Waits until workers are gone, at most for `limit` in all; returns those that are not.
fn still_there<'a>(
    lanes: impl Iterator<Item = &'a (Lane, Open)>,
    limit: Duration,
) -> Vec<&'a (Lane, Open)> {
    let deadline = Instant::now() + limit;
    lanes
        .filter(|(_, open)| {
            let left = deadline.saturating_duration_since(Instant::now());
            open.gone.recv_timeout(left) == Err(blocking::RecvTimeoutError::Timeout)
        })
        .collect()
}
