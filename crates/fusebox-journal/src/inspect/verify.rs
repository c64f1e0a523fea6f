//! Reads every byte that counts and says what is wrong.

use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;

use super::walk::{Limits, Step};
use super::{CURSOR, CursorState, Finding, FindingKind, Inspection, Seen};
use crate::JournalError;
use crate::format::HEADER;

/// How far a verification is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes of segment files that have been read.
    pub done: u64,
    /// Bytes of segment files in all.
    pub total: u64,
}

/// What was read of one set of files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// Segment files.
    pub segments: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Records that are whole.
    pub records: u64,
    /// Those of them that are not settled.
    pub waiting: u64,
}

/// What a verification says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The journal.
    pub journal: Checked,
    /// Its dead letters.
    pub dead: Checked,
    /// What is wrong, the first 1000.
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub more_findings: u64,
    /// Records that are gone and were not settled.
    pub lost: u64,
    /// Files that a live owner is writing, and from where on they were not judged.
    pub unjudged: Vec<(PathBuf, u64)>,
}

/// Findings that are kept one by one.
const MOST_FINDINGS: usize = 1000;

impl Report {
    /// Whether there is nothing but what an ordinary crash leaves behind.
    pub fn is_sound(&self) -> bool {
        self.more_findings == 0 && self.findings.iter().all(|f| f.kind.is_harmless())
    }

    fn add(&mut self, finding: Finding) {
        self.lost += finding.lost;
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(finding);
        } else {
            self.more_findings += 1;
        }
    }
}

impl Inspection {
    /// Reads journal and dead letters from end to end: headers, cursors, every record's checksum.
    /// `progress` is called now and then.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn verify(&self, mut progress: impl FnMut(Progress)) -> Result<Report, JournalError> {
        let dead = self.look_at_dead()?;
        let mut state = Progress {
            done: 0,
            total: self.bytes() + dead.as_ref().map_or(0, Self::bytes),
        };
        let mut report = Report::default();
        report.journal = self.check(&mut report, &mut state, &mut progress)?;
        if let Some(dead) = dead {
            report.dead = dead.check(&mut report, &mut state, &mut progress)?;
        }
        state.done = state.total;
        progress(state);
        Ok(report)
    }

    fn check(
        &self,
        report: &mut Report,
        state: &mut Progress,
        progress: &mut impl FnMut(Progress),
    ) -> Result<Checked, JournalError> {
        /// Bytes between two calls of `progress`.
        const EVERY: u64 = 4 << 20;
        let mut checked = Checked {
            segments: self.segments.len() as u64,
            bytes: self.bytes(),
            ..Checked::default()
        };
        self.check_cursor(report)?;
        let start = state.done;
        let mut told = start;
        self.walk(0, Limits { headers: true }, &mut |step| {
            match step {
                Step::Seen(Seen::Record(record)) => {
                    checked.records += 1;
                    checked.waiting += u64::from(!record.settled);
                    state.done = (state.done + record.size).min(start + checked.bytes);
                    if state.done >= told + EVERY {
                        told = state.done;
                        progress(*state);
                    }
                }
                Step::Encrypted { settled } => {
                    checked.records += 1;
                    checked.waiting += u64::from(!settled);
                }
                Step::Seen(Seen::Finding(finding)) => report.add(finding),
                Step::Tail { segment, from } => report.unjudged.push((self.path(segment), from)),
            }
            ControlFlow::Continue(())
        })?;
        state.done = start + checked.bytes;
        Ok(checked)
    }

    fn check_cursor(&self, report: &mut Report) -> Result<(), JournalError> {
        let file = self.dir.join(CURSOR);
        let size = match self.fs.open(&file, crate::fs::OpenMode::Read) {
            Ok(file) => file.size(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        };
        let size = size.map_err(JournalError::io("read the cursor"))?;
        let finding = |kind, bytes| Finding::new(kind, file.clone(), bytes);
        match self.cursor {
            CursorState::Lost => report.add(finding(FindingKind::Cursor, 0..size)),
            CursorState::Slots(readable) => {
                let slot = size.saturating_sub(HEADER as u64) / 2;
                for (index, _) in (0..).zip(readable).filter(|(_, readable)| !readable) {
                    // A live owner is writing one of them.
                    if self.owner.is_none() {
                        let at = HEADER as u64 + index * slot;
                        report.add(finding(FindingKind::CursorSlot, at..at + slot));
                    }
                }
            }
        }
        Ok(())
    }
}
