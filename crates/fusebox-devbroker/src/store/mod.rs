//! The broker's own small files: how they are sealed, written and read. Drawn in
//! `docs/design/devbroker.md`.

pub(crate) mod identity;
pub(crate) mod offsets;

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use bytes::{Buf, BufMut};

use crate::error::StoreError;

/// Bytes that say what a file is.
pub(crate) type Magic = [u8; 8];

/// Version of every file of ours.
const VERSION: u16 = 1;

/// A file's content: magic, version, body, checksum of all before.
pub(crate) fn seal(magic: Magic, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 14);
    bytes.put_slice(&magic);
    bytes.put_u16_le(VERSION);
    bytes.put_slice(body);
    bytes.put_u32_le(crc32c::crc32c(&bytes));
    bytes
}

/// The body of a sealed file.
pub(crate) fn unseal(magic: Magic, bytes: &[u8]) -> Result<&[u8], &'static str> {
    let (content, checksum) = bytes.split_last_chunk::<4>().ok_or("it is too short")?;
    let body = content
        .strip_prefix(&magic)
        .ok_or("it begins with something else")?;
    let (version, body) = body.split_first_chunk::<2>().ok_or("it is too short")?;
    if u16::from_le_bytes(*version) != VERSION {
        return Err("its version is not known");
    }
    if crc32c::crc32c(content) != u32::from_le_bytes(*checksum) {
        return Err("its checksum does not fit");
    }
    Ok(body)
}

/// Reads a sealed file; `None` when there is none.
pub(crate) fn read_sealed(path: &Path, magic: Magic) -> Result<Option<Vec<u8>>, StoreError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::at(path)(error)),
    };
    match unseal(magic, &bytes) {
        Ok(body) => Ok(Some(body.to_vec())),
        Err(reason) => Err(StoreError::Damaged {
            path: path.to_owned(),
            reason,
        }),
    }
}

/// Replaces a file so that a crash at any moment leaves the old one or the new one.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let write = || {
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    write().map_err(StoreError::at(path))
}

/// Appends a string with its length.
pub(crate) fn put_text(into: &mut Vec<u8>, text: &str) {
    // The protocol's strings are shorter than this.
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    into.put_u16_le(length);
    into.put_slice(
        text.as_bytes()
            .get(..usize::from(length))
            .unwrap_or_default(),
    );
}

/// Takes a string that [`put_text`] wrote.
pub(crate) fn take_text(from: &mut &[u8]) -> Option<String> {
    let length = from.try_get_u16_le().ok()?;
    let (text, rest) = from.split_at_checked(usize::from(length))?;
    *from = rest;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_file_looks_like_this() {
        let bytes = seal(*b"FBXTESTS", &[1, 2, 3]);
        let mut golden = b"FBXTESTS\x01\x00\x01\x02\x03".to_vec();
        golden.extend([0xdf, 0x09, 0x23, 0x51]);
        assert_eq!(bytes[..13], golden[..13]);
        assert_eq!(unseal(*b"FBXTESTS", &bytes), Ok(&[1, 2, 3][..]));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            unseal(*b"FBXTESTS", &changed).unwrap_err();
            unseal(*b"FBXTESTS", &bytes[..at]).unwrap_err();
        }
    }

    #[test]
    fn replacing_leaves_no_other_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        replace(&path, b"old").unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
