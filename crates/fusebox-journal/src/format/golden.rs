//! The bytes on disk, pinned: what was written once must be read for ever.
//!
//! `tests/golden/format.txt` has each structure as lines of 16 bytes; lines of zeros are left out. A
//! change of it is a change of the format: see "Versions" on the design page.

use std::fmt::Write as _;

use super::frame::{FrameHead, NewRecord, decode, is_valid};
use super::segment::{Codec, SegmentHeader};
use super::slot::{CursorHeader, Slot, TailMark};
use super::{HEADER, tags};
use crate::Entry;
use crate::log::runs::Runs;

const FILE: &str = include_str!("../../tests/golden/format.txt");

const JOURNAL: [u8; 16] = *b"journal id, 16 b";
const SALT: u64 = 0x0123_4567_89AB_CDEF;

/// The structures by name.
fn structures() -> Vec<(&'static str, Vec<u8>)> {
    let all = vec![
        ("segment header", segment(Codec::Clear).encode().to_vec()),
        (
            "segment header, encrypted",
            segment(sealed()).encode().to_vec(),
        ),
        ("record", record(false)),
        ("record with tags", record(true)),
        ("cursor header", cursor().encode().to_vec()),
        ("cursor slot 0, empty", vec![0; 512]),
        ("cursor slot 1", slot(&Runs::default())),
        ("cursor slot with vacant runs", slot(&vacant())),
    ];
    #[cfg(feature = "encryption")]
    let all = [all, vec![("record, encrypted", encrypted())]].concat();
    all
}

fn segment(codec: Codec) -> SegmentHeader {
    SegmentHeader {
        journal: JOURNAL,
        number: 7,
        first: 100_001,
        salt: SALT,
        size: 16 << 20,
        alignment: 512,
        codec,
    }
}

fn sealed() -> Codec {
    Codec::Sealed {
        key_name: *b"key of May 2026\0",
        nonce: *b"a nonce of 24 bytes, yes",
        wrapped: [0x5A; 48],
    }
}

fn entry() -> Entry {
    Entry {
        id: *b"id of the record",
        label: "orders".into(),
        admitted_at_ms: 1_700_000_000_000,
        data: "one coffee, no sugar".into(),
    }
}

fn new_record(tagged: bool) -> NewRecord {
    let mut extra = Vec::new();
    if tagged {
        tags::push(&mut extra, tags::ORIGIN, &41_u64.to_le_bytes());
        tags::push_text(&mut extra, tags::CODE, "too-large");
        tags::push_text(&mut extra, tags::REASON, "the broker refused it");
        tags::push_text(&mut extra, tags::FIRST_REASON, "timeout");
        tags::push(&mut extra, tags::ATTEMPTS, &3_u32.to_le_bytes());
        tags::push(
            &mut extra,
            tags::BURIED_AT,
            &1_700_000_000_500_i64.to_le_bytes(),
        );
        tags::push(&mut extra, tags::REQUEUED_FROM, &5_u64.to_le_bytes());
    }
    NewRecord {
        entry: entry(),
        tags: extra,
    }
}

/// At 1536 in the file, the first of a group.
fn record(tagged: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    new_record(tagged).encode(&mut bytes, 1536, SALT, 100_042, None);
    bytes
}

#[cfg(feature = "encryption")]
fn encrypted() -> Vec<u8> {
    let cipher = crate::crypt::cipher(&[0x42; 32]);
    let mut bytes = Vec::new();
    new_record(true).encode(&mut bytes, 1536, SALT, 100_042, Some(cipher.as_ref()));
    bytes
}

fn cursor() -> CursorHeader {
    CursorHeader {
        journal: JOURNAL,
        slot_bytes: 4096,
    }
}

fn runs() -> Runs {
    let mut runs = Runs::new(1000);
    runs.insert(1002, 1003);
    runs.insert(1500, 2500);
    runs.insert(1_000_000, 1_000_002);
    runs
}

/// In the second run and the third.
fn vacant() -> Runs {
    let mut vacant = Runs::new(1000);
    vacant.insert(1700, 1800);
    vacant.insert(1_000_001, 1_000_002);
    vacant
}

fn slot(vacant: &Runs) -> Vec<u8> {
    let slot = Slot::encode(1, 7, (&runs(), vacant), TAIL, 4096);
    slot.unwrap().bytes
}

const TAIL: TailMark = TailMark {
    number: 7,
    end: 1 << 20,
    next: 100_043,
};

fn print(structures: &[(&str, Vec<u8>)]) -> String {
    let mut text = String::new();
    for (name, bytes) in structures {
        writeln!(text, "{name}, {} bytes", bytes.len()).unwrap();
        for (line, chunk) in bytes.chunks(16).enumerate() {
            if chunk.iter().any(|b| *b != 0) {
                write!(text, "{:6}", line * 16).unwrap();
                for byte in chunk {
                    write!(text, " {byte:02x}").unwrap();
                }
                text.push('\n');
            }
        }
        text.push('\n');
    }
    text
}

/// The bytes of a structure as the file has them.
fn pinned(name: &str) -> Vec<u8> {
    let start = format!("{name}, ");
    let mut lines = FILE.lines().skip_while(|line| !line.starts_with(&start));
    let head = lines
        .next()
        .unwrap_or_else(|| panic!("{name} is not pinned"));
    let len = head
        .trim_start_matches(&start)
        .trim_end_matches(" bytes")
        .parse()
        .unwrap();
    let mut bytes = vec![0; len];
    for line in lines.take_while(|line| !line.is_empty()) {
        let mut words = line.split_whitespace();
        let at: usize = words.next().unwrap().parse().unwrap();
        for (byte, word) in bytes[at..].iter_mut().zip(words) {
            *byte = u8::from_str_radix(word, 16).unwrap();
        }
    }
    bytes
}

#[test]
fn the_bytes_are_those_that_were_pinned() {
    let now = print(&structures());
    if std::env::var_os("FUSEBOX_WRITE_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/format.txt");
        std::fs::write(path, &now).unwrap();
    }
    for (name, bytes) in structures() {
        assert_eq!(
            print(&[(name, bytes)]),
            print(&[(name, pinned(name))]),
            "the format has changed"
        );
    }
}

#[test]
fn the_pinned_bytes_are_read() {
    let header = |name| pinned(name).try_into().unwrap();
    assert_eq!(
        SegmentHeader::decode(&header("segment header")),
        Ok(segment(Codec::Clear))
    );
    assert_eq!(
        SegmentHeader::decode(&header("segment header, encrypted")),
        Ok(segment(sealed()))
    );
    assert_eq!(CursorHeader::decode(&header("cursor header")), Ok(cursor()));
    assert_eq!(
        Slot::decode(0, &pinned("cursor slot 0, empty")),
        Some(Slot::default())
    );
    let slot = Slot {
        generation: 7,
        settled: runs(),
        vacant: Runs::new(1000),
        tail: TAIL,
    };
    assert_eq!(
        Slot::decode(1, &pinned("cursor slot 1")),
        Some(slot.clone())
    );
    // Told of whole runs.
    let mut whole = Runs::new(1000);
    whole.insert(1500, 2500);
    whole.insert(1_000_000, 1_000_002);
    assert_eq!(
        Slot::decode(1, &pinned("cursor slot with vacant runs")),
        Some(Slot {
            vacant: whole,
            ..slot
        })
    );
    assert_eq!(
        Slot::decode(0, &pinned("cursor slot 1")),
        None,
        "the number of the slot is in the checksum"
    );
    for (name, tagged) in [("record", false), ("record with tags", true)] {
        let bytes = pinned(name);
        let head = FrameHead::decode(&bytes, 1536, 1 << 20).unwrap();
        assert_eq!((head.position, head.group), (100_042, 1536));
        let frame = &bytes[..head.len];
        assert!(is_valid(frame, 1536, SALT));
        assert!(!is_valid(frame, 1544, SALT), "the place is in the checksum");
        assert!(!is_valid(frame, 1536, SALT + 1), "the salt is in it");
        let (stored, extra) = decode(frame, 1536, SALT, None).unwrap();
        assert_eq!(stored.entry, entry());
        assert_eq!(extra, new_record(tagged).tags);
        assert_eq!(tags::get_u64(&extra, tags::ORIGIN), tagged.then_some(41));
    }
}

#[cfg(feature = "encryption")]
#[test]
fn the_pinned_encrypted_bytes_are_read() {
    let bytes = pinned("record, encrypted");
    let head = FrameHead::decode(&bytes, 1536, 1 << 20).unwrap();
    let frame = &bytes[..head.len];
    assert!(is_valid(frame, 1536, SALT));
    let cipher = crate::crypt::cipher(&[0x42; 32]);
    let (stored, extra) = decode(frame, 1536, SALT, Some(cipher.as_ref())).unwrap();
    assert_eq!(
        (stored.entry, &extra[..]),
        (entry(), &new_record(true).tags[..])
    );
    let other = crate::crypt::cipher(&[0x43; 32]);
    assert!(decode(frame, 1536, SALT, Some(other.as_ref())).is_none());
    assert!(decode(frame, 1536, SALT, None).is_none());
    let clear = pinned("record");
    let head = FrameHead::decode(&clear, 1536, 1 << 20).unwrap();
    assert!(
        decode(&clear[..head.len], 1536, SALT, Some(cipher.as_ref())).is_none(),
        "a record in the clear among encrypted ones"
    );
}

#[test]
fn another_major_version_is_refused_by_number_and_a_minor_one_read() {
    let mut bytes: [u8; HEADER] = pinned("segment header").try_into().unwrap();
    let sign = |bytes: &mut [u8; HEADER]| {
        let sum = crc32c::crc32c(&bytes[..HEADER - 4]);
        bytes[HEADER - 4..].copy_from_slice(&sum.to_le_bytes());
    };
    bytes[10] = 9;
    sign(&mut bytes);
    assert_eq!(SegmentHeader::decode(&bytes), Ok(segment(Codec::Clear)));
    bytes[8] = 2;
    sign(&mut bytes);
    assert_eq!(
        SegmentHeader::decode(&bytes),
        Err(super::HeaderFault::Version(2))
    );
    bytes[9] ^= 1;
    assert_eq!(
        SegmentHeader::decode(&bytes),
        Err(super::HeaderFault::Invalid),
        "damage is no version"
    );
}
