//! A recording of what a process did to a directory, and what a loss of power at any moment of it leaves.
//!
//! The recorder (`record.c`, beside this) is loaded before the process. A directory is then built anew as the
//! disk might have it had the power failed: what was synced, and of the rest what chance has kept, sector by
//! sector and name by name. For the tests of every crate that promises to survive that.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// What was done to the disk, and what was said in between, in whole lines.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Create(u64, PathBuf),
    Write(u64, u64, Vec<u8>),
    Sync(u64),
    Truncate(u64, u64),
    Rename(PathBuf, PathBuf),
    Unlink(PathBuf),
    Mkdir(PathBuf),
    SyncDir(PathBuf),
    Said(String),
}

/// A disk as a recording has left it at some step.
#[derive(Debug, Default, Clone)]
pub(crate) struct Disk {
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

/// What becomes of that which was not synced.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Loss {
    All,
    None,
    /// Each sector of so many bytes is kept or not; names are kept up to some change.
    Some(usize),
    /// Likewise, and each name for itself.
    Apart(usize),
    /// Likewise, and a sector that was being written may hold anything.
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
            Loss::Some(sector) | Loss::Apart(sector) => (sector, false),
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

pub(crate) fn to_usize(n: u64) -> usize {
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
    pub(crate) fn apply(&mut self, step: &Step) {
        match step {
            Step::Create(file, _) => {
                self.files.insert(*file, File::default());
                self.pending.push(step.clone());
            }
            Step::Write(file, ..) | Step::Truncate(file, _) => {
                self.file(*file).pending.push(step.clone());
            }
            Step::Sync(file) => self.file(*file).sync(),
            Step::SyncDir(dir) => {
                let of_dir = |path: &Path| path.parent() == Some(dir);
                let all = std::mem::take(&mut self.pending).into_iter();
                let (now, later): (Vec<Step>, _) = all.partition(|step| match step {
                    Step::Create(_, path) | Step::Mkdir(path) | Step::Unlink(path) => of_dir(path),
                    Step::Rename(from, to) => of_dir(from) || of_dir(to),
                    _ => false,
                });
                self.pending = later;
                for step in &now {
                    rename(&mut self.names, step);
                }
            }
            Step::Rename(..) | Step::Unlink(_) | Step::Mkdir(_) => self.pending.push(step.clone()),
            Step::Said(_) => {}
        }
    }

    fn file(&mut self, file: u64) -> &mut File {
        self.files.get_mut(&file).expect("a file that was created")
    }

    /// Whether a file has a name of this kind now.
    pub(crate) fn is(&self, file: u64, kind: impl Fn(&Path) -> bool) -> bool {
        let mut names = self.names.clone();
        self.pending
            .iter()
            .for_each(|step| rename(&mut names, step));
        names
            .iter()
            .any(|(path, name)| *name == Name::File(file) && kind(path))
    }

    /// Builds what is left in `dir`, which was `was` in the recording.
    pub(crate) fn build(&self, was: &Path, dir: &Path, loss: Loss, random: &mut Random) {
        let mut names = self.names.clone();
        let most = random.below(self.pending.len() as u64 + 1);
        for (index, step) in self.pending.iter().enumerate() {
            let kept = match loss {
                Loss::All => false,
                Loss::None => true,
                Loss::Some(_) => (index as u64) < most,
                Loss::Apart(_) | Loss::Torn(_) => random.below(2) == 0,
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
pub(crate) fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

/// A recording: the directory, as it was called, and the steps.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) dir: PathBuf,
    pub(crate) steps: Vec<Step>,
}

/// Runs `command` under the recorder; it must keep its files below the directory it is given.
pub(crate) fn record(command: impl FnOnce(&Path) -> Command) -> Recording {
    let work = scratch();
    let recorder = work.path().join("record.so");
    let source = work.path().join("record.c");
    fs::write(&source, include_str!("record.c")).unwrap();
    let built = Command::new("cc")
        .args([
            "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-pthread", "-o",
        ])
        .args([&recorder, &source])
        .output()
        .expect("cc, which the build of the workspace needs too");
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let dir = work.path().join("recorded");
    fs::create_dir(&dir).unwrap();
    let trace = work.path().join("trace");
    let output = command(&dir)
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
        disk.apply(step);
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
    Recording { dir, steps }
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
                Step::Said(lines)
            }
            other => panic!("{other} is no operation"),
        });
    }
    steps
}

/// Name and content of every file below a directory.
pub(crate) fn picture(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                files.push((path, bytes));
            }
        }
    }
    files.sort();
    files
}

/// splitmix64: the same numbers everywhere.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
