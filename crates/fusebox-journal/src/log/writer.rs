//! Appending: groups, one write and one sync each, and what follows when that fails.

use std::io;
use std::sync::Arc;

use tracing::{error, warn};

use super::spare::{SPARE, refusal};
use super::{Log, Segment, lock};
use crate::format::frame::{BodyCipher, NewRecord};
use crate::format::segment::{Codec, SegmentHeader, file_name};
use crate::format::slot::TailMark;
use crate::format::window::{Step, Window};
use crate::format::{align_up, to_usize};
use crate::fs::{FsFile, OpenMode};
use crate::{AppendError, Stored};

/// The one who writes.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) tail: Option<Tail>,
    pub(super) read_only: bool,
    buffer: Vec<u8>,
}

/// The segment that is written.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) file: Arc<dyn FsFile>,
    pub(super) header: SegmentHeader,
    pub(super) cipher: Option<Arc<dyn BodyCipher>>,
    /// Where the next group begins.
    pub(super) end: u64,
}

/// What became of an append: the first `accepted` records are durable, the others are not accepted.
#[derive(Debug)]
pub(crate) struct Appended {
    /// The position of the first record; the others follow without a gap.
    pub(crate) first: u64,
    pub(crate) accepted: usize,
    pub(crate) error: Option<AppendError>,
    /// How many of them were delivered before they were durable: they are settled now.
    pub(crate) delivered: u64,
    /// Not all of the durable ones were handed out before they were.
    pub(crate) unseen: bool,
    /// Records that had to leave memory: to free many takes time, which the next group need not wait for.
    pub(crate) gone: Vec<Stored>,
}

impl Log {
    /// The largest a record may be on disk.
    pub(crate) fn check_size(&self, record: &NewRecord) -> Result<u64, AppendError> {
        let size = (record.entry.label.len() + record.entry.data.len() + record.tags.len()) as u64;
        let limit = self.config.max_record_bytes;
        if record.entry.label.len() > 255 {
            return Err(AppendError::Label);
        }
        if size > limit {
            return Err(AppendError::TooLarge { size, limit });
        }
        Ok(record.disk_len(None))
    }

    /// Appends records in groups and makes them durable. Their sizes have been checked. `written` is called
    /// for each group when it is written, before its sync.
    pub(crate) fn append(&self, mut records: Vec<NewRecord>, written: &dyn Fn()) -> Appended {
        let mut writer = lock(&self.writer);
        let mut appended = Appended {
            first: self.state().next,
            accepted: 0,
            error: None,
            delivered: 0,
            unseen: false,
            gone: Vec::new(),
        };
        while !records.is_empty() && appended.error.is_none() {
            let done = self.append_group(&mut writer, &mut records, &mut appended, written);
            appended.error = done.err();
        }
        appended
    }

    /// Appends as many as go into one group and takes them out of the list.
    fn append_group(
        &self,
        writer: &mut Writer,
        records: &mut Vec<NewRecord>,
        appended: &mut Appended,
        written: &dyn Fn(),
    ) -> Result<(), AppendError> {
        if writer.read_only {
            return Err(AppendError::ReadOnly);
        }
        if self.state().tail.is_none() {
            // The reader found the file gone or unusable.
            writer.tail = None;
        }
        let fits = |tail: &Tail, more: u64| tail.end + more <= tail.header.data_end();
        let needed = |tail: &Tail| records[0].disk_len(tail.cipher.as_deref());
        let there_is_room = writer.tail.as_ref().is_some_and(|t| fits(t, needed(t)));
        if !there_is_room {
            self.roll(writer)?;
        }
        let Writer {
            tail: Some(tail),
            buffer,
            ..
        } = writer
        else {
            unreachable!("a roll that succeeds leaves a tail")
        };
        let position = self.state().next;
        let group = u32::try_from(tail.end).expect("segments have at most 1 GiB");
        let cipher = tail.cipher.as_deref();
        buffer.clear();
        let mut count = 0;
        let mut sizes = 0;
        for (record, position) in records.iter().zip(position..) {
            let more = buffer.len() as u64 + record.disk_len(cipher);
            let group_is_full = more > self.config.max_group_bytes as u64;
            if count > 0 && (group_is_full || !fits(tail, more)) {
                break;
            }
            record.encode(buffer, group, tail.header.salt, position, cipher);
            sizes += record.disk_len(None);
            count += 1;
        }
        let bytes = align_up(buffer.len() as u64, tail.header.alignment.into());
        buffer.resize(to_usize(bytes), 0);
        let started = self.fs.now();
        if let Err(error) = tail.file.write_at(tail.end, buffer) {
            self.fail_tail(writer);
            return Err(refusal(error));
        }
        let group = records.drain(..count).zip(position..);
        let group = group.map(|(record, position)| record.into_stored(position));
        self.state().ahead.records = group.collect();
        written();
        if let Err(error) = tail.file.sync_data() {
            self.state().refuse_ahead();
            self.fail_tail(writer);
            // Whatever the reason, also a lack of space: nobody may take it for a record that went nowhere.
            return Err(AppendError::Io(Arc::new(error)));
        }
        let took = self.fs.now().saturating_sub(started);
        let offset = tail.end;
        tail.end += bytes;
        let (number, end) = (tail.header.number, tail.end);
        let mut state = self.state();
        state.tail = Some((number, end));
        appended.accepted += count;
        let (delivered, seen) = state.confirm_ahead(&mut appended.gone);
        appended.delivered += delivered;
        appended.unseen |= !seen;
        state.accepted.0 += count as u64;
        state.accepted.1 += sizes;
        state.synced = TailMark {
            number,
            end,
            next: state.next,
        };
        state.marks.note(number, position, offset);
        state.counters.group(count as u64, bytes, took);
        Ok(())
    }

    /// Seals the tail after an error: nothing is written or synced through its descriptor again.
    ///
    /// The next segment begins at once, if the disk lets it: its first position is what makes leftovers
    /// of the failed group mean nothing, whoever opens the log next.
    fn fail_tail(&self, writer: &mut Writer) {
        let Some(tail) = writer.tail.take() else {
            return;
        };
        self.seal(&tail);
        let intact = self.verify(&tail);
        self.state().counters.append_failures += 1;
        if matches!(intact, Ok(true)) {
            warn!(
                number = tail.header.number,
                "group not written, segment sealed"
            );
            if let Err(error) = self.roll(writer) {
                warn!(%error, "no new segment begun after a failed group");
            }
        } else {
            writer.read_only = true;
            self.state().counters.read_only = true;
            error!(
                number = tail.header.number,
                "acknowledged records cannot be read back, journal is read-only"
            );
        }
    }

    fn seal(&self, tail: &Tail) {
        let mut state = self.state();
        state.tail = None;
        if let Some(segment) = state.segment_mut(tail.header.number) {
            segment.end = Some(tail.end);
        }
    }

    /// Whether all that is acknowledged and not settled in a sealed tail can be read through a fresh
    /// descriptor.
    fn verify(&self, tail: &Tail) -> io::Result<bool> {
        let path = self.path(&file_name(tail.header.number, tail.header.first));
        let file = self.fs.open(&path, OpenMode::Read)?;
        let mut window = Window::new(file.as_ref(), &tail.header, tail.end);
        let (settled, next) = {
            let state = self.state();
            (state.settled.clone(), state.next)
        };
        let (mut offset, mut position) = (tail.header.data_start(), tail.header.first);
        while position < next {
            let found = match window.next(offset, position)? {
                Step::Record { frame, .. } => {
                    offset = frame.offset + frame.head.padded();
                    frame.head.position
                }
                Step::End { .. } => next,
            };
            if settled.next_absent(position) < found.min(next) {
                return Ok(false);
            }
            position = found + 1;
        }
        Ok(true)
    }

    /// Begins a new segment.
    fn roll(&self, writer: &mut Writer) -> Result<(), AppendError> {
        if self.state().unsaved_refusal {
            // What is left of a refused group lies before the new segment, and must mean nothing.
            self.save_cursor()
                .map_err(|error| refusal(io::Error::other(error)))?;
            self.state().unsaved_refusal = false;
        }
        if self.state().waiting() == 0
            && let Some(tail) = writer.tail.take()
        {
            // Nothing waits: the old segments can go before the new one comes.
            self.seal(&tail);
            self.state().version += 1;
            if let Err(error) = self.save_cursor() {
                warn!(%error, "segments without waiting records not removed");
            }
        }
        let (number, first, segments) = {
            let state = self.state();
            (state.next_number, state.next, state.segments.len() as u64)
        };
        if (segments + 1) * self.config.segment_bytes > self.config.max_bytes {
            return Err(AppendError::Full);
        }
        let (codec, cipher) = self.new_cipher()?;
        let mut salt = [0; 8];
        self.fs.random(&mut salt).map_err(refusal)?;
        let header = SegmentHeader {
            journal: self.id,
            number,
            first,
            salt: u64::from_le_bytes(salt),
            size: self.config.segment_bytes,
            alignment: u32::try_from(self.config.alignment).expect("checked: at most 65536"),
            codec,
        };
        let spare = self.use_spare(|spare| {
            self.state().next_number += 1;
            self.begin(spare.file.as_ref(), &header).map_err(|error| {
                // Which of the names survives is unknown; opening knows what to do with either.
                for name in [SPARE, &file_name(number, first)] {
                    let removed = self.fs.unlink(&self.path(name));
                    drop(removed);
                }
                refusal(error)
            })
        })?;
        if let Some(tail) = writer.tail.take() {
            self.seal(&tail);
        }
        let end = header.data_start();
        let mut state = self.state();
        state.segments.push(Segment {
            number,
            first,
            end: None,
            keep: false,
        });
        state.tail = Some((number, end));
        drop(state);
        writer.tail = Some(Tail {
            file: spare.file,
            header,
            cipher,
            end,
        });
        Ok(())
    }

    /// Makes the spare a segment, durably.
    fn begin(&self, file: &dyn FsFile, header: &SegmentHeader) -> io::Result<()> {
        let bytes = header.encode();
        file.write_at(0, &bytes)?;
        file.write_at(header.size - bytes.len() as u64, &bytes)?;
        file.sync_data()?;
        let name = file_name(header.number, header.first);
        self.fs.rename(&self.path(SPARE), &self.path(&name))?;
        self.fs.sync_dir(&self.dir)
    }

    #[cfg(not(feature = "encryption"))]
    #[expect(
        clippy::unnecessary_wraps,
        reason = "the same signature as with encryption"
    )]
    fn new_cipher(&self) -> Result<(Codec, Option<Arc<dyn BodyCipher>>), AppendError> {
        let _: &Self = self;
        Ok((Codec::Clear, None))
    }

    #[cfg(feature = "encryption")]
    fn new_cipher(&self) -> Result<(Codec, Option<Arc<dyn BodyCipher>>), AppendError> {
        let Some(keys) = &self.config.keys else {
            return Ok((Codec::Clear, None));
        };
        let (codec, cipher) = keys
            .new_segment(self.fs.as_ref(), self.id)
            .map_err(refusal)?;
        Ok((codec, Some(cipher)))
    }

    /// The cipher of a segment that exists; an error when its key is not known.
    #[cfg(not(feature = "encryption"))]
    pub(super) fn cipher_of(
        &self,
        header: &SegmentHeader,
    ) -> io::Result<Option<Arc<dyn BodyCipher>>> {
        let _: &Self = self;
        match header.codec {
            Codec::Clear => Ok(None),
            Codec::Sealed { .. } => Err(io::Error::other(
                "the segment is encrypted and this program is built without encryption",
            )),
        }
    }

    /// The cipher of a segment that exists; an error when its key is not known.
    #[cfg(feature = "encryption")]
    pub(super) fn cipher_of(
        &self,
        header: &SegmentHeader,
    ) -> io::Result<Option<Arc<dyn BodyCipher>>> {
        crate::crypt::cipher_of(self.config.keys.as_ref(), header)
    }

    /// Whether bodies of new segments are encrypted.
    pub(super) fn encrypts(&self) -> bool {
        #[cfg(feature = "encryption")]
        let encrypts = self.config.keys.is_some();
        #[cfg(not(feature = "encryption"))]
        let encrypts = {
            let _: &Self = self;
            false
        };
        encrypts
    }
}
