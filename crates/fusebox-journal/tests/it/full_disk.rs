//! A disk that is really full; `scripts/full-disk` mounts one. A simulated one is in `owner`.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use fusebox_journal::{AppendError, Burial, Journal, JournalConfig, Position};

use crate::support::{all, entry, fill, numbers};

fn config() -> JournalConfig {
    let mut config = JournalConfig::default();
    config.segment_bytes = 1 << 20;
    config.dead_segment_bytes = 1 << 20;
    config.max_record_bytes = 64 << 10;
    config.reserve_bytes = 0;
    config.cursor_slot_bytes = 16 << 10;
    config
}

/// Takes whatever room is left, as another program does.
fn ballast(disk: &Path) {
    let path = disk.join("ballast");
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .unwrap();
    for size in [1 << 16, 512, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
}

/// Appends until the journal refuses; returns the next number. What was accepted is added to `kept`: the
/// file system may have room again for what comes right behind a refusal.
fn fill_up(journal: &Journal, mut n: u64, kept: &mut Vec<u64>) -> u64 {
    loop {
        let group: Vec<_> = (n..n + 50)
            .map(|n| (n, journal.append(entry(n, 2000))))
            .collect();
        n += 50;
        let mut full = false;
        for (number, answer) in group {
            match answer.wait() {
                Ok(_) => kept.push(number),
                Err(AppendError::NoSpace) => full = true,
                Err(other) => panic!("{other:?}"),
            }
        }
        if full {
            return n;
        }
    }
}

#[test]
fn a_full_disk_loses_nothing() {
    let Some(disk) = std::env::var_os("FUSEBOX_SMALL_DISK").map(PathBuf::from) else {
        println!("no FUSEBOX_SMALL_DISK: scripts/full-disk runs this on one");
        return;
    };
    let dir = disk.join("journal");
    // Somebody else's, who takes it away in the end.
    let large = disk.join("large");
    fs::write(&large, vec![1; 3 << 20]).unwrap();
    let journal = Journal::open(&dir, config()).unwrap();
    let mut kept = Vec::new();
    let end = fill_up(&journal, 0, &mut kept);
    ballast(&disk);
    assert!(kept.len() > 3000, "{} records are no full disk", kept.len());
    assert_eq!(numbers(&all(&journal)), kept);
    for _ in 0..20 {
        let refused = journal.append(entry(end, 2000)).wait();
        assert!(matches!(refused, Err(AppendError::NoSpace)));
    }

    // Not one byte is free, and settling and burying go on.
    let first: Vec<_> = (1..=1700).map(Position).collect();
    journal.settle(&first[..10]).wait().unwrap();
    journal.bury(Position(11), &Burial::default()).unwrap();
    journal.settle(&first[11..]).wait().unwrap();
    assert_eq!(numbers(&all(&journal)), kept[1700..]);
    // 1700 records are three segments and more: their files have gone, so there is room.
    let before = kept.len();
    let more = fill_up(&journal, end, &mut kept);
    assert!(kept.len() > before, "settling has freed nothing");
    ballast(&disk);

    // Opened again on a disk without a byte.
    journal.close().unwrap();
    drop(journal);
    let journal = Journal::open(&dir, config()).unwrap();
    assert_eq!(numbers(&all(&journal)), kept[1700..]);
    assert_eq!(journal.stats().dead, 1);
    let refused = journal.append(entry(more, 2000)).wait();
    // The tail may have had a little room.
    assert!(matches!(refused, Ok(_) | Err(AppendError::NoSpace)));
    let waiting: Vec<_> = all(&journal).iter().map(|r| r.position).collect();
    journal.settle(&waiting).wait().unwrap();
    assert!(all(&journal).is_empty());
    fill(&journal, 5000, 5100, 2000);

    // Somebody makes room: the same process goes on.
    let mut kept: Vec<_> = (5000..5100).collect();
    let last = fill_up(&journal, 5100, &mut kept);
    fs::remove_file(large).unwrap();
    fill(&journal, last, last + 600, 2000);
    kept.extend(last..last + 600);
    let stats = journal.stats();
    assert!(!stats.read_only);
    assert_eq!(
        (
            stats.append_failures,
            stats.settle_failures,
            stats.lost_records
        ),
        (0, 0, 0)
    );
    journal.close().unwrap();
    drop(journal);
    let journal = Journal::open(&dir, config()).unwrap();
    assert_eq!(numbers(&all(&journal)), kept);
    drop(journal);
    assert!(
        Journal::inspect(&dir)
            .unwrap()
            .verify(|_| ())
            .unwrap()
            .is_sound()
    );
    println!(
        "full disk: {end} records, then settled, buried, opened and filled again without a loss"
    );
}
