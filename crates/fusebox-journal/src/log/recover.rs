//! Opening: the cursor, the names of the segments and the tail tell everything.

use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use tracing::{info, warn};

use super::cursor::{CURSOR, Cursor};
use super::reader::{Reader, read_header};
use super::runs::Runs;
use super::spare::SPARE;
use super::state::{Ahead, Cache, Counters, Marks, Segment, State};
use super::writer::{Tail, Writer};
use super::{Log, lock};
use crate::format::frame::FRAME_HEAD;
use crate::format::segment::{Codec, SegmentHeader, file_name, parse_name};
use crate::format::slot::{CursorHeader, Slot, TailMark};
use crate::format::window::{Step, Window};
use crate::format::{HeaderFault, MAJOR};
use crate::fs::{Fs, FsFile, OpenMode};
use crate::{JournalConfig, OpenError};

/// What a look through the tail says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Behind the last group.
    pub(crate) end: u64,
    pub(crate) next: u64,
    /// Only zeros follow.
    pub(crate) clean: bool,
    pub(crate) torn_bytes: u64,
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { what, path, source }
}

impl Log {
    /// Opens the log in `dir`, or makes one.
    pub(crate) fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        config: JournalConfig,
    ) -> Result<Self, OpenError> {
        fs.create_dir_all(dir).map_err(failed("create", dir))?;
        let names = fs.read_dir(dir).map_err(failed("list", dir))?;
        for name in names.iter().filter(|name| is_unfinished(name)) {
            let path = dir.join(name);
            fs.unlink(&path).map_err(failed("remove", &path))?;
        }
        let mut segments: Vec<_> = names
            .iter()
            .filter_map(|name| parse_name(name))
            .map(|(number, first)| Segment {
                number,
                first,
                end: None,
                keep: false,
            })
            .collect();
        segments.sort_by_key(|s| s.number);
        let (cursor, slot, cursor_lost) =
            open_cursor(fs.as_ref(), dir, &config, &names, &segments)?;

        let state = State {
            next: 1,
            ahead: Ahead::default(),
            unsaved_refusal: false,
            accepted: (0, 0),
            synced: slot.tail,
            next_number: segments
                .last()
                .map_or(1, |s| s.number + 1)
                .max(slot.tail.number + 1),
            segments,
            tail: None,
            settled: Runs::default(),
            vacant: slot.vacant.clone(),
            // So that the cursor is written once: it then knows what was synced.
            version: 1,
            saved_version: 0,
            saved_settled: 0,
            unsaved: 0,
            cache: Cache::new(config.cache_bytes),
            marks: Marks::default(),
            counters: Counters {
                cursor_lost,
                ..Counters::default()
            },
        };
        let log = Self {
            fs,
            dir: dir.to_owned(),
            config,
            id: cursor.journal(),
            state: Mutex::new(state),
            writer: Mutex::new(Writer::default()),
            cursor: Mutex::new(cursor),
            reader: Mutex::new(Reader::default()),
            spare: Mutex::new(None),
            freed: AtomicBool::new(false),
        };
        if names.iter().any(|name| name == SPARE) {
            log.find_spare().map_err(failed("open", &log.path(SPARE)))?;
        }
        log.open_tail(&slot, cursor_lost)?;
        if let Err(error) = log.save_cursor() {
            warn!(%error, "cursor not written when opening");
        }
        Ok(log)
    }

    /// Finds the tail and where it ends, and what is settled.
    fn open_tail(&self, slot: &Slot, cursor_lost: bool) -> Result<(), OpenError> {
        let mut least_next = slot.tail.next.max(1);
        let found = loop {
            let Some(segment) = self.state().segments.last().copied() else {
                break None;
            };
            let path = self.segment_path(&segment);
            let file = self
                .fs
                .open(&path, OpenMode::Write)
                .map_err(failed("open", &path))?;
            let header = read_header(file.as_ref(), |header| self.is_ours(header, &segment))
                .map_err(failed("read", &path))?;
            match header {
                Ok(header) => break Some((segment, file, header)),
                Err(HeaderFault::Version(found)) => {
                    return Err(OpenError::Version {
                        file: path,
                        found,
                        known: MAJOR,
                    });
                }
                Err(HeaderFault::Invalid) => {
                    // How many records it had is unknown; no position may be used twice.
                    let size = file.size().map_err(failed("read", &path))?;
                    let most = size.max(self.config.segment_bytes) / FRAME_HEAD as u64;
                    least_next = least_next.max(segment.first.saturating_add(most));
                    drop(file);
                    self.quarantine_segment(&segment);
                    let mut state = self.state();
                    state.segments.pop();
                    state.counters.damaged_ranges += 1;
                }
            }
        };
        let first = self.state().segments.first().map(|s| s.first);
        let watermark = match first {
            // What was settled is unknown: what is gone was, what is here goes out again.
            Some(first) if cursor_lost => first - 1,
            _ => 0,
        };
        let mut settled = slot.settled.clone();
        settled.insert(1, watermark + 1);
        least_next = least_next.max(highest(&settled) + 1);
        let Some((segment, file, header)) = found else {
            let mut state = self.state();
            state.next = least_next;
            state.settled = settled;
            return Ok(());
        };
        let path = self.segment_path(&segment);
        // After the death of a process the end of the tail may be in the page cache only, and so may
        // its name.
        let synced = file.sync_data().and_then(|()| self.fs.sync_dir(&self.dir));
        if synced.is_ok() {
            // What a sync that failed has left there is not on its way to the disk any more.
            file.forget_cached();
        }
        let scan = scan(file.as_ref(), &header, slot.tail).map_err(failed("read", &path))?;
        if let Err(error) = &synced {
            warn!(%error, "tail not synced when opening, sealed");
        }
        if scan.torn_bytes > 0 {
            info!(
                bytes = scan.torn_bytes,
                "torn tail of the journal truncated"
            );
        }
        let goes_on = scan.clean
            && scan.next >= least_next
            && synced.is_ok()
            && header.codec == Codec::Clear
            && !self.encrypts()
            && header.size == self.config.segment_bytes;
        let mut state = self.state();
        state.next = scan.next.max(least_next);
        state.settled = settled;
        state.counters.torn_bytes = scan.torn_bytes;
        if synced.is_ok() {
            // Its records are handed out from now on: no later life may use their positions again.
            state.synced = TailMark {
                number: header.number,
                end: scan.end,
                next: state.next,
            };
        }
        if goes_on {
            state.tail = Some((header.number, scan.end));
            lock(&self.writer).tail = Some(Tail {
                file,
                header,
                cipher: None,
                end: scan.end,
            });
        } else if let Some(last) = state.segments.last_mut() {
            last.end = Some(scan.end);
        }
        Ok(())
    }
}

/// Whether a file was being made when the power failed.
fn is_unfinished(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|e| e == "tmp")
}

/// The highest position of the set.
fn highest(settled: &Runs) -> u64 {
    settled
        .runs()
        .last()
        .map_or(settled.watermark(), |(_, end)| end - 1)
}

/// Opens the cursor file or makes one; says whether what was settled is unknown.
fn open_cursor(
    fs: &dyn Fs,
    dir: &Path,
    config: &JournalConfig,
    names: &[String],
    segments: &[Segment],
) -> Result<(Cursor, Slot, bool), OpenError> {
    let path = dir.join(CURSOR);
    if names.iter().any(|name| name == CURSOR) {
        match Cursor::find(fs, dir).map_err(failed("read", &path))? {
            Ok(found) => {
                if found.lost {
                    warn!("no slot of the cursor is readable");
                }
                return Ok((found.cursor, found.slot, found.lost));
            }
            Err(HeaderFault::Version(found)) => {
                return Err(OpenError::Version {
                    file: path,
                    found,
                    known: MAJOR,
                });
            }
            Err(HeaderFault::Invalid) => warn!("the cursor is not readable"),
        }
    }
    // The segments know whose they are.
    let mut journal = [0; 16];
    fs.random(&mut journal).map_err(failed("name", dir))?;
    for segment in segments.iter().rev() {
        let path = dir.join(file_name(segment.number, segment.first));
        let file = fs
            .open(&path, OpenMode::Read)
            .map_err(failed("open", &path))?;
        let same = |header: &SegmentHeader| header.number == segment.number;
        if let Ok(header) = read_header(file.as_ref(), same).map_err(failed("read", &path))? {
            journal = header.journal;
            break;
        }
    }
    let header = CursorHeader {
        journal,
        slot_bytes: config.cursor_slot_bytes,
    };
    let cursor = Cursor::create(fs, dir, header).map_err(failed("create", &path))?;
    Ok((cursor, Slot::default(), !segments.is_empty()))
}

/// Goes through the tail and tells a torn end from damage.
///
/// Groups are written one after another, each after the sync of the one before: only what lies at or
/// behind the beginning of the last group, and behind what the cursor knows to be synced, can be torn.
pub(crate) fn scan(file: &dyn FsFile, header: &SegmentHeader, known: TailMark) -> io::Result<Scan> {
    let synced_end = if known.number == header.number {
        known.end
    } else {
        0
    };
    let mut window = Window::new(file, header, header.data_end());
    let (mut offset, mut position) = (header.data_start(), header.first);
    let mut last_group = 0;
    // Where unreadable bytes begin, and the position expected there.
    let mut damages = Vec::new();
    let (end, clean) = loop {
        match window.next(offset, position)? {
            Step::Record {
                frame,
                damaged_from,
            } => {
                damages.extend(damaged_from.map(|from| (from, position)));
                last_group = frame.head.group;
                position = frame.head.position + 1;
                offset = frame.offset + frame.head.padded();
            }
            Step::End { at, clean } => break (at, clean),
        }
    };
    let safe = last_group.max(synced_end);
    if let Some((from, expected)) = damages.into_iter().find(|(from, _)| *from >= safe) {
        return Ok(Scan {
            end: from,
            next: expected,
            clean: false,
            torn_bytes: offset - from,
        });
    }
    if clean && end >= synced_end {
        return Ok(Scan {
            end,
            next: position,
            clean,
            torn_bytes: 0,
        });
    }
    // Nothing valid follows. What the cursor knows to be synced is damage, the rest is torn.
    let torn_bytes = if clean {
        0
    } else {
        torn_length(file, end.max(synced_end), header)?
    };
    Ok(Scan {
        end: end.max(synced_end),
        next: position,
        clean: false,
        torn_bytes,
    })
}

/// Bytes from `from` to the last one that is not zero.
fn torn_length(file: &dyn FsFile, from: u64, header: &SegmentHeader) -> io::Result<u64> {
    let mut chunk = vec![0; 64 << 10];
    let (mut at, mut end) = (from, from);
    while at < header.data_end() {
        let got = file.read_at(at, &mut chunk)?;
        if got == 0 {
            break;
        }
        if let Some(last) = chunk[..got].iter().rposition(|b| *b != 0) {
            end = (at + last as u64 + 1).min(header.data_end());
        }
        at += got as u64;
    }
    Ok(end - from)
}
