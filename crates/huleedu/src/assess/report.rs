//! The result: for people as tables, for machines as JSON.

use std::{fs, path::Path};

use anyhow::Context as _;
use fusebox::Snapshot;
use huleedu_contracts::{api::gateway::BatchStatusBody, bounds::NonNegative};
use serde::Serialize;

use super::drill::Drilled;
use crate::{audit::EventCounts, out};

/// Everything that `assess` found out.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) batch: Batch,
    pub(crate) ranking: Vec<Ranked>,
    pub(crate) failed_files: Vec<FailedFile>,
    pub(crate) circuits: Vec<Circuit>,
    /// Not known of a platform in another process.
    pub(crate) events: Option<EventCounts>,
    pub(crate) judges: Vec<Judge>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) drill: Option<Drilled>,
}

/// The batch as a whole.
#[derive(Debug, Serialize)]
pub(crate) struct Batch {
    pub(crate) id: String,
    pub(crate) status: String,
    pub(crate) seconds: f64,
}

/// One essay in its place.
#[derive(Debug, Serialize)]
pub(crate) struct Ranked {
    pub(crate) rank: u32,
    pub(crate) file: String,
    pub(crate) score: f64,
    pub(crate) standard_error: Option<f64>,
    pub(crate) comparisons: u32,
    pub(crate) corrections: Option<u32>,
}

/// A file that could not be assessed.
#[derive(Debug, Serialize)]
pub(crate) struct FailedFile {
    pub(crate) file: String,
    pub(crate) reason: String,
}

/// One circuit at the end.
#[derive(Debug, Serialize)]
#[allow(clippy::struct_field_names, reason = "the names are the JSON's")]
pub(crate) struct Circuit {
    pub(crate) service_name: String,
    pub(crate) circuit_name: String,
    pub(crate) state: String,
    pub(crate) calls: u64,
    pub(crate) failures: u64,
    pub(crate) blocked: u64,
}

/// Who judged how often.
#[derive(Debug, Serialize)]
pub(crate) struct Judge {
    pub(crate) provider: String,
    pub(crate) model: String,
    pub(crate) comparisons: u32,
    /// Whether this was the sandbox, which is no AI.
    pub(crate) sandbox: bool,
}

impl Report {
    /// Puts the parts together.
    pub(crate) fn new(
        body: BatchStatusBody,
        seconds: f64,
        snapshots: Vec<Snapshot>,
        events: Option<EventCounts>,
        drill: Option<Drilled>,
    ) -> Self {
        let details = body.details;
        let mut failed_files: Vec<_> = details
            .failed_files
            .into_iter()
            .map(|f| FailedFile {
                file: f.filename,
                reason: f.message,
            })
            .collect();
        let mut ranking = Vec::new();
        for essay in details.essays {
            let file = essay.filename.unwrap_or_else(|| essay.essay_id.to_string());
            if let (Some(rank), Some(score)) = (essay.cj_rank, essay.cj_score) {
                ranking.push(Ranked {
                    rank: rank.get(),
                    file,
                    score: score.get(),
                    standard_error: essay.cj_standard_error.map(NonNegative::get),
                    comparisons: essay.cj_comparison_count.unwrap_or(0),
                    corrections: essay.spellcheck_correction_count,
                });
            } else if let Some(error) = essay
                .spellcheck_error_detail
                .or(essay.cj_assessment_error_detail)
            {
                failed_files.push(FailedFile {
                    file,
                    reason: error.message,
                });
            }
        }
        ranking.sort_by(|a, b| (a.rank, &a.file).cmp(&(b.rank, &b.file)));
        failed_files.sort_by(|a, b| a.file.cmp(&b.file));
        let circuits = snapshots
            .into_iter()
            .map(|s| Circuit {
                service_name: s.service_name,
                circuit_name: s.circuit_name,
                state: s.state.to_string(),
                calls: s.counts.success + s.counts.failure + s.counts.neutral,
                failures: s.counts.failure,
                blocked: s.counts.blocked,
            })
            .collect();
        let judges = details
            .judges
            .into_iter()
            .map(|j| Judge {
                provider: j.provider,
                model: j.model,
                comparisons: j.comparisons,
                sandbox: j.sandbox,
            })
            .collect();
        Self {
            batch: Batch {
                id: details.batch_id.to_string(),
                status: body.status.to_string(),
                seconds,
            },
            ranking,
            failed_files,
            circuits,
            events,
            judges,
            drill,
        }
    }

    /// An assessment without a ranking has failed.
    pub(crate) fn ensure_ranked(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            !self.ranking.is_empty(),
            "the batch ended as {} and ranks nothing",
            self.batch.status
        );
        Ok(())
    }

    /// Writes the JSON beside the file first, so that a half-written result is never there.
    pub(crate) fn write_json(&self, path: &Path) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(self).context("the result is not JSON")?;
        text.push('\n');
        let beside = path.with_extension("json.tmp");
        fs::write(&beside, text)
            .and_then(|()| fs::rename(&beside, path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// The tables.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        let dash = || "-".to_owned();
        let rows: Vec<_> = self
            .ranking
            .iter()
            .map(|r| {
                vec![
                    r.rank.to_string(),
                    r.file.clone(),
                    format!("{:.3}", r.score),
                    r.standard_error.map_or_else(dash, |v| format!("{v:.3}")),
                    r.comparisons.to_string(),
                    r.corrections.map_or_else(dash, |n| n.to_string()),
                ]
            })
            .collect();
        let head = [
            "rank",
            "file",
            "score",
            "std.error",
            "comparisons",
            "corrections",
        ];
        push(&mut text, &out::table(&head, &rows));
        if !self.failed_files.is_empty() {
            let rows: Vec<_> = self
                .failed_files
                .iter()
                .map(|f| vec![f.file.clone(), f.reason.clone()])
                .collect();
            push(&mut text, "");
            push(&mut text, &out::table(&["not assessed", "reason"], &rows));
        }
        push(&mut text, "");
        for judge in &self.judges {
            let note = if judge.sandbox {
                " (sandbox: a heuristic, no AI)"
            } else {
                ""
            };
            push(
                &mut text,
                &format!(
                    "judged by {} {}: {} comparisons{note}",
                    judge.provider, judge.model, judge.comparisons
                ),
            );
        }
        push(&mut text, "");
        let rows: Vec<_> = self
            .circuits
            .iter()
            .map(|c| {
                vec![
                    c.circuit_name.clone(),
                    c.state.clone(),
                    c.calls.to_string(),
                    c.failures.to_string(),
                    c.blocked.to_string(),
                ]
            })
            .collect();
        if !rows.is_empty() {
            let head = ["circuit", "state", "calls", "failures", "refused"];
            push(&mut text, &out::table(&head, &rows));
            push(&mut text, "");
        }
        if let Some(drill) = &self.drill {
            push(&mut text, &drill.to_text());
        }
        if let Some(e) = &self.events {
            push(
                &mut text,
                &format!(
                    "events: {} published, {} delivered, {} waiting, {} lost",
                    e.published, e.delivered, e.waiting, e.lost
                ),
            );
        }
        push(
            &mut text,
            &format!(
                "batch {}: {} in {:.1} s",
                self.batch.id, self.batch.status, self.batch.seconds
            ),
        );
        text.pop();
        text
    }
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}
