//! Runs of phases: which essays entered, how each came out, and that the outcome was told.

use huleedu_contracts::{
    ids::{BatchId, CorrelationId, EssayId, StorageId},
    metadata::SpellcheckMetricsV1,
    status::PhaseStatus,
};
use huleedu_kit::store::{StoreError, Tx};
use jiff::Timestamp;
use sqlx::Row as _;

use super::{corrupt, count, json_opt, parsed};
use crate::machine::Phase;

/// The number of the first run. Repeating a phase on command would count on from here.
pub(crate) const FIRST_RUN: i64 = 1;

/// Which run of which phase over which batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunKey {
    pub(crate) batch_id: BatchId,
    pub(crate) phase: Phase,
    pub(crate) run: i64,
}

/// A run that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenRun {
    pub(crate) key: RunKey,
    pub(crate) correlation_id: CorrelationId,
}

/// How many essays entered a run and came out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) entered: u32,
    pub(crate) succeeded: u32,
    pub(crate) failed: u32,
}

impl Counts {
    /// Whether every essay that entered has come out.
    pub(crate) const fn all_out(self) -> bool {
        self.succeeded + self.failed == self.entered
    }
}

/// How an essay stands in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemberState {
    Open,
    Succeeded,
    Failed,
}

impl MemberState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }

    fn parse(text: &str) -> Result<Self, StoreError> {
        [Self::Open, Self::Succeeded, Self::Failed]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| corrupt("phase_members.state", text))
    }
}

/// One essay in a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member {
    pub(crate) essay_id: EssayId,
    pub(crate) state: MemberState,
    /// The text the run was given and, once it succeeded, the text it left.
    pub(crate) text_storage_id: StorageId,
    /// What spell-checking found in the essay so far.
    pub(crate) metrics: Option<SpellcheckMetricsV1>,
}

/// Writes a new run; `false` when this run exists.
pub(crate) async fn insert_run(
    tx: &mut Tx,
    run: &OpenRun,
    counts: Counts,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO phase_runs (batch_id, phase, run, entered_count, succeeded_count, \
         failed_count, correlation_id, started_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
         ON CONFLICT (batch_id, phase, run) DO NOTHING",
    )
    .bind(run.key.batch_id.as_str())
    .bind(run.key.phase.name().as_str())
    .bind(run.key.run)
    .bind(i64::from(counts.entered))
    .bind(i64::from(counts.succeeded))
    .bind(i64::from(counts.failed))
    .bind(run.correlation_id.to_string())
    .bind(now.as_millisecond())
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes one essay of a run; `refusal` says why it could not enter.
pub(crate) async fn insert_member(
    tx: &mut Tx,
    key: &RunKey,
    position: usize,
    essay_id: &EssayId,
    text: &StorageId,
    refusal: Option<&str>,
) -> Result<(), StoreError> {
    let state = if refusal.is_none() {
        MemberState::Open
    } else {
        MemberState::Failed
    };
    sqlx::query(
        "INSERT INTO phase_members (batch_id, phase, run, essay_id, position, state, \
         text_storage_id, reason) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(key.batch_id.as_str())
    .bind(key.phase.name().as_str())
    .bind(key.run)
    .bind(essay_id.as_str())
    .bind(i64::try_from(position).unwrap_or(i64::MAX))
    .bind(state.as_str())
    .bind(text.as_str())
    .bind(refusal.map(str::to_owned))
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The run of this phase that has not ended, if there is one.
pub(crate) async fn open_run(
    tx: &mut Tx,
    batch_id: &BatchId,
    phase: Phase,
) -> Result<Option<OpenRun>, StoreError> {
    let row = sqlx::query(
        "SELECT run, correlation_id FROM phase_runs \
         WHERE batch_id = $1 AND phase = $2 AND outcome_at IS NULL ORDER BY run DESC LIMIT 1",
    )
    .bind(batch_id.as_str())
    .bind(phase.name().as_str())
    .fetch_optional(tx.conn())
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(OpenRun {
        key: RunKey {
            batch_id: batch_id.clone(),
            phase,
            run: row.try_get("run")?,
        },
        correlation_id: parsed(&row, "correlation_id")?,
    }))
}

/// How one essay stands in a run; `None` when it never entered.
pub(crate) async fn member_state(
    tx: &mut Tx,
    key: &RunKey,
    essay_id: &EssayId,
) -> Result<Option<MemberState>, StoreError> {
    let row = sqlx::query(
        "SELECT state FROM phase_members \
         WHERE batch_id = $1 AND phase = $2 AND run = $3 AND essay_id = $4",
    )
    .bind(key.batch_id.as_str())
    .bind(key.phase.name().as_str())
    .bind(key.run)
    .bind(essay_id.as_str())
    .fetch_optional(tx.conn())
    .await?;
    row.map(|row| MemberState::parse(&row.try_get::<String, _>("state")?))
        .transpose()
}

/// Lets an open member come out, with the text it leaves or the reason of its failure.
pub(crate) async fn settle_member(
    tx: &mut Tx,
    key: &RunKey,
    essay_id: &EssayId,
    state: MemberState,
    text: Option<&StorageId>,
    reason: Option<&str>,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE phase_members SET state = $5, reason = $6, \
         text_storage_id = COALESCE($7, text_storage_id) \
         WHERE batch_id = $1 AND phase = $2 AND run = $3 AND essay_id = $4 AND state = 'open'",
    )
    .bind(key.batch_id.as_str())
    .bind(key.phase.name().as_str())
    .bind(key.run)
    .bind(essay_id.as_str())
    .bind(state.as_str())
    .bind(reason.map(str::to_owned))
    .bind(text.map(|id| id.as_str().to_owned()))
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Adds essays that came out to a run's counts, and returns them.
pub(crate) async fn add_counts(
    tx: &mut Tx,
    key: &RunKey,
    succeeded: u32,
    failed: u32,
) -> Result<Counts, StoreError> {
    let row = sqlx::query(
        "UPDATE phase_runs SET succeeded_count = succeeded_count + $4, \
         failed_count = failed_count + $5 WHERE batch_id = $1 AND phase = $2 AND run = $3 \
         RETURNING entered_count, succeeded_count, failed_count",
    )
    .bind(key.batch_id.as_str())
    .bind(key.phase.name().as_str())
    .bind(key.run)
    .bind(i64::from(succeeded))
    .bind(i64::from(failed))
    .fetch_one(tx.conn())
    .await?;
    Ok(Counts {
        entered: count(&row, "entered_count")?,
        succeeded: count(&row, "succeeded_count")?,
        failed: count(&row, "failed_count")?,
    })
}

/// Every essay of a run, in the order of the command.
pub(crate) async fn members(tx: &mut Tx, key: &RunKey) -> Result<Vec<Member>, StoreError> {
    let rows = sqlx::query(
        "SELECT m.essay_id, m.state, m.text_storage_id, e.spellcheck_metrics \
         FROM phase_members m LEFT JOIN essay_states e \
         ON e.batch_id = m.batch_id AND e.essay_id = m.essay_id \
         WHERE m.batch_id = $1 AND m.phase = $2 AND m.run = $3 ORDER BY m.position",
    )
    .bind(key.batch_id.as_str())
    .bind(key.phase.name().as_str())
    .bind(key.run)
    .fetch_all(tx.conn())
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Member {
                essay_id: parsed(row, "essay_id")?,
                state: MemberState::parse(&row.try_get::<String, _>("state")?)?,
                text_storage_id: parsed(row, "text_storage_id")?,
                metrics: json_opt(row, "spellcheck_metrics")?,
            })
        })
        .collect()
}

/// Notes that a run has ended; `false` when that had been noted before.
pub(crate) async fn end_run(
    tx: &mut Tx,
    key: &RunKey,
    status: PhaseStatus,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE phase_runs SET outcome_at = $4, outcome_status = $5 \
         WHERE batch_id = $1 AND phase = $2 AND run = $3 AND outcome_at IS NULL",
    )
    .bind(key.batch_id.as_str())
    .bind(key.phase.name().as_str())
    .bind(key.run)
    .bind(now.as_millisecond())
    .bind(status.as_str())
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}
