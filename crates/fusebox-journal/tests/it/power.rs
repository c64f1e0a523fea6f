//! Loss of power at any moment of a real process.
//!
//! The process runs with a recorder in front of its file calls (`tests/power/record.c`); its directory
//! is then built anew as the disk might have it had the power failed at a moment of the recording: what
//! was synced, and of the rest what chance has kept, sector by sector and name by name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fusebox_journal::Journal;
use tempfile::TempDir;

use crate::kill::{self, Known, Word};
use crate::support::{Random, picture, small};

/// What was done to the disk, and what was said in between.
#[derive(Debug, Clone)]
enum Step {
    Create(u64, PathBuf),
    Write(u64, u64, Vec<u8>),
    Sync(u64),
    Truncate(u64, u64),
    Rename(PathBuf, PathBuf),
    Unlink(PathBuf),
    Mkdir(PathBuf),
    SyncDir(PathBuf),
    Said(Vec<Word>),
}

/// A disk as a recording has left it at some step.
#[derive(Debug, Default, Clone)]
struct Disk {
    files: BTreeMap<u64, File>,
    names: BTreeMap<PathBuf, Name>,
    /// Changes of names since the sync of their directory.
    pending: Vec<Step>,
}

#[derive(Debug, Default, Clone)]
struct File {
    durable: Vec<u8>,
    pending: Vec<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    File(u64),
    Dir,
}

/// Syncs that a control leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    SyncsOfSegments,
    SyncsOfTheCursor,
    SyncsOfDirectories,
}

/// What becomes of that which was not synced.
#[derive(Debug, Clone, Copy)]
enum Loss {
    All,
    None,
    /// Each sector of so many bytes is kept or not; names are kept up to some change.
    Some(usize),
    /// Likewise, and a sector that was being written may hold anything; each name for itself.
    Torn(usize),
}

fn put(target: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if target.len() < offset + data.len() {
        target.resize(offset + data.len(), 0);
    }
    target[offset..offset + data.len()].copy_from_slice(data);
}

impl File {
    fn sync(&mut self) {
        for step in std::mem::take(&mut self.pending) {
            match step {
                Step::Write(_, offset, data) => put(&mut self.durable, to_usize(offset), &data),
                Step::Truncate(_, len) => self.durable.resize(to_usize(len), 0),
                other => unreachable!("{other:?} is no change of a file"),
            }
        }
    }

    fn after(&self, loss: Loss, random: &mut Random) -> Vec<u8> {
        let mut disk = self.clone();
        let (sector, torn) = match loss {
            Loss::All => return disk.durable,
            Loss::None => {
                disk.sync();
                return disk.durable;
            }
            Loss::Some(sector) => (sector, false),
            Loss::Torn(sector) => (sector, true),
        };
        let mut disk = disk.durable;
        for step in &self.pending {
            match step {
                Step::Write(_, offset, data) => {
                    let mut at = 0;
                    while at < data.len() {
                        let place = to_usize(*offset) + at;
                        let end = data.len().min(at + sector - place % sector);
                        if random.below(2) == 0 {
                            put(&mut disk, place, &data[at..end]);
                        } else if torn && random.below(4) == 0 {
                            let garbage: Vec<u8> = (0..sector)
                                .map(|_| random.next().to_le_bytes()[0])
                                .collect();
                            put(&mut disk, place - place % sector, &garbage);
                        }
                        at = end;
                    }
                }
                Step::Truncate(_, len) if random.below(2) == 0 => disk.resize(to_usize(*len), 0),
                _ => {}
            }
        }
        disk
    }
}

fn to_usize(n: u64) -> usize {
    n.try_into().unwrap()
}

fn rename(names: &mut BTreeMap<PathBuf, Name>, step: &Step) {
    match step {
        Step::Create(file, path) => drop(names.insert(path.clone(), Name::File(*file))),
        Step::Mkdir(path) => drop(names.insert(path.clone(), Name::Dir)),
        Step::Rename(from, to) => {
            if let Some(name) = names.remove(from) {
                names.insert(to.clone(), name);
            }
        }
        Step::Unlink(path) => drop(names.remove(path)),
        other => unreachable!("{other:?} changes no name"),
    }
}

impl Disk {
    fn apply(&mut self, step: &Step, without: Without) {
        match step {
            Step::Create(file, _) => {
                self.files.insert(*file, File::default());
                self.pending.push(step.clone());
            }
            Step::Write(file, ..) | Step::Truncate(file, _) => {
                self.file(*file).pending.push(step.clone());
            }
            Step::Sync(file) => {
                let of_cursor = self.is_cursor(*file);
                let left_out = match without {
                    Without::SyncsOfSegments => !of_cursor,
                    Without::SyncsOfTheCursor => of_cursor,
                    Without::Nothing | Without::SyncsOfDirectories => false,
                };
                if !left_out {
                    self.file(*file).sync();
                }
            }
            Step::SyncDir(dir) => {
                if without != Without::SyncsOfDirectories {
                    let of_dir = |path: &Path| path.parent() == Some(dir);
                    let (now, later) = std::mem::take(&mut self.pending).into_iter().partition(
                        |step| match step {
                            Step::Create(_, path) | Step::Mkdir(path) | Step::Unlink(path) => {
                                of_dir(path)
                            }
                            Step::Rename(from, to) => of_dir(from) || of_dir(to),
                            _ => false,
                        },
                    );
                    self.pending = later;
                    let now: Vec<Step> = now;
                    for step in &now {
                        rename(&mut self.names, step);
                    }
                }
            }
            Step::Rename(..) | Step::Unlink(_) | Step::Mkdir(_) => self.pending.push(step.clone()),
            Step::Said(_) => {}
        }
    }

    fn file(&mut self, file: u64) -> &mut File {
        self.files.get_mut(&file).expect("a file that was created")
    }

    fn is_cursor(&self, file: u64) -> bool {
        let mut names = self.names.clone();
        self.pending
            .iter()
            .for_each(|step| rename(&mut names, step));
        let is = |path: &Path| path.file_stem().is_some_and(|name| name == "CURSOR");
        names
            .iter()
            .any(|(path, name)| *name == Name::File(file) && is(path))
    }

    /// Builds what is left in `dir`, which was `was` in the recording.
    fn build(&self, was: &Path, dir: &Path, loss: Loss, random: &mut Random) {
        let mut names = self.names.clone();
        let most = random.below(self.pending.len() as u64 + 1);
        for (index, step) in self.pending.iter().enumerate() {
            let kept = match loss {
                Loss::All => false,
                Loss::None => true,
                Loss::Some(_) => (index as u64) < most,
                Loss::Torn(_) => random.below(2) == 0,
            };
            if kept {
                rename(&mut names, step);
            }
        }
        // Sorted, so a directory comes before what is in it.
        for (path, name) in names {
            let target = dir.join(path.strip_prefix(was).unwrap());
            match name {
                Name::Dir => fs::create_dir_all(target).unwrap(),
                Name::File(file) if target.parent().is_some_and(Path::is_dir) => {
                    fs::write(target, self.files[&file].after(loss, random)).unwrap();
                }
                Name::File(_) => {}
            }
        }
    }
}

/// A directory that needs no disk, where there is one: the disk is simulated here.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

/// Runs the child under the recorder until it has appended so many records.
fn record(records: u64) -> (PathBuf, Vec<Step>) {
    let work = scratch();
    let recorder = work.path().join("record.so");
    let built = Command::new("cc")
        .args([
            "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-pthread", "-o",
        ])
        .arg(&recorder)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/power/record.c"))
        .output()
        .expect("cc, which the build of the workspace needs too");
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let dir = work.path().join("journal");
    fs::create_dir(&dir).unwrap();
    let trace = work.path().join("trace");
    let output = kill::child(&dir, 0)
        .env(kill::UNTIL, records.to_string())
        .env("LD_PRELOAD", &recorder)
        .env("RECORD_DIR", &dir)
        .env("RECORD_TRACE", &trace)
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let steps = parse(&fs::read(&trace).unwrap());

    // The recording is whole: played to its end it gives what is there.
    let mut disk = Disk::default();
    for step in &steps {
        disk.apply(step, Without::Nothing);
    }
    let copy = scratch();
    disk.build(&dir, copy.path(), Loss::None, &mut Random(0));
    let relative = |root: &Path| -> Vec<_> {
        picture(root)
            .into_iter()
            .map(|(path, bytes)| (path.strip_prefix(root).unwrap().to_owned(), bytes))
            .collect()
    };
    assert!(
        relative(&dir) == relative(copy.path()),
        "the recording misses something"
    );

    let count = |wanted: fn(&Step) -> bool| steps.iter().filter(|s| wanted(s)).count();
    let syncs = count(|s| matches!(s, Step::Sync(_)));
    let dirs = count(|s| matches!(s, Step::SyncDir(_)));
    println!(
        "recorded: {} steps, {syncs} syncs of files, {dirs} of directories",
        steps.len()
    );
    assert!(syncs > 100, "no syncs are seen: the recorder is passed by");
    assert!(dirs > 5, "no syncs of directories are seen");
    (dir, steps)
}

fn parse(trace: &[u8]) -> Vec<Step> {
    let mut rest = trace;
    let mut steps = Vec::new();
    // The last word of a piece of output may be cut off.
    let mut said = String::new();
    while let Some((head, after)) = rest.split_at_checked(32) {
        let u32_at = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
        let u64_at = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap());
        let (file, offset) = (u64_at(8), u64_at(16));
        let (text, after) = after.split_at(u32_at(4) as usize);
        let (data, after) = after.split_at(to_usize(u64_at(24)));
        rest = after;
        let text = std::str::from_utf8(text).unwrap();
        steps.push(match u32_at(0) {
            1 => Step::Create(file, text.into()),
            2 => Step::Write(file, offset, data.to_vec()),
            3 => Step::Sync(file),
            4 => Step::Truncate(file, offset),
            5 => {
                let (from, to) = text.split_once('\n').unwrap();
                Step::Rename(from.into(), to.into())
            }
            6 => Step::Unlink(text.into()),
            7 => Step::Mkdir(text.into()),
            8 => Step::SyncDir(text.into()),
            9 => {
                said.push_str(std::str::from_utf8(data).unwrap());
                let whole = said.rfind('\n').map_or(0, |at| at + 1);
                let lines: String = said.drain(..whole).collect();
                Step::Said(lines.lines().filter_map(Word::parse).collect())
            }
            other => panic!("{other} is no operation"),
        });
    }
    steps
}

/// Loses power at `points` moments and checks each; returns what went wrong.
fn lose_power(recording: &(PathBuf, Vec<Step>), points: u64, without: Without) -> Vec<String> {
    let (was, steps) = recording;
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
            disk.apply(step, without);
            if let Step::Said(words) = step {
                known.hear(words);
            }
        }
        done = to_usize(moment);
        let loss = match n / 3 % 6 {
            0 => Loss::All,
            1 => Loss::None,
            2 => Loss::Some(512),
            3 => Loss::Some(4096),
            _ => Loss::Torn(512),
        };
        // A write that the power cut meets may have reached the disk in part.
        let mut now = disk.clone();
        if let Some(step @ Step::Write(..)) = steps.get(done) {
            now.apply(step, without);
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
