//! Many callers at once.

use fusebox_journal::Journal;

use crate::support::{all, fill, numbers, small};

/// A segment that was made ahead while the one before it was just being taken got its name, so that
/// acknowledged records went into a file without any.
#[test]
fn segments_begin_while_the_next_are_made() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), small()).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let journal = &journal;
            scope.spawn(move || {
                for n in 0..100 {
                    fill(journal, writer * 1000 + n, writer * 1000 + n + 1, 8000);
                }
            });
        }
    });
    let live = numbers(&all(&journal));
    assert_eq!(live.len(), 400);
    for writer in 0..4 {
        let own = live.iter().filter(|n| **n / 1000 == writer);
        assert!(own.is_sorted(), "one caller's records are in its order");
    }
    journal.close().unwrap();
    drop(journal);
    let journal = Journal::open(dir.path(), small()).unwrap();
    assert_eq!(numbers(&all(&journal)), live);
    assert_eq!(journal.stats().lost_records, 0);
}
