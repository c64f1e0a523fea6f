//! Drives the received files: several at once, in the order in which they came, each again after a
//! passing failure.
//!
//! The database is the queue, so a restart goes on where the last run ended. With several copies
//! of the service on one database a file may be handled by two of them; the guarded update at the
//! end settles it once.

use std::{collections::HashSet, sync::Arc, time::Duration};

use huleedu_contracts::ids::FileUploadId;
use huleedu_kit::{
    CallContext,
    store::{Store, StoreError, now_ms},
};
use rand::RngExt as _;
use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    intake::{Intake, Passing},
    settings::Settings,
    store::{Upload, Uploads},
};

/// Longest time without a look at the database; a safety net, accepted uploads wake the worker.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// A staged file this old belongs to a request that ended without an answer.
const ABANDONED_AFTER: Duration = Duration::from_hours(1);
/// How often abandoned files are looked for.
const SWEEP_EVERY: Duration = Duration::from_mins(10);

/// Works until `stop`.
///
/// A database that does not answer is waited for, never given up.
pub(crate) async fn run(
    store: Store,
    intake: Intake,
    settings: Arc<Settings>,
    received: Arc<Notify>,
    stop: CancellationToken,
) -> Result<(), StoreError> {
    let uploads = Uploads::new(store);
    uploads.make_due().await?;
    let worker = Worker {
        uploads,
        intake,
        settings,
        received,
    };
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    let mut running: JoinSet<FileUploadId> = JoinSet::new();
    let mut in_hand: HashSet<FileUploadId> = HashSet::new();
    loop {
        let wait = worker
            .take_up(&mut running, &mut in_hand)
            .await
            .unwrap_or_else(|error| {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "uploads cannot be read"
                );
                LOOK_AGAIN
            });
        tokio::select! {
            () = stop.cancelled() => break,
            () = worker.received.notified() => {}
            () = tokio::time::sleep(wait) => {}
            _ = sweep.tick() => worker.sweep().await,
            Some(done) = running.join_next() => match done {
                Ok(id) => {
                    in_hand.remove(&id);
                }
                // A task that panicked takes its id with it; looking again finds what is left.
                Err(_) => in_hand.clear(),
            },
        }
    }
    // What is under way is dropped: every step may be repeated.
    running.shutdown().await;
    Ok(())
}

#[derive(Debug)]
struct Worker {
    uploads: Uploads,
    intake: Intake,
    settings: Arc<Settings>,
    received: Arc<Notify>,
}

impl Worker {
    /// Takes up what is due and free; answers how long to wait for more.
    async fn take_up(
        &self,
        running: &mut JoinSet<FileUploadId>,
        in_hand: &mut HashSet<FileUploadId>,
    ) -> Result<Duration, StoreError> {
        let free = self.settings.workers.saturating_sub(in_hand.len());
        if free == 0 {
            return Ok(LOOK_AGAIN);
        }
        // Those in hand are due as well, so they are asked for and passed over.
        for upload in self
            .uploads
            .due(self.settings.workers + in_hand.len())
            .await?
        {
            if in_hand.len() >= self.settings.workers {
                return Ok(LOOK_AGAIN);
            }
            if in_hand.insert(upload.id.clone()) {
                running.spawn(handle(
                    self.uploads.clone(),
                    self.intake.clone(),
                    Arc::clone(&self.settings),
                    upload,
                ));
            }
        }
        let next = self.uploads.next_due().await?;
        let wait = next.map_or(LOOK_AGAIN, |next| {
            let left = u64::try_from(next.saturating_sub(now_ms())).unwrap_or(0);
            Duration::from_millis(left)
        });
        // What is in hand counts as due too; its end wakes the loop, not the clock.
        Ok(if in_hand.is_empty() {
            wait.min(LOOK_AGAIN)
        } else {
            wait.clamp(POLITE, LOOK_AGAIN)
        })
    }

    async fn sweep(&self) {
        let age = i64::try_from(ABANDONED_AFTER.as_millis()).unwrap_or(i64::MAX);
        match self
            .uploads
            .discard_abandoned(now_ms().saturating_sub(age))
            .await
        {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "staged files of abandoned requests discarded"),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "staged files not swept"
                );
            }
        }
    }
}

/// Shortest wait while files are in hand, so that waiting for them is not a busy loop.
const POLITE: Duration = Duration::from_millis(100);

/// Handles one file under the context of the request that brought it.
async fn handle(
    uploads: Uploads,
    intake: Intake,
    settings: Arc<Settings>,
    upload: Upload,
) -> FileUploadId {
    let context = CallContext::from_parts(Some(upload.correlation_id), Some(&upload.traceparent));
    context
        .scope(async {
            if let Err(error) = intake.handle(&upload).await {
                postpone(&uploads, &settings, &upload, &error).await;
            }
        })
        .await;
    upload.id
}

async fn postpone(uploads: &Uploads, settings: &Settings, upload: &Upload, error: &Passing) {
    let random = rand::rng().random::<f64>();
    let backoff = settings.backoff.delay(upload.attempts, random);
    // The other side's word on when to come again counts, but not without end.
    let wait = error
        .retry_after()
        .map_or(backoff, |after| after.max(backoff))
        .min(settings.backoff.max);
    tracing::warn!(
        file_upload_id = %upload.id,
        attempt = upload.attempts + 1,
        wait_ms = wait.as_millis(),
        error = error as &dyn std::error::Error,
        "a file is handled again later"
    );
    let at = now_ms().saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
    if let Err(error) = uploads.postpone(&upload.id, at).await {
        // It stays due, and the database is waited for by the loop.
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "a file could not be postponed"
        );
    }
}
