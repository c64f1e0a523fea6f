//! What the tests have in common.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use fusebox_journal::fs::sim::SimFs;
use fusebox_journal::{Entry, Journal, JournalConfig, Position, Stored};

pub(crate) use crate::replay::{Random, picture};

/// Small files, so that a few records fill several.
pub(crate) fn small() -> JournalConfig {
    let mut config = JournalConfig::default();
    config.segment_bytes = 64 << 10;
    config.dead_segment_bytes = 64 << 10;
    config.max_record_bytes = 32 << 10;
    config.max_bytes = 1 << 30;
    config.reserve_bytes = 0;
    config.cursor_slot_bytes = 4096;
    config
}

/// The number a record was made from.
pub(crate) fn number(entry: &Entry) -> u64 {
    u64::from_le_bytes(entry.id[..8].try_into().unwrap())
}

/// The record number `n` of `size` bytes or so: everything in it follows from the number.
pub(crate) fn entry(n: u64, size: usize) -> Entry {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.to_le_bytes());
    id[8..].copy_from_slice(&(!n).to_le_bytes());
    let mut data = n.to_le_bytes().to_vec();
    data.resize(8 + size, n.to_le_bytes()[0]);
    Entry {
        id,
        label: ["orders", "invoices"][(n % 2) as usize].into(),
        admitted_at_ms: 1_700_000_000_000 + n.cast_signed(),
        data: Bytes::from(data),
    }
}

/// Appends records `from` to `to` (exclusive) of `size` bytes.
pub(crate) fn fill(journal: &Journal, from: u64, to: u64, size: usize) -> Vec<Position> {
    let pending: Vec<_> = (from..to).map(|n| journal.append(entry(n, size))).collect();
    pending.into_iter().map(|p| p.wait().unwrap()).collect()
}

/// Everything that waits.
pub(crate) fn all(journal: &Journal) -> Vec<Stored> {
    journal
        .peek(Position::START, usize::MAX, usize::MAX)
        .unwrap()
}

pub(crate) fn numbers(records: &[Stored]) -> Vec<u64> {
    records.iter().map(|r| number(&r.entry)).collect()
}

/// The segment files of a directory, oldest first.
pub(crate) fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "seg"))
        .collect();
    files.sort();
    files
}

/// Overwrites bytes of a file.
pub(crate) fn scribble(file: &Path, at: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::File::options().write(true).open(file).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

/// Waits until the next segments are there, so that their syncs are not those a test looks for.
pub(crate) fn made_ahead(fs: &SimFs, journal: &Journal) {
    let is_there = |name: &str| fs.paths().iter().any(|path| path.ends_with(name));
    while !(journal.stats().spare_ready && is_there("dead/spare")) {
        std::thread::yield_now();
    }
}
