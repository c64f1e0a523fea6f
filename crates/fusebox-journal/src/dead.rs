//! Dead letters: a log of its own with an index in memory, rebuilt when it is opened.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::format::frame::NewRecord;
use crate::format::tags;
use crate::fs::Fs;
use crate::log::{Log, Read, Usage};
use crate::{Entry, JournalConfig, JournalError, OpenError, Position};

/// Why a record was buried.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Burial {
    /// A short name of the last error.
    pub code: String,
    /// The last error in words.
    pub reason: String,
    /// The first error, when it was another one.
    pub first_reason: Option<String>,
    /// How often delivery was tried.
    pub attempts: u32,
    /// When it was given up, in milliseconds since the Unix epoch.
    pub buried_at_ms: i64,
}

/// A dead letter without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadSummary {
    /// Its place among the dead letters.
    pub position: Position,
    /// Its place in the journal before.
    pub origin: Position,
    /// The id it was appended with.
    pub id: [u8; 16],
    /// The label it was appended with.
    pub label: Arc<str>,
    /// When it was admitted, in milliseconds since the Unix epoch.
    pub admitted_at_ms: i64,
    /// Bytes of its content.
    pub size: u64,
    /// Short name of the last error.
    pub code: Arc<str>,
    /// When it was given up, in milliseconds since the Unix epoch.
    pub buried_at_ms: i64,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its place among the dead letters.
    pub position: Position,
    /// Its place in the journal before.
    pub origin: Position,
    /// What was appended.
    pub entry: Entry,
    /// Why it is here.
    pub burial: Burial,
}

/// The store of dead letters.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    log: Log,
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    letters: BTreeMap<u64, DeadSummary>,
    by_origin: HashMap<u64, u64>,
}

impl Index {
    fn add(&mut self, summary: DeadSummary) {
        self.by_origin.insert(summary.origin.0, summary.position.0);
        self.letters.insert(summary.position.0, summary);
    }

    fn remove(&mut self, position: u64) {
        if let Some(summary) = self.letters.remove(&position) {
            self.by_origin.remove(&summary.origin.0);
        }
    }
}

/// Bytes of one page while the index is built.
const PAGE_BYTES: usize = 4 << 20;

impl DeadLetters {
    pub(crate) fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        config: &JournalConfig,
    ) -> Result<Self, OpenError> {
        let log = Log::open(fs, dir, config.dead())?;
        let mut index = Index::default();
        let mut after = 0;
        loop {
            let page = log.read(after, 1024, PAGE_BYTES).map_err(|error| {
                let source = std::io::Error::other(error);
                OpenError::Io {
                    what: "read the dead letters in",
                    path: dir.to_owned(),
                    source,
                }
            })?;
            let Some(last) = page.last() else { break };
            after = last.stored.position.0;
            for read in &page {
                index.add(summary(read));
            }
        }
        Ok(Self {
            log,
            index: Mutex::new(index),
        })
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn usage(&self) -> Usage {
        self.log.usage()
    }

    pub(crate) fn prepare_spare(&self) -> Result<(), crate::AppendError> {
        self.log.prepare_spare()
    }

    pub(crate) fn save(&self) -> Result<(), JournalError> {
        self.log.save_cursor()
    }

    /// The dead letter that was at `origin` in the journal.
    pub(crate) fn of_origin(&self, origin: u64) -> Option<DeadSummary> {
        let index = self.index();
        let position = index.by_origin.get(&origin)?;
        index.letters.get(position).cloned()
    }

    /// Positions in the journal that have a dead letter.
    pub(crate) fn origins(&self) -> Vec<(u64, [u8; 16])> {
        let index = self.index();
        let letters = index.letters.values();
        letters.map(|s| (s.origin.0, s.id)).collect()
    }

    /// Adds a dead letter, durably.
    pub(crate) fn add(
        &self,
        origin: Position,
        entry: &Entry,
        burial: &Burial,
    ) -> Result<Position, JournalError> {
        let failed = |source| JournalError::Append {
            what: "the dead letter",
            source,
        };
        let mut extra = Vec::new();
        tags::push(&mut extra, tags::ORIGIN, &origin.0.to_le_bytes());
        tags::push_text(&mut extra, tags::CODE, &burial.code);
        tags::push_text(&mut extra, tags::REASON, &burial.reason);
        if let Some(first) = &burial.first_reason {
            tags::push_text(&mut extra, tags::FIRST_REASON, first);
        }
        tags::push(&mut extra, tags::ATTEMPTS, &burial.attempts.to_le_bytes());
        tags::push(
            &mut extra,
            tags::BURIED_AT,
            &burial.buried_at_ms.to_le_bytes(),
        );
        let record = NewRecord {
            entry: entry.clone(),
            tags: extra,
        };
        self.log.check_size(&record).map_err(failed)?;
        if self.log.usage().waiting >= self.log.max_records() {
            return Err(failed(crate::AppendError::Full));
        }
        let appended = self.log.append(vec![record.clone()], &|| ());
        if let Some(error) = appended.error {
            return Err(failed(error));
        }
        let position = Position(appended.first);
        let read = Read {
            tags: Bytes::from(record.tags.clone()),
            stored: record.into_stored(appended.first),
        };
        self.index().add(summary(&read));
        Ok(position)
    }

    /// Dead letters behind `after`, ascending, that `filter` takes: at most `limit`.
    pub(crate) fn list(
        &self,
        after: Position,
        limit: usize,
        filter: impl Fn(&DeadSummary) -> bool,
    ) -> Vec<DeadSummary> {
        let index = self.index();
        let letters = index.letters.range(after.0.saturating_add(1)..);
        let wanted = letters.map(|(_, summary)| summary).filter(|s| filter(s));
        wanted.take(limit).cloned().collect()
    }

    /// One dead letter with all it has.
    pub(crate) fn get(&self, position: Position) -> Result<DeadLetter, JournalError> {
        let read = match position.0.checked_sub(1) {
            Some(before) => self.log.read(before, 1, usize::MAX)?.pop(),
            None => None,
        };
        let read = read
            .filter(|read| read.stored.position == position)
            .ok_or(JournalError::NotFound(position))?;
        Ok(letter(read))
    }

    /// Removes a dead letter, durably.
    pub(crate) fn remove(&self, position: Position) -> Result<(), JournalError> {
        if !self.index().letters.contains_key(&position.0) {
            return Err(JournalError::NotFound(position));
        }
        self.log.settle(&[position.0]);
        self.log.save_cursor()?;
        self.index().remove(position.0);
        Ok(())
    }
}

fn origin(read: &Read) -> Position {
    Position(tags::get_u64(&read.tags, tags::ORIGIN).unwrap_or(0))
}

fn buried_at(read: &Read) -> i64 {
    let value = tags::get(&read.tags, tags::BURIED_AT).and_then(|v| v.try_into().ok());
    value.map_or(0, i64::from_le_bytes)
}

/// The dead letter a record is.
pub(crate) fn letter(read: Read) -> DeadLetter {
    let text = |number| tags::get_text(&read.tags, number);
    let attempts = tags::get(&read.tags, tags::ATTEMPTS).and_then(|v| v.try_into().ok());
    DeadLetter {
        position: read.stored.position,
        origin: origin(&read),
        burial: Burial {
            code: text(tags::CODE).unwrap_or_default(),
            reason: text(tags::REASON).unwrap_or_default(),
            first_reason: text(tags::FIRST_REASON),
            attempts: attempts.map_or(0, u32::from_le_bytes),
            buried_at_ms: buried_at(&read),
        },
        entry: read.stored.entry,
    }
}

/// What lists show of a dead letter.
pub(crate) fn summary(read: &Read) -> DeadSummary {
    let entry = &read.stored.entry;
    DeadSummary {
        position: read.stored.position,
        origin: origin(read),
        id: entry.id,
        label: Arc::clone(&entry.label),
        admitted_at_ms: entry.admitted_at_ms,
        size: entry.data.len() as u64,
        code: tags::get_text(&read.tags, tags::CODE)
            .unwrap_or_default()
            .into(),
        buried_at_ms: buried_at(read),
    }
}
