//! The tables of this service.

use huleedu_kit::store::Migration;

/// Its migrations.
///
/// One row per request, by the id of its event: what was asked, what came out. `corrections` is the
/// list of changes as JSON, with offsets into the original text.
pub(crate) const MIGRATIONS: &[Migration] = &[Migration {
    version: 100,
    name: "spellcheck jobs",
    sql: "
CREATE TABLE spellcheck_jobs (
    event_id TEXT PRIMARY KEY,
    essay_id TEXT NOT NULL,
    batch_id TEXT NOT NULL,
    correlation_id TEXT NOT NULL,
    language TEXT NOT NULL,
    status TEXT NOT NULL,
    error_code TEXT,
    error_message TEXT,
    original_text_storage_id TEXT NOT NULL,
    corrected_text_storage_id TEXT,
    word_count BIGINT NOT NULL,
    total_corrections BIGINT NOT NULL,
    l2_dictionary_corrections BIGINT NOT NULL,
    spellchecker_corrections BIGINT NOT NULL,
    corrections TEXT NOT NULL,
    processor_version TEXT NOT NULL,
    processing_duration_ms BIGINT NOT NULL,
    completed_at BIGINT NOT NULL
);
CREATE INDEX spellcheck_jobs_by_essay ON spellcheck_jobs (essay_id, completed_at);
",
}];
