//! The tables of this service.

use huleedu_kit::store::Migration;

/// Its migrations.
///
/// A job is one request to rank a batch. An essay's key holds the job, so that the same essay can
/// be assessed again. `node` is the essay's index in the mathematics; its `text` is kept while the
/// job runs and emptied at its end. A comparison is `pending` from the moment it is planned until
/// it is `won` by one of the two or given up as `failed`.
pub(crate) const MIGRATIONS: &[Migration] = &[Migration {
    version: 100,
    name: "jobs, essays and comparisons",
    sql: "
CREATE TABLE cj_jobs (
    position {serial},
    job_id TEXT NOT NULL UNIQUE,
    batch_id TEXT NOT NULL,
    request TEXT NOT NULL,
    status TEXT NOT NULL,
    open BIGINT NOT NULL,
    assignment_text TEXT,
    budget BIGINT,
    end_reason TEXT,
    error TEXT,
    correlation_id TEXT NOT NULL,
    traceparent TEXT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    next_try_at BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX cj_jobs_open ON cj_jobs (next_try_at) WHERE open = 1;
CREATE INDEX cj_jobs_batch ON cj_jobs (batch_id);
CREATE TABLE cj_essays (
    job_id TEXT NOT NULL,
    essay_id TEXT NOT NULL,
    text_storage_id TEXT NOT NULL,
    text TEXT,
    node BIGINT,
    error TEXT,
    score DOUBLE PRECISION,
    standard_error DOUBLE PRECISION,
    normalized_score DOUBLE PRECISION,
    place BIGINT,
    PRIMARY KEY (job_id, essay_id)
);
CREATE TABLE cj_comparisons (
    job_id TEXT NOT NULL,
    wave BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    kind TEXT NOT NULL,
    node_a BIGINT NOT NULL,
    node_b BIGINT NOT NULL,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    winner TEXT,
    confidence DOUBLE PRECISION,
    justification TEXT,
    provider TEXT,
    model TEXT,
    sandbox BIGINT,
    prompt_tokens BIGINT,
    completion_tokens BIGINT,
    elapsed_ms BIGINT,
    error TEXT,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (job_id, wave, seq)
);",
}];
