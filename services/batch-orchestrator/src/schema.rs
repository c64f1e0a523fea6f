//! Tables of the Batch Orchestrator.
//!
//! `batches.state` is the truth; `status` and `client_status` repeat its name for lists.

use huleedu_kit::store::Migration;

/// Its migrations.
pub(crate) const MIGRATIONS: &[Migration] = &[Migration {
    version: 100,
    name: "batches, essays and phase log",
    sql: "
CREATE TABLE batches (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    expected_essay_count BIGINT NOT NULL,
    registration TEXT NOT NULL,
    status TEXT NOT NULL,
    client_status TEXT NOT NULL,
    state TEXT NOT NULL,
    provisioned_count BIGINT,
    failed_files TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX batches_of_user ON batches (user_id, created_at);
CREATE TABLE batch_essays (
    essay_id TEXT NOT NULL PRIMARY KEY,
    batch_id TEXT NOT NULL REFERENCES batches (id),
    place BIGINT NOT NULL,
    text_storage_id TEXT,
    spellcheck_metrics TEXT,
    failed_in TEXT
);
CREATE INDEX essays_of_batch ON batch_essays (batch_id, place);
CREATE TABLE phase_status_log (
    id {serial},
    batch_id TEXT NOT NULL REFERENCES batches (id),
    phase TEXT NOT NULL,
    from_status TEXT,
    to_status TEXT NOT NULL,
    successful BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    correlation_id TEXT NOT NULL,
    logged_at BIGINT NOT NULL
);
CREATE INDEX log_of_batch ON phase_status_log (batch_id, id);",
}];
