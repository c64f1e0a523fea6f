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
    /// Settled positions that every later slot must name, too: no file has their records any more, or a
    /// file still has something that must not be taken for them.
    pub(crate) vacant: Runs,
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
    /// Settled positions that did not fit.
    pub(crate) unsaved: u64,
}

/// A run of nothing: the one behind it holds vacant positions.
const VACANT: [u8; 2] = [0, 0];

impl Slot {
    /// The bytes of the slot number `index`, at most `limit`, padded to whole sectors: the runs that hold
    /// vacant positions, and of the others the lowest. `None` if the former alone do not fit.
    pub(crate) fn encode(
        index: u32,
        generation: u64,
        (settled, vacant): (&Runs, &Runs),
        tail: TailMark,
        limit: usize,
    ) -> Option<EncodedSlot> {
        let mut bytes = vec![0; SLOT_HEAD];
        bytes[..8].copy_from_slice(&generation.to_le_bytes());
        bytes[8..16].copy_from_slice(&settled.watermark().to_le_bytes());
        bytes[24..32].copy_from_slice(&tail.number.to_le_bytes());
        bytes[32..40].copy_from_slice(&tail.end.to_le_bytes());
        bytes[40..48].copy_from_slice(&tail.next.to_le_bytes());
        let mut reserved = Reserved::new(settled, vacant);
        if bytes.len() + reserved.bytes > limit {
            return None;
        }
        let mut last = settled.watermark();
        let mut unsaved = 0;
        for (start, end) in settled.runs() {
            let is_vacant = reserved.release(start, end);
            if !is_vacant && unsaved > 0 {
                unsaved += end - start;
                continue;
            }
            let before = bytes.len();
            if is_vacant {
                bytes.extend(VACANT);
            }
            leb(&mut bytes, start - last);
            leb(&mut bytes, end - start);
            if bytes.len() + reserved.bytes <= limit {
                last = end;
            } else {
                bytes.truncate(before);
                unsaved += end - start;
            }
        }
        let runs = u32::try_from(bytes.len() - SLOT_HEAD).expect("a slot has at most 16 MiB");
        bytes[16..20].copy_from_slice(&runs.to_le_bytes());
        let sum = checksum(index, &bytes);
        bytes[20..24].copy_from_slice(&sum.to_le_bytes());
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        Some(EncodedSlot { bytes, unsaved })
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
        let mut vacant = settled.clone();
        let mut last = settled.watermark();
        let mut rest = &bytes[SLOT_HEAD..];
        while !rest.is_empty() {
            let is_vacant = rest.starts_with(&VACANT);
            if is_vacant {
                rest = &rest[VACANT.len()..];
            }
            let start = last.checked_add(unleb(&mut rest)?)?;
            last = start.checked_add(unleb(&mut rest)?)?;
            settled.insert(start, last);
            if is_vacant {
                vacant.insert(start, last);
            }
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
            vacant,
            tail,
        })
    }
}

/// The room that vacant runs still need.
struct Reserved<'a> {
    vacant: &'a Runs,
    /// Enough for those that are still to come, even if no other run is between them.
    bytes: usize,
    /// Where the distance to the next one begins then.
    last: u64,
}

impl<'a> Reserved<'a> {
    fn new(settled: &Runs, vacant: &'a Runs) -> Self {
        let mut reserved = Self {
            vacant,
            bytes: 0,
            last: settled.watermark(),
        };
        if vacant.above() > 0 {
            for (start, end) in settled.runs().filter(|(s, e)| vacant.meets(*s, *e)) {
                reserved.bytes += reserved.needs(start, end);
                reserved.last = end;
            }
            reserved.last = settled.watermark();
        }
        reserved
    }

    fn needs(&self, start: u64, end: u64) -> usize {
        VACANT.len() + leb_len(start - self.last) + leb_len(end - start)
    }

    /// Gives back the room of a run, if it is a vacant one, and says so.
    fn release(&mut self, start: u64, end: u64) -> bool {
        if self.bytes == 0 || !self.vacant.meets(start, end) {
            return false;
        }
        self.bytes -= self.needs(start, end);
        self.last = end;
        true
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

fn leb_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros()).div_ceil(7) as usize
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 512;

    fn runs(watermark: u64, runs: &[(u64, u64, bool)]) -> (Runs, Runs) {
        let (mut settled, mut vacant) = (Runs::new(watermark), Runs::new(watermark));
        let mut last = watermark;
        for (distance, length, is_vacant) in runs {
            let start = last + distance + 1;
            last = start + length;
            settled.insert(start, last);
            if *is_vacant {
                // One position is enough.
                vacant.insert(start + length / 2, start + length / 2 + 1);
            }
        }
        (settled, vacant)
    }

    fn subset(some: &Runs, of: &Runs) -> bool {
        let inside = |(start, end)| of.next_absent(start) >= end;
        some.watermark() <= of.watermark() && some.runs().all(inside)
    }

    fn encode(settled: &Runs, vacant: &Runs) -> Option<(Slot, u64)> {
        let slot = Slot::encode(0, 1, (settled, vacant), TailMark::default(), LIMIT)?;
        assert!(slot.bytes.len() <= LIMIT);
        Some((Slot::decode(0, &slot.bytes).unwrap(), slot.unsaved))
    }

    proptest! {
        #[test]
        fn vacant_positions_are_in_it_before_all_others(
            watermark in 0..1_000_000_u64,
            some in prop::collection::vec((1..1_u64 << 20, 1..1_u64 << 20, prop::bool::weighted(0.2)), 0..200),
        ) {
            let (settled, vacant) = runs(watermark, &some);
            // What must be there, by itself.
            let mut needed = Runs::new(watermark);
            for (start, end) in settled.runs().filter(|(s, e)| vacant.meets(*s, *e)) {
                needed.insert(start, end);
            }
            let Some((read, unsaved)) = encode(&settled, &vacant) else {
                prop_assert!(encode(&needed, &vacant).is_none());
                return Ok(());
            };
            prop_assert!(subset(&read.settled, &settled));
            prop_assert!(subset(&needed, &read.settled));
            prop_assert_eq!(&read.vacant, &needed);
            prop_assert_eq!(settled.above() - read.settled.above(), unsaved);
            // Of the others the lowest.
            let missing = settled.runs().find(|(start, _)| !read.settled.contains(*start));
            if let Some((first, _)) = missing {
                let higher = read.settled.runs().filter(|(start, _)| *start > first);
                prop_assert!(higher.into_iter().all(|(s, e)| vacant.meets(s, e)));
                prop_assert!(unsaved > 0);
            }
        }
    }

    /// Runs of two bytes each, and two more for a vacant one.
    #[test]
    fn at_the_bound_all_fit_and_beyond_it_the_highest_does_not() {
        let room = (LIMIT - SLOT_HEAD) / 2;
        let alone = vec![(1, 1, false); room];
        let (settled, none) = runs(0, &alone);
        assert_eq!(encode(&settled, &none).unwrap().1, 0);
        let (settled, none) = runs(0, &[alone, vec![(1, 1, false)]].concat());
        assert_eq!(encode(&settled, &none).unwrap().1, 1);

        let vacant = vec![(1, 1, true); room / 2];
        let (settled, all) = runs(0, &vacant);
        assert_eq!(encode(&settled, &all).unwrap().1, 0);
        let (settled, all) = runs(0, &[vacant, vec![(1, 1, true)]].concat());
        assert!(encode(&settled, &all).is_none());
    }
}
