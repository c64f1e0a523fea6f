//! Reading in the order of admission, over damage.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tracing::error;

use super::{Log, Segment, lock};
use crate::JournalError;
use crate::format::frame::{self, BodyCipher};
use crate::format::segment::SegmentHeader;
use crate::format::window::{RawFrame, Step, Window};
use crate::format::{HEADER, HeaderFault};
use crate::fs::{FsFile, OpenMode};
use crate::record::Stored;

/// The segment that is open for reading.
#[derive(Debug, Default)]
pub(super) struct Reader {
    open: Option<OpenSegment>,
}

impl Reader {
    /// Lets go of a file that was removed, so that its space is free at once.
    pub(super) fn let_go(&mut self, removed: &[Segment]) {
        let is_gone = |open: &mut OpenSegment| {
            let number = open.header.number;
            removed.iter().any(|segment| segment.number == number)
        };
        drop(self.open.take_if(is_gone));
    }
}

/// A segment with its header.
#[derive(Debug, Clone)]
struct OpenSegment {
    file: Arc<dyn FsFile>,
    header: SegmentHeader,
    cipher: Option<Arc<dyn BodyCipher>>,
}

/// A record with its tags.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    pub(crate) stored: Stored,
    /// Empty when the record comes from memory.
    pub(crate) tags: Bytes,
}

/// How much is wanted, and what there is so far.
#[derive(Debug)]
struct Page {
    limit: usize,
    bytes_left: usize,
    records: Vec<Read>,
}

impl Page {
    fn is_full(&self) -> bool {
        self.records.len() >= self.limit || (self.bytes_left == 0 && !self.records.is_empty())
    }

    fn push(&mut self, read: Read) {
        self.bytes_left = self.bytes_left.saturating_sub(read.stored.entry.data.len());
        self.records.push(read);
    }
}

/// What comes next on the way.
enum Plan {
    Done,
    /// The page took what memory had, up to this position.
    FromMemory(u64),
    /// No file holds the positions before this one.
    Gap(u64),
    /// `bound` is behind the last position of the segment, `end` behind its last byte if known.
    Disk {
        segment: Segment,
        bound: u64,
        end: Option<u64>,
        from: (u64, u64),
    },
}

impl Log {
    /// Records after `after` that are not settled, ascending: at most `limit`, and not many more bytes
    /// than `bytes`.
    pub(crate) fn read(
        &self,
        after: u64,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<Read>, JournalError> {
        let mut reader = lock(&self.reader);
        let mut page = Page {
            limit,
            bytes_left: bytes,
            records: Vec::new(),
        };
        let mut position = after.saturating_add(1);
        while !page.is_full() {
            position = match self.plan(&mut page, position) {
                Plan::Done => break,
                Plan::FromMemory(next) => next,
                Plan::Gap(to) => {
                    let records = self.state().lose(position, to);
                    error!(
                        from = position,
                        to, records, "records of the journal are missing"
                    );
                    to
                }
                Plan::Disk {
                    segment,
                    bound,
                    end,
                    from,
                } => {
                    let open = reader
                        .open
                        .take()
                        .filter(|o| o.header.number == segment.number);
                    let open = match open {
                        Some(open) => Ok(Some(open)),
                        None => self.open_segment(&segment),
                    };
                    match open.map_err(JournalError::io("open a segment"))? {
                        Some(open) => {
                            let walk = Walk {
                                open: &open,
                                segment,
                                bound,
                                end: end.unwrap_or(u64::MAX),
                                from,
                            };
                            let next = self.walk(&walk, position, &mut page);
                            reader.open = Some(open);
                            next.map_err(JournalError::io("read a segment"))?
                        }
                        None => position,
                    }
                }
            };
        }
        Ok(page.records)
    }

    /// The same from memory alone, at once; `None` when that needs the disk.
    pub(crate) fn recent(&self, after: u64, limit: usize, bytes: usize) -> Option<Vec<Read>> {
        let mut page = Page {
            limit,
            bytes_left: bytes,
            records: Vec::new(),
        };
        let mut position = after.saturating_add(1);
        while !page.is_full() {
            position = match self.plan(&mut page, position) {
                Plan::FromMemory(next) => next,
                Plan::Gap(_) | Plan::Disk { .. } if page.records.is_empty() => return None,
                Plan::Done | Plan::Gap(_) | Plan::Disk { .. } => break,
            };
        }
        Some(page.records)
    }

    /// Like [`recent`](Self::recent), and behind what is durable the group that is written and not synced.
    pub(crate) fn recent_or_written(
        &self,
        after: u64,
        limit: usize,
        bytes: usize,
    ) -> Option<Vec<Read>> {
        loop {
            let records = self.recent(after, limit, bytes)?;
            if !records.is_empty() || limit == 0 {
                return Some(records);
            }
            let mut state = self.state();
            if state.settled.next_absent(after.saturating_add(1)) < state.next {
                // It has become durable in between, and the next one must not be taken for it.
                continue;
            }
            let written = state.written_after(after, limit);
            let read = |stored| Read {
                stored,
                tags: Bytes::new(),
            };
            return Some(written.into_iter().map(read).collect());
        }
    }

    /// Waits for the sync of the group that holds a position, if that is under way.
    pub(crate) fn wait_until_durable(&self, position: u64) {
        if position >= self.state().next {
            drop(lock(&self.writer));
        }
    }

    /// Takes from memory what is there, or says where the next record must be.
    fn plan(&self, page: &mut Page, position: u64) -> Plan {
        let state = self.state();
        let position = state.settled.next_absent(position);
        if position >= state.next {
            return Plan::Done;
        }
        if let Some(recent) = state.cache.from(position) {
            let mut next = position;
            for stored in recent {
                if page.is_full() {
                    break;
                }
                next = stored.position.0 + 1;
                if !state.settled.contains(stored.position.0) {
                    page.push(Read {
                        stored: stored.clone(),
                        tags: Bytes::new(),
                    });
                }
            }
            return Plan::FromMemory(next);
        }
        let Some(index) = state.segment_of(position) else {
            return Plan::Gap(state.segments.first().map_or(state.next, |s| s.first));
        };
        let segment = state.segments[index];
        let bound = state.bound(index);
        let end = match state.tail {
            Some((number, end)) if number == segment.number => Some(end),
            _ => segment.end,
        };
        let from = state.marks.before(segment.number, position);
        Plan::Disk {
            segment,
            bound,
            end,
            from: from.unwrap_or((segment.first, 0)),
        }
    }

    /// Opens a segment; `None` when it could not be used and its records are counted as lost, or when
    /// it has just been removed.
    fn open_segment(&self, segment: &Segment) -> io::Result<Option<OpenSegment>> {
        let path = self.segment_path(segment);
        let file = match self.fs.open(&path, OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.give_up(segment, false);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        match read_header(file.as_ref(), |header| self.is_ours(header, segment))? {
            Ok(header) => Ok(Some(OpenSegment {
                cipher: self.cipher_of(&header)?,
                file,
                header,
            })),
            Err(HeaderFault::Version(found)) => Err(io::Error::other(format!(
                "the segment has the unknown version {found}"
            ))),
            Err(HeaderFault::Invalid) => {
                drop(file);
                self.give_up(segment, true);
                Ok(None)
            }
        }
    }

    /// Takes a segment out of the list and counts its records as lost.
    fn give_up(&self, segment: &Segment, move_it: bool) {
        let mut state = self.state();
        let Some(index) = state
            .segments
            .iter()
            .position(|s| s.number == segment.number)
        else {
            return;
        };
        let bound = state.bound(index);
        state.segments.remove(index);
        if state
            .tail
            .is_some_and(|(number, _)| number == segment.number)
        {
            // The writer sees that and begins another.
            state.tail = None;
        }
        let records = state.lose(segment.first, bound);
        state.vacant.insert(segment.first, bound);
        state.counters.damaged_ranges += 1;
        drop(state);
        error!(
            segment = segment.number,
            records, "segment of the journal lost"
        );
        if move_it {
            self.quarantine_segment(segment);
        }
    }

    /// Goes through a segment until the page is full or the segment ends; returns where to go on.
    fn walk(&self, walk: &Walk<'_>, wanted: u64, page: &mut Page) -> io::Result<u64> {
        let Walk {
            open,
            segment,
            bound,
            ..
        } = *walk;
        let header = &open.header;
        let mut window = Window::new(open.file.as_ref(), header, walk.end);
        let (mut position, mut offset) = walk.from;
        offset = offset.max(header.data_start());
        while position < bound {
            if page.is_full() {
                return Ok(position.max(wanted));
            }
            let step = window.next(offset, position)?;
            let (damaged, frame) = match step {
                Step::Record {
                    frame,
                    damaged_from,
                } if frame.head.position < bound => (damaged_from, frame),
                // What has a position of the next segment is a leftover of a failed group.
                Step::Record { frame, .. } => {
                    self.set_aside(&segment, (offset, frame.offset), (position, bound));
                    break;
                }
                Step::End { at, .. } => {
                    let end = walk.end.min(header.data_end());
                    self.set_aside(&segment, (at, end), (position, bound));
                    break;
                }
            };
            if frame.head.position > position {
                let from = damaged.unwrap_or(offset);
                self.set_aside(
                    &segment,
                    (from, frame.offset),
                    (position, frame.head.position),
                );
            }
            position = frame.head.position;
            if position >= wanted {
                self.take(walk, &mut window, &frame, page)?;
            }
            position += 1;
            offset = frame.offset + frame.head.padded();
        }
        Ok(bound)
    }

    /// Puts a record into the page, unless it is settled.
    fn take(
        &self,
        walk: &Walk<'_>,
        window: &mut Window<'_>,
        frame: &RawFrame,
        page: &mut Page,
    ) -> io::Result<()> {
        let position = frame.head.position;
        {
            let mut state = self.state();
            state
                .marks
                .note(walk.segment.number, position, frame.offset);
            if state.settled.contains(position) {
                return Ok(());
            }
        }
        let open = walk.open;
        let bytes = window.frame(frame)?;
        let (salt, cipher) = (open.header.salt, open.cipher.as_deref());
        if let Some((stored, tags)) = frame::decode(bytes, frame.offset, salt, cipher) {
            page.push(Read { stored, tags });
        } else {
            let end = frame.offset + frame.head.padded();
            self.set_aside(&walk.segment, (frame.offset, end), (position, position + 1));
        }
        Ok(())
    }
}

/// A segment and the part of it that counts.
struct Walk<'a> {
    open: &'a OpenSegment,
    segment: Segment,
    bound: u64,
    end: u64,
    from: (u64, u64),
}

/// The header, from its second copy if need be, if it is `wanted`.
pub(crate) fn read_header(
    file: &dyn FsFile,
    wanted: impl Fn(&SegmentHeader) -> bool,
) -> io::Result<Result<SegmentHeader, HeaderFault>> {
    let size = file.size()?;
    let mut fault = HeaderFault::Invalid;
    for at in [0, size.saturating_sub(HEADER as u64)] {
        let mut bytes = [0; HEADER];
        if file.read_at(at, &mut bytes)? < HEADER {
            continue;
        }
        match SegmentHeader::decode(&bytes) {
            Ok(header) if wanted(&header) => return Ok(Ok(header)),
            Err(version @ HeaderFault::Version(_)) => fault = version,
            _ => {}
        }
    }
    Ok(Err(fault))
}
