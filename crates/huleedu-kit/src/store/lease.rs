//! Which of several processes of one service sends what waits in the outbox they share.
//!
//! One row says who, and until when. Its owner prolongs it every second; one that dies stops, and after
//! the lease has passed another process takes over. Time is the database's, so clocks need not agree.
//! The owner counts from before it asked and gives up early, so that it has stopped sending when
//! another may begin.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use sqlx::Row as _;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Dialect, Store, StoreError, millis};

/// How long a lease lasts without being prolonged.
const LENGTH: Duration = Duration::from_secs(15);

/// How much earlier its owner stops: for requests that are on the wire then.
const MARGIN: Duration = Duration::from_secs(5);

/// How often it is prolonged.
const EVERY: Duration = Duration::from_secs(1);

/// One process's part in it.
#[derive(Debug)]
pub(super) struct Lease {
    owner: String,
    length: Duration,
    margin: Duration,
    held: Mutex<Held>,
    /// Events up to here were there when the lease was taken: another process may have sent them.
    inherited: AtomicI64,
}

#[derive(Debug)]
struct Held {
    until: Instant,
    asked: Option<Instant>,
}

impl Lease {
    pub(super) fn new() -> Self {
        Self::lasting(LENGTH, MARGIN)
    }

    /// A lease of another length, for tests.
    pub(super) fn lasting(length: Duration, margin: Duration) -> Self {
        Self {
            owner: name(),
            length,
            margin,
            held: Mutex::new(Held {
                until: Instant::now(),
                asked: None,
            }),
            inherited: AtomicI64::new(i64::MIN),
        }
    }

    pub(super) fn until(&self) -> Instant {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .until
    }

    pub(super) fn inherited(&self) -> i64 {
        self.inherited.load(Ordering::Acquire)
    }

    /// Takes or prolongs the lease; answers whether this process has it.
    pub(super) async fn hold(&self, store: &Store) -> Result<bool, StoreError> {
        let now = Instant::now();
        let had = {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            let had = held.until > now;
            let every = EVERY.min(self.length / 10);
            if held.asked.is_some_and(|at| now < at + every) {
                return Ok(had);
            }
            held.asked = Some(now);
            had
        };
        let length = millis(self.length);
        let clock = clock(store.dialect);
        let sql = format!(
            "UPDATE outbox_lease SET owner = $1, until = {clock} + $2 \
             WHERE name = 'drainer' AND (owner = $1 OR until < {clock})"
        );
        let taken = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(self.owner.as_str())
            .bind(length)
            .execute(&store.pool)
            .await?;
        let has = taken.rows_affected() == 1;
        if has && !had {
            // Before anything is read: what is there now may have been sent by whoever had it.
            let row = sqlx::query(
                "SELECT COALESCE(MAX(position), 0) FROM outbox WHERE settled_at IS NULL",
            )
            .fetch_one(&store.pool)
            .await?;
            self.inherited.store(row.try_get(0)?, Ordering::Release);
            tracing::info!("this process sends what waits in the outbox");
        } else if had && !has {
            tracing::warn!("another process sends what waits in the outbox");
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        // From before the question, and earlier by the margin: ended here before it ends there.
        held.until = if has {
            now + self.length.saturating_sub(self.margin)
        } else {
            now
        };
        Ok(has)
    }

    /// Lets another process begin at once.
    pub(super) async fn give_up(&self, store: &Store) -> Result<(), StoreError> {
        sqlx::query("UPDATE outbox_lease SET until = 0 WHERE name = 'drainer' AND owner = $1")
            .bind(self.owner.as_str())
            .execute(&store.pool)
            .await?;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.until = Instant::now();
        Ok(())
    }
}

/// Who this process is, for people and, by the number at its end, for good.
fn name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "an unknown host",
        host => host,
    };
    format!(
        "process {} on {host}, {}",
        std::process::id(),
        Uuid::new_v4()
    )
}

/// The owner of a lease that has not passed.
pub(super) async fn sender(store: &Store) -> Result<Option<String>, StoreError> {
    let clock = clock(store.dialect);
    let sql = format!("SELECT owner FROM outbox_lease WHERE name = 'drainer' AND until >= {clock}");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .fetch_optional(&store.pool)
        .await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// The database's time in Unix milliseconds.
fn clock(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
        Dialect::Postgres => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
    }
}
