//! The cursor file: its header, and slots of a watermark and runs.

use super::frame::MAX_POSITION;
use super::{HEADER, HeaderFault, array_at, check_header, make_header, u32_at, u64_at};
use crate::log::runs::Runs;

const MAGIC: [u8; 8] = *b"FBXJCUR\0";

/// Bytes of a slot before the runs.
pub(crate) const SLOT_HEAD: usize = 48;

/// The header of the cursor file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CursorHeader {
    pub(crate) journal: [u8; 16],
    pub(crate) slot_bytes: u32,
}

impl CursorHeader {
    pub(crate) fn encode(&self) -> [u8; HEADER] {
        make_header(MAGIC, |bytes| {
            bytes[12..16].copy_from_slice(&self.slot_bytes.to_le_bytes());
            bytes[16..32].copy_from_slice(&self.journal);
        })
    }

    pub(crate) fn decode(bytes: &[u8; HEADER]) -> Result<Self, HeaderFault> {
        check_header(bytes, MAGIC)?;
        let header = Self {
            slot_bytes: u32_at(bytes, 12),
            journal: array_at(bytes, 16),
        };
        if (512..=16 << 20).contains(&header.slot_bytes) && header.slot_bytes.is_multiple_of(512) {
            Ok(header)
        } else {
            Err(HeaderFault::Invalid)
        }
    }
}

/// What a slot says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Slot {
    pub(crate) generation: u64,
    pub(crate) settled: Runs,
    pub(crate) tail: TailMark,
}

/// What was synced when a slot was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TailMark {
    /// The tail's number.
    pub(crate) number: u64,
    /// Its end.
    pub(crate) end: u64,
    /// The next position.
    pub(crate) next: u64,
}

/// A slot as bytes, and how much of the set is in it.
#[derive(Debug)]
pub(crate) struct EncodedSlot {
    pub(crate) bytes: Vec<u8>,
    /// Every settled position below this is in the slot.
    pub(crate) complete_below: u64,
    /// Settled positions that did not fit.
    pub(crate) unsaved: u64,
}

impl Slot {
    /// The bytes of the slot number `index`, at most `limit`, padded to whole sectors.
    pub(crate) fn encode(
        index: u32,
        generation: u64,
        settled: &Runs,
        tail: TailMark,
        limit: usize,
    ) -> EncodedSlot {
        let mut bytes = vec![0; SLOT_HEAD];
        bytes[..8].copy_from_slice(&generation.to_le_bytes());
        bytes[8..16].copy_from_slice(&settled.watermark().to_le_bytes());
        bytes[24..32].copy_from_slice(&tail.number.to_le_bytes());
        bytes[32..40].copy_from_slice(&tail.end.to_le_bytes());
        bytes[40..48].copy_from_slice(&tail.next.to_le_bytes());
        let mut last = settled.watermark();
        let mut complete_below = u64::MAX;
        let mut unsaved = 0;
        for (start, end) in settled.runs() {
            let before = bytes.len();
            if complete_below == u64::MAX {
                leb(&mut bytes, start - last);
                leb(&mut bytes, end - start);
                last = end;
                if bytes.len() > limit {
                    bytes.truncate(before);
                    complete_below = start;
                }
            }
            if complete_below != u64::MAX {
                unsaved += end - start;
            }
        }
        let runs = u32::try_from(bytes.len() - SLOT_HEAD).expect("a slot has at most 16 MiB");
        bytes[16..20].copy_from_slice(&runs.to_le_bytes());
        let sum = checksum(index, &bytes);
        bytes[20..24].copy_from_slice(&sum.to_le_bytes());
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        EncodedSlot {
            bytes,
            complete_below,
            unsaved,
        }
    }

    /// Reads the slot number `index`; `None` when it is invalid.
    pub(crate) fn decode(index: u32, bytes: &[u8]) -> Option<Self> {
        if bytes.len() < SLOT_HEAD {
            return None;
        }
        if bytes[..SLOT_HEAD].iter().all(|b| *b == 0) {
            return Some(Self::default());
        }
        let end = SLOT_HEAD.checked_add(u32_at(bytes, 16) as usize)?;
        let bytes = bytes.get(..end)?;
        if u32_at(bytes, 20) != checksum(index, bytes) {
            return None;
        }
        let mut settled = Runs::new(u64_at(bytes, 8));
        let mut last = settled.watermark();
        let mut rest = &bytes[SLOT_HEAD..];
        while !rest.is_empty() {
            let start = last.checked_add(unleb(&mut rest)?)?;
            last = start.checked_add(unleb(&mut rest)?)?;
            settled.insert(start, last);
        }
        let tail = TailMark {
            number: u64_at(bytes, 24),
            end: u64_at(bytes, 32),
            next: u64_at(bytes, 40),
        };
        let sane = last < MAX_POSITION && tail.next < MAX_POSITION && tail.number < u64::MAX;
        sane.then_some(Self {
            generation: u64_at(bytes, 0),
            settled,
            tail,
        })
    }
}

fn checksum(index: u32, slot: &[u8]) -> u32 {
    let sum = crc32c::crc32c(&index.to_le_bytes());
    let sum = crc32c::crc32c_append(sum, &slot[..20]);
    crc32c::crc32c_append(sum, &slot[24..])
}

fn leb(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

fn unleb(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
