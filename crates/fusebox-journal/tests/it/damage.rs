//! Real files with random damage: never a panic, never a wrong record, each loss told with its place,
//! and no loss that the damage does not explain.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use fusebox_journal::{Burial, FindingKind, Journal, Position, Seen, SeenRecord};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::support::{all, entry, fill, made_ahead, number, segments, small};

/// A journal as it was before the damage.
struct Base {
    dir: TempDir,
    /// Every record in the files, by position.
    records: BTreeMap<u64, SeenRecord>,
    letters: BTreeMap<u64, [u8; 16]>,
}

fn size_of(n: u64) -> usize {
    (n * 7919 % 1500) as usize
}

fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path(), small()).unwrap();
        for from in (0..260).step_by(5) {
            let pending: Vec<_> = (from..from + 5)
                .map(|n| journal.append(entry(n, size_of(n))))
                .collect();
            for append in pending {
                append.wait().unwrap();
            }
        }
        for n in [50, 51, 90, 91, 200] {
            let burial = Burial {
                code: "refused".into(),
                reason: "r".repeat(300),
                ..Burial::default()
            };
            journal.bury(Position(n), &burial).unwrap();
        }
        let settled: Vec<_> = (1..30).chain([70, 71, 110, 180]).map(Position).collect();
        // The last that is written says what was synced.
        journal.settle(&settled).wait().unwrap();
        journal.close().unwrap();
        let look = Journal::inspect(dir.path()).unwrap();
        assert_eq!(look.verify(|_| ()).unwrap().findings, []);
        let records = seen(&look);
        assert_eq!(records.len(), 260);
        let letters = look.dead_letters(Position::START, 100, |_| true).unwrap();
        Base {
            records,
            letters: letters.iter().map(|l| (l.position.0, l.id)).collect(),
            dir,
        }
    })
}

/// The records an inspection sees, each as it was appended.
fn seen(look: &fusebox_journal::Inspection) -> BTreeMap<u64, SeenRecord> {
    let mut records = BTreeMap::new();
    look.visit(Position::START, |step| {
        if let Seen::Record(record) = step {
            let n = number(&record.stored.entry);
            assert_eq!(record.stored.entry, entry(n, size_of(n)), "a wrong record");
            assert_eq!(
                record.stored.position.0,
                n + 1,
                "a record at a wrong position"
            );
            let twice = records.insert(record.stored.position.0, record);
            assert!(twice.is_none(), "a record twice");
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    records
}

#[derive(Debug, Clone)]
enum Damage {
    Flip {
        at: u64,
        bit: u8,
    },
    Zeros {
        at: u64,
        len: u64,
    },
    Garbage {
        at: u64,
        bytes: Vec<u8>,
    },
    /// Two blocks of 512 bytes change places.
    Swap {
        one: u64,
        other: u64,
    },
    /// A block is written over another one.
    Copy {
        from: u64,
        to: u64,
    },
    Cut {
        at: u64,
    },
    Remove,
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = 0..66_000_u64;
    prop_oneof![
        6 => (at.clone(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip { at, bit }),
        4 => (at.clone(), 1..3000_u64).prop_map(|(at, len)| Damage::Zeros { at, len }),
        3 => (at.clone(), prop::collection::vec(any::<u8>(), 1..700))
            .prop_map(|(at, bytes)| Damage::Garbage { at, bytes }),
        3 => (0..128_u64, 0..128_u64).prop_map(|(one, other)| Damage::Swap { one, other }),
        2 => (0..128_u64, 0..128_u64).prop_map(|(from, to)| Damage::Copy { from, to }),
        1 => at.prop_map(|at| Damage::Cut { at }),
        1 => Just(Damage::Remove),
    ]
}

fn block(bytes: &[u8], number: u64) -> Option<Vec<u8>> {
    let at = (number * 512) as usize;
    bytes.get(at..at + 512).map(<[u8]>::to_vec)
}

fn put(bytes: &mut [u8], at: u64, new: &[u8]) {
    for (byte, new) in bytes.iter_mut().skip(at as usize).zip(new) {
        *byte = *new;
    }
}

fn hurt(file: &Path, damage: &Damage) {
    let mut bytes = fs::read(file).unwrap();
    match damage {
        Damage::Flip { at, bit } => {
            let at = *at as usize % bytes.len();
            bytes[at] ^= 1 << bit;
        }
        Damage::Zeros { at, len } => put(&mut bytes, *at, &vec![0; *len as usize]),
        Damage::Garbage { at, bytes: new } => put(&mut bytes, *at, new),
        Damage::Swap { one, other } => {
            if let (Some(a), Some(b)) = (block(&bytes, *one), block(&bytes, *other)) {
                put(&mut bytes, one * 512, &b);
                put(&mut bytes, other * 512, &a);
            }
        }
        Damage::Copy { from, to } => {
            if let Some(copy) = block(&bytes, *from) {
                put(&mut bytes, to * 512, &copy);
            }
        }
        Damage::Cut { at } => bytes.truncate(*at as usize),
        Damage::Remove => {
            fs::remove_file(file).unwrap();
            return;
        }
    }
    fs::write(file, bytes).unwrap();
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// What the damage has done to the files, found out without the code under test.
struct Wounds {
    /// Positions whose record's bytes are not as they were.
    records: BTreeSet<u64>,
    /// Positions of segments with neither header, or that are gone.
    headless: BTreeSet<u64>,
    cursor: bool,
    tail_removed: bool,
    /// Positions below the first file that is left: without its cursor the journal takes them for settled.
    forgotten: BTreeSet<u64>,
}

impl Wounds {
    /// Without the cursor nobody knows of what is before all files, and the end of the tail may be taken for
    /// torn.
    fn excused(&self, position: u64, tail: &BTreeSet<u64>) -> bool {
        self.cursor && (tail.contains(&position) || self.forgotten.contains(&position))
    }

    fn spared(&self, position: u64) -> bool {
        !self.records.contains(&position) && !self.headless.contains(&position)
    }
}

fn wounds(base: &Base, dir: &Path) -> Wounds {
    let mut wounds = Wounds {
        records: BTreeSet::new(),
        headless: BTreeSet::new(),
        cursor: fs::read(base.dir.path().join("CURSOR")).unwrap()
            != fs::read(dir.join("CURSOR")).unwrap_or_default(),
        tail_removed: false,
        forgotten: BTreeSet::new(),
    };
    let files = segments(base.dir.path());
    let there = |file: &&PathBuf| dir.join(file.file_name().unwrap()).exists();
    let gone: Vec<_> = files.iter().take_while(|file| !there(file)).collect();
    let forgotten = base.records.iter().filter(|(_, r)| gone.contains(&&r.file));
    wounds.forgotten = forgotten.map(|(position, _)| *position).collect();
    for file in &files {
        let before = fs::read(file).unwrap();
        let after = fs::read(dir.join(file.file_name().unwrap())).unwrap_or_default();
        let whole = before.len();
        let head = |bytes: &[u8], at: usize| bytes.get(at..at + 512).map(<[u8]>::to_vec);
        // A second copy is looked for at the end of the file, wherever that is now.
        let headless = head(&before, 0) != head(&after, 0)
            && (after.len() != whole || head(&before, whole - 512) != head(&after, whole - 512));
        if after.is_empty() && Some(file) == files.last() {
            wounds.tail_removed = true;
        }
        for (position, record) in base.records.iter().filter(|(_, r)| r.file == *file) {
            let at = record.offset as usize;
            let entry = &record.stored.entry;
            let len = 32 + 19 + entry.label.len() + entry.data.len();
            if after.get(at..at + len) != before.get(at..at + len) {
                wounds.records.insert(*position);
            }
            if headless {
                wounds.headless.insert(*position);
            }
        }
    }
    wounds
}

fn check(hits: &[(usize, Damage)]) {
    let base = base();
    let dir = tempfile::tempdir().unwrap();
    copy(base.dir.path(), dir.path());
    let mut files = segments(dir.path());
    let cursor = dir.path().join("CURSOR");
    files.extend([cursor.clone(), cursor]);
    files.extend(segments(&dir.path().join("dead")));
    files.push(dir.path().join("dead/CURSOR"));
    for (index, damage) in hits {
        let file = &files[index % files.len()];
        // A hit may follow one that has removed the file.
        if file.exists() && fs::metadata(file).unwrap().len() > 0 {
            hurt(file, damage);
        }
    }
    let wounds = wounds(base, dir.path());

    // Inspecting: every whole record is seen, no other, and what is gone is told with its place.
    let look = Journal::inspect(dir.path()).unwrap();
    let report = look.verify(|_| ()).unwrap();
    let present = seen(&look);
    let mut told = BTreeSet::new();
    let mut tail_told = false;
    for finding in &report.findings {
        let inside = fs::metadata(&finding.file).map_or(0, |m| m.len().max(65_536));
        assert!(finding.bytes.start <= finding.bytes.end && finding.bytes.end <= inside);
        tail_told |= finding.kind == FindingKind::Torn;
        if let Some((first, last)) = finding.positions
            && !finding.file.starts_with(dir.path().join("dead"))
        {
            told.extend(first.0..=last.0);
        }
    }
    let tail: BTreeSet<u64> = {
        let last = base.records.values().next_back().unwrap().file.clone();
        let of_tail = base.records.iter().filter(|(_, r)| r.file == last);
        of_tail.map(|(p, _)| *p).collect()
    };
    let excused = |p: &u64| wounds.excused(*p, &tail);
    for (position, record) in &base.records {
        if wounds.spared(*position) {
            let there = present.get(position);
            assert!(
                there.is_some() || excused(position),
                "whole record {position} is not seen"
            );
            if let Some(there) = there {
                assert_eq!(there.offset, record.offset);
                assert!(wounds.cursor || there.settled == record.settled);
            }
        } else if !wounds.headless.contains(position) {
            assert!(!present.contains_key(position), "a broken record is seen");
        }
        if !present.contains_key(position) && !excused(position) && !record.settled {
            assert!(
                told.contains(position),
                "the loss of {position} is not told"
            );
        }
    }

    open_and_go_on(base, &wounds, dir.path(), &tail, tail_told);
}

/// Opening: the same, and it goes on.
fn open_and_go_on(base: &Base, wounds: &Wounds, dir: &Path, tail: &BTreeSet<u64>, tail_told: bool) {
    let excused = |p: &u64| wounds.excused(*p, tail);
    let journal = Journal::open(dir, small()).unwrap();
    let waiting = all(&journal);
    let mut here = BTreeSet::new();
    for stored in &waiting {
        let n = number(&stored.entry);
        assert_eq!(stored.entry, entry(n, size_of(n)), "a wrong record");
        assert_eq!(stored.position.0, n + 1);
        assert!(here.insert(n + 1), "a record twice");
        let known = &base.records[&(n + 1)];
        assert!(wounds.cursor || !known.settled, "settled record is back");
    }
    let mut lost = 0;
    for (position, _) in base.records.iter().filter(|(_, r)| !r.settled) {
        if wounds.spared(*position) {
            assert!(
                here.contains(position) || excused(position),
                "whole record {position} is not delivered"
            );
        }
        lost += u64::from(!here.contains(position) && !excused(position));
    }
    let stats = journal.stats();
    assert!(
        stats.lost_records >= lost || wounds.tail_removed || !wounds.headless.is_disjoint(tail),
        "{lost} lost, {} counted",
        stats.lost_records
    );
    if lost > 0 {
        assert!(stats.damaged_ranges > 0 || tail_told || stats.lost_records > 0);
    }
    for letter in journal.dead_letters(Position::START, 100, |_| true) {
        assert_eq!(base.letters.get(&letter.position.0), Some(&letter.id));
        let full = journal.dead_letter(letter.position).unwrap();
        assert_eq!(full.burial.reason, "r".repeat(300));
    }
    let new = fill(&journal, 1000, 1005, 10);
    assert!(new.iter().all(|p| !base.records.contains_key(&p.0)) || wounds.cursor);
    drop(journal);
    let journal = Journal::open(dir, small()).unwrap();
    let again: Vec<u64> = all(&journal).iter().map(|r| number(&r.entry)).collect();
    let expected: Vec<u64> = here.iter().map(|p| p - 1).chain(1000..1005).collect();
    assert_eq!(again, expected, "not the same when opened again");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("FUSEBOX_JOURNAL_DAMAGES").map_or(120, |n| n.parse().expect("a number")),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_is_damaged_the_rest_is_delivered(
        hits in prop::collection::vec((0..30_usize, damage()), 1..6),
    ) {
        check(&hits);
    }
}

/// A cursor that says too much loses records that were never delivered: no bit of it may be trusted
/// without its checksum.
#[test]
fn no_bit_of_the_cursor_settles_what_was_not() {
    let base = base();
    let dir = tempfile::tempdir().unwrap();
    copy(base.dir.path(), dir.path());
    let file = dir.path().join("CURSOR");
    let whole = fs::read(&file).unwrap();
    let slot = (whole.len() - 512) / 2;
    let bytes = (0..48).chain(512..592).chain(512 + slot..592 + slot);
    for bit in bytes.flat_map(|at| at * 8..at * 8 + 8) {
        let mut hurt = whole.clone();
        hurt[bit / 8] ^= 1 << (bit % 8);
        fs::write(&file, hurt).unwrap();
        let look = Journal::inspect(dir.path()).unwrap();
        look.visit(Position::START, |step| {
            if let Seen::Record(record) = step {
                let known = &base.records[&record.stored.position.0];
                assert!(
                    !record.settled || known.settled,
                    "bit {bit} settles {known:?}"
                );
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    }
}

/// The file of the last records is gone, and the end of the one before is no more: the cursor knows of
/// both. The look told only of the first. Found by the model above.
#[test]
fn a_tail_that_is_gone_hides_no_damage_before_it() {
    let tail = segments(base().dir.path()).len() - 1;
    let zeros = Damage::Zeros {
        at: 60_000,
        len: 6000,
    };
    check(&[(tail - 1, zeros), (tail, Damage::Remove)]);
    check(&(0..=tail).map(|n| (n, Damage::Remove)).collect::<Vec<_>>());
}

/// Nothing is left that could know of the first records. Found by the model above, which asked for their loss to
/// be told.
#[test]
fn the_first_file_and_the_cursor_are_gone() {
    let cursor = segments(base().dir.path()).len();
    check(&[(0, Damage::Remove), (cursor, Damage::Remove)]);
}

/// Groups begin at multiples of 4096 here; zeros up to one hid that a record before it was gone.
#[test]
fn a_hole_before_a_record_at_the_alignment_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = small();
    config.alignment = 4096;
    let fs = fusebox_journal::fs::sim::SimFs::new(1);
    let journal =
        Journal::open_on(std::sync::Arc::new(fs.clone()), dir.path(), config.clone()).unwrap();
    // One group: 51 + 6 or 8 + 8 bytes round each; three records of 1024, then one at 4096 behind.
    fill(&journal, 99, 100, 1);
    made_ahead(&fs, &journal);
    fs.hold_syncs();
    let first = journal.append(entry(100, 1));
    fs.wait_for_held_sync();
    let rest: Vec<_> = [0, 2, 4, 6, 8]
        .map(|n| journal.append(entry(n, 1024 - 51 - 6 - 8)))
        .into();
    fs.release_syncs();
    drop(first.wait());
    let positions: Vec<_> = rest.into_iter().map(|p| p.wait().unwrap()).collect();
    drop(journal);
    let file = fs
        .paths()
        .into_iter()
        .find(|p: &PathBuf| {
            p.extension().is_some_and(|e| e == "seg") && p.parent() == Some(dir.path())
        })
        .unwrap();
    // Groups at 4096, 8192 and 12288: the record at 12288 + 3 * 1024 becomes zeros.
    fs.put(&file, 12_288 + 3 * 1024, &[0; 1024]);
    let fs = std::sync::Arc::new(fs);
    let look =
        fusebox_journal::Inspection::open_on(std::sync::Arc::clone(&fs) as _, dir.path()).unwrap();
    let report = look.verify(|_| ()).unwrap();
    assert!(!report.findings.is_empty());
    let journal = Journal::open_on(fs, dir.path(), config).unwrap();
    let here: Vec<_> = all(&journal).iter().map(|r| r.position).collect();
    // In the last group, so it may be torn: nothing of it behind the hole counts.
    assert_eq!(here[2..], positions[..3]);
    assert_eq!(journal.stats().lost_records, 0);
    assert!(journal.stats().torn_bytes > 0);
}
