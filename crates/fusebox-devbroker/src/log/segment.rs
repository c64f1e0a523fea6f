//! One file of a partition: batches one after the other, and a sparse index of them in memory.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use bytes::{Bytes, BytesMut};

use super::batch::{BatchError, BatchHeader, HEADER_BYTES};

/// Bytes of the log per entry of the index.
const INDEX_INTERVAL: u64 = 16 * 1024;
/// How much is read at once while looking for an offset.
const SEEK_BYTES: usize = 32 * 1024;
/// Buffer of a scan.
const SCAN_BYTES: usize = 1024 * 1024;

/// Where a batch begins.
#[derive(Debug, Clone, Copy)]
struct Entry {
    offset: i64,
    position: u64,
}

/// A file of batches.
#[derive(Debug)]
pub(crate) struct Segment {
    path: PathBuf,
    file: File,
    base: i64,
    next: i64,
    size: u64,
    newest: i64,
    index: Vec<Entry>,
    /// Whether its bytes have been checked since it was opened, or were written since.
    checked: bool,
}

/// What a scan of a segment finds, for its index file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Bytes.
    pub(crate) size: u64,
    /// Offset after the last record.
    pub(crate) next: i64,
    /// Latest time of a record.
    pub(crate) newest: i64,
    /// Offsets of some batches, and where they begin.
    pub(crate) index: Vec<(i64, u64)>,
}

/// What a scan found besides good batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Nothing.
    Clean,
    /// An append that was cut short; this many bytes were taken off.
    Torn(u64),
    /// Bytes that are not what was written; this many were put aside.
    Damaged(u64),
}

impl Segment {
    /// Makes the empty file that begins at offset `base`.
    pub(crate) fn create(folder: &Path, base: i64) -> io::Result<Self> {
        let path = folder.join(format!("{base:020}.log"));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        Ok(Self::new(path, file, base))
    }

    fn new(path: PathBuf, file: File, base: i64) -> Self {
        Self {
            path,
            file,
            base,
            next: base,
            size: 0,
            newest: -1,
            index: Vec::new(),
            checked: true,
        }
    }

    /// Opens the file that begins at `base` without reading it; `None` when it has another length.
    pub(crate) fn open_as(folder: &Path, base: i64, summary: &Summary) -> io::Result<Option<Self>> {
        let path = folder.join(format!("{base:020}.log"));
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        if file.metadata()?.len() != summary.size {
            return Ok(None);
        }
        let entries = summary.index.iter();
        let index = entries.map(|&(offset, position)| Entry { offset, position });
        Ok(Some(Self {
            next: summary.next,
            size: summary.size,
            newest: summary.newest,
            index: index.collect(),
            checked: false,
            ..Self::new(path, file, base)
        }))
    }

    /// What its index file says.
    pub(crate) fn summary(&self) -> Summary {
        let index = self.index.iter();
        Summary {
            size: self.size,
            next: self.next,
            newest: self.newest,
            index: index.map(|entry| (entry.offset, entry.position)).collect(),
        }
    }

    /// Whether its bytes have been checked since the start.
    pub(crate) fn is_checked(&self) -> bool {
        self.checked
    }

    /// The offsets at which the segments in `folder` begin, in order.
    pub(crate) fn list(folder: &Path) -> io::Result<Vec<i64>> {
        let mut bases = Vec::new();
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            let base: Option<i64> = name
                .to_str()
                .and_then(|name| name.strip_suffix(".log"))
                .filter(|digits| digits.len() == 20)
                .and_then(|digits| digits.parse().ok());
            bases.extend(base);
        }
        bases.sort_unstable();
        Ok(bases)
    }

    /// Opens the file that begins at `base` and checks every batch in it.
    ///
    /// What does not follow from the batches before it is removed: dropped when it is the beginning
    /// of an append, kept in a file beside it when it is damage. Every good batch goes to `seen`.
    pub(crate) fn open(
        folder: &Path,
        base: i64,
        mut seen: impl FnMut(&BatchHeader),
    ) -> io::Result<(Self, Tail)> {
        let path = folder.join(format!("{base:020}.log"));
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let length = file.metadata()?.len();
        let mut segment = Self::new(path, file.try_clone()?, base);
        let mut reader = BufReader::with_capacity(SCAN_BYTES, &file);
        let mut batch = Vec::new();
        let stopped = loop {
            let left = length - segment.size;
            if left == 0 {
                break None;
            }
            batch.clear();
            reader
                .by_ref()
                .take(HEADER_BYTES as u64)
                .read_to_end(&mut batch)?;
            let header = match BatchHeader::parse(&batch) {
                Ok(header) => header,
                Err(error) => break Some((error, 0)),
            };
            // Before anything is reserved: a length that is not true must not cost memory.
            if header.bytes as u64 > left {
                break Some((BatchError::Short, 0));
            }
            let rest = header.bytes - HEADER_BYTES;
            reader.by_ref().take(rest as u64).read_to_end(&mut batch)?;
            if let Err(error) = header.verify(&batch) {
                break Some((error, header.bytes));
            }
            // Each begins where the one before it ended.
            if header.base_offset != segment.next {
                break Some((BatchError::Counts, header.bytes));
            }
            seen(&header);
            segment.note(&header);
        };
        let tail = match stopped {
            None => Tail::Clean,
            Some((error, bytes)) => segment.cut(length, error, bytes as u64)?,
        };
        Ok((segment, tail))
    }

    /// Takes off everything after the good batches of a file of `length` bytes.
    fn cut(&mut self, length: u64, error: BatchError, bytes: u64) -> io::Result<Tail> {
        let left = length - self.size;
        // An append that a crash cut short is too short, and the last thing in the file.
        let torn = error == BatchError::Short || bytes == left && error == BatchError::Checksum;
        if !torn {
            let mut reader = &self.file;
            io::Seek::seek(&mut reader, io::SeekFrom::Start(self.size))?;
            let aside = self.path.with_extension(format!("damaged-{}", self.size));
            let mut aside = File::create(aside)?;
            io::copy(&mut reader, &mut aside)?;
            aside.sync_all()?;
        }
        self.file.set_len(self.size)?;
        self.file.sync_all()?;
        Ok(if torn {
            Tail::Torn(left)
        } else {
            Tail::Damaged(left)
        })
    }

    /// Writes a batch behind the last; `stored` has its offset in it.
    ///
    /// When it fails, the file is as it was before.
    pub(crate) fn append(&mut self, header: &BatchHeader, stored: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all_at(stored, self.size) {
            self.file.set_len(self.size)?;
            return Err(error);
        }
        self.note(header);
        Ok(())
    }

    fn note(&mut self, header: &BatchHeader) {
        let due = self
            .index
            .last()
            .is_none_or(|last| self.size - last.position >= INDEX_INTERVAL);
        if due {
            self.index.push(Entry {
                offset: header.base_offset,
                position: self.size,
            });
        }
        self.size += header.bytes as u64;
        self.next = header.last_offset + 1;
        self.newest = self.newest.max(header.max_timestamp);
    }

    /// Whole batches from the one with `offset` on, at most `max_bytes`; the first one in any case
    /// when `at_least_one`.
    pub(crate) fn read(
        &self,
        offset: i64,
        max_bytes: usize,
        at_least_one: bool,
    ) -> io::Result<Bytes> {
        let Some((position, first)) = self.find(offset)? else {
            return Ok(Bytes::new());
        };
        if first.bytes > max_bytes && !at_least_one {
            return Ok(Bytes::new());
        }
        let available = usize::try_from(self.size - position).unwrap_or(usize::MAX);
        let want = max_bytes.max(first.bytes).min(available);
        let mut bytes = BytesMut::zeroed(want);
        self.file.read_exact_at(&mut bytes, position)?;
        let mut whole = 0;
        while let Some(rest) = bytes.get(whole..)
            && let Ok(header) = BatchHeader::parse(rest)
            && header.bytes <= rest.len()
        {
            whole += header.bytes;
        }
        bytes.truncate(whole);
        Ok(bytes.freeze())
    }

    /// The batch that holds `offset`, or the first after it.
    fn find(&self, offset: i64) -> io::Result<Option<(u64, BatchHeader)>> {
        let after = self.index.partition_point(|entry| entry.offset <= offset);
        let from = after.checked_sub(1).and_then(|i| self.index.get(i));
        let start = from.map_or(0, |entry| entry.position);
        self.walk(start, |header| header.last_offset >= offset)
    }

    /// The first batch whose records are not all older than `time`.
    pub(crate) fn find_time(&self, time: i64) -> io::Result<Option<BatchHeader>> {
        if self.newest < time {
            return Ok(None);
        }
        let found = self.walk(0, |header| header.max_timestamp >= time)?;
        Ok(found.map(|(_, header)| header))
    }

    /// Steps from batch to batch, reading headers in chunks.
    fn walk(
        &self,
        mut position: u64,
        is_it: impl Fn(&BatchHeader) -> bool,
    ) -> io::Result<Option<(u64, BatchHeader)>> {
        let mut chunk = Vec::new();
        while position < self.size {
            let left = usize::try_from(self.size - position).unwrap_or(usize::MAX);
            chunk.resize(SEEK_BYTES.min(left), 0);
            self.file.read_exact_at(&mut chunk, position)?;
            let mut at = 0;
            while let Some(rest) = chunk.get(at..)
                && rest.len() >= HEADER_BYTES
            {
                let header = BatchHeader::parse(rest)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                if is_it(&header) {
                    return Ok(Some((position + at as u64, header)));
                }
                at += header.bytes;
            }
            if at == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            position += at as u64;
        }
        Ok(None)
    }

    /// Offset of the first record.
    pub(crate) fn base(&self) -> i64 {
        self.base
    }

    /// Offset after the last record.
    pub(crate) fn next(&self) -> i64 {
        self.next
    }

    /// Bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Latest time of a record, -1 when it is empty.
    pub(crate) fn newest(&self) -> i64 {
        self.newest
    }

    /// Makes what was written survive a loss of power.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Gives it a file that cannot be synced.
    #[cfg(test)]
    pub(crate) fn break_sync(&mut self) {
        let (_, writer) = io::pipe().unwrap();
        self.file = File::from(std::os::fd::OwnedFd::from(writer));
    }

    /// Removes the file.
    pub(crate) fn delete(self) -> io::Result<()> {
        fs::remove_file(self.path)
    }
}
