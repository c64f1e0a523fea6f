//! Looking at a journal without owning it.

use std::ops::ControlFlow;

use fusebox_journal::{Burial, FindingKind, Journal, OpenError, Position, Seen};

use crate::support::{all, entry, fill, number, numbers, picture, scribble, segments, small};

fn burial() -> Burial {
    Burial {
        code: "too-large".into(),
        reason: "the broker refused it".into(),
        first_reason: Some("timeout".into()),
        attempts: 3,
        buried_at_ms: 1_700_000_000_500,
    }
}

#[test]
fn a_closed_journal_is_read_without_a_trace() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), small()).unwrap();
    let positions = fill(&journal, 0, 300, 1000);
    journal.settle(&positions[..100]).wait().unwrap();
    journal.settle(&positions[150..160]).wait().unwrap();
    journal.bury(positions[170], &burial()).unwrap();
    let expected = all(&journal);
    journal.close().unwrap();
    drop(journal);
    let before = picture(dir.path());

    let look = Journal::inspect(dir.path()).unwrap();
    assert_eq!(look.owner(), None);
    let overview = look.overview().unwrap();
    assert_eq!(overview.waiting, 189);
    assert_eq!(overview.watermark, Position(100));
    assert_eq!(overview.settled_above, 11);
    assert_eq!(overview.next, Position(301));
    assert_eq!(overview.oldest_admitted_at_ms, Some(1_700_000_000_100));
    assert_eq!(overview.dead, 1);
    let read = look.peek(Position::START, usize::MAX, usize::MAX).unwrap();
    assert_eq!(read, expected);
    let page = look.peek(read[9].position, 5, usize::MAX).unwrap();
    assert_eq!(page, expected[10..15]);

    let letters = look.dead_letters(Position::START, 10, |_| true).unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].origin, positions[170]);
    let letter = look.dead_letter(letters[0].position).unwrap();
    assert_eq!(letter.entry, entry(170, 1000));
    assert_eq!(letter.burial, burial());

    let mut steps = Vec::new();
    let report = look.verify(|progress| steps.push(progress)).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.findings, []);
    assert_eq!(report.journal.waiting, 189);
    assert_eq!(report.dead.records, 1);
    assert!(steps.last().is_some_and(|last| last.done == last.total));

    assert!(picture(dir.path()) == before, "the look has changed files");
}

#[test]
fn a_live_journal_is_read_beside_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), small()).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let appended = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let positions = fill(&journal, n, n + 20, 700);
                n += 20;
                appended.store(n, std::sync::atomic::Ordering::Release);
                journal.settle(&positions[..18]).wait().unwrap();
            }
        });
        for _ in 0..60 {
            let known = appended.load(std::sync::atomic::Ordering::Acquire);
            let look = Journal::inspect(dir.path()).unwrap();
            assert!(
                look.owner()
                    .unwrap()
                    .contains(&std::process::id().to_string())
            );
            let report = look.verify(|_| ()).unwrap();
            assert_eq!(report.findings, [], "damage where there is none");
            let mut seen = Vec::new();
            look.visit(Position::START, |step| {
                if let Seen::Record(record) = step {
                    assert_eq!(
                        record.stored.entry,
                        entry(number(&record.stored.entry), 700)
                    );
                    seen.push(number(&record.stored.entry));
                }
                ControlFlow::Continue(())
            })
            .unwrap();
            assert!(seen.is_sorted());
            // What was appended before the look and is never settled is in it.
            for n in (0..known).filter(|n| n % 20 >= 18) {
                assert!(
                    seen.binary_search(&n).is_ok(),
                    "record {n} of {known} not seen"
                );
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    // The lock was only looked at.
    assert!(matches!(
        Journal::open(dir.path(), small()),
        Err(OpenError::Locked { .. })
    ));
}

#[test]
fn damage_is_reported_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), small()).unwrap();
    for n in 0..200 {
        fill(&journal, n, n + 1, 1000);
    }
    journal.bury(Position(1), &burial()).unwrap();
    drop(journal);
    let files = segments(dir.path());
    assert!(files.len() >= 4);
    // Groups of one record: 1536 bytes each. The 11th of the second file, and one of the fourth.
    let second = number_of_first(&files[1]);
    let fourth = number_of_first(&files[3]);
    scribble(&files[1], 512 + 10 * 1536 + 100, b"no record");
    scribble(&files[3], 512 + 3 * 1536, &[0; 2 * 1536]);
    scribble(&files[2], 0, b"no header");
    scribble(&segments(&dir.path().join("dead"))[0], 600, b"no letter");

    let look = Journal::inspect(dir.path()).unwrap();
    let report = look.verify(|_| ()).unwrap();
    assert!(!report.is_sound());
    let found: Vec<_> = report
        .findings
        .iter()
        .map(|f| (f.kind, f.file.clone(), f.bytes.start, f.positions, f.lost))
        .collect();
    let range = |first, last| Some((Position(first), Position(last)));
    assert_eq!(
        found,
        [
            (
                FindingKind::Damage,
                files[1].clone(),
                512 + 10 * 1536,
                range(second + 10, second + 10),
                1
            ),
            (FindingKind::HeaderCopy, files[2].clone(), 0, None, 0),
            (
                FindingKind::Damage,
                files[3].clone(),
                512 + 3 * 1536,
                range(fourth + 3, fourth + 4),
                2
            ),
            (
                FindingKind::Torn,
                segments(&dir.path().join("dead"))[0].clone(),
                512,
                None,
                0
            ),
        ]
    );
    assert_eq!(report.lost, 3);
    assert!(
        report.findings[0]
            .to_string()
            .contains("damaged, positions")
    );

    // The same as the journal says when it meets them.
    let journal = Journal::open(dir.path(), small()).unwrap();
    let waiting = numbers(&all(&journal));
    let gone: Vec<u64> = (1..200).filter(|n| !waiting.contains(n)).collect();
    assert_eq!(gone, [second + 9, fourth + 2, fourth + 3]);
    assert_eq!(journal.stats().lost_records, 3);
}

fn number_of_first(file: &std::path::Path) -> u64 {
    let name = file.file_stem().unwrap().to_str().unwrap();
    u64::from_str_radix(name.split_once('-').unwrap().1, 16).unwrap()
}

#[test]
fn missing_and_unreadable_files_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), small()).unwrap();
    fill(&journal, 0, 300, 1000);
    drop(journal);
    let files = segments(dir.path());
    std::fs::remove_file(&files[1]).unwrap();
    scribble(&files[2], 0, b"no header");
    let size = std::fs::metadata(&files[2]).unwrap().len();
    scribble(&files[2], size - 512, b"no header either");
    let [second, third, fourth] = [1, 2, 3].map(|i| number_of_first(&files[i]));

    let report = Journal::inspect(dir.path())
        .unwrap()
        .verify(|_| ())
        .unwrap();
    // Room that was left at the end of the file before may as well have held them.
    let kind = |kind| match kind {
        FindingKind::Damage => FindingKind::Missing,
        other => other,
    };
    let found: Vec<_> = report
        .findings
        .iter()
        .map(|f| (kind(f.kind), f.positions.unwrap(), f.lost))
        .collect();
    assert_eq!(
        found,
        [
            (
                FindingKind::Missing,
                (Position(second), Position(third - 1)),
                third - second
            ),
            (
                FindingKind::Header,
                (Position(third), Position(fourth - 1)),
                fourth - third
            ),
        ]
    );

    std::fs::write(dir.path().join("CURSOR"), b"rubbish").unwrap();
    let look = Journal::inspect(dir.path()).unwrap();
    assert!(look.overview().unwrap().cursor_lost);
    let report = look.verify(|_| ()).unwrap();
    assert!(
        report
            .findings
            .iter()
            .any(|f| f.kind == FindingKind::Cursor)
    );
}

#[test]
fn nothing_is_no_journal() {
    let dir = tempfile::tempdir().unwrap();
    for dir in [dir.path(), &dir.path().join("absent")] {
        assert!(matches!(
            Journal::inspect(dir),
            Err(OpenError::NoJournal { .. })
        ));
    }
    assert!(picture(dir.path()).is_empty());
}
