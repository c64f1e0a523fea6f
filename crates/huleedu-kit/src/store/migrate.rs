//! Brings a database's schema up to date: numbered steps, each in its own transaction.

use std::cmp::Ordering;

use sqlx::{AnyPool, AssertSqlSafe, Row as _};

use super::{Dialect, StoreError};

/// One step of a schema. Numbers of the kit are below 100, those of services start at 100.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Its number; steps run in ascending order.
    pub version: i64,
    /// What it does.
    pub name: &'static str,
    /// Statements, with `{blob}` and `{serial}` where the databases differ.
    pub sql: &'static str,
}

/// The kit's own tables.
const KIT: &[Migration] = &[
    Migration {
        version: 1,
        name: "inbox, outbox and dead events",
        sql: "
CREATE TABLE outbox (
    position {serial},
    event_id TEXT NOT NULL UNIQUE,
    topic TEXT NOT NULL,
    event_key TEXT,
    payload {blob} NOT NULL,
    headers TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    settled_at BIGINT,
    attempts BIGINT NOT NULL DEFAULT 0,
    dead_reason TEXT
);
CREATE INDEX outbox_waiting ON outbox (position) WHERE settled_at IS NULL;
CREATE INDEX outbox_settled ON outbox (settled_at) WHERE settled_at IS NOT NULL;
CREATE TABLE inbox (
    event_id TEXT NOT NULL PRIMARY KEY,
    applied_at BIGINT NOT NULL
);
CREATE TABLE dead_events (
    id {serial},
    event_id TEXT,
    topic TEXT NOT NULL,
    partition BIGINT NOT NULL,
    log_offset BIGINT NOT NULL,
    payload {blob} NOT NULL,
    reason TEXT NOT NULL,
    buried_at BIGINT NOT NULL,
    UNIQUE (topic, partition, log_offset)
);",
    },
    Migration {
        version: 10,
        name: "dead events: origin and cause in full",
        sql: "
ALTER TABLE dead_events ADD COLUMN correlation_id TEXT;
ALTER TABLE dead_events ADD COLUMN sent_at BIGINT;
ALTER TABLE dead_events ADD COLUMN event_key {blob};
ALTER TABLE dead_events ADD COLUMN headers TEXT NOT NULL DEFAULT '[]';
ALTER TABLE dead_events ADD COLUMN code TEXT NOT NULL DEFAULT 'PERMANENT';
ALTER TABLE dead_events ADD COLUMN attempts BIGINT NOT NULL DEFAULT 0;",
    },
    Migration {
        version: 11,
        name: "who sends the outbox",
        sql: "
CREATE TABLE outbox_lease (
    name TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    until BIGINT NOT NULL
);
INSERT INTO outbox_lease (name, owner, until) VALUES ('drainer', '', 0);",
    },
    Migration {
        version: 12,
        name: "inbox by age",
        sql: "CREATE INDEX inbox_applied ON inbox (applied_at);",
    },
];

/// Numbers from here on belong to services.
const FIRST_OF_SERVICES: i64 = 100;

/// Whether the kit's own tables are those of this program. Changes nothing.
pub(super) async fn check(pool: &AnyPool, dialect: Dialect) -> Result<(), StoreError> {
    let needed = KIT.iter().map(|step| step.version).max().unwrap_or(0);
    let there = match dialect {
        Dialect::Sqlite => {
            "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schema_migrations'"
        }
        Dialect::Postgres => "SELECT 1 FROM pg_tables WHERE tablename = 'schema_migrations'",
    };
    let found = match sqlx::query(there).fetch_optional(pool).await? {
        None => 0,
        Some(_) => sqlx::query("SELECT MAX(version) FROM schema_migrations WHERE version < $1")
            .bind(FIRST_OF_SERVICES)
            .fetch_one(pool)
            .await?
            .try_get::<Option<i64>, _>(0)?
            .unwrap_or(0),
    };
    match found.cmp(&needed) {
        Ordering::Equal => Ok(()),
        Ordering::Less => Err(StoreError::TooOld { found, needed }),
        Ordering::Greater => Err(StoreError::TooNew {
            found,
            known: needed,
        }),
    }
}

pub(super) async fn run(
    pool: &AnyPool,
    dialect: Dialect,
    own: &[Migration],
) -> Result<(), StoreError> {
    sqlx::query("CREATE TABLE IF NOT EXISTS schema_migrations (version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL)")
        .execute(pool)
        .await?;
    let done: Vec<i64> = sqlx::query("SELECT version FROM schema_migrations")
        .fetch_all(pool)
        .await?
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?;
    let mut steps: Vec<&Migration> = KIT.iter().chain(own).collect();
    steps.sort_by_key(|step| step.version);
    let known = steps.last().map_or(0, |step| step.version);
    if let Some(&found) = done.iter().max().filter(|&&v| v > known) {
        return Err(StoreError::TooNew { found, known });
    }
    for step in steps
        .into_iter()
        .filter(|step| !done.contains(&step.version))
    {
        apply(pool, dialect, step)
            .await
            .map_err(|source| StoreError::Migration {
                version: step.version,
                name: step.name,
                source,
            })?;
    }
    Ok(())
}

async fn apply(pool: &AnyPool, dialect: Dialect, step: &Migration) -> Result<(), sqlx::Error> {
    let (blob, serial) = match dialect {
        Dialect::Sqlite => ("BLOB", "INTEGER PRIMARY KEY AUTOINCREMENT"),
        Dialect::Postgres => ("BYTEA", "BIGSERIAL PRIMARY KEY"),
    };
    let sql = step.sql.replace("{blob}", blob).replace("{serial}", serial);
    let mut tx = pool.begin().await?;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await?;
    sqlx::query("INSERT INTO schema_migrations (version, name) VALUES ($1, $2)")
        .bind(step.version)
        .bind(step.name)
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}
