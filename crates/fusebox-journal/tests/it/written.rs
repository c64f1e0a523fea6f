//! Records that are shown while they are synced.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use fusebox_journal::fs::sim::{PowerLoss, SimFs};
use fusebox_journal::{AppendError, Burial, Journal, Position};

use crate::support::{all, entry, fill, made_ahead, numbers, small};

const LIMIT: Duration = Duration::from_mins(1);

/// Each group stops between its write and its sync, until it is let on.
struct Gate {
    written: mpsc::Receiver<()>,
    sync: mpsc::Sender<()>,
}

fn gate(journal: &Journal) -> Gate {
    let (tell, written) = mpsc::channel();
    let (sync, may) = mpsc::channel::<()>();
    let may = Mutex::new(may);
    journal.on_write(move || {
        // A test that has failed lets everything go.
        let _told = tell.send(());
        let _may = may.lock().unwrap().recv();
    });
    Gate { written, sync }
}

fn open(fs: &SimFs) -> Journal {
    Journal::open_on(Arc::new(fs.clone()), "/j", small()).unwrap()
}

fn shown(journal: &Journal, after: Position) -> Vec<u64> {
    let page = journal.peek_written(after, 100, 1 << 20).unwrap();
    numbers(&page.expect("in memory"))
}

#[test]
fn what_is_written_is_shown_before_its_sync_to_who_asks_for_it() {
    let fs = SimFs::new(1);
    let journal = open(&fs);
    let positions = fill(&journal, 0, 2, 10);
    made_ahead(&fs, &journal);
    let gate = gate(&journal);
    let append = journal.append(entry(2, 10));
    gate.written.recv().unwrap();
    assert_eq!(numbers(&all(&journal)), [0, 1]);
    let recent = journal.peek_recent(positions[1], 100, 1 << 20).unwrap();
    assert_eq!(recent, Some(Vec::new()));
    // What is durable comes first, and by itself.
    assert_eq!(shown(&journal, Position::START), [0, 1]);
    assert_eq!(shown(&journal, positions[1]), [2]);
    assert_eq!(shown(&journal, Position(positions[1].0 + 1)), [0; 0]);
    for after in [Position::START, positions[1]] {
        let none = journal.peek_written(after, 0, 1 << 20).unwrap();
        assert_eq!(none, Some(Vec::new()));
    }
    assert_eq!(journal.stats().waiting, 2);
    gate.sync.send(()).unwrap();
    let position = append.wait().unwrap();
    assert_eq!(shown(&journal, positions[1]), [2]);
    assert_eq!(shown(&journal, position), [0; 0]);
    journal.close().unwrap();
}

#[test]
fn what_is_delivered_before_it_is_durable_is_settled_when_it_is() {
    let fs = SimFs::new(1);
    let journal = open(&fs);
    let before = fill(&journal, 0, 1, 10)[0];
    made_ahead(&fs, &journal);
    let gate = gate(&journal);
    let append = journal.append(entry(1, 10));
    gate.written.recv().unwrap();
    let ahead = Position(before.0 + 1);
    // With one that is durable, so that a cursor is saved: it must not say a word of the other.
    journal.settle(&[before, ahead]).wait().unwrap();
    assert_eq!(shown(&journal, before), [0; 0], "told twice");
    let dead = fs.after_power_loss(PowerLoss::LoseAll, 1);
    let other = open(&dead);
    assert_eq!(fill(&other, 7, 8, 10), [ahead], "the position is free");
    assert_eq!(numbers(&all(&other)), [7]);
    drop(other);

    gate.sync.send(()).unwrap();
    assert_eq!(append.wait().unwrap(), ahead);
    assert_eq!(numbers(&all(&journal)), [0; 0]);
    assert_eq!(journal.stats().settled, 2);
    // The cursor is saved for it, though nobody settles anything any more.
    let deadline = Instant::now() + LIMIT;
    while journal.stats().cursor_lag > 0 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    let journal = open(&fs.after_power_loss(PowerLoss::LoseAll, 1));
    assert_eq!(numbers(&all(&journal)), [0; 0]);
}

/// The acknowledgement of a record that was refused meant the next one, which was then lost.
#[test]
fn a_position_that_was_shown_is_never_given_to_another_record() {
    for how in [
        PowerLoss::LoseAll,
        PowerLoss::KeepAll,
        PowerLoss::Random,
        PowerLoss::RandomTorn,
    ] {
        let fs = SimFs::new(1);
        let journal = open(&fs);
        let before = fill(&journal, 0, 1, 10)[0];
        made_ahead(&fs, &journal);
        let gate = gate(&journal);
        let append = journal.append(entry(1, 3_000));
        gate.written.recv().unwrap();
        assert_eq!(shown(&journal, before), [1]);
        fs.fail_sync_in(0);
        gate.sync.send(()).unwrap();
        assert!(matches!(append.wait(), Err(AppendError::Io(_))));
        drop(gate);
        assert_eq!(shown(&journal, before), [0; 0], "refused and still shown");
        let position = fill(&journal, 3, 4, 10)[0];
        assert!(position.0 > before.0 + 1, "the position was given again");
        // What is left of it on disk means nothing to whoever comes next.
        let other = open(&fs.after_power_loss(how, 5));
        assert_eq!(numbers(&all(&other)), [0, 3], "{how:?}");
        let stats = other.stats();
        let found = (stats.lost_records, stats.damaged_ranges);
        assert_eq!(found, (0, 0), "{how:?}");
        // And its acknowledgement settles no other.
        let refused = Position(before.0 + 1);
        journal.settle(&[refused]).wait().unwrap();
        assert_eq!(numbers(&all(&journal)), [0, 3]);
    }
}

/// A caller that hears of a lack of space may wait for room and append again, in the belief that nothing is
/// there.
#[test]
fn a_lack_of_space_that_only_the_sync_tells_is_no_promise_that_nothing_is_there() {
    let fs = SimFs::new(1);
    let journal = open(&fs);
    fill(&journal, 0, 1, 10);
    made_ahead(&fs, &journal);
    fs.fail_sync_with(0, ErrorKind::StorageFull);
    let refused = journal.append(entry(1, 10)).wait();
    assert!(matches!(refused, Err(AppendError::Io(_))), "{refused:?}");
}

/// A record that Kafka refuses before it is durable is a dead letter when it is.
#[test]
fn a_burial_waits_for_the_sync() {
    let fs = SimFs::new(1);
    let journal = open(&fs);
    fill(&journal, 0, 1, 10);
    made_ahead(&fs, &journal);
    let gate = gate(&journal);
    let append = journal.append(entry(1, 10));
    gate.written.recv().unwrap();
    let (done, buried) = mpsc::channel();
    let burying = std::thread::spawn({
        let journal = journal.clone();
        move || {
            let result = journal.bury(Position(2), &Burial::default());
            done.send(()).unwrap();
            result
        }
    });
    let early = buried.recv_timeout(Duration::from_millis(50));
    assert!(early.is_err(), "buried before it is durable");
    assert_eq!(journal.stats().dead, 0);
    gate.sync.send(()).unwrap();
    burying.join().unwrap().unwrap();
    assert_eq!(append.wait().unwrap(), Position(2));
    assert_eq!(journal.stats().dead, 1);
    assert_eq!(numbers(&all(&journal)), [0]);
}

/// The group that is shown may have become durable, and the next may be shown, between two looks.
#[test]
fn who_reads_what_is_written_misses_none_and_sees_none_twice() {
    const RECORDS: u64 = 3_000;
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), small()).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let reading = std::thread::spawn({
        let (journal, stop) = (journal.clone(), Arc::clone(&stop));
        move || {
            let (mut seen, mut after) = (Vec::new(), Position::START);
            while (seen.len() as u64) < RECORDS && !stop.load(Ordering::Relaxed) {
                let page = journal.peek_written(after, 16, 1 << 20).unwrap();
                let page = match page {
                    Some(page) => page,
                    None => journal.peek(after, 16, 1 << 20).unwrap(),
                };
                after = page.last().map_or(after, |last| last.position);
                let positions: Vec<_> = page.iter().map(|stored| stored.position).collect();
                journal.settle(&positions).wait().unwrap();
                seen.extend(positions.iter().map(|position| position.0));
            }
            seen
        }
    });
    for n in (0..RECORDS).step_by(3) {
        fill(&journal, n, n + 3, 10);
    }
    let deadline = Instant::now() + LIMIT;
    while !reading.is_finished() && Instant::now() < deadline {
        std::thread::yield_now();
    }
    stop.store(true, Ordering::Relaxed);
    assert_eq!(reading.join().unwrap(), (1..=RECORDS).collect::<Vec<_>>());
    assert_eq!(journal.stats().waiting, 0);
}
