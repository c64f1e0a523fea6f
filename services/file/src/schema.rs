//! The tables of this service.

use huleedu_kit::store::Migration;

/// Its migrations.
///
/// `raw_bytes` is emptied when a file is settled: by then the Content Service has the bytes.
pub(crate) const MIGRATIONS: &[Migration] = &[Migration {
    version: 100,
    name: "file uploads",
    sql: "
CREATE TABLE file_uploads (
    position {serial},
    file_upload_id TEXT NOT NULL UNIQUE,
    request_id TEXT NOT NULL,
    status TEXT NOT NULL,
    batch_id TEXT,
    user_id TEXT NOT NULL,
    assignment_id TEXT,
    filename TEXT NOT NULL,
    file_size BIGINT NOT NULL,
    raw_bytes {blob},
    raw_storage_id TEXT,
    text_storage_id TEXT,
    error_code TEXT,
    error_message TEXT,
    correlation_id TEXT NOT NULL,
    traceparent TEXT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    next_try_at BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX file_uploads_due ON file_uploads (next_try_at) WHERE status = 'received';
CREATE INDEX file_uploads_batch ON file_uploads (batch_id);
CREATE INDEX file_uploads_request ON file_uploads (request_id);",
}];
