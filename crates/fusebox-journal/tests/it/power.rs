//! Loss of power at any moment of a real process: a recording of it (`tests/power/replay.rs`), played back up
//! to that moment.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use fusebox_journal::Journal;

use crate::kill::{self, Known, Word};
use crate::replay::{self, Disk, Loss, Random, Recording, Step, scratch, to_usize};
use crate::support::small;

/// Syncs that a control leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    SyncsOfSegments,
    SyncsOfTheCursor,
    SyncsOfDirectories,
}

impl Without {
    fn leaves_out(self, disk: &Disk, step: &Step) -> bool {
        let of_cursor =
            |file| disk.is(file, |path| path.file_stem().is_some_and(|n| n == "CURSOR"));
        match (self, step) {
            (Self::SyncsOfSegments, Step::Sync(file)) => !of_cursor(*file),
            (Self::SyncsOfTheCursor, Step::Sync(file)) => of_cursor(*file),
            (Self::SyncsOfDirectories, Step::SyncDir(_)) => true,
            _ => false,
        }
    }
}

/// Runs the child under the recorder until it has appended so many records.
fn record(records: u64) -> Recording {
    let recording = replay::record(|dir: &Path| {
        let mut child = kill::child(dir, 0);
        child.env(kill::UNTIL, records.to_string());
        child
    });
    let steps = &recording.steps;
    let count = |wanted: fn(&Step) -> bool| steps.iter().filter(|s| wanted(s)).count();
    let syncs = count(|s| matches!(s, Step::Sync(_)));
    let dirs = count(|s| matches!(s, Step::SyncDir(_)));
    println!(
        "recorded: {} steps, {syncs} syncs of files, {dirs} of directories",
        steps.len()
    );
    assert!(syncs > 100, "no syncs are seen: the recorder is passed by");
    assert!(dirs > 5, "no syncs of directories are seen");
    recording
}

/// Loses power at `points` moments and checks each; returns what went wrong.
fn lose_power(recording: &Recording, points: u64, without: Without) -> Vec<String> {
    let Recording { dir: was, steps } = recording;
    let mut random = Random(points);
    // Names are changed seldom, and there much can go wrong: every third moment is at such a change.
    // Every tenth is among the first, when the files are made.
    let changes: Vec<u64> = (0..)
        .zip(steps)
        .filter(|(_, step)| matches!(step, Step::Rename(..) | Step::Unlink(_) | Step::SyncDir(_)))
        .map(|(index, _)| index)
        .collect();
    let moments: BTreeSet<(u64, u64)> = (0..points)
        .map(|n| {
            let moment = match n % 30 {
                0 | 11 | 22 => random.below(60),
                _ if n % 3 == 1 => {
                    changes[random.below(changes.len() as u64) as usize] + random.below(2)
                }
                _ => random.below(steps.len() as u64),
            };
            (moment, n)
        })
        .collect();
    let mut disk = Disk::default();
    let mut known = Known::default();
    let mut done = 0;
    let mut wrong = Vec::new();
    for (moment, n) in moments {
        for step in &steps[done..to_usize(moment)] {
            if !without.leaves_out(&disk, step) {
                disk.apply(step);
            }
            if let Step::Said(lines) = step {
                let words: Vec<Word> = lines.lines().filter_map(Word::parse).collect();
                known.hear(&words);
            }
        }
        done = to_usize(moment);
        let loss = match n / 3 % 6 {
            0 => Loss::All,
            1 => Loss::None,
            2 => Loss::Some(512),
            3 => Loss::Some(4096),
            4 => Loss::Apart(512),
            _ => Loss::Torn(512),
        };
        // A write that the power cut meets may have reached the disk in part.
        let mut now = disk.clone();
        if let Some(step @ Step::Write(..)) = steps.get(done) {
            now.apply(step);
        }
        let left = scratch();
        now.build(was, left.path(), loss, &mut random);
        let mut known = known.clone();
        let checked = catch_unwind(AssertUnwindSafe(|| {
            let journal = Journal::open(left.path(), small()).expect("the journal opens");
            known.check(&journal);
            journal.close().expect("the journal closes");
            let journal = Journal::open(left.path(), small()).expect("the journal opens again");
            known.check(&journal);
        }));
        if let Err(panic) = checked {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            wrong.push(format!(
                "step {moment}, {loss:?}: {}",
                text.unwrap_or_default()
            ));
        }
    }
    wrong
}

#[test]
fn no_loss_of_power_loses_repeats_or_reorders() {
    let points: u64 = std::env::var("FUSEBOX_JOURNAL_POWER").map_or(150, |points| {
        points.parse().expect("a number of crash points")
    });
    let recording = record(points.clamp(600, 2000));
    let wrong = lose_power(&recording, points, Without::Nothing);
    assert!(
        wrong.is_empty(),
        "{} of {points}: {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(5)]
    );
    println!("{points} losses of power: nothing lost, repeated or reordered");

    // The controls: with syncs left out, the same check must see it.
    for (without, said) in [
        (Without::SyncsOfSegments, "lost"),
        (Without::SyncsOfTheCursor, "is back"),
        (Without::SyncsOfDirectories, "lost"),
    ] {
        let wrong = lose_power(&recording, 60, without);
        let seen = wrong.iter().filter(|text| text.contains(said)).count();
        println!(
            "{without:?} left out: {} of 60 wrong, {seen} {said}",
            wrong.len()
        );
        assert!(seen > 0, "{without:?} left out, and nobody sees it");
    }
}
