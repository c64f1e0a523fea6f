//! A record's bytes: head, body, checksum.

use std::sync::Arc;

use bytes::Bytes;

use super::{align_up, array_at, u16_at, u32_at, u64_at};
use crate::format::tags;
use crate::record::{Entry, Position, Stored};

/// Bytes before the body.
pub(crate) const FRAME_HEAD: usize = 32;

/// Positions beyond are none: so there is always room to count on.
pub(crate) const MAX_POSITION: u64 = 1 << 62;

/// Bytes of the body before the label.
const BODY_HEAD: usize = 19;

/// Flag: the body is encrypted.
const SEALED: u16 = 1;

/// Encrypts and decrypts the bodies of one segment.
pub(crate) trait BodyCipher: Send + Sync + std::fmt::Debug {
    /// Bytes a sealed body is longer.
    fn overhead(&self) -> usize;
    /// Encrypts the end of `buffer` that begins at `body`; `aad` is authenticated with it.
    fn seal(&self, place: Place, aad: &[u8], buffer: &mut Vec<u8>, body: usize);
    /// Decrypts a body; `None` when it is not authentic.
    fn open(&self, place: Place, aad: &[u8], body: &[u8]) -> Option<Vec<u8>>;
}

/// Where a record lies: no two records have the same.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(
    not(feature = "encryption"),
    expect(dead_code, reason = "only ciphers read it")
)]
pub(crate) struct Place {
    pub(crate) salt: u64,
    pub(crate) position: u64,
    pub(crate) offset: u64,
}

/// A record to be written.
#[derive(Debug, Clone)]
pub(crate) struct NewRecord {
    pub(crate) entry: Entry,
    pub(crate) tags: Vec<u8>,
}

impl NewRecord {
    pub(crate) fn plain(entry: Entry) -> Self {
        Self {
            entry,
            tags: Vec::new(),
        }
    }

    /// Bytes of a body in the clear.
    fn body_len(&self) -> usize {
        BODY_HEAD + self.entry.label.len() + self.tags.len() + self.entry.data.len()
    }

    /// Bytes on disk, with padding.
    pub(crate) fn disk_len(&self, cipher: Option<&dyn BodyCipher>) -> u64 {
        let body = self.body_len() + cipher.map_or(0, BodyCipher::overhead);
        align_up((FRAME_HEAD + body) as u64, 8)
    }

    pub(crate) fn into_stored(self, position: u64) -> Stored {
        Stored {
            position: Position(position),
            requeued_from: tags::get_u64(&self.tags, tags::REQUEUED_FROM).map(Position),
            entry: self.entry,
        }
    }

    /// Appends the record's bytes to `buffer`, which begins at `group` in the file.
    pub(crate) fn encode(
        &self,
        buffer: &mut Vec<u8>,
        group: u32,
        salt: u64,
        position: u64,
        cipher: Option<&dyn BodyCipher>,
    ) {
        let at = buffer.len();
        let offset = u64::from(group) + at as u64;
        let body_len = self.body_len() + cipher.map_or(0, BodyCipher::overhead);
        let length = u32::try_from(body_len).expect("a record fits into a segment of 1 GiB");
        buffer.extend_from_slice(&length.to_le_bytes());
        buffer.extend_from_slice(&[0; 4]);
        buffer.extend_from_slice(&position.to_le_bytes());
        buffer.extend_from_slice(&group.to_le_bytes());
        let flags = if cipher.is_some() { SEALED } else { 0 };
        buffer.extend_from_slice(&flags.to_le_bytes());
        buffer.extend_from_slice(&[0; 2]);
        buffer.extend_from_slice(&self.entry.admitted_at_ms.to_le_bytes());
        let body = buffer.len();
        buffer.extend_from_slice(&self.entry.id);
        buffer.push(u8::try_from(self.entry.label.len()).expect("labels are checked on entry"));
        let tags = u16::try_from(self.tags.len()).expect("tags are a few texts of 4096 bytes");
        buffer.extend_from_slice(&tags.to_le_bytes());
        buffer.extend_from_slice(self.entry.label.as_bytes());
        buffer.extend_from_slice(&self.tags);
        buffer.extend_from_slice(&self.entry.data);
        if let Some(cipher) = cipher {
            let place = Place {
                salt,
                position,
                offset,
            };
            let head: [u8; FRAME_HEAD] = array_at(buffer, at);
            cipher.seal(place, &authenticated(&head), buffer, body);
        }
        let sum = checksum(salt, offset, &buffer[at..]);
        buffer[at + 4..at + 8].copy_from_slice(&sum.to_le_bytes());
        buffer.resize(at + (buffer.len() - at).next_multiple_of(8), 0);
    }
}

/// The head with the checksum left out.
fn authenticated(head: &[u8; FRAME_HEAD]) -> [u8; FRAME_HEAD] {
    let mut head = *head;
    head[4..8].fill(0);
    head
}

fn checksum(salt: u64, offset: u64, frame: &[u8]) -> u32 {
    let mut start = [0; 20];
    start[..8].copy_from_slice(&salt.to_le_bytes());
    start[8..16].copy_from_slice(&offset.to_le_bytes());
    start[16..].copy_from_slice(&frame[..4]);
    crc32c::crc32c_append(crc32c::crc32c(&start), &frame[8..])
}

/// The head of what may be a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub(crate) position: u64,
    pub(crate) group: u64,
    /// Head and body without padding.
    pub(crate) len: usize,
}

impl FrameHead {
    /// Reads a head at `offset`; `None` when it cannot be one. `data_end` is where groups end.
    pub(crate) fn decode(head: &[u8], offset: u64, data_end: u64) -> Option<Self> {
        let body = u32_at(head, 0);
        let parsed = Self {
            position: u64_at(head, 8),
            group: u32_at(head, 16).into(),
            len: FRAME_HEAD + body as usize,
        };
        let sane = body as usize >= BODY_HEAD
            && offset + FRAME_HEAD as u64 + u64::from(body) <= data_end
            && parsed.group <= offset
            && parsed.position != 0
            && parsed.position < MAX_POSITION;
        sane.then_some(parsed)
    }

    /// Bytes to the next record of the group.
    pub(crate) fn padded(&self) -> u64 {
        align_up(self.len as u64, 8)
    }
}

/// Whether the bytes are a record that was written at this offset of this file.
pub(crate) fn is_valid(frame: &[u8], offset: u64, salt: u64) -> bool {
    u32_at(frame, 4) == checksum(salt, offset, frame)
}

/// The record in a valid frame, and its tags; `None` when the body is not as it must be, or cannot be
/// decrypted.
pub(crate) fn decode(
    frame: &[u8],
    offset: u64,
    salt: u64,
    cipher: Option<&dyn BodyCipher>,
) -> Option<(Stored, Bytes)> {
    let position = u64_at(frame, 8);
    let opened;
    let body = match (u16_at(frame, 20) & SEALED != 0, cipher) {
        (false, None) => &frame[FRAME_HEAD..],
        (true, Some(cipher)) => {
            let place = Place {
                salt,
                position,
                offset,
            };
            let head = authenticated(&array_at(frame, 0));
            opened = cipher.open(place, &head, &frame[FRAME_HEAD..])?;
            &opened
        }
        // Among encrypted records one in the clear is forged; without its key none can be read.
        (false, Some(_)) | (true, None) => return None,
    };
    if body.len() < BODY_HEAD {
        return None;
    }
    let label_end = BODY_HEAD + usize::from(body[16]);
    let tags_end = label_end + usize::from(u16_at(body, 17));
    let label = std::str::from_utf8(body.get(BODY_HEAD..label_end)?).ok()?;
    let tags = body.get(label_end..tags_end)?;
    let stored = Stored {
        position: Position(position),
        requeued_from: tags::get_u64(tags, tags::REQUEUED_FROM).map(Position),
        entry: Entry {
            id: array_at(body, 0),
            label: Arc::from(label),
            admitted_at_ms: i64::from_le_bytes(array_at(frame, 24)),
            data: Bytes::copy_from_slice(&body[tags_end..]),
        },
    };
    Some((stored, Bytes::copy_from_slice(tags)))
}
