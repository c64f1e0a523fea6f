//! A look at a journal's files that changes nothing, also beside the process that owns them.

mod finding;
mod verify;
mod walk;

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::dead::{self, DeadLetter, DeadSummary};
use crate::format::segment::{SegmentHeader, file_name, parse_name};
use crate::format::slot::{Slot, TailMark};
use crate::format::{HeaderFault, MAJOR};
use crate::fs::{Fs, OpenMode, RealFs};
use crate::journal::{DEAD, LOCK};
use crate::log::cursor::{CURSOR, read_slots};
use crate::log::quarantine::QUARANTINE;
use crate::log::reader::read_header;
use crate::log::runs::Runs;
use crate::log::{Read, recover};
use crate::{Journal, JournalError, OpenError, Position, Stored};
pub use finding::{Finding, FindingKind};
pub use verify::{Checked, Progress, Report};
use walk::Limits;

/// The files of a journal, read and never written.
///
/// It is a picture of the moment it was opened in; open it again for a newer one. Beside a live owner
/// the records of its last groups may be missing, records that were just settled may still be seen, and
/// what the owner has not yet told the cursor to be synced is not judged for damage.
///
/// ```
/// use fusebox_journal::{Journal, JournalConfig, Position};
///
/// # let dir = tempfile::tempdir()?;
/// let journal = Journal::open(dir.path(), JournalConfig::default())?;
/// let look = Journal::inspect(dir.path())?;
/// assert!(look.owner().is_some());
/// assert_eq!(look.overview()?.waiting, 0);
/// assert!(look.verify(|_| ())?.findings.is_empty());
/// # drop(journal);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Inspection {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    owner: Option<String>,
    id: [u8; 16],
    settled: Runs,
    mark: TailMark,
    cursor: CursorState,
    segments: Vec<SegmentName>,
    #[cfg(feature = "encryption")]
    keys: Option<crate::KeyRing>,
}

/// Number and first position of a segment, from its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SegmentName {
    number: u64,
    first: u64,
}

/// How the cursor was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CursorState {
    /// Which slots are readable.
    Slots([bool; 2]),
    /// There is none, or its header is not readable.
    Lost,
}

/// The state of a journal's files.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overview {
    /// The random id of the journal.
    pub id: [u8; 16],
    /// What the process that owns it wrote about itself; `None` when nobody does.
    pub owner: Option<String>,
    /// Records that are neither settled nor buried.
    pub waiting: u64,
    /// Every position up to it is settled.
    pub watermark: Position,
    /// Settled positions above the watermark.
    pub settled_above: u64,
    /// The position behind the last record that was found.
    pub next: Position,
    /// When the oldest waiting record was admitted, in milliseconds since the Unix epoch.
    pub oldest_admitted_at_ms: Option<i64>,
    /// Segment files.
    pub segments: u64,
    /// Bytes of segment files.
    pub bytes: u64,
    /// Whether what was settled is unknown because the cursor is unreadable.
    pub cursor_lost: bool,
    /// Files in quarantine.
    pub quarantined_files: u64,
    /// Their bytes.
    pub quarantined_bytes: u64,
    /// Dead letters.
    pub dead: u64,
    /// Bytes of their segment files.
    pub dead_bytes: u64,
}

/// What is met on the way through the records.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Seen {
    /// A record.
    Record(SeenRecord),
    /// Something that is wrong.
    Finding(Finding),
}

/// A record, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeenRecord {
    /// The record.
    pub stored: Stored,
    /// Whether it is settled, as far as the cursor says.
    pub settled: bool,
    /// The file it lies in.
    pub file: PathBuf,
    /// Where in the file.
    pub offset: u64,
    /// Bytes it takes there.
    pub size: u64,
    tags: bytes::Bytes,
}

impl Journal {
    /// Looks at the journal in `dir` without opening it: nothing is written, and it may be in use.
    ///
    /// # Errors
    /// When there is none, a file is of a newer version, or the disk fails. Damage is no error.
    pub fn inspect(dir: impl AsRef<Path>) -> Result<Inspection, OpenError> {
        Inspection::open_on(Arc::new(RealFs), dir)
    }
}

impl Inspection {
    /// Looks at the journal in `dir`, on any file system.
    ///
    /// # Errors
    /// Like [`Journal::inspect`].
    pub fn open_on(fs: Arc<dyn Fs>, dir: impl AsRef<Path>) -> Result<Self, OpenError> {
        let dir = dir.as_ref();
        let path = dir.join(LOCK);
        let owner = fs.lock_holder(&path).map_err(failed("ask for", &path))?;
        Self::look(fs, dir, owner)
    }

    /// Sets the keys with which encrypted records are read; without them those are findings.
    #[cfg(feature = "encryption")]
    #[must_use]
    pub fn with_keys(mut self, keys: crate::KeyRing) -> Self {
        self.keys = Some(keys);
        self
    }

    fn look(fs: Arc<dyn Fs>, dir: &Path, owner: Option<String>) -> Result<Self, OpenError> {
        let names = match fs.read_dir(dir) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed("list", dir)(error)),
        };
        let mut segments: Vec<_> = names
            .iter()
            .filter_map(|name| parse_name(name))
            .map(|(number, first)| SegmentName { number, first })
            .collect();
        segments.sort_by_key(|s| s.number);
        let has_cursor = names.iter().any(|name| name == CURSOR);
        if !has_cursor && segments.is_empty() {
            return Err(OpenError::NoJournal {
                dir: dir.to_owned(),
            });
        }
        let mut look = Self {
            fs,
            dir: dir.to_owned(),
            owner,
            id: [0; 16],
            settled: Runs::default(),
            mark: TailMark::default(),
            cursor: CursorState::Lost,
            segments,
            #[cfg(feature = "encryption")]
            keys: None,
        };
        let known = if has_cursor {
            look.read_cursor()?
        } else {
            None
        };
        match known {
            Some(id) => look.id = id,
            None => look.id = look.id_of_segments()?,
        }
        Ok(look)
    }

    /// Takes over what the cursor says, and the journal's id from it.
    fn read_cursor(&mut self) -> Result<Option<[u8; 16]>, OpenError> {
        let path = self.dir.join(CURSOR);
        let file = self
            .fs
            .open(&path, OpenMode::Read)
            .map_err(failed("open", &path))?;
        match read_slots(file.as_ref()).map_err(failed("read", &path))? {
            Ok((header, slots)) => {
                self.cursor = match slots.each_ref().map(Option::is_some) {
                    [false, false] => CursorState::Lost,
                    readable => CursorState::Slots(readable),
                };
                let [zero, one] = slots.map(Option::unwrap_or_default);
                let newer = if one.generation > zero.generation {
                    one
                } else {
                    zero
                };
                let Slot { settled, tail, .. } = newer;
                self.settled = settled;
                self.mark = tail;
                Ok(Some(header.journal))
            }
            Err(HeaderFault::Version(found)) => Err(OpenError::Version {
                file: path,
                found,
                known: MAJOR,
            }),
            Err(HeaderFault::Invalid) => Ok(None),
        }
    }

    fn id_of_segments(&self) -> Result<[u8; 16], OpenError> {
        for segment in self.segments.iter().rev() {
            let path = self.path(*segment);
            let read = || {
                let file = self.fs.open(&path, OpenMode::Read)?;
                let same = |header: &SegmentHeader| header.number == segment.number;
                read_header(file.as_ref(), same)
            };
            if let Ok(header) = read().map_err(failed("read", &path))? {
                return Ok(header.journal);
            }
        }
        Ok([0; 16])
    }

    fn path(&self, segment: SegmentName) -> PathBuf {
        self.dir.join(file_name(segment.number, segment.first))
    }

    /// The random id of the journal.
    pub fn id(&self) -> [u8; 16] {
        self.id
    }

    /// What the process that has the journal open wrote about itself; `None` when nobody has.
    pub fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    /// The dead letters: the same files once more. `None` when there are none yet.
    ///
    /// # Errors
    /// Like [`Journal::inspect`].
    pub fn dead(&self) -> Result<Option<Self>, OpenError> {
        let dir = self.dir.join(DEAD);
        match Self::look(Arc::clone(&self.fs), &dir, self.owner.clone()) {
            Ok(look) => Ok(Some(Self {
                #[cfg(feature = "encryption")]
                keys: self.keys.clone(),
                ..look
            })),
            Err(OpenError::NoJournal { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Goes through all records behind `after`, settled ones too, in their order, and calls `visit` with
    /// each and with what is wrong on the way, until it breaks off. One record is in memory at a time.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn visit(
        &self,
        after: Position,
        mut visit: impl FnMut(Seen) -> ControlFlow<()>,
    ) -> Result<(), JournalError> {
        let mut seen = |step| match step {
            walk::Step::Seen(seen) => visit(seen),
            walk::Step::Tail { .. } | walk::Step::Encrypted { .. } => ControlFlow::Continue(()),
        };
        self.walk(after.0, Limits::default(), &mut seen)
    }

    /// Records after `after` that are not settled, ascending: at most `limit`, and not many more bytes
    /// than `bytes`. What is damaged is left out: [`visit`](Self::visit) tells of it.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn peek(
        &self,
        after: Position,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<Stored>, JournalError> {
        let mut records = Vec::new();
        let mut left = bytes;
        if limit == 0 {
            return Ok(records);
        }
        self.visit(after, |seen| {
            if let Seen::Record(record) = seen
                && !record.settled
            {
                left = left.saturating_sub(record.stored.entry.data.len());
                records.push(record.stored);
            }
            if records.len() >= limit || left == 0 && !records.is_empty() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        Ok(records)
    }

    /// Dead letters behind `after` that `filter` takes, ascending: at most `limit`.
    ///
    /// # Errors
    /// When the disk fails or a file is of a newer version.
    pub fn dead_letters(
        &self,
        after: Position,
        limit: usize,
        filter: impl Fn(&DeadSummary) -> bool,
    ) -> Result<Vec<DeadSummary>, JournalError> {
        let mut letters = Vec::new();
        if let Some(look) = self.look_at_dead()?
            && limit > 0
        {
            look.visit(after, |seen| {
                if let Seen::Record(record) = seen
                    && !record.settled
                {
                    let summary = dead::summary(&record.into_read());
                    if filter(&summary) {
                        letters.push(summary);
                    }
                }
                if letters.len() >= limit {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
        }
        Ok(letters)
    }

    /// One dead letter with its content and reasons.
    ///
    /// # Errors
    /// When there is none, or the disk fails.
    pub fn dead_letter(&self, position: Position) -> Result<DeadLetter, JournalError> {
        let mut found = None;
        if let Some(look) = self.look_at_dead()? {
            look.visit(Position(position.0.saturating_sub(1)), |seen| {
                if let Seen::Record(record) = seen {
                    if record.stored.position == position && !record.settled {
                        found = Some(dead::letter(record.into_read()));
                    }
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })?;
        }
        found.ok_or(JournalError::NotFound(position))
    }

    fn look_at_dead(&self) -> Result<Option<Self>, JournalError> {
        self.dead()
            .map_err(io::Error::other)
            .map_err(JournalError::io("open the dead letters"))
    }

    /// What is there, in numbers. Reads the tail and the oldest waiting record.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn overview(&self) -> Result<Overview, JournalError> {
        let next = self.next()?;
        let oldest = self.peek(Position::START, 1, 1)?.pop();
        let dead = self.look_at_dead()?;
        let (dead, dead_bytes) = match &dead {
            Some(dead) => (dead.waiting(dead.next()?), dead.bytes()),
            None => (0, 0),
        };
        let quarantine = self.dir.join(QUARANTINE);
        let quarantined = self.fs.read_dir(&quarantine).unwrap_or_default();
        let quarantined_bytes = quarantined
            .iter()
            .filter_map(|name| self.size(&quarantine.join(name)))
            .sum();
        Ok(Overview {
            id: self.id,
            owner: self.owner.clone(),
            waiting: self.waiting(next),
            watermark: Position(self.settled.watermark()),
            settled_above: self.settled.above(),
            next: Position(next),
            oldest_admitted_at_ms: oldest.map(|stored| stored.entry.admitted_at_ms),
            segments: self.segments.len() as u64,
            bytes: self.bytes(),
            cursor_lost: self.cursor == CursorState::Lost,
            quarantined_files: quarantined.len() as u64,
            quarantined_bytes,
            dead,
            dead_bytes,
        })
    }

    fn size(&self, path: &Path) -> Option<u64> {
        let file = self.fs.open(path, OpenMode::Read).ok()?;
        file.size().ok()
    }

    fn bytes(&self) -> u64 {
        let segments = self.segments.iter();
        segments.filter_map(|s| self.size(&self.path(*s))).sum()
    }

    /// The position behind the last record.
    fn next(&self) -> Result<u64, JournalError> {
        let known = self.mark.next.max(self.settled.watermark() + 1);
        let Some(tail) = self.segments.last() else {
            return Ok(known);
        };
        let read = || {
            let file = match self.fs.open(&self.path(*tail), OpenMode::Read) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(tail.first),
                Err(error) => return Err(error),
            };
            Ok(
                match read_header(file.as_ref(), |h| self.is_ours(h, *tail))? {
                    Ok(header) => recover::scan(file.as_ref(), &header, self.mark)?.next,
                    Err(_) => tail.first,
                },
            )
        };
        let found = read().map_err(JournalError::io("read the tail"))?;
        Ok(found.max(known))
    }

    fn waiting(&self, next: u64) -> u64 {
        let first = self.segments.first().map_or(next, |s| s.first);
        let gone = match self.cursor {
            // What is gone was settled.
            CursorState::Lost => first - 1,
            CursorState::Slots(_) => self.settled.watermark() + self.settled.above(),
        };
        (next - 1).saturating_sub(gone)
    }

    fn is_ours(&self, header: &SegmentHeader, segment: SegmentName) -> bool {
        header.journal == self.id
            && header.number == segment.number
            && header.first == segment.first
    }
}

impl SeenRecord {
    /// The reasons why it was buried, if it is a dead letter.
    pub fn burial(&self) -> Option<DeadLetter> {
        crate::format::tags::get(&self.tags, crate::format::tags::ORIGIN)?;
        Some(dead::letter(self.clone().into_read()))
    }

    fn into_read(self) -> Read {
        Read {
            stored: self.stored,
            tags: self.tags,
        }
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { what, path, source }
}
