//! Settling: which records are done, in memory at once and on disk when it is synced.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::warn;

use super::runs::Runs;
use super::{Log, lock};
use crate::JournalError;
use crate::format::slot::{CursorHeader, EncodedSlot, Slot};
use crate::format::{HEADER, HeaderFault};
use crate::fs::{Fs, FsFile, OpenMode};

pub(crate) const CURSOR: &str = "CURSOR";
const CURSOR_TMP: &str = "CURSOR.tmp";

/// The cursor file.
#[derive(Debug)]
pub(super) struct Cursor {
    header: CursorHeader,
    /// `None` after an error: the next write opens it anew.
    file: Option<Arc<dyn FsFile>>,
    generation: u64,
    /// The slot that is written next; the other one is good.
    slot: u32,
}

/// What the cursor file said.
#[derive(Debug)]
pub(super) struct FoundCursor {
    pub(super) cursor: Cursor,
    pub(super) slot: Slot,
    /// No slot was readable although there ought to be one.
    pub(super) lost: bool,
}

/// The header and what is readable of both slots.
pub(crate) type Slots = (CursorHeader, [Option<Slot>; 2]);

/// Reads a cursor file; `Ok(Err(_))` when its header is not usable.
pub(crate) fn read_slots(file: &dyn FsFile) -> io::Result<Result<Slots, HeaderFault>> {
    let mut head = [0; HEADER];
    if file.read_at(0, &mut head)? < HEADER {
        return Ok(Err(HeaderFault::Invalid));
    }
    let header = match CursorHeader::decode(&head) {
        Ok(header) => header,
        Err(fault) => return Ok(Err(fault)),
    };
    let mut slots = [None, None];
    for (index, slot) in (0..).zip(&mut slots) {
        let mut bytes = vec![0; header.slot_bytes as usize];
        let at = HEADER as u64 + u64::from(index) * u64::from(header.slot_bytes);
        if file.read_at(at, &mut bytes)? == bytes.len() {
            *slot = Slot::decode(index, &bytes);
        }
    }
    Ok(Ok((header, slots)))
}

impl Cursor {
    pub(super) fn journal(&self) -> [u8; 16] {
        self.header.journal
    }

    /// Makes the file: it never grows again.
    pub(super) fn create(fs: &dyn Fs, dir: &Path, header: CursorHeader) -> io::Result<Self> {
        let tmp = dir.join(CURSOR_TMP);
        let file = fs.open(&tmp, OpenMode::Create)?;
        let mut bytes = vec![0; HEADER + 2 * header.slot_bytes as usize];
        bytes[..HEADER].copy_from_slice(&header.encode());
        file.write_at(0, &bytes)?;
        file.sync_all()?;
        fs.rename(&tmp, &dir.join(CURSOR))?;
        fs.sync_dir(dir)?;
        Ok(Self {
            header,
            file: Some(file),
            generation: 0,
            slot: 0,
        })
    }

    /// Reads the file; `Ok(Err(_))` when its header is not usable.
    pub(super) fn find(fs: &dyn Fs, dir: &Path) -> io::Result<Result<FoundCursor, HeaderFault>> {
        let file = fs.open(&dir.join(CURSOR), OpenMode::Write)?;
        let (header, slots) = match read_slots(file.as_ref())? {
            Ok(found) => found,
            Err(fault) => return Ok(Err(fault)),
        };
        let lost = slots.iter().all(Option::is_none);
        let [zero, one] = slots.map(Option::unwrap_or_default);
        let (slot, next) = if one.generation > zero.generation {
            (one, 0)
        } else {
            (zero, 1)
        };
        Ok(Ok(FoundCursor {
            cursor: Self {
                header,
                file: Some(file),
                generation: slot.generation,
                slot: next,
            },
            slot,
            lost,
        }))
    }

    fn write(&mut self, fs: &dyn Fs, dir: &Path, slot: &EncodedSlot) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => fs.open(&dir.join(CURSOR), OpenMode::Write)?,
        };
        let offset = u64::from(self.slot) * u64::from(self.header.slot_bytes);
        file.write_at(HEADER as u64 + offset, &slot.bytes)?;
        file.sync_data()?;
        self.file = Some(file);
        self.generation += 1;
        self.slot = 1 - self.slot;
        Ok(())
    }
}

impl Log {
    /// Marks positions as settled in memory; [`save_cursor`](Self::save_cursor) makes that durable. One that
    /// is written and not synced yet is settled when it is. Returns how many were not settled before.
    pub(crate) fn settle(&self, positions: &[u64]) -> u64 {
        let mut state = self.state();
        let new = positions.iter().map(|p| state.deliver(*p)).sum();
        state.counters.settled += new;
        new
    }

    /// Whether something was settled since the cursor was saved.
    pub(crate) fn is_dirty(&self) -> bool {
        let state = self.state();
        state.version != state.saved_version
    }

    /// Makes all that was settled before the call durable, then removes segments that are done.
    pub(crate) fn save_cursor(&self) -> Result<(), JournalError> {
        let mut cursor = lock(&self.cursor);
        let (slot, version, settled, done) = {
            let mut state = self.state();
            if state.version == state.saved_version {
                return Ok(());
            }
            let encode = |vacant: &Runs| {
                Slot::encode(
                    cursor.slot,
                    cursor.generation + 1,
                    (&state.settled, vacant),
                    state.synced,
                    cursor.header.slot_bytes as usize,
                )
            };
            let mut done = state.done();
            let (encoded, vacant) = loop {
                // What is removed must be settled in this slot and in all that come.
                let mut vacant = state.vacant.clone();
                vacant.insert(1, state.settled.watermark() + 1);
                for (_, first, bound) in &done {
                    vacant.insert(*first, *bound);
                }
                let encoded = encode(&vacant);
                if encoded.is_some() || done.is_empty() {
                    break (encoded, vacant);
                }
                // Some of them stay, until there is room.
                done.truncate(done.len() / 2);
            };
            state.vacant = vacant;
            (encoded, state.version, state.settled_count(), done)
        };
        let started = self.fs.now();
        let written = slot
            .ok_or_else(|| io::Error::other("no room in it for what it must say"))
            .and_then(|slot| {
                cursor.write(self.fs.as_ref(), &self.dir, &slot)?;
                Ok(slot.unsaved)
            });
        let unsaved = written.map_err(|error| {
            self.state().counters.settle_failures += 1;
            JournalError::io("write the cursor")(error)
        })?;
        let removed: Vec<_> = {
            let mut state = self.state();
            state.saved_version = version;
            state.saved_settled = settled;
            let took = self.fs.now().saturating_sub(started);
            state.counters.cursor_times.add(took);
            state.unsaved = unsaved;
            let gone = state
                .segments
                .extract_if(.., |s| done.iter().any(|d| d.0 == s.number));
            let removed: Vec<_> = gone.collect();
            for segment in &removed {
                state.marks.forget(segment.number);
            }
            removed
        };
        // A reader that is busy goes on to another one by itself.
        if let Ok(mut reader) = self.reader.try_lock() {
            reader.let_go(&removed);
        }
        for segment in &removed {
            if segment.keep {
                self.quarantine_segment(segment);
            } else if let Err(error) = self.fs.unlink(&self.segment_path(segment)) {
                // It is removed when the log is opened again.
                warn!(number = segment.number, %error, "settled segment not removed");
            }
        }
        if !removed.is_empty() {
            self.freed.store(true, Ordering::Release);
        }
        Ok(())
    }
}
