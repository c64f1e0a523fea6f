//! Tables of the Batch Conductor.

use huleedu_kit::store::Migration;

/// Its migrations.
pub(crate) const MIGRATIONS: &[Migration] = &[Migration {
    version: 100,
    name: "phase outcomes and announced skips",
    sql: "
CREATE TABLE phase_outcomes (
    batch_id TEXT NOT NULL,
    phase TEXT NOT NULL,
    status TEXT NOT NULL,
    ended_at BIGINT NOT NULL,
    PRIMARY KEY (batch_id, phase)
);
CREATE TABLE announced_skips (
    batch_id TEXT NOT NULL,
    phase TEXT NOT NULL,
    correlation_id TEXT NOT NULL,
    announced_at BIGINT NOT NULL,
    PRIMARY KEY (batch_id, phase, correlation_id)
);",
}];
