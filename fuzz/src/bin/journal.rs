//! The journal's reader, over files that were changed at random.
//!
//! The input is a list of changes to the files of a journal with known records: file, offset, bytes. What
//! must hold: nothing panics; a record that is read is one that was appended, with its position, in order;
//! and a record that is missing is reported.

#![no_main]

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use fusebox_journal::fs::sim::SimFs;
use fusebox_journal::{Burial, Entry, Inspection, Journal, JournalConfig, Position, Stored};
use libfuzzer_sys::fuzz_target;

const DIR: &str = "/journal";

/// A journal with several segments, settled runs and a dead letter, closed in order.
struct Known {
    fs: SimFs,
    records: HashMap<Position, Entry>,
    waiting: Vec<Position>,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let fs = SimFs::new(1);
    let journal = Journal::open_on(Arc::new(fs.clone()), DIR, config()).expect("it opens");
    let mut records = HashMap::new();
    let mut waiting = Vec::new();
    for n in 0..40_u8 {
        let entry = Entry {
            id: [n; 16],
            label: Arc::from("label"),
            admitted_at_ms: i64::from(n),
            data: vec![n; 100 + usize::from(n) * 80].into(),
        };
        let position = journal.append(entry.clone()).wait().expect("there is room");
        records.insert(position, entry);
        waiting.push(position);
    }
    for settled in [5, 6, 9, 20] {
        let position = Position(settled);
        journal.settle(&[position]).wait().expect("the disk works");
        waiting.retain(|p| *p != position);
    }
    let burial = Burial::default();
    journal.bury(Position(12), &burial).expect("the disk works");
    waiting.retain(|p| *p != Position(12));
    journal.close().expect("the disk works");
    Known {
        fs,
        records,
        waiting,
    }
});

fn config() -> JournalConfig {
    let mut config = JournalConfig::default();
    config.segment_bytes = 64 << 10;
    config.dead_segment_bytes = 64 << 10;
    config.max_record_bytes = 8 << 10;
    config.reserve_bytes = 0;
    config.cache_bytes = 0;
    config
}

fn check(known: &Known, page: &[Stored]) {
    assert!(
        page.is_sorted_by_key(|stored| stored.position),
        "out of order"
    );
    for stored in page {
        let appended = known.records.get(&stored.position);
        assert_eq!(appended, Some(&stored.entry), "a record nobody appended");
    }
}

fuzz_target!(|data: &[u8]| {
    let known = &*KNOWN;
    let fs = known.fs.after_process_death();
    let mut paths = fs.paths();
    paths.sort();
    let open = data.first().is_some_and(|first| first % 4 == 0);
    let mut rest = data.get(1..).unwrap_or_default();
    while let [file, low, high, length, tail @ ..] = rest {
        let (bytes, after) = tail.split_at(usize::from(*length).min(tail.len()));
        let path = &paths[usize::from(*file) % paths.len()];
        let size = fs.contents(path).map_or(0, |contents| contents.len());
        if size > 0 {
            let at = usize::from(u16::from_le_bytes([*low, *high])) % size;
            fs.put(path, at, &bytes[..bytes.len().min(size - at)]);
        }
        rest = after;
    }
    let fs = Arc::new(fs);
    // An unknown version, or a file that is no journal's, is refused; that is an answer.
    if let Ok(inspection) = Inspection::open_on(Arc::clone(&fs) as Arc<_>, Path::new(DIR)) {
        if let Ok(page) = inspection.peek(Position::START, 1_000, usize::MAX) {
            check(known, &page);
        }
        if let Ok(verdict) = inspection.verify(|_| {}) {
            let _findings = format!("{verdict:?}");
        }
        drop(inspection.dead_letters(Position::START, 1_000, |_| true));
    }
    if open && let Ok(journal) = Journal::open_on(fs, DIR, config()) {
        if let Ok(page) = journal.peek(Position::START, 1_000, usize::MAX) {
            check(known, &page);
            let stats = journal.stats();
            let read = |position: &Position| page.iter().any(|s| s.position == *position);
            let missing = known.waiting.iter().filter(|p| !read(p)).count() as u64;
            let told = stats.lost_records + stats.torn_bytes + stats.quarantined_bytes;
            assert!(
                missing == 0 || told > 0,
                "{missing} records are missing, and nobody says so"
            );
        }
        drop(journal.close());
    }
});
