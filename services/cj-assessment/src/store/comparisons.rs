//! The table of comparisons.

use fusebox_llm::{Judged, Side};
use huleedu_kit::store::{StoreError, now_ms};
use sqlx::Row as _;

use super::{Jobs, signed, unsigned};
use crate::pairing::Pair;

/// What a wave is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaveKind {
    /// Pairs that had never met.
    Coverage,
    /// Pairs that had met before.
    Resampling,
}

/// How a comparison stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ComparisonState {
    /// Planned; tried so many times without a readable answer.
    Pending { attempts: u32 },
    /// Judged.
    Won(Side),
    /// Given up.
    Failed,
}

/// One comparison of a job.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Comparison {
    pub(crate) wave: u32,
    pub(crate) seq: u32,
    pub(crate) kind: WaveKind,
    pub(crate) pair: Pair,
    pub(crate) state: ComparisonState,
}

/// What became of a try.
#[derive(Debug)]
pub(crate) enum Answer<'a> {
    /// A judgement.
    Judged(&'a Judged),
    /// No readable answer; it will be tried again.
    Unreadable,
    /// It is given up, for this reason.
    GivenUp(String),
}

/// How many comparisons a model judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JudgeCount {
    pub(crate) provider: String,
    pub(crate) model: String,
    pub(crate) sandbox: bool,
    pub(crate) comparisons: u32,
}

const PENDING: &str = "pending";
const WON: &str = "won";
const FAILED: &str = "failed";

impl WaveKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Coverage => "coverage",
            Self::Resampling => "resampling",
        }
    }
}

impl Jobs {
    /// The comparisons of a job in the order in which they were planned.
    pub(crate) async fn comparisons(&self, job_id: &str) -> Result<Vec<Comparison>, StoreError> {
        let rows = sqlx::query(
            "SELECT wave, seq, kind, node_a, node_b, state, attempts, winner FROM cj_comparisons \
             WHERE job_id = $1 ORDER BY wave, seq",
        )
        .bind(job_id)
        .fetch_all(self.store.pool())
        .await?;
        rows.iter().map(comparison).collect()
    }

    /// Stores a wave before anything of it is sent. A wave that is there already stays as it is.
    pub(crate) async fn plan_wave(
        &self,
        job_id: &str,
        wave: u32,
        kind: WaveKind,
        pairs: &[Pair],
    ) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        let now = now_ms();
        for (seq, pair) in pairs.iter().enumerate() {
            sqlx::query(
                "INSERT INTO cj_comparisons (job_id, wave, seq, kind, node_a, node_b, state, \
                 updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
                 ON CONFLICT (job_id, wave, seq) DO NOTHING",
            )
            .bind(job_id)
            .bind(signed(wave))
            .bind(signed(seq))
            .bind(kind.as_str())
            .bind(signed(pair.a))
            .bind(signed(pair.b))
            .bind(PENDING)
            .bind(now)
            .execute(tx.conn())
            .await?;
        }
        tx.commit().await
    }

    /// Stores what became of a try; a comparison that is settled stays as it is.
    pub(crate) async fn record(
        &self,
        job_id: &str,
        comparison: &Comparison,
        answer: &Answer<'_>,
    ) -> Result<(), StoreError> {
        let query = match answer {
            Answer::Judged(judged) => sqlx::query(
                "UPDATE cj_comparisons SET state = $4, updated_at = $5, winner = $6, \
                 confidence = $7, justification = $8, provider = $9, model = $10, sandbox = $11, \
                 prompt_tokens = $12, completion_tokens = $13, elapsed_ms = $14, \
                 attempts = attempts + 1 \
                 WHERE job_id = $1 AND wave = $2 AND seq = $3 AND state = 'pending'",
            )
            .bind(job_id)
            .bind(signed(comparison.wave))
            .bind(signed(comparison.seq))
            .bind(WON)
            .bind(now_ms())
            .bind(judged.judgement.winner.as_str())
            .bind(judged.judgement.confidence.get())
            .bind(judged.judgement.justification.as_str())
            .bind(judged.provider.as_str())
            .bind(judged.model.as_str())
            .bind(i64::from(judged.sandbox))
            .bind(signed(judged.usage.prompt))
            .bind(signed(judged.usage.completion))
            .bind(signed(judged.elapsed.as_millis())),
            Answer::Unreadable => sqlx::query(
                "UPDATE cj_comparisons SET attempts = attempts + 1, updated_at = $4 \
                 WHERE job_id = $1 AND wave = $2 AND seq = $3 AND state = 'pending'",
            )
            .bind(job_id)
            .bind(signed(comparison.wave))
            .bind(signed(comparison.seq))
            .bind(now_ms()),
            Answer::GivenUp(why) => sqlx::query(
                "UPDATE cj_comparisons SET state = $4, updated_at = $5, error = $6, \
                 attempts = attempts + 1 \
                 WHERE job_id = $1 AND wave = $2 AND seq = $3 AND state = 'pending'",
            )
            .bind(job_id)
            .bind(signed(comparison.wave))
            .bind(signed(comparison.seq))
            .bind(FAILED)
            .bind(now_ms())
            .bind(why.as_str()),
        };
        query.execute(self.store.pool()).await?;
        Ok(())
    }

    /// Who judged a job, most comparisons first.
    pub(crate) async fn judges(&self, job_id: &str) -> Result<Vec<JudgeCount>, StoreError> {
        let rows = sqlx::query(
            "SELECT provider, model, sandbox, COUNT(*) AS comparisons FROM cj_comparisons \
             WHERE job_id = $1 AND state = 'won' GROUP BY provider, model, sandbox \
             ORDER BY comparisons DESC, provider, model",
        )
        .bind(job_id)
        .fetch_all(self.store.pool())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(JudgeCount {
                    provider: row.try_get("provider")?,
                    model: row.try_get("model")?,
                    sandbox: row.try_get::<i64, _>("sandbox")? != 0,
                    comparisons: unsigned("a count", row.try_get("comparisons")?)?,
                })
            })
            .collect()
    }
}

fn comparison(row: &sqlx::any::AnyRow) -> Result<Comparison, StoreError> {
    let kind: String = row.try_get("kind")?;
    let state: String = row.try_get("state")?;
    let winner: Option<String> = row.try_get("winner")?;
    let corrupt = |what: &str, value: &str| {
        StoreError::Corrupt(format!("cj_comparisons.{what} is `{value}`"))
    };
    let state = match (state.as_str(), winner.as_deref()) {
        (PENDING, _) => ComparisonState::Pending {
            attempts: unsigned("cj_comparisons.attempts", row.try_get("attempts")?)?,
        },
        (FAILED, _) => ComparisonState::Failed,
        (WON, Some(winner)) => ComparisonState::Won(
            [Side::A, Side::B]
                .into_iter()
                .find(|side| side.as_str() == winner)
                .ok_or_else(|| corrupt("winner", winner))?,
        ),
        _ => return Err(corrupt("state", &state)),
    };
    Ok(Comparison {
        wave: unsigned("cj_comparisons.wave", row.try_get("wave")?)?,
        seq: unsigned("cj_comparisons.seq", row.try_get("seq")?)?,
        kind: [WaveKind::Coverage, WaveKind::Resampling]
            .into_iter()
            .find(|known| known.as_str() == kind)
            .ok_or_else(|| corrupt("kind", &kind))?,
        pair: Pair {
            a: unsigned("cj_comparisons.node_a", row.try_get("node_a")?)?,
            b: unsigned("cj_comparisons.node_b", row.try_get("node_b")?)?,
        },
        state,
    })
}
