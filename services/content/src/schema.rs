//! The tables of this service.

use huleedu_kit::store::Migration;

/// Its migrations.
pub(crate) const MIGRATIONS: &[Migration] = &[Migration {
    version: 100,
    name: "stored content",
    sql: "
CREATE TABLE stored_content (
    content_id TEXT NOT NULL PRIMARY KEY,
    content_type TEXT NOT NULL,
    content_data {blob} NOT NULL,
    content_size BIGINT NOT NULL,
    correlation_id TEXT NOT NULL,
    created_at BIGINT NOT NULL
);",
}];
