//! Leads jobs to their ends: several at once, each again after a passing obstacle.
//!
//! The database is the queue: a restart takes up every job that is open. With several copies of
//! the service on one database a job may be led by two of them; plans are the same on both, every
//! write is guarded by the state it changes, and the end happens once, so that this only costs
//! comparisons twice.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use fusebox::backoff::Backoff;
use huleedu_kit::store::{StoreError, now_ms};
use tokio::{
    sync::Notify,
    task::{Id, JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::assess::{Engine, Obstacle};

/// Longest time without a look at the database; new requests and ended jobs wake the driver.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// A job whose task panicked is left alone for this long.
const AFTER_PANIC: Duration = Duration::from_mins(1);

/// Works until `stop`. A database that does not answer is waited for, never given up.
pub(crate) async fn run(
    engine: Arc<Engine>,
    requested: Arc<Notify>,
    stop: CancellationToken,
) -> Result<(), StoreError> {
    // Waits of an earlier run mean nothing to a new one.
    engine.jobs.make_due().await?;
    let mut driver = Driver {
        engine,
        running: JoinSet::new(),
        in_hand: HashMap::new(),
    };
    loop {
        let wait = driver.take_up().await.unwrap_or_else(|error| {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "jobs cannot be read"
            );
            LOOK_AGAIN
        });
        tokio::select! {
            () = stop.cancelled() => break,
            () = requested.notified() => {}
            () = tokio::time::sleep(wait) => {}
            Some(ended) = driver.running.join_next_with_id() => driver.put_down(ended).await,
        }
    }
    // What is under way is dropped; every job goes on from its stored state.
    driver.running.shutdown().await;
    Ok(())
}

struct Driver {
    engine: Arc<Engine>,
    running: JoinSet<Result<(), Obstacle>>,
    in_hand: HashMap<Id, String>,
}

impl Driver {
    /// Takes up the jobs that are due; answers how long to wait for more.
    async fn take_up(&mut self) -> Result<Duration, StoreError> {
        let most = self.engine.settings.max_concurrent_batches;
        let held: HashSet<&String> = self.in_hand.values().collect();
        let due = self.engine.jobs.due(most + held.len()).await?;
        let fresh: Vec<String> = due.into_iter().filter(|job| !held.contains(job)).collect();
        let free = most.saturating_sub(self.in_hand.len());
        for job_id in fresh.into_iter().take(free) {
            let engine = Arc::clone(&self.engine);
            let id = job_id.clone();
            let task = self.running.spawn(async move { engine.lead(&id).await });
            self.in_hand.insert(task.id(), job_id);
        }
        let next = self.engine.jobs.next_due().await?;
        Ok(next.map_or(LOOK_AGAIN, |at| {
            let left = u64::try_from(at.saturating_sub(now_ms())).unwrap_or(0);
            Duration::from_millis(left).min(LOOK_AGAIN)
        }))
    }

    async fn put_down(&mut self, ended: Result<(Id, Result<(), Obstacle>), JoinError>) {
        let (task, wait) = match ended {
            Ok((task, Ok(()))) => (task, None),
            Ok((task, Err(obstacle))) => {
                tracing::warn!(
                    error = &obstacle as &dyn std::error::Error,
                    "a job waits for an obstacle to pass"
                );
                (task, Some(obstacle.retry_after().unwrap_or_default()))
            }
            Err(error) => {
                if error.is_panic() {
                    tracing::error!(%error, "a job's task panicked");
                }
                (error.id(), Some(AFTER_PANIC))
            }
        };
        let Some(job_id) = self.in_hand.remove(&task) else {
            return;
        };
        let Some(asked) = wait else { return };
        let backoff = Backoff::new(Duration::from_millis(250), self.engine.settings.park_max);
        if let Err(error) = self.engine.jobs.postpone(&job_id, asked, &backoff).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                job_id,
                "a job's next try could not be stored"
            );
        }
    }
}
