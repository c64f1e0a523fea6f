//! The log: segments in a directory, written by one, read by one, settled by one at the same time.
//!
//! Every method blocks. Locks are taken in the order writer, spare or cursor or reader, state; the
//! state's is never held during I/O.

pub(crate) mod cursor;
pub(crate) mod quarantine;
pub(crate) mod reader;
pub(crate) mod recover;
pub(crate) mod runs;
mod spare;
pub(crate) mod state;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::JournalConfig;
use crate::format::segment::{SegmentHeader, file_name};
use crate::fs::Fs;
use cursor::Cursor;
pub(crate) use reader::Read;
use reader::Reader;
use spare::Spare;
use state::State;
pub(crate) use state::{Counters, Segment};
use writer::Writer;

/// A durable log.
#[derive(Debug)]
pub(crate) struct Log {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    config: JournalConfig,
    id: [u8; 16],
    state: Mutex<State>,
    writer: Mutex<Writer>,
    cursor: Mutex<Cursor>,
    reader: Mutex<Reader>,
    spare: Mutex<Option<Spare>>,
    /// Files were removed, and no sync has told the file system to give their space back.
    freed: AtomicBool,
}

/// Numbers for statistics and admission.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) waiting: u64,
    pub(crate) bytes: u64,
    pub(crate) segments: u64,
    pub(crate) unsaved: u64,
    /// Settled positions that a crash now would bring back.
    pub(crate) cursor_lag: u64,
    pub(crate) oldest: u64,
    pub(crate) counters: Counters,
}

/// What admission counts with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Records that wait.
    pub(crate) waiting: u64,
    /// Bytes of segment files.
    pub(crate) bytes: u64,
    /// Records accepted since the log was opened, and what they take on disk by themselves.
    pub(crate) accepted: (u64, u64),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn segment_path(&self, segment: &Segment) -> PathBuf {
        self.path(&file_name(segment.number, segment.first))
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn id(&self) -> [u8; 16] {
        self.id
    }

    pub(crate) fn next_position(&self) -> u64 {
        self.state().next
    }

    pub(crate) fn max_records(&self) -> u64 {
        self.config.max_records
    }

    pub(crate) fn usage(&self) -> Usage {
        let state = self.state();
        Usage {
            waiting: state.waiting(),
            bytes: self.bytes(&state),
            segments: state.segments.len() as u64,
            unsaved: state.unsaved,
            cursor_lag: state.unsaved + state.settled_count().saturating_sub(state.saved_settled),
            oldest: state.settled.next_absent(0),
            counters: state.counters,
        }
    }

    /// What admission counts with, all of one moment.
    pub(crate) fn load(&self) -> Load {
        let state = self.state();
        Load {
            waiting: state.waiting(),
            bytes: self.bytes(&state),
            accepted: state.accepted,
        }
    }

    fn bytes(&self, state: &State) -> u64 {
        let whole = state.segments.len() as u64 - u64::from(state.tail.is_some());
        whole * self.config.segment_bytes + state.tail.map_or(0, |(_, end)| end)
    }

    /// Whether a position is settled.
    pub(crate) fn is_settled(&self, position: u64) -> bool {
        self.state().settled.contains(position)
    }

    /// Whether the header belongs to this log and this segment.
    fn is_ours(&self, header: &SegmentHeader, segment: &Segment) -> bool {
        header.journal == self.id
            && header.number == segment.number
            && header.first == segment.first
    }
}
