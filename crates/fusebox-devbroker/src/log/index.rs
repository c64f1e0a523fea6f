//! The index file beside a segment that is closed: what a scan of it would find, so that a start need
//! not read it. Only a shortcut: without a good one, the segment is scanned.
//!
//! It is written after the segment was synced and before the next one begins, so it never tells of
//! bytes that are not there. Whether the bytes are still what they were is looked at when they are
//! read for the first time.

use std::path::{Path, PathBuf};

use bytes::{Buf as _, BufMut as _};

use super::{producers::Producers, segment::Summary};
use crate::{
    error::StoreError,
    store::{Magic, read_sealed, replace, seal},
};

const MAGIC: Magic = *b"FBXINDEX";

fn path(folder: &Path, base: i64) -> PathBuf {
    folder.join(format!("{base:020}.index"))
}

/// Writes what is known of the segment that begins at `base`, and of the producers at its end.
pub(super) fn write(
    folder: &Path,
    base: i64,
    segment: &Summary,
    producers: &Producers,
) -> Result<(), StoreError> {
    replace(
        &path(folder, base),
        &seal(MAGIC, &render(segment, producers)),
    )
}

/// Reads it; `None` when there is none that can be used.
pub(super) fn read(folder: &Path, base: i64) -> Option<(Summary, Producers)> {
    let path = path(folder, base);
    match read_sealed(&path, MAGIC) {
        Ok(body) => parse(&mut body?.as_slice()),
        Err(error) => {
            tracing::warn!(%error, ?path, "an index cannot be used; its segment is scanned");
            None
        }
    }
}

/// Removes it, if there is one.
pub(super) fn remove(folder: &Path, base: i64) {
    match std::fs::remove_file(path(folder, base)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, ?folder, base, "an index was not removed");
        }
        _ => {}
    }
}

fn render(segment: &Summary, producers: &Producers) -> Vec<u8> {
    let mut body = Vec::new();
    body.put_u64_le(segment.size);
    body.put_i64_le(segment.next);
    body.put_i64_le(segment.newest);
    body.put_u32_le(u32::try_from(segment.index.len()).unwrap_or(0));
    for (offset, position) in &segment.index {
        body.put_i64_le(*offset);
        body.put_u64_le(*position);
    }
    producers.put(&mut body);
    body
}

fn parse(body: &mut &[u8]) -> Option<(Summary, Producers)> {
    let mut segment = Summary {
        size: body.try_get_u64_le().ok()?,
        next: body.try_get_i64_le().ok()?,
        newest: body.try_get_i64_le().ok()?,
        index: Vec::new(),
    };
    for _ in 0..body.try_get_u32_le().ok()? {
        let offset = body.try_get_i64_le().ok()?;
        segment.index.push((offset, body.try_get_u64_le().ok()?));
    }
    let producers = Producers::take(body)?;
    body.is_empty().then_some((segment, producers))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::batch::{BatchHeader, tests::batch};

    #[test]
    fn an_index_looks_like_this_and_is_read_back() {
        let segment = Summary {
            size: 1,
            next: 2,
            newest: 3,
            index: vec![(4, 5)],
        };
        let mut producers = Producers::default();
        let bytes = batch(&["v", "w"], 9, 1, 0);
        let written = BatchHeader::from_producer(&bytes).unwrap();
        producers.remember(&written.at_offset(7));
        let mut golden = Vec::new();
        for number in [1_u64, 2, 3] {
            golden.extend(number.to_le_bytes());
        }
        golden.extend(b"\x01\0\0\0\x04\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0");
        golden.extend(b"\0\x01\0\0\0\x09\0\0\0\0\0\0\0\x01\0\x01");
        golden.extend(b"\0\0\0\0\x01\0\0\0\x07\0\0\0\0\0\0\0");
        assert_eq!(render(&segment, &producers), golden);
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 0, &segment, &producers).unwrap();
        let (found, known) = read(folder.path(), 0).unwrap();
        assert_eq!(found, segment);
        assert_eq!(render(&found, &known), golden);
        for length in 0..golden.len() {
            assert!(parse(&mut &golden[..length]).is_none(), "{length}");
        }
        remove(folder.path(), 0);
        assert!(read(folder.path(), 0).is_none());
    }
}
