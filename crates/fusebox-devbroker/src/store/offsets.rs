//! What groups have committed: a map in memory, and a file to which every commit is appended.
//!
//! The file is written anew, with the latest commits only, when it has become too long.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use bytes::{Buf as _, BufMut as _};

use super::{Magic, put_text, take_text};
use crate::error::StoreError;

const MAGIC: Magic = *b"FBXOFFST";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 10;
/// Length and checksum of a record.
const RECORD_HEADER: usize = 8;
/// No file shorter than this is written anew.
const COMPACT_AT: u64 = 1 << 20;
/// Longest metadata of a commit, as Kafka has it.
pub(crate) const MAX_METADATA: usize = 4096;

const COMMIT: u8 = 1;
const FORGET_GROUP: u8 = 2;
const FORGET_TOPIC: u8 = 3;

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    /// The next record to read.
    pub(crate) offset: i64,
    /// Epoch of the leader, as the consumer said it; -1 for none.
    pub(crate) leader_epoch: i32,
    /// Whatever the consumer wanted to remember.
    pub(crate) metadata: String,
}

type Partitions = BTreeMap<(String, i32), Committed>;

/// All committed offsets.
#[derive(Debug)]
pub(crate) struct Offsets {
    path: PathBuf,
    file: File,
    size: u64,
    compact_at: u64,
    groups: BTreeMap<String, Partitions>,
    dirty: bool,
}

impl Offsets {
    /// Opens or makes the file. Returns the bytes of a torn append that were removed, too.
    pub(crate) fn open(folder: &Path) -> Result<(Self, u64), StoreError> {
        let path = folder.join("offsets");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(StoreError::at(&path)(error)),
        };
        let damaged = |reason| StoreError::Damaged {
            path: path.clone(),
            reason,
        };
        let mut groups = BTreeMap::new();
        let mut good = 0;
        if !bytes.is_empty() {
            let (header, mut rest) = bytes
                .split_at_checked(HEADER_BYTES)
                .ok_or_else(|| damaged("it is too short"))?;
            if header != file_header() {
                return Err(damaged("it begins with something else"));
            }
            good = HEADER_BYTES;
            while let Some((record, after)) = split_record(rest) {
                apply(&mut groups, record).ok_or_else(|| damaged("a record makes no sense"))?;
                good += rest.len() - after.len();
                rest = after;
            }
        }
        let torn = (bytes.len() - good) as u64;
        if torn > 0 {
            tracing::info!(bytes = torn, "torn commit removed");
        }
        let (file, size) = rewrite(&path, &groups)?;
        let offsets = Self {
            path,
            file,
            size,
            compact_at: COMPACT_AT.max(size * 4),
            groups,
            dirty: false,
        };
        Ok((offsets, torn))
    }

    /// What a group has committed for a partition.
    pub(crate) fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&Committed> {
        self.groups.get(group)?.get(&(topic.to_owned(), partition))
    }

    /// Everything a group has committed.
    pub(crate) fn of_group(
        &self,
        group: &str,
    ) -> impl Iterator<Item = (&(String, i32), &Committed)> {
        self.groups.get(group).into_iter().flatten()
    }

    /// The groups that have committed anything.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }

    /// Commits.
    pub(crate) fn commit(
        &mut self,
        group: &str,
        commits: Vec<(String, i32, Committed)>,
    ) -> Result<(), StoreError> {
        let mut bytes = Vec::new();
        for (topic, partition, committed) in &commits {
            put_record(
                &mut bytes,
                &commit_record(group, topic, *partition, committed),
            );
        }
        self.append(&bytes)?;
        let partitions = self.groups.entry(group.to_owned()).or_default();
        for (topic, partition, committed) in commits {
            partitions.insert((topic, partition), committed);
        }
        self.compact_if_due()
    }

    /// Forgets a group.
    pub(crate) fn forget_group(&mut self, group: &str) -> Result<(), StoreError> {
        self.forget(FORGET_GROUP, group)
    }

    /// Forgets what all groups have committed for a topic.
    pub(crate) fn forget_topic(&mut self, topic: &str) -> Result<(), StoreError> {
        self.forget(FORGET_TOPIC, topic)
    }

    fn forget(&mut self, kind: u8, name: &str) -> Result<(), StoreError> {
        let mut record = vec![kind];
        put_text(&mut record, name);
        let mut bytes = Vec::new();
        put_record(&mut bytes, &record);
        self.append(&bytes)?;
        apply(&mut self.groups, &record);
        self.compact_if_due()
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let written = self.file.write_all_at(bytes, self.size).or_else(|error| {
            self.file.set_len(self.size)?;
            Err(error)
        });
        written.map_err(StoreError::at(&self.path))?;
        self.size += bytes.len() as u64;
        self.dirty = true;
        Ok(())
    }

    fn compact_if_due(&mut self) -> Result<(), StoreError> {
        if self.size >= self.compact_at {
            (self.file, self.size) = rewrite(&self.path, &self.groups)?;
            self.compact_at = COMPACT_AT.max(self.size * 4);
            self.dirty = false;
        }
        Ok(())
    }

    /// Makes what was committed survive a loss of power.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if self.dirty {
            self.file.sync_data()?;
            self.dirty = false;
        }
        Ok(())
    }
}

fn file_header() -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let (magic, version) = header.split_at_mut(MAGIC.len());
    magic.copy_from_slice(&MAGIC);
    version.copy_from_slice(&VERSION.to_le_bytes());
    header
}

/// Replaces the file by one with these commits only, and opens it.
fn rewrite(path: &Path, groups: &BTreeMap<String, Partitions>) -> Result<(File, u64), StoreError> {
    let mut bytes = file_header().to_vec();
    for (group, partitions) in groups {
        for ((topic, partition), committed) in partitions {
            put_record(
                &mut bytes,
                &commit_record(group, topic, *partition, committed),
            );
        }
    }
    super::replace(path, &bytes)?;
    let file = OpenOptions::new()
        .write(true)
        .open(path)
        .map_err(StoreError::at(path))?;
    Ok((file, bytes.len() as u64))
}

fn commit_record(group: &str, topic: &str, partition: i32, committed: &Committed) -> Vec<u8> {
    let mut record = vec![COMMIT];
    put_text(&mut record, group);
    put_text(&mut record, topic);
    record.put_i32_le(partition);
    record.put_i64_le(committed.offset);
    record.put_i32_le(committed.leader_epoch);
    put_text(&mut record, &committed.metadata);
    record
}

fn put_record(into: &mut Vec<u8>, record: &[u8]) {
    let length = u32::try_from(record.len()).expect("three strings of at most 64 KiB");
    into.put_u32_le(length);
    into.put_u32_le(crc32c::crc32c(record));
    into.put_slice(record);
}

/// The next record, if it is whole, and what follows it.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut header = bytes.get(..RECORD_HEADER)?;
    let length = usize::try_from(header.get_u32_le()).ok()?;
    let checksum = header.get_u32_le();
    let (record, rest) = bytes.get(RECORD_HEADER..)?.split_at_checked(length)?;
    // Zeros would be a record of no bytes with the right checksum: they are where a loss of power has kept the
    // file's new length and nothing else.
    (!record.is_empty() && crc32c::crc32c(record) == checksum).then_some((record, rest))
}

/// Does to the map what a record says.
fn apply(groups: &mut BTreeMap<String, Partitions>, mut record: &[u8]) -> Option<()> {
    let record = &mut record;
    let kind = record.try_get_u8().ok()?;
    let name = take_text(record)?;
    match kind {
        COMMIT => {
            let topic = take_text(record)?;
            let partition = record.try_get_i32_le().ok()?;
            let committed = Committed {
                offset: record.try_get_i64_le().ok()?,
                leader_epoch: record.try_get_i32_le().ok()?,
                metadata: take_text(record)?,
            };
            groups
                .entry(name)
                .or_default()
                .insert((topic, partition), committed);
        }
        FORGET_GROUP => drop(groups.remove(&name)),
        FORGET_TOPIC => {
            for partitions in groups.values_mut() {
                partitions.retain(|(topic, _), _| *topic != name);
            }
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> Committed {
        Committed {
            offset,
            leader_epoch: 0,
            metadata: "m".to_owned(),
        }
    }

    fn committed(offsets: &Offsets) -> Vec<(String, String, i64)> {
        let groups: Vec<&str> = offsets.groups().collect();
        groups
            .into_iter()
            .flat_map(|group| {
                offsets
                    .of_group(group)
                    .map(move |((topic, _), at)| (group.to_owned(), topic.clone(), at.offset))
            })
            .collect()
    }

    #[test]
    fn commits_are_there_after_a_crash_and_a_torn_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (mut offsets, _) = Offsets::open(dir.path()).unwrap();
        offsets
            .commit("g", vec![("t".into(), 0, at(5)), ("u".into(), 1, at(6))])
            .unwrap();
        offsets.commit("h", vec![("t".into(), 0, at(9))]).unwrap();
        offsets.commit("g", vec![("t".into(), 0, at(7))]).unwrap();
        assert_eq!(offsets.get("g", "t", 0), Some(&at(7)));
        assert_eq!(offsets.get("g", "t", 1), None);
        let before = committed(&offsets);
        let path = dir.path().join("offsets");
        let whole = fs::read(&path).unwrap();
        offsets.commit("g", vec![("t".into(), 0, at(8))]).unwrap();
        let longer = fs::read(&path).unwrap();
        drop(offsets);
        for length in whole.len() + 1..longer.len() {
            fs::write(&path, &longer[..length]).unwrap();
            let (offsets, torn) = Offsets::open(dir.path()).unwrap();
            assert_eq!(torn, (length - whole.len()) as u64);
            assert_eq!(committed(&offsets), before);
        }
    }

    /// After a loss of power the broker did not start: the end of the file was zeros, which it took for a
    /// record without content.
    #[test]
    fn zeros_at_the_end_are_a_torn_commit() {
        let dir = tempfile::tempdir().unwrap();
        let (mut offsets, _) = Offsets::open(dir.path()).unwrap();
        offsets.commit("g", vec![("t".into(), 0, at(5))]).unwrap();
        let before = committed(&offsets);
        drop(offsets);
        let path = dir.path().join("offsets");
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend([0; 600]);
        fs::write(&path, bytes).unwrap();
        let (offsets, torn) = Offsets::open(dir.path()).unwrap();
        assert_eq!((torn, committed(&offsets)), (600, before));
    }

    #[test]
    fn groups_and_topics_are_forgotten_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let (mut offsets, _) = Offsets::open(dir.path()).unwrap();
        for group in ["g", "h"] {
            offsets
                .commit(group, vec![("t".into(), 0, at(5)), ("u".into(), 0, at(6))])
                .unwrap();
        }
        offsets.forget_topic("t").unwrap();
        offsets.forget_group("h").unwrap();
        let left = [("g".to_owned(), "u".to_owned(), 6)];
        assert_eq!(committed(&offsets), left);
        drop(offsets);
        assert_eq!(committed(&Offsets::open(dir.path()).unwrap().0), left);
    }

    #[test]
    fn the_file_does_not_grow_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let (mut offsets, _) = Offsets::open(dir.path()).unwrap();
        for offset in 0..40_000 {
            offsets
                .commit("g", vec![("t".into(), 0, at(offset))])
                .unwrap();
        }
        let size = fs::metadata(dir.path().join("offsets")).unwrap().len();
        assert!(size < COMPACT_AT, "{size}");
        drop(offsets);
        let (offsets, _) = Offsets::open(dir.path()).unwrap();
        assert_eq!(offsets.get("g", "t", 0), Some(&at(39_999)));
    }

    #[test]
    fn a_commit_looks_like_this() {
        let record = commit_record("g", "t", 2, &at(3));
        let golden = b"\x01\x01\x00g\x01\x00t\x02\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00m";
        assert_eq!(record, golden);
    }
}
