//! The power fails while the broker works, with a sync before each answer: nothing acknowledged is missing.
//!
//! A process with a broker and its clients is recorded, and its directory built anew as the disk may have it at
//! any moment; the recorder and the replay are those of the journal's tests.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use fusebox_devbroker::{DevBroker, DevBrokerConfig, FsyncPolicy};
use tempfile::TempDir;

use crate::{
    crash::{commit, read_commit},
    replay::{self, Disk, Loss, Random, Recording, Step, scratch, to_usize},
    support::{LIMIT, Numbered, read_all_within},
};

const DIR: &str = "DEVBROKER_CHILD_DIR";
const FSYNC: &str = "DEVBROKER_CHILD_FSYNC";
/// Moments of the ordinary run; scripts/power-loss takes more.
const MOMENTS: &str = "DEVBROKER_POWER";

const PARTITIONS: usize = 2;

/// Checks that run at once.
const AT_ONCE: usize = 8;

/// Small segments, so that a few records fill several.
fn config(dir: &Path, fsync: FsyncPolicy) -> DevBrokerConfig {
    let mut config = DevBrokerConfig::in_dir(dir).with_topics([("t", 2)]);
    config.segment_bytes = 2048;
    config.fsync = fsync;
    config
}

/// Not a test of its own: the process that is recorded. Alone it does nothing.
#[test]
fn child_process() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let fsync = if std::env::var_os(FSYNC).is_some() {
        FsyncPolicy::Always
    } else {
        FsyncPolicy::Never
    };
    let broker = DevBroker::start(config(Path::new(&dir), fsync)).unwrap();
    let bootstrap = broker.bootstrap_servers();
    let settings = [("batch.num.messages", "5"), ("linger.ms", "0")];
    let mut producer = Numbered::new(&bootstrap, &settings);
    let mut told = BTreeSet::new();
    // The test harness has begun a line.
    println!();
    for round in 1..=20 {
        for _ in 0..16 {
            producer.send("t", PARTITIONS);
        }
        producer.finish();
        producer.reports(|reports| {
            for (number, (partition, offset)) in &reports.acked {
                if told.insert(*number) {
                    println!("! acked {number} {partition} {offset}");
                }
            }
        });
        if round % 4 == 0 {
            println!("! committed {}", commit(&bootstrap, round));
        }
    }
    broker.shutdown().unwrap();
}

fn record(fsync: FsyncPolicy) -> Recording {
    replay::record(|dir| {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child
            .args(["--exact", "power::child_process", "--nocapture"])
            .arg("--test-threads=1")
            .env(DIR, dir);
        if fsync == FsyncPolicy::Always {
            child.env(FSYNC, "always");
        }
        child
    })
}

/// What the broker had promised.
#[derive(Debug, Default, Clone)]
struct Promised {
    /// Number, partition, offset.
    acked: Vec<(usize, i32, i64)>,
    committed: Option<i64>,
}

impl Promised {
    fn hear(&mut self, lines: &str) {
        for line in lines.lines() {
            let Some(words) = line.strip_prefix("! ") else {
                continue;
            };
            let words: Vec<&str> = words.split(' ').collect();
            match words[..] {
                ["acked", number, partition, offset] => self.acked.push((
                    number.parse().unwrap(),
                    partition.parse().unwrap(),
                    offset.parse().unwrap(),
                )),
                ["committed", offset] => self.committed = Some(offset.parse().unwrap()),
                _ => panic!("{line} is no promise"),
            }
        }
    }

    /// Starts a broker on what is left and looks.
    fn check(&self, dir: &Path, limit: Duration) {
        let config = config(dir, FsyncPolicy::Always);
        let broker = DevBroker::start(config).expect("the broker starts");
        let bootstrap = broker.bootstrap_servers();
        let partitions = i32::try_from(PARTITIONS).unwrap();
        let found = read_all_within(limit, &bootstrap, "t", partitions);
        for (number, partition, offset) in &self.acked {
            let records = found.get(partition).map_or(&[][..], Vec::as_slice);
            let there = records.iter().find(|(at, _)| at == offset);
            let payload = there.map(|(_, payload)| payload.as_str());
            assert_eq!(payload, Some(format!("{number:08}").as_str()), "lost");
        }
        for records in found.values() {
            assert!(
                records.is_sorted_by(|one, other| one.0 < other.0 && one.1 < other.1),
                "doubled or out of order: {records:?}"
            );
        }
        if let Some(committed) = self.committed {
            assert!(read_commit(&bootstrap) >= committed, "commit lost");
        }
        broker.shutdown().expect("the broker stops");
    }
}

/// Loses power at `moments` and checks each; returns what went wrong.
fn lose_power(
    recording: &Recording,
    moments: u64,
    limit: Duration,
    left_out: impl Fn(&Disk, &Step) -> bool,
) -> Vec<String> {
    let steps = &recording.steps;
    let mut random = Random(moments);
    // Names are changed seldom, and there much can go wrong: every third moment is at such a change.
    let changes: Vec<u64> = (0..)
        .zip(steps)
        .filter(|(_, step)| matches!(step, Step::Create(..) | Step::Rename(..) | Step::SyncDir(_)))
        .map(|(index, _)| index)
        .collect();
    let moments: BTreeSet<(u64, u64)> = (0..moments)
        .map(|n| {
            let moment = if n % 3 == 0 {
                changes[to_usize(random.below(changes.len() as u64))] + random.below(2)
            } else {
                random.below(steps.len() as u64)
            };
            (moment, n)
        })
        .collect();
    let (mut disk, mut promised) = (Disk::default(), Promised::default());
    let mut done = 0;
    let mut leftovers = Vec::new();
    for (moment, n) in moments {
        for step in &steps[done..to_usize(moment)] {
            if !left_out(&disk, step) {
                disk.apply(step);
            }
            if let Step::Said(lines) = step {
                promised.hear(lines);
            }
        }
        done = to_usize(moment);
        let loss = match n % 5 {
            0 => Loss::All,
            1 => Loss::None,
            2 => Loss::Some(4096),
            // Not torn: batches share sectors, so one that is written must keep what was in it.
            3 => Loss::Apart(512),
            _ => Loss::Apart(4096),
        };
        // A write that the power cut meets may have reached the disk in part.
        let mut now = disk.clone();
        if let Some(step @ Step::Write(..)) = steps.get(done) {
            now.apply(step);
        }
        let left = scratch();
        now.build(&recording.dir, left.path(), loss, &mut random);
        leftovers.push(Leftover {
            what: format!("step {moment}, {loss:?}"),
            dir: left,
            promised: promised.clone(),
        });
    }
    check_all(&leftovers, limit)
}

/// What is left after a loss of power, and what had been promised before it.
struct Leftover {
    what: String,
    dir: TempDir,
    promised: Promised,
}

/// Returns what went wrong. A check is mostly a client's waiting for its connections, so many run at once.
fn check_all(leftovers: &[Leftover], limit: Duration) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut wrong = Vec::new();
        while let Some(left) = leftovers.get(next.fetch_add(1, Ordering::Relaxed)) {
            let check = AssertUnwindSafe(|| left.promised.check(left.dir.path(), limit));
            if let Err(panic) = catch_unwind(check) {
                let text = panic.downcast_ref::<String>().cloned();
                wrong.push(format!("{}: {}", left.what, text.unwrap_or_default()));
            }
        }
        wrong
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(worker)).collect();
        let wrong = workers.into_iter().flat_map(|w| w.join().unwrap());
        wrong.collect()
    })
}

#[test]
fn no_loss_of_power_loses_what_was_synced_before_its_answer() {
    let moments = std::env::var(MOMENTS).map_or(40, |moments| moments.parse().unwrap());
    let recording = record(FsyncPolicy::Always);
    let syncs = |step: &&Step| matches!(step, Step::Sync(_));
    let syncs = recording.steps.iter().filter(syncs).count();
    assert!(syncs > 60, "{syncs} syncs: the recorder is passed by");
    let wrong = lose_power(&recording, moments, LIMIT, |_, _| false);
    assert!(
        wrong.is_empty(),
        "{} of {moments}: {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(5)]
    );
    println!("{moments} losses of power with fsync=always: nothing acknowledged is lost");

    // The controls: the same check must see a broker that does not sync, and syncs that are missing. In the
    // middle of such a log there may be what nobody can read.
    let brief = Duration::from_secs(5);
    let controls = [
        (
            "fsync=never",
            lose_power(&record(FsyncPolicy::Never), 20, brief, |_, _| false),
        ),
        (
            "syncs of logs left out",
            lose_power(&recording, 20, brief, |disk, step| {
                let is_log = |path: &Path| path.extension().is_some_and(|e| e == "log");
                matches!(step, Step::Sync(file) if disk.is(*file, is_log))
            }),
        ),
        (
            "syncs of directories left out",
            lose_power(&recording, 20, brief, |_, step| {
                matches!(step, Step::SyncDir(_))
            }),
        ),
    ];
    for (what, wrong) in controls {
        let lost = wrong.iter().filter(|text| text.contains("lost")).count();
        println!("{what}: {lost} of 20 lost");
        assert!(lost > 0, "{what}, and nobody sees it: {wrong:#?}");
    }
}
