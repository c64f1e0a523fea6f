//! Progress per phase: a bar on a terminal, plain lines elsewhere.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use huleedu_contracts::{
    api::gateway::{BatchStatusDetails, EssayPhaseStatus},
    status::{BatchClientStatus, PhaseName},
};
use indicatif::{ProgressBar, ProgressStyle};

use crate::out;

/// Shows one phase after another.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    phase: String,
    /// Last plain line, so that the same is not said twice.
    said: String,
}

/// How far a phase is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) phase: &'static str,
    pub(crate) done: u64,
    pub(crate) total: u64,
}

impl Progress {
    /// Shows on standard error.
    pub(crate) fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(1);
            let style = ProgressStyle::with_template(
                "{spinner} {msg:24} {wide_bar} {pos}/{len}  {elapsed}",
            )
            .unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.set_style(style);
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self {
            bar,
            phase: String::new(),
            said: String::new(),
        }
    }

    /// Shows nothing, for tests.
    #[cfg(test)]
    pub(crate) fn silent() -> Self {
        Self {
            bar: Some(ProgressBar::hidden()),
            phase: String::new(),
            said: String::new(),
        }
    }

    /// Says something else, above the bar if there is one.
    pub(crate) fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) if bar.is_hidden() => {}
            Some(bar) => bar.suspend(|| out::note(text)),
            None => out::note(text),
        }
    }

    /// Says where things stand.
    pub(crate) fn show(&mut self, step: &Step) {
        if let Some(bar) = &self.bar {
            // A bar of nothing would show as full.
            bar.set_length(step.total.max(1));
            bar.set_position(step.done);
            if self.phase != step.phase {
                bar.reset_elapsed();
                bar.set_message(step.phase);
                step.phase.clone_into(&mut self.phase);
            }
            return;
        }
        let text = format!("{}: {}/{}", step.phase, step.done, step.total);
        if self.said != text {
            out::note(&text);
            self.said = text;
        }
    }

    /// Removes the bar, so that other output starts on a clean line.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The phase that the status tells of.
pub(crate) fn step(details: &BatchStatusDetails) -> Step {
    let total = details.essay_count.into();
    let completed = BatchClientStatus::CompletedSuccessfully;
    if [completed, BatchClientStatus::CompletedWithFailures].contains(&details.overall_status) {
        return Step {
            phase: "completed",
            done: total,
            total,
        };
    }
    let Some(current) = details.current_phase else {
        let with_text = details
            .essays
            .iter()
            .filter(|e| e.filename.is_some())
            .count()
            + details.failed_files.len();
        return Step {
            phase: "reading files",
            done: with_text as u64,
            total,
        };
    };
    let finished = |status: Option<EssayPhaseStatus>| {
        matches!(
            status,
            Some(EssayPhaseStatus::Completed | EssayPhaseStatus::Failed)
        )
    };
    match current {
        PhaseName::Spellcheck => Step {
            phase: "checking spelling",
            done: details
                .essays
                .iter()
                .filter(|e| finished(e.spellcheck_status))
                .count() as u64,
            total: details
                .essays
                .iter()
                .filter(|e| e.filename.is_some())
                .count() as u64,
        },
        _ => Step {
            phase: "comparing essays",
            done: details.comparisons_total.unwrap_or(0).into(),
            total: details.comparisons_budget.unwrap_or(0).into(),
        },
    }
}
