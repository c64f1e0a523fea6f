//! The log of one partition: segments one after the other, of which only the last is written.

pub(crate) mod batch;
mod index;
mod producers;
mod segment;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use thiserror::Error;

use self::{
    batch::{BatchError, BatchHeader},
    producers::{Producers, Verdict},
    segment::{Segment, Tail},
};
use crate::config::FsyncPolicy;

/// A new log also makes the folders of its partition and of its topic.
const NEW_LOG: usize = 3;

/// How a log is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogOptions {
    /// A segment that has reached this size is closed.
    pub(crate) segment_bytes: u64,
    /// Longest batch.
    pub(crate) max_batch_bytes: usize,
    /// When what was written is made to survive a loss of power.
    pub(crate) fsync: FsyncPolicy,
}

/// What recovery had to remove.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Bytes of appends that were cut short. They were never acknowledged.
    pub torn_bytes: u64,
    /// Bytes that were not what had been written. They are kept beside the log.
    pub damaged_bytes: u64,
}

impl RecoveryReport {
    /// Both together.
    pub(crate) fn add(&mut self, other: Self) {
        self.torn_bytes += other.torn_bytes;
        self.damaged_bytes += other.damaged_bytes;
    }
}

/// Where a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    /// Offset of its first record.
    pub(crate) base_offset: i64,
    /// Whether it had been there before.
    pub(crate) duplicate: bool,
}

/// Why a batch is not in the log.
#[derive(Debug, Error)]
pub(crate) enum AppendError {
    /// It is not a batch.
    #[error("the bytes are not a record batch")]
    Batch(#[from] BatchError),
    /// It is longer than allowed.
    #[error("the batch of {0} bytes is too long")]
    TooLarge(usize),
    /// Its sequence does not fit.
    #[error("the batch is not the producer's next")]
    Sequence(ResponseError),
    /// The topic was deleted meanwhile.
    #[error("the log is gone")]
    Deleted,
    /// The disk failed to keep something earlier.
    #[error("the log takes nothing since a sync of it failed; it is checked at the next start")]
    SyncFailed,
    /// The disk.
    #[error("the batch could not be written")]
    Io(#[from] io::Error),
}

impl AppendError {
    /// The code a producer gets.
    pub(crate) fn code(&self) -> ResponseError {
        match self {
            Self::Batch(error) => error.code(),
            Self::TooLarge(_) => ResponseError::MessageTooLarge,
            Self::Sequence(code) => *code,
            Self::Deleted => ResponseError::UnknownTopicOrPartition,
            Self::SyncFailed | Self::Io(_) => ResponseError::KafkaStorageError,
        }
    }
}

/// Why nothing was read.
#[derive(Debug, Error)]
pub(crate) enum ReadError {
    /// The offset is before the first or after the next record.
    #[error("the offset is not in the log")]
    OutOfRange,
    /// The topic was deleted meanwhile.
    #[error("the log is gone")]
    Deleted,
    /// The disk.
    #[error("the log could not be read")]
    Io(#[from] io::Error),
}

impl ReadError {
    /// The code a consumer gets.
    pub(crate) fn code(&self) -> ResponseError {
        match self {
            Self::OutOfRange => ResponseError::OffsetOutOfRange,
            Self::Deleted => ResponseError::UnknownTopicOrPartition,
            Self::Io(_) => ResponseError::KafkaStorageError,
        }
    }
}

/// The log of one partition. Nothing is on disk before the first batch.
#[derive(Debug)]
pub(crate) struct PartitionLog {
    folder: PathBuf,
    options: LogOptions,
    /// In order; the last one is written. Empty as long as nothing was ever appended.
    segments: Vec<Segment>,
    producers: Producers,
    /// Written, but not yet synced.
    dirty: bool,
    /// A sync has failed. The system may have thrown away what was to be synced and call the next
    /// sync a success, so nothing is appended any more until the log was opened and checked again.
    failed: bool,
    deleted: bool,
}

impl PartitionLog {
    /// Opens the log in `folder`, or begins one.
    pub(crate) fn open(folder: PathBuf, options: LogOptions) -> io::Result<(Self, RecoveryReport)> {
        let mut report = RecoveryReport::default();
        let mut producers = Producers::default();
        let mut segments = Vec::new();
        let bases = match Segment::list(&folder) {
            Ok(bases) => bases,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        if bases.first().is_some_and(|base| *base > 0) {
            producers.may_have_forgotten();
        }
        let last = bases.last().copied();
        for base in bases {
            if Some(base) == last {
                // It will be written: what its index says will not be true any more.
                index::remove(&folder, base);
            } else if let Some((summary, known)) = index::read(&folder, base)
                && let Some(segment) = Segment::open_as(&folder, base, &summary)?
            {
                producers = known;
                segments.push(segment);
                continue;
            }
            let (segment, tail) = Segment::open(&folder, base, |batch| producers.remember(batch))?;
            tell(&folder, base, tail);
            match tail {
                Tail::Clean => {}
                Tail::Torn(bytes) => report.torn_bytes += bytes,
                Tail::Damaged(bytes) => {
                    report.damaged_bytes += bytes;
                    producers.may_have_forgotten();
                }
            }
            if Some(base) != last {
                write_index(&folder, &segment, &producers);
            }
            segments.push(segment);
        }
        // After the death of a process its last append may be in the page cache only, and so may the name of
        // its segment. Whoever reads it, or asks whether it is there, is told so from now on.
        let dirty = !segments.is_empty();
        let mut log = Self {
            folder,
            options,
            segments,
            producers,
            dirty,
            failed: false,
            deleted: false,
        };
        if dirty && options.fsync == FsyncPolicy::Always {
            log.sync()?;
            log.sync_folders(NEW_LOG)?;
        }
        Ok((log, report))
    }

    /// Appends what a producer sent, unless it is there already.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<Appended, AppendError> {
        if self.deleted {
            return Err(AppendError::Deleted);
        }
        if self.failed {
            return Err(AppendError::SyncFailed);
        }
        if bytes.len() > self.options.max_batch_bytes {
            return Err(AppendError::TooLarge(bytes.len()));
        }
        let header = BatchHeader::from_producer(bytes)?;
        match self.producers.judge(&header) {
            Verdict::Append => {}
            Verdict::Duplicate(base_offset) => {
                // It may have been written without being synced when the first answer was lost.
                self.sync_if(FsyncPolicy::Always)?;
                return Ok(Appended {
                    base_offset,
                    duplicate: true,
                });
            }
            Verdict::Refuse(code) => return Err(AppendError::Sequence(code)),
        }
        let header = header.at_offset(self.end());
        let stored = header.stamped(bytes);
        self.active()?.append(&header, &stored)?;
        self.producers.remember(&header);
        self.dirty = true;
        self.sync_if(FsyncPolicy::Always)?;
        Ok(Appended {
            base_offset: header.base_offset,
            duplicate: false,
        })
    }

    /// The segment that is written, a new one when the last is full.
    fn active(&mut self) -> io::Result<&mut Segment> {
        let full = self
            .segments
            .last()
            .is_none_or(|last| last.size() >= self.options.segment_bytes);
        if full {
            self.roll()?;
        }
        let last = self.segments.last_mut();
        Ok(last.expect("a log that has rolled has a segment"))
    }

    /// Begins a new segment.
    fn roll(&mut self) -> io::Result<()> {
        let first = self.segments.is_empty();
        if first {
            fs::create_dir_all(&self.folder)?;
        }
        self.sync()?;
        if let Some(last) = self.segments.last() {
            write_index(&self.folder, last, &self.producers);
        }
        let segment = Segment::create(&self.folder, self.end())?;
        if !matches!(self.options.fsync, FsyncPolicy::Never) {
            self.sync_folders(if first { NEW_LOG } else { 1 })?;
        }
        self.segments.push(segment);
        Ok(())
    }

    /// Makes names survive a loss of power: those in the log's folder, and in so many above it.
    fn sync_folders(&self, folders: usize) -> io::Result<()> {
        for folder in self.folder.ancestors().take(folders) {
            fs::File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    /// Whole batches from `offset` on, at most `max_bytes`; one in any case when `at_least_one`.
    pub(crate) fn read(
        &mut self,
        offset: i64,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Bytes, ReadError> {
        if self.deleted {
            return Err(ReadError::Deleted);
        }
        if offset < self.start() || offset > self.end() {
            return Err(ReadError::OutOfRange);
        }
        let after = self.segments.partition_point(|s| s.base() <= offset);
        // Where batches were put aside as damaged, the log goes on in the next segment.
        for number in after.saturating_sub(1)..self.segments.len() {
            self.check(number)?;
            if let Some(segment) = self.segments.get(number)
                && segment.next() > offset
            {
                return Ok(segment.read(offset, max_bytes, at_least_one)?);
            }
        }
        Ok(Bytes::new())
    }

    /// Looks at the bytes of a segment that was opened by its index, before any of them is served.
    fn check(&mut self, number: usize) -> io::Result<()> {
        let Some(segment) = self.segments.get_mut(number) else {
            return Ok(());
        };
        if !segment.is_checked() {
            let base = segment.base();
            let (checked, tail) = Segment::open(&self.folder, base, |_| {})?;
            tell(&self.folder, base, tail);
            *segment = checked;
        }
        Ok(())
    }

    /// Offset of the oldest record that is kept.
    pub(crate) fn start(&self) -> i64 {
        self.segments.first().map_or(0, Segment::base)
    }

    /// Offset the next record gets.
    pub(crate) fn end(&self) -> i64 {
        self.segments.last().map_or(0, Segment::next)
    }

    /// Bytes on disk.
    pub(crate) fn size(&self) -> u64 {
        self.segments.iter().map(Segment::size).sum()
    }

    /// Offset and time of the first batch with a record that is not older than `time`.
    pub(crate) fn at_time(&mut self, time: i64) -> Result<Option<(i64, i64)>, ReadError> {
        for number in 0..self.segments.len() {
            let newest = self.segments.get(number).map_or(-1, Segment::newest);
            if newest < time {
                continue;
            }
            self.check(number)?;
            if let Some(segment) = self.segments.get(number)
                && let Some(header) = segment.find_time(time)?
            {
                return Ok(Some((header.base_offset, header.base_timestamp)));
            }
        }
        Ok(None)
    }

    /// The highest producer id in the log.
    pub(crate) fn highest_producer_id(&self) -> Option<i64> {
        self.producers.highest_id()
    }

    /// Deletes old segments: while the others hold `max_bytes`, and those whose newest record is
    /// older than `oldest`. Returns how many went.
    pub(crate) fn retain(
        &mut self,
        max_bytes: Option<u64>,
        oldest: Option<i64>,
    ) -> io::Result<usize> {
        let expired = |segment: &Segment| oldest.is_some_and(|oldest| segment.newest() < oldest);
        // The last one is kept for its name, which is the next offset: an empty one will do.
        if let Some(last) = self.segments.last()
            && last.size() > 0
            && self.segments.iter().all(expired)
        {
            self.roll()?;
        }
        let mut deleted = 0;
        while self.segments.len() > 1 {
            let first = self.segments.first();
            let gone = first.is_some_and(|first| {
                let others = self.size() - first.size();
                expired(first) || max_bytes.is_some_and(|max_bytes| others >= max_bytes)
            });
            if !gone {
                break;
            }
            let first = self.segments.remove(0);
            index::remove(&self.folder, first.base());
            first.delete()?;
            self.producers.may_have_forgotten();
            deleted += 1;
        }
        Ok(deleted)
    }

    fn sync_if(&mut self, policy: FsyncPolicy) -> io::Result<()> {
        if self.options.fsync == policy {
            self.sync()?;
        }
        Ok(())
    }

    /// Makes what was written survive a loss of power.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if self.dirty
            && let Some(last) = self.segments.last()
            && let Err(error) = last.sync()
        {
            self.failed = true;
            self.dirty = false;
            return Err(error);
        }
        self.dirty = false;
        Ok(())
    }

    /// Nothing is appended or read any more.
    pub(crate) fn close_for_deletion(&mut self) {
        self.deleted = true;
        self.segments.clear();
        self.dirty = false;
    }
}

/// Spares the next start a scan of this segment.
fn write_index(folder: &Path, segment: &Segment, producers: &Producers) {
    if let Err(error) = index::write(folder, segment.base(), &segment.summary(), producers) {
        tracing::warn!(%error, ?folder, "a segment has no index and is scanned at the next start");
    }
}

fn tell(folder: &Path, base: i64, tail: Tail) {
    match tail {
        Tail::Clean => {}
        Tail::Torn(bytes) => tracing::info!(?folder, base, bytes, "torn append removed"),
        Tail::Damaged(bytes) => tracing::warn!(?folder, base, bytes, "damaged batches put aside"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use bytes::Buf as _;

    use super::{
        batch::tests::{batch, batch_at},
        *,
    };

    const OPTIONS: LogOptions = LogOptions {
        segment_bytes: 200,
        max_batch_bytes: 10_000,
        fsync: FsyncPolicy::Never,
    };

    fn open(folder: &Path) -> (PartitionLog, RecoveryReport) {
        PartitionLog::open(folder.to_owned(), OPTIONS).unwrap()
    }

    /// First and last offsets of the batches in `bytes`.
    fn offsets(mut bytes: Bytes) -> Vec<(i64, i64)> {
        let mut offsets = Vec::new();
        while bytes.has_remaining() {
            let header = BatchHeader::parse(&bytes).unwrap();
            header.verify(&bytes).unwrap();
            offsets.push((header.base_offset, header.last_offset));
            bytes.advance(header.bytes);
        }
        offsets
    }

    fn all(log: &mut PartitionLog) -> Vec<(i64, i64)> {
        let (mut next, mut found) = (log.start(), Vec::new());
        while next < log.end() {
            found.extend(offsets(log.read(next, 1, true).unwrap()));
            next = found.last().unwrap().1 + 1;
        }
        found
    }

    fn newest_file(folder: &Path) -> PathBuf {
        let base = *Segment::list(folder).unwrap().last().unwrap();
        folder.join(format!("{base:020}.log"))
    }

    #[test]
    fn batches_are_read_back_from_every_offset_over_many_segments_and_openings() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = open(dir.path());
        assert_eq!((log.start(), log.end(), all(&mut log)), (0, 0, vec![]));
        for number in 0..30 {
            let appended = log.append(&batch(&["a", "b"], 5, 0, number * 2)).unwrap();
            assert_eq!(appended.base_offset, i64::from(number) * 2);
        }
        let expected: Vec<_> = (0..30).map(|n| (n * 2, n * 2 + 1)).collect();
        assert_eq!(all(&mut log), expected);
        assert!(log.segments.len() > 5);
        drop(log);
        let (mut log, report) = open(dir.path());
        assert_eq!(report, RecoveryReport::default());
        assert_eq!(all(&mut log), expected);
        for offset in 0..60 {
            let first = offsets(log.read(offset, 1, true).unwrap())[0];
            assert!(first.0 <= offset && offset <= first.1);
            // Less than a batch is wanted.
            assert!(log.read(offset, 1, false).unwrap().is_empty());
        }
        assert!(log.read(60, 100, true).unwrap().is_empty());
        assert!(matches!(log.read(61, 1, true), Err(ReadError::OutOfRange)));
        assert!(matches!(log.read(-1, 1, true), Err(ReadError::OutOfRange)));
        // Who had written is known again.
        let again = log.append(&batch(&["a", "b"], 5, 0, 58)).unwrap();
        assert_eq!(
            again,
            Appended {
                base_offset: 58,
                duplicate: true
            }
        );
        let gap = log.append(&batch(&["a"], 5, 0, 61)).unwrap_err();
        assert_eq!(gap.code(), ResponseError::OutOfOrderSequenceNumber);
        assert_eq!(log.highest_producer_id(), Some(5));
    }

    #[test]
    fn a_log_is_the_same_with_and_without_its_indexes() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = open(dir.path());
        for number in 0..30 {
            log.append(&batch(&["a", "b"], 5, 0, number * 2)).unwrap();
        }
        let expected = all(&mut log);
        let closed = log.segments.len() - 1;
        drop(log);
        let indexes = || {
            let files = fs::read_dir(dir.path()).unwrap();
            files
                .map(|file| file.unwrap().path())
                .filter(|path| path.extension().is_some_and(|e| e == "index"))
                .collect::<Vec<_>>()
        };
        assert_eq!(indexes().len(), closed);
        // The last time they have been written again.
        for damage in [false, true, false] {
            for path in indexes().iter().filter(|_| damage) {
                let mut bytes = fs::read(path).unwrap();
                *bytes.last_mut().unwrap() ^= 1;
                fs::write(path, bytes).unwrap();
            }
            let (mut log, report) = open(dir.path());
            assert_eq!(report, RecoveryReport::default());
            let unread = log.segments.iter().filter(|s| !s.is_checked()).count();
            assert_eq!(unread, if damage { 0 } else { closed });
            assert_eq!(
                log.append(&batch(&["a", "b"], 5, 0, 58))
                    .unwrap()
                    .base_offset,
                58
            );
            log.append(&batch(&["a"], 5, 0, 61)).unwrap_err();
            assert_eq!(log.at_time(0).unwrap().map(|(offset, _)| offset), Some(0));
            assert_eq!(all(&mut log), expected);
        }
    }

    #[test]
    fn a_torn_append_of_every_length_is_removed() {
        let whole = batch(&["first"], -1, -1, -1);
        let torn = batch(&["second, longer"], -1, -1, -1);
        for length in 1..torn.len() {
            let dir = tempfile::tempdir().unwrap();
            let (mut log, _) = open(dir.path());
            log.append(&whole).unwrap();
            drop(log);
            let stamped = BatchHeader::parse(&torn)
                .unwrap()
                .at_offset(1)
                .stamped(&torn);
            let mut file = OpenOptions::new()
                .append(true)
                .open(newest_file(dir.path()))
                .unwrap();
            io::Write::write_all(&mut file, &stamped[..length]).unwrap();
            let (mut log, report) = open(dir.path());
            assert_eq!(
                (report.torn_bytes, report.damaged_bytes),
                (length as u64, 0)
            );
            assert_eq!(log.append(&whole).unwrap().base_offset, 1);
            drop(log);
            let (mut log, report) = open(dir.path());
            assert_eq!(report, RecoveryReport::default());
            assert_eq!(all(&mut log), [(0, 0), (1, 1)]);
        }
    }

    #[test]
    fn damage_is_put_aside_and_the_log_goes_on_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = open(dir.path());
        for _ in 0..12 {
            log.append(&batch(&["some value"], -1, -1, -1)).unwrap();
        }
        let second = log.segments[1].base();
        let third = log.segments[2].base();
        drop(log);
        let path = dir.path().join(format!("{second:020}.log"));
        let mut bytes = fs::read(&path).unwrap();
        let first_batch = BatchHeader::parse(&bytes).unwrap().bytes;
        bytes[first_batch + 70] ^= 0xff;
        fs::write(&path, &bytes).unwrap();
        // Not noticed at the start, but before anyone is given it.
        let (mut log, report) = open(dir.path());
        assert_eq!(report, RecoveryReport::default());
        let kept: Vec<i64> = all(&mut log).into_iter().map(|(first, _)| first).collect();
        let expected: Vec<i64> = (0..=second).chain(third..12).collect();
        assert_eq!(kept, expected);
        let aside = fs::read(path.with_extension(format!("damaged-{first_batch}"))).unwrap();
        assert_eq!(aside, bytes[first_batch..]);
        assert_eq!(
            log.append(&batch(&["on"], -1, -1, -1)).unwrap().base_offset,
            12
        );
    }

    #[test]
    fn old_segments_go_by_size_and_by_time_and_offsets_are_never_given_twice() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = open(dir.path());
        for number in 0..20 {
            log.append(&batch_at(&["v"], -1, -1, -1, 1000 + number))
                .unwrap();
        }
        let size = log.size();
        assert_eq!(log.retain(Some(size), Some(0)).unwrap(), 0);
        assert!(log.retain(Some(size / 2), None).unwrap() > 0);
        assert!(log.size() >= size / 2 && log.size() < size);
        let start = log.start();
        assert!(start > 0);
        assert!(matches!(log.read(0, 1, true), Err(ReadError::OutOfRange)));
        assert_eq!(log.at_time(0).unwrap(), Some((start, 1000 + start)));
        assert_eq!(log.at_time(1019).unwrap(), Some((19, 1019)));
        assert_eq!(log.at_time(1020).unwrap(), None);
        // All of it is too old: only the next offset remains.
        assert!(log.retain(None, Some(5000)).unwrap() > 0);
        assert_eq!((log.start(), log.end(), log.size()), (20, 20, 0));
        drop(log);
        let (mut log, _) = open(dir.path());
        assert_eq!((log.start(), log.end()), (20, 20));
        let forgotten = log.append(&batch(&["v"], 77, 0, 12)).unwrap();
        assert_eq!(forgotten.base_offset, 20);
    }

    #[test]
    fn after_a_failed_sync_nothing_is_taken_until_the_log_was_checked_again() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = open(dir.path());
        log.append(&batch(&["v"], -1, -1, -1)).unwrap();
        log.segments[0].break_sync();
        log.sync().unwrap_err();
        // Trying the sync again would succeed and mean nothing.
        log.sync().unwrap();
        let error = log.append(&batch(&["v"], -1, -1, -1)).unwrap_err();
        assert!(matches!(error, AppendError::SyncFailed), "{error}");
        assert_eq!(error.code(), ResponseError::KafkaStorageError);
        drop(log);
        let (mut log, _) = open(dir.path());
        assert_eq!(
            log.append(&batch(&["v"], -1, -1, -1)).unwrap().base_offset,
            1
        );
    }

    /// A broker died between writing and syncing. Its successor found the batch, took the producer's second
    /// try for a duplicate and acknowledged it without a sync, so that a loss of power took it after all.
    #[test]
    fn what_an_earlier_process_has_written_is_synced_before_it_is_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = open(dir.path());
        log.append(&batch(&["v"], 5, 0, 0)).unwrap();
        drop(log);
        let (mut log, _) = open(dir.path());
        log.options.fsync = FsyncPolicy::Always;
        log.segments[0].break_sync();
        let error = log.append(&batch(&["v"], 5, 0, 0)).unwrap_err();
        assert!(matches!(error, AppendError::Io(_)), "{error}");
    }

    #[test]
    fn a_batch_that_is_too_long_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = open(dir.path());
        let mut bytes = batch(&["v"], -1, -1, -1);
        bytes.resize(10_001, 0);
        let error = log.append(&bytes).unwrap_err();
        assert_eq!(error.code(), ResponseError::MessageTooLarge);
        assert_eq!(log.end(), 0);
    }
}
