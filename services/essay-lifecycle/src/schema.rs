//! The service's tables.
//!
//! | table | one row is |
//! |---|---|
//! | `batch_trackers` | a registered batch: expectations, counts, and the row that serialises work on it |
//! | `essay_states` | a slot and the essay in it |
//! | `essay_timeline` | one step of an essay |
//! | `file_failures` | a file that cannot be assessed |
//! | `excess_content` | a file for which there was no slot |
//! | `pending_batches`, `pending_content` | a batch that is not registered yet, and its files |
//! | `phase_runs` | one run of a phase over a batch, with its counts and its outcome |
//! | `phase_members` | one essay in such a run |
//!
//! Essays are known by batch and id: clients may choose ids, so two batches may use the same one.

use huleedu_kit::store::Migration;

pub(crate) const MIGRATIONS: &[Migration] = &[Migration {
    version: 100,
    name: "batches, essays, files and phase runs",
    sql: "
CREATE TABLE batch_trackers (
    batch_id TEXT NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL DEFAULT 0,
    expected_count BIGINT NOT NULL,
    provisioned_count BIGINT NOT NULL DEFAULT 0,
    failed_count BIGINT NOT NULL DEFAULT 0,
    course_code TEXT NOT NULL,
    user_id TEXT NOT NULL,
    org_id TEXT,
    class_id TEXT,
    registered_at BIGINT NOT NULL,
    provisioning_completed_at BIGINT
);
CREATE TABLE essay_states (
    batch_id TEXT NOT NULL,
    essay_id TEXT NOT NULL,
    slot BIGINT NOT NULL,
    status TEXT NOT NULL,
    file_upload_id TEXT,
    file_name TEXT,
    raw_file_storage_id TEXT,
    text_storage_id TEXT,
    corrected_text_storage_id TEXT,
    corrections BIGINT,
    spellcheck_metrics TEXT,
    error TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (batch_id, essay_id),
    UNIQUE (batch_id, file_upload_id)
);
CREATE INDEX essay_states_by_essay ON essay_states (essay_id, created_at);
CREATE INDEX essay_states_free ON essay_states (batch_id, slot) WHERE status = 'uploaded';
CREATE TABLE essay_timeline (
    id {serial},
    batch_id TEXT NOT NULL,
    essay_id TEXT NOT NULL,
    cause TEXT NOT NULL,
    status TEXT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX essay_timeline_by_essay ON essay_timeline (batch_id, essay_id, id);
CREATE TABLE file_failures (
    batch_id TEXT NOT NULL,
    file_upload_id TEXT NOT NULL,
    file_name TEXT NOT NULL,
    essay_id TEXT,
    error_code TEXT NOT NULL,
    error TEXT NOT NULL,
    failed_at BIGINT NOT NULL,
    noted_at BIGINT NOT NULL,
    PRIMARY KEY (batch_id, file_upload_id)
);
CREATE TABLE excess_content (
    batch_id TEXT NOT NULL,
    file_upload_id TEXT NOT NULL,
    file_name TEXT NOT NULL,
    text_storage_id TEXT NOT NULL,
    noted_at BIGINT NOT NULL,
    PRIMARY KEY (batch_id, file_upload_id)
);
CREATE TABLE pending_batches (
    batch_id TEXT NOT NULL PRIMARY KEY,
    waiting BIGINT NOT NULL,
    first_at BIGINT NOT NULL
);
CREATE TABLE pending_content (
    id {serial},
    batch_id TEXT NOT NULL,
    file_upload_id TEXT NOT NULL,
    payload TEXT NOT NULL,
    UNIQUE (batch_id, file_upload_id)
);
CREATE TABLE phase_runs (
    batch_id TEXT NOT NULL,
    phase TEXT NOT NULL,
    run BIGINT NOT NULL,
    entered_count BIGINT NOT NULL,
    succeeded_count BIGINT NOT NULL,
    failed_count BIGINT NOT NULL,
    correlation_id TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    outcome_at BIGINT,
    outcome_status TEXT,
    PRIMARY KEY (batch_id, phase, run)
);
CREATE TABLE phase_members (
    batch_id TEXT NOT NULL,
    phase TEXT NOT NULL,
    run BIGINT NOT NULL,
    essay_id TEXT NOT NULL,
    position BIGINT NOT NULL,
    state TEXT NOT NULL,
    text_storage_id TEXT NOT NULL,
    reason TEXT,
    PRIMARY KEY (batch_id, phase, run, essay_id)
);",
}];
