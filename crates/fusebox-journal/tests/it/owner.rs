//! The owner's view: quotas, refusals, dead letters, closing.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use fusebox_journal::fs::sim::SimFs;
use fusebox_journal::{AppendError, Burial, Journal, JournalError, Pending, Position};

use crate::support::{all, entry, fill, made_ahead, numbers, small};

/// Syncs wait while it lives: a test that fails in between must not wait for ever.
struct Held(SimFs);

fn hold(fs: &SimFs) -> Held {
    fs.hold_syncs();
    Held(fs.clone())
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.release_syncs();
    }
}

#[test]
fn a_closed_journal_refuses_everything() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), small()).unwrap();
    let clone = journal.clone();
    let positions = fill(&journal, 0, 10, 100);
    let burial = Burial::default();
    journal.bury(positions[0], &burial).unwrap();
    journal.close().unwrap();
    // Another owner: the clone must not touch its files.
    let owner = Journal::open(dir.path(), small()).unwrap();
    assert!(matches!(
        clone.append(entry(99, 1)).wait(),
        Err(AppendError::Closed)
    ));
    let closed = |result: Result<(), JournalError>| matches!(result, Err(JournalError::Closed));
    assert!(closed(clone.settle(&positions[1..2]).wait()));
    assert!(closed(clone.bury(positions[2], &burial)));
    assert!(closed(clone.discard(Position(1))));
    assert!(closed(clone.requeue(Position(1)).map(drop)));
    assert!(closed(clone.peek(Position::START, 1, 1).map(drop)));
    clone.room().wait();
    drop(clone);
    assert_eq!(numbers(&all(&owner)), (1..10).collect::<Vec<_>>());
    assert_eq!(owner.stats().dead, 1);
}

/// Who reads on must not wait for a thread, and must not be called for what is not safe yet.
#[test]
fn who_reads_on_is_called_when_it_is_safe_and_finds_it_in_memory() {
    let fs = SimFs::new(1);
    let mut config = small();
    config.cache_bytes = 4_000;
    let journal = Journal::open_on(Arc::new(fs.clone()), "/j", config).unwrap();
    let (tell, told) = mpsc::channel();
    let seen = journal.clone();
    journal.on_append(move || {
        let page = seen.peek_recent(Position::START, 100, 1 << 20);
        tell.send(page.unwrap().map(|page| numbers(&page))).unwrap();
    });
    let held = hold(&fs);
    let pending = journal.append(entry(0, 1_000));
    let early = told.recv_timeout(Duration::from_millis(50));
    assert!(early.is_err(), "called before the sync: {early:?}");
    drop(held);
    pending.wait().unwrap();
    assert_eq!(told.recv().unwrap(), Some(vec![0]));
    // More than memory keeps: from the start it takes the disk, and the newest are still at hand.
    fill(&journal, 1, 11, 1_000);
    let oldest = journal.peek_recent(Position::START, 100, 1 << 20);
    assert_eq!(oldest.unwrap(), None);
    let newest = journal.peek_recent(Position(10), 100, 1 << 20).unwrap();
    assert_eq!(numbers(&newest.unwrap()), [10]);
    let none = journal.peek_recent(Position(11), 100, 1 << 20).unwrap();
    assert_eq!(none, Some(Vec::new()));
    let disk = journal.peek(Position::START, 100, 1 << 20).unwrap();
    assert_eq!(numbers(&disk), (0..11).collect::<Vec<_>>());
    journal.close().unwrap();
}

#[test]
fn the_quota_of_records_refuses_and_has_room_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = small();
    config.max_records = 50;
    let journal = Journal::open(dir.path(), config).unwrap();
    let positions = fill(&journal, 0, 39, 10);
    assert!(!journal.stats().above_soft_mark);
    let more = fill(&journal, 39, 50, 10);
    assert!(journal.stats().above_soft_mark);
    let refused = journal.append(entry(50, 10)).wait();
    assert!(matches!(refused, Err(AppendError::Full)));
    assert!(refused.unwrap_err().is_retryable());
    assert_eq!(journal.stats().refused_full, 1);
    let room = journal.room();
    journal.settle(&positions[..1]).wait().unwrap();
    room.wait();
    fill(&journal, 50, 51, 10);
    assert_eq!(numbers(&all(&journal)), (1..51).collect::<Vec<_>>());
    drop(more);
}

/// A record that was just being written was counted in the queue and in the log, so that a journal was
/// full at half its quota.
#[test]
fn the_quota_is_reached_exactly_by_many_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = small();
    config.max_records = 500;
    let journal = Journal::open(dir.path(), config).unwrap();
    let accepted: usize = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8_u64)
            .map(|writer| {
                let journal = &journal;
                scope.spawn(move || {
                    let pending: Vec<_> = (0..100)
                        .map(|n| journal.append(entry(writer * 100 + n, 10)))
                        .collect();
                    let answers = pending.into_iter().map(Pending::wait);
                    answers.flatten().count()
                })
            })
            .collect();
        writers.into_iter().map(|w| w.join().unwrap()).sum()
    });
    assert_eq!(accepted, 500);
    assert_eq!(journal.stats().refused_full, 300);
}

#[test]
fn the_quota_of_bytes_counts_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = small();
    config.max_bytes = 4 * config.segment_bytes;
    let journal = Journal::open(dir.path(), config.clone()).unwrap();
    let mut positions = Vec::new();
    let error = loop {
        match journal.append(entry(positions.len() as u64, 4000)).wait() {
            Ok(position) => positions.push(position),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, AppendError::Full), "{error}");
    let held: u64 = crate::support::segments(dir.path())
        .iter()
        .map(|file| file.metadata().unwrap().len())
        .sum();
    assert!(held <= config.max_bytes, "{held} bytes");
    assert!(positions.len() > 40);
    // What one segment holds is settled: one record, and more, fit again.
    journal.settle(&positions[..20]).wait().unwrap();
    fill(&journal, 1000, 1010, 4000);
    // All of it is settled: the journal frees its own space.
    let waiting: Vec<_> = all(&journal).iter().map(|r| r.position).collect();
    journal.settle(&waiting).wait().unwrap();
    fill(&journal, 2000, 2040, 4000);
}

#[test]
fn records_that_can_never_be_taken_are_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), small()).unwrap();
    let refused = journal.append(entry(1, 40_000)).wait().unwrap_err();
    assert!(matches!(
        refused,
        AppendError::TooLarge {
            limit: 32_768,
            size: 40_000..
        }
    ));
    assert!(!refused.is_retryable());
    let mut long = entry(2, 1);
    long.label = "x".repeat(256).into();
    let refused = journal.append(long).wait().unwrap_err();
    assert!(matches!(refused, AppendError::Label));
    assert_eq!(journal.stats().refused_invalid, 2);
    // The largest that may be.
    let most = 32_768 - 8 - "orders".len();
    fill(&journal, 2, 3, most);
    assert_eq!(all(&journal)[0].entry, entry(2, most));
}

#[test]
fn what_waits_for_a_slow_disk_is_bounded() {
    let fs = SimFs::new(1);
    let mut config = small();
    config.max_queue_bytes = 100_000;
    let journal = Journal::open_on(Arc::new(fs.clone()), "/j", config).unwrap();
    let held = hold(&fs);
    let mut pending = Vec::new();
    let refused = loop {
        assert!(pending.len() < 1000, "the queue has no bound");
        // What is refused is refused at once; what is not waits for the disk.
        let append = journal.append(entry(pending.len() as u64, 1000));
        let stats = journal.stats();
        if stats.refused_busy > 0 {
            break append.wait();
        }
        assert!(stats.queued_bytes <= 100_000);
        pending.push(append);
    };
    assert!(matches!(refused, Err(AppendError::Busy)));
    assert!(pending.len() > 80);
    drop(held);
    let count = pending.len() as u64;
    for append in pending {
        append.wait().unwrap();
    }
    fill(&journal, count, count + 1, 1000);
    assert_eq!(journal.stats().waiting, count + 1);
}

#[test]
fn waiters_that_went_away_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), small()).unwrap();
    for _ in 0..10_000 {
        drop(journal.room());
    }
    let debug = format!("{journal:?}");
    assert!(
        debug.matches("Promise").count() < 100,
        "promises pile up that nobody waits for"
    );
}

#[test]
fn a_group_has_all_who_came_during_the_sync_before() {
    let fs = SimFs::new(1);
    fs.sync_takes(Duration::from_millis(5));
    let journal = Journal::open_on(Arc::new(fs.clone()), "/j", small()).unwrap();
    fill(&journal, 0, 1, 10);
    made_ahead(&fs, &journal);
    let (groups, syncs) = (journal.stats().groups, fs.counts().syncs);
    let held = hold(&fs);
    let first = journal.append(entry(1, 10));
    fs.wait_for_held_sync();
    let rest: Vec<_> = (2..100).map(|n| journal.append(entry(n, 10))).collect();
    drop(held);
    for append in std::iter::once(first).chain(rest) {
        append.wait().unwrap();
    }
    let stats = journal.stats();
    assert_eq!(
        stats.groups - groups,
        2,
        "one for the first, one for all others"
    );
    assert_eq!(fs.counts().syncs - syncs, 2);
    assert_eq!(stats.largest_group, 98);
    assert_eq!(stats.append_times.count, 100);
    assert!(stats.append_times.max >= Duration::from_millis(10));
    assert_eq!(stats.sync_times.max, Duration::from_millis(5));
}

#[test]
fn nothing_is_answered_or_seen_before_it_is_synced() {
    let fs = SimFs::new(1);
    let journal = Journal::open_on(Arc::new(fs.clone()), "/j", small()).unwrap();
    fill(&journal, 0, 1, 10);
    made_ahead(&fs, &journal);
    let held = hold(&fs);
    let append = journal.append(entry(1, 10));
    fs.wait_for_held_sync();
    assert_eq!(numbers(&all(&journal)), [0]);
    assert!(futures_util::FutureExt::now_or_never(append).is_none());
    drop(held);
    journal.close().unwrap();
}

/// Wakes nobody before it may, unless that takes for ever.
struct Slow {
    may: Mutex<mpsc::Receiver<()>>,
    gave_up: AtomicBool,
}

impl Wake for Slow {
    fn wake(self: Arc<Self>) {
        let may = self.may.lock().unwrap().recv_timeout(LIMIT);
        self.gave_up.store(may.is_err(), Ordering::SeqCst);
    }
}

const LIMIT: Duration = Duration::from_secs(20);

/// To wake many callers takes a good part of the time of a sync: the group behind theirs need not wait.
#[test]
fn a_group_is_committed_while_those_before_it_are_woken() {
    let fs = SimFs::new(1);
    let journal = Journal::open_on(Arc::new(fs.clone()), "/j", small()).unwrap();
    fill(&journal, 0, 1, 10);
    made_ahead(&fs, &journal);
    let held = hold(&fs);
    let mut slow = journal.append(entry(1, 10));
    fs.wait_for_held_sync();
    let (let_go, may) = mpsc::channel();
    let waking = Arc::new(Slow {
        may: Mutex::new(may),
        gave_up: AtomicBool::new(false),
    });
    let waker = Waker::from(Arc::clone(&waking));
    let mut context = Context::from_waker(&waker);
    assert!(Pin::new(&mut slow).poll(&mut context).is_pending());
    let next = journal.append(entry(2, 10));
    drop(held);
    next.wait().unwrap();
    assert!(!waking.gave_up.load(Ordering::SeqCst), "it waited for them");
    let_go.send(()).unwrap();
    slow.wait().unwrap();
    assert_eq!(numbers(&all(&journal)), [0, 1, 2]);
    journal.close().unwrap();
}

#[test]
fn a_failing_sync_refuses_and_the_next_append_begins_anew() {
    let fs = SimFs::new(1);
    let journal = Journal::open_on(Arc::new(fs.clone()), "/j", small()).unwrap();
    fill(&journal, 0, 10, 100);
    fs.fail_all_syncs(true);
    let refused = journal.append(entry(10, 100)).wait();
    assert!(matches!(refused, Err(AppendError::Io(_))));
    assert_eq!(numbers(&all(&journal)), (0..10).collect::<Vec<_>>());
    fs.fail_all_syncs(false);
    fill(&journal, 11, 20, 100);
    let stats = journal.stats();
    assert_eq!((stats.append_failures, stats.refused_disk), (1, 1));
    assert!(!stats.read_only);
    let expected: Vec<_> = (0..10).chain(11..20).collect();
    assert_eq!(numbers(&all(&journal)), expected);
    drop(journal);
    let journal = Journal::open_on(Arc::new(fs), "/j", small()).unwrap();
    assert_eq!(
        numbers(&all(&journal)),
        expected,
        "the refused one came back"
    );
}

/// A group of several records is refused; behind a shorter one in its place its last records would
/// still be valid, and its first ones if nothing were ever written behind it.
#[test]
fn nothing_of_a_refused_group_comes_back() {
    let refuse_a_group = |fs: &SimFs, journal: &Journal| {
        made_ahead(fs, journal);
        let held = hold(fs);
        let first = journal.append(entry(100, 100));
        fs.wait_for_held_sync();
        let group: Vec<_> = (101..105).map(|n| journal.append(entry(n, 900))).collect();
        // The sync that is held is the next one; behind it comes that of the group.
        fs.fail_sync_in(1);
        drop(held);
        first.wait().unwrap();
        for append in group {
            assert!(matches!(append.wait(), Err(AppendError::Io(_))));
        }
    };
    for append_behind in [false, true] {
        let fs = SimFs::new(1);
        let journal = Journal::open_on(Arc::new(fs.clone()), "/j", small()).unwrap();
        fill(&journal, 0, 10, 100);
        refuse_a_group(&fs, &journal);
        let mut expected: Vec<_> = (0..10).chain([100]).collect();
        if append_behind {
            fill(&journal, 200, 201, 10);
            expected.push(200);
        }
        assert_eq!(numbers(&all(&journal)), expected);
        journal.close().unwrap();
        drop(journal);
        let journal = Journal::open_on(Arc::new(fs), "/j", small()).unwrap();
        assert_eq!(numbers(&all(&journal)), expected);
        assert_eq!(journal.stats().lost_records, 0);
    }
}

#[test]
fn a_full_disk_refuses_settles_and_goes_on_by_itself() {
    let fs = SimFs::new(1);
    let config = small();
    let journal = Journal::open_on(Arc::new(fs.clone()), "/j", config.clone()).unwrap();
    let mut positions = fill(&journal, 0, 100, 1000);
    // No room but what the journal has made ahead; the first dead letter has its file.
    // So many that the cursor needs more bytes than ever when they are settled here and there.
    let scattered = fill(&journal, 5000, 6500, 10);
    journal.bury(positions[99], &Burial::default()).unwrap();
    made_ahead(&fs, &journal);
    fs.set_capacity(Some(fs.used_bytes()));
    let mut n = 100;
    let refused = loop {
        match journal.append(entry(n, 1000)).wait() {
            Ok(position) => positions.push(position),
            Err(error) => break error,
        }
        n += 1;
        assert!(n < 1000, "the disk is never full");
    };
    assert!(matches!(refused, AppendError::NoSpace), "{refused}");
    assert!(journal.stats().refused_no_space > 0);
    // Settling and burying need no room.
    let scattered: Vec<_> = scattered.into_iter().step_by(2).collect();
    journal.settle(&scattered).wait().unwrap();
    journal.settle(&positions[..60]).wait().unwrap();
    journal.bury(positions[60], &Burial::default()).unwrap();
    // What was settled freed a segment: that one can be used again.
    let room = journal.append(entry(n, 1000)).wait();
    assert!(room.is_ok(), "{room:?}");
    let waiting: Vec<_> = all(&journal).iter().map(|r| r.position).collect();
    journal.settle(&waiting).wait().unwrap();
    fill(&journal, 1000, 1030, 1000);
    assert_eq!(numbers(&all(&journal)), (1000..1030).collect::<Vec<_>>());
    fs.set_capacity(None);
    fill(&journal, 1030, 1200, 1000);
    drop(journal);
    let journal = Journal::open_on(Arc::new(fs), "/j", config).unwrap();
    assert_eq!(numbers(&all(&journal)), (1000..1200).collect::<Vec<_>>());
    assert_eq!(journal.stats().lost_records, 0);
}

#[test]
fn dead_letters_are_listed_shown_requeued_and_discarded() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), small()).unwrap();
    let positions = fill(&journal, 0, 20, 500);
    let burial = |code: &str| Burial {
        code: code.into(),
        reason: format!("{code} in words, \u{fc}ber alles"),
        first_reason: None,
        attempts: 2,
        buried_at_ms: 5,
    };
    for index in [3, 5, 8] {
        journal
            .bury(positions[index], &burial("too-large"))
            .unwrap();
    }
    journal.bury(positions[9], &burial("refused")).unwrap();
    // Once more changes nothing.
    journal.bury(positions[9], &burial("other")).unwrap();
    assert!(matches!(
        journal.bury(Position(1000), &burial("x")),
        Err(JournalError::NotFound(Position(1000)))
    ));
    let reopened = {
        drop(journal);
        Journal::open(dir.path(), small()).unwrap()
    };
    let journal = reopened;
    let list = |code: Option<&str>| {
        journal.dead_letters(Position::START, 10, |s| code.is_none_or(|c| &*s.code == c))
    };
    assert_eq!(list(None).len(), 4);
    assert_eq!(list(Some("too-large")).len(), 3);
    assert_eq!(
        journal.dead_letters(Position(1), 1, |_| true)[0].origin,
        positions[5]
    );
    let refused = &list(Some("refused"))[0];
    assert_eq!((refused.origin, refused.size), (positions[9], 508));
    let letter = journal.dead_letter(refused.position).unwrap();
    assert_eq!(
        (letter.entry, letter.burial),
        (entry(9, 500), burial("refused"))
    );

    let new = journal.requeue(refused.position).unwrap();
    assert_eq!(new, Position(21), "behind all that waits");
    let back = all(&journal).pop().unwrap();
    assert_eq!((back.position, back.entry), (new, entry(9, 500)));
    assert_eq!(back.requeued_from, Some(refused.position));
    assert!(matches!(
        journal.requeue(refused.position),
        Err(JournalError::NotFound(_))
    ));
    journal.discard(list(None)[0].position).unwrap();
    drop(journal);
    let journal = Journal::open(dir.path(), small()).unwrap();
    let letters = journal.dead_letters(Position::START, 10, |_| true);
    let origins: Vec<_> = letters.iter().map(|s| s.origin).collect();
    assert_eq!(origins, [positions[5], positions[8]]);
    assert_eq!(
        all(&journal).last().unwrap().requeued_from,
        Some(refused.position)
    );
}

#[test]
fn full_dead_letters_leave_the_record_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = small();
    config.dead_max_records = 2;
    let journal = Journal::open(dir.path(), config).unwrap();
    let positions = fill(&journal, 0, 3, 10);
    for position in &positions[..2] {
        journal.bury(*position, &Burial::default()).unwrap();
    }
    let refused = journal.bury(positions[2], &Burial::default());
    assert!(matches!(
        refused,
        Err(JournalError::Append {
            source: AppendError::Full,
            ..
        })
    ));
    assert_eq!(numbers(&all(&journal)), [2]);
    journal.discard(Position(1)).unwrap();
    journal.bury(positions[2], &Burial::default()).unwrap();
    assert!(all(&journal).is_empty());
}

#[test]
fn the_cursor_says_what_a_crash_would_bring_back() {
    let fs = SimFs::new(1);
    let journal = Journal::open_on(Arc::new(fs.clone()), "/j", small()).unwrap();
    let positions = fill(&journal, 0, 10, 10);
    made_ahead(&fs, &journal);
    let held = hold(&fs);
    let settle = journal.settle(&positions[..4]);
    fs.wait_for_held_sync();
    let stats = journal.stats();
    assert_eq!((stats.cursor_lag, stats.waiting), (4, 6));
    drop(held);
    settle.wait().unwrap();
    assert_eq!(journal.stats().cursor_lag, 0);
    assert!(journal.stats().cursor_times.count > 0);
}

#[test]
fn settings_out_of_bounds_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |change: fn(&mut fusebox_journal::JournalConfig)| {
        let mut config = small();
        change(&mut config);
        Journal::open(dir.path(), config).unwrap_err().to_string()
    };
    assert_eq!(
        refused(|c| c.alignment = 1000),
        "alignment is 1000, allowed is a power of two from 512 to 65536"
    );
    assert!(refused(|c| c.segment_bytes = 1).starts_with("segment_bytes is 1"));
    assert!(refused(|c| c.max_bytes = 1).starts_with("max_bytes is 1"));
    assert!(refused(|c| c.max_records = 0).starts_with("max_records is 0"));
    assert!(refused(|c| c.max_record_bytes = 1 << 20).starts_with("max_record_bytes"));
    assert!(refused(|c| c.max_queue_bytes = 5).starts_with("max_queue_bytes is 5"));
    assert!(refused(|c| c.cursor_slot_bytes = 100).starts_with("cursor_slot_bytes"));
    assert!(
        crate::support::picture(dir.path()).is_empty(),
        "nothing was made"
    );
}
