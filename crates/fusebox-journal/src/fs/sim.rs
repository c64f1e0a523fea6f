//! A disk in memory that loses power, tears writes, fills up and fails on demand.
//!
//! What was not synced is lost at a crash, sector by sector and by chance; names need a sync of their
//! directory; a failed sync leaves the data in the cache, clean, so that the next sync says yes and
//! saves nothing.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Fs, FsFile, OpenMode};

const SECTOR: usize = 512;

/// How many operations of each kind were made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SimCounts {
    /// Reads of files.
    pub reads: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Writes to files.
    pub writes: u64,
    /// Syncs of files, successful or not.
    pub syncs: u64,
    /// Of those, the ones that failed.
    pub failed_syncs: u64,
    /// Everything that changes or syncs the disk: the moments a crash can be put at.
    pub steps: u64,
}

/// What becomes of data that was not synced when the power fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerLoss {
    /// All of it is lost.
    LoseAll,
    /// All of it is kept, as when only the process dies.
    KeepAll,
    /// Each sector and each change of a name is kept or lost by chance.
    Random,
    /// Like `Random`, but a sector that is lost holds neither the old nor the new bytes.
    RandomTorn,
}

/// A simulated disk. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimFs {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    gate: Condvar,
}

#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fault of its own that may be on or off"
)]
struct State {
    files: Vec<FileData>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    pending_names: Vec<NameChange>,
    dirs: BTreeSet<PathBuf>,
    locks: HashSet<PathBuf>,
    owners: BTreeMap<PathBuf, String>,
    random: Random,
    clock: Duration,
    counts: SimCounts,
    capacity: Option<u64>,
    crash_at: Option<u64>,
    crashed: bool,
    fail_syncs: BTreeMap<u64, io::ErrorKind>,
    failing_syncs: bool,
    ignore_syncs: bool,
    sync_takes: Duration,
    syncs_held: bool,
    waiting_in_sync: usize,
}

#[derive(Debug, Default, Clone)]
struct FileData {
    cache: Vec<u8>,
    durable: Vec<u8>,
    /// Writes since the last sync, in order.
    pending: Vec<(usize, Vec<u8>)>,
}

#[derive(Debug, Clone)]
enum NameChange {
    Set(PathBuf, usize),
    Move(PathBuf, PathBuf),
    Remove(PathBuf),
}

#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // splitmix64: small, and the same everywhere.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

impl FileData {
    fn put(target: &mut Vec<u8>, offset: usize, data: &[u8]) {
        if target.len() < offset + data.len() {
            target.resize(offset + data.len(), 0);
        }
        target[offset..offset + data.len()].copy_from_slice(data);
    }

    fn write(&mut self, offset: usize, data: &[u8]) {
        Self::put(&mut self.cache, offset, data);
        self.pending.push((offset, data.to_vec()));
    }

    fn sync(&mut self) {
        for (offset, data) in self.pending.drain(..) {
            Self::put(&mut self.durable, offset, &data);
        }
    }

    /// What the disk holds after the power came back.
    fn lose_power(&self, how: PowerLoss, random: &mut Random) -> Vec<u8> {
        let mut disk = self.durable.clone();
        for (offset, data) in &self.pending {
            let mut at = 0;
            while at < data.len() {
                let position = offset + at;
                let end = data.len().min(at + SECTOR - position % SECTOR);
                let kept = match how {
                    PowerLoss::LoseAll => false,
                    PowerLoss::KeepAll => true,
                    PowerLoss::Random | PowerLoss::RandomTorn => random.coin(),
                };
                if kept {
                    Self::put(&mut disk, position, &data[at..end]);
                } else if how == PowerLoss::RandomTorn && random.coin() {
                    // The whole sector is nobody's: also bytes in it that were not written.
                    let start = position - position % SECTOR;
                    let mut garbage = [0; SECTOR];
                    for byte in &mut garbage {
                        *byte = random.next().to_le_bytes()[0];
                    }
                    Self::put(&mut disk, start, &garbage);
                }
                at = end;
            }
        }
        disk
    }
}

impl SimFs {
    /// An empty disk; `seed` decides all that happens by chance.
    pub fn new(seed: u64) -> Self {
        Self::with(State {
            files: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
            dirs: BTreeSet::new(),
            locks: HashSet::new(),
            owners: BTreeMap::new(),
            random: Random(seed),
            clock: Duration::ZERO,
            counts: SimCounts::default(),
            capacity: None,
            crash_at: None,
            crashed: false,
            fail_syncs: BTreeMap::new(),
            failing_syncs: false,
            ignore_syncs: false,
            sync_takes: Duration::ZERO,
            syncs_held: false,
            waiting_in_sync: 0,
        })
    }

    fn with(state: State) -> Self {
        Self {
            inner: Arc::new(Inner {
                state: Mutex::new(state),
                gate: Condvar::new(),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.lock()
    }

    /// What was done so far.
    pub fn counts(&self) -> SimCounts {
        self.state().counts
    }

    /// From step number `step` on (see [`SimCounts::steps`]) every operation fails: the machine is dead.
    /// A write that is cut short this way is pending, so it may be torn.
    pub fn crash_at(&self, step: u64) {
        self.state().crash_at = Some(step);
    }

    /// Whether the crash has come.
    pub fn has_crashed(&self) -> bool {
        self.state().crashed
    }

    /// The disk after power loss, as a new one without faults.
    #[must_use]
    pub fn after_power_loss(&self, how: PowerLoss, seed: u64) -> Self {
        let state = self.state();
        let mut random = Random(seed);
        let names = match how {
            PowerLoss::KeepAll => state.names.clone(),
            PowerLoss::LoseAll => state.durable_names.clone(),
            PowerLoss::Random | PowerLoss::RandomTorn => {
                let mut names = state.durable_names.clone();
                for change in &state.pending_names {
                    if random.coin() {
                        apply(&mut names, change.clone());
                    }
                }
                names
            }
        };
        let files = state.files.iter().map(|file| {
            let disk = file.lose_power(how, &mut random);
            FileData {
                cache: disk.clone(),
                durable: disk,
                pending: Vec::new(),
            }
        });
        Self::with(State {
            files: files.collect(),
            durable_names: names.clone(),
            names,
            pending_names: Vec::new(),
            dirs: state.dirs.clone(),
            locks: HashSet::new(),
            owners: BTreeMap::new(),
            random,
            clock: state.clock,
            counts: SimCounts::default(),
            capacity: None,
            crash_at: None,
            crashed: false,
            fail_syncs: BTreeMap::new(),
            failing_syncs: false,
            ignore_syncs: state.ignore_syncs,
            sync_takes: Duration::ZERO,
            syncs_held: false,
            waiting_in_sync: 0,
        })
    }

    /// The disk after the death of the process alone, as a new one without faults: all that was written
    /// is seen, and what was not synced can still be lost with the power.
    #[must_use]
    pub fn after_process_death(&self) -> Self {
        let state = self.state();
        Self::with(State {
            files: state.files.clone(),
            names: state.names.clone(),
            durable_names: state.durable_names.clone(),
            pending_names: state.pending_names.clone(),
            dirs: state.dirs.clone(),
            locks: HashSet::new(),
            owners: BTreeMap::new(),
            random: state.random.clone(),
            clock: state.clock,
            counts: SimCounts::default(),
            capacity: state.capacity,
            crash_at: None,
            crashed: false,
            fail_syncs: BTreeMap::new(),
            failing_syncs: false,
            ignore_syncs: state.ignore_syncs,
            sync_takes: state.sync_takes,
            syncs_held: false,
            waiting_in_sync: 0,
        })
    }

    /// Bytes the disk holds in all; `None` has no end.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Bytes in use.
    pub fn used_bytes(&self) -> u64 {
        self.state().used()
    }

    /// The sync of a file number `n` from now (0 is the next one) fails with an I/O error.
    pub fn fail_sync_in(&self, n: u64) {
        self.fail_sync_with(n, io::ErrorKind::Other);
    }

    /// The same with an error of this kind.
    pub fn fail_sync_with(&self, n: u64, kind: io::ErrorKind) {
        let mut state = self.state();
        let at = state.counts.syncs + n;
        state.fail_syncs.insert(at, kind);
    }

    /// Every sync of a file fails until that is taken back.
    pub fn fail_all_syncs(&self, fail: bool) {
        self.state().failing_syncs = fail;
    }

    /// Syncs return at once and save nothing: the control that shows a test can see loss.
    pub fn ignore_syncs(&self) {
        self.state().ignore_syncs = true;
    }

    /// How much the clock of this disk advances with each sync of a file.
    pub fn sync_takes(&self, time: Duration) {
        self.state().sync_takes = time;
    }

    /// Syncs of files wait until they are released.
    pub fn hold_syncs(&self) {
        self.state().syncs_held = true;
    }

    /// Lets held syncs go on.
    pub fn release_syncs(&self) {
        self.state().syncs_held = false;
        self.inner.gate.notify_all();
    }

    /// Waits until a sync is being held.
    pub fn wait_for_held_sync(&self) {
        let mut state = self.state();
        while state.waiting_in_sync == 0 {
            state = wait(&self.inner.gate, state);
        }
    }

    /// The paths of all files.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.state().names.keys().cloned().collect()
    }

    /// The bytes of a file, if it exists.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        Some(state.files[*state.names.get(path)?].cache.clone())
    }

    /// Puts bytes into a file, on disk and in the cache: damage, or an older file.
    pub fn put(&self, path: &Path, offset: usize, data: &[u8]) {
        let mut state = self.state();
        let known = state.names.get(path).copied();
        let file = known.unwrap_or_else(|| {
            let file = state.files.len();
            state.files.push(FileData::default());
            state.names.insert(path.to_owned(), file);
            state.durable_names.insert(path.to_owned(), file);
            file
        });
        let file = &mut state.files[file];
        FileData::put(&mut file.cache, offset, data);
        FileData::put(&mut file.durable, offset, data);
    }

    /// Removes a file behind everyone's back.
    pub fn remove(&self, path: &Path) {
        let mut state = self.state();
        state.names.remove(path);
        state.durable_names.remove(path);
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait<'a>(gate: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    gate.wait(state).unwrap_or_else(PoisonError::into_inner)
}

fn apply(names: &mut BTreeMap<PathBuf, usize>, change: NameChange) {
    match change {
        NameChange::Set(path, file) => {
            names.insert(path, file);
        }
        NameChange::Move(from, to) => {
            if let Some(file) = names.remove(&from) {
                names.insert(to, file);
            }
        }
        NameChange::Remove(path) => {
            names.remove(&path);
        }
    }
}

impl State {
    fn used(&self) -> u64 {
        let live: BTreeSet<_> = self.names.values().collect();
        let bytes = live.iter().map(|file| self.files[**file].cache.len());
        bytes.sum::<usize>() as u64
    }

    fn alive(&self) -> io::Result<()> {
        if self.crashed {
            Err(io::Error::other("the machine has lost power"))
        } else {
            Ok(())
        }
    }

    /// One more step; fails when the crash is due.
    fn step(&mut self) -> io::Result<()> {
        self.alive()?;
        self.counts.steps += 1;
        if self.crash_at.is_some_and(|at| self.counts.steps > at) {
            self.crashed = true;
        }
        self.alive()
    }

    fn change_name(&mut self, change: NameChange) {
        apply(&mut self.names, change.clone());
        self.pending_names.push(change);
    }
}

#[derive(Debug)]
struct SimFile {
    inner: Arc<Inner>,
    file: usize,
    writable: bool,
}

#[derive(Debug)]
struct SimLock {
    inner: Arc<Inner>,
    path: PathBuf,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.inner.lock().locks.remove(&self.path);
    }
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.display().to_string())
}

impl Fs for SimFs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.alive()?;
        for dir in dir.ancestors() {
            state.dirs.insert(dir.to_owned());
        }
        Ok(())
    }

    fn read_dir(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        state.alive()?;
        if !state.dirs.contains(dir) {
            return Err(not_found(dir));
        }
        let files = state.names.keys().filter(|p| p.parent() == Some(dir));
        let names = files.filter_map(|p| p.file_name()?.to_str().map(str::to_owned));
        Ok(names.collect())
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn FsFile>> {
        let mut state = self.state();
        state.alive()?;
        let file = match (state.names.get(path), mode) {
            (Some(file), OpenMode::Read | OpenMode::Write) => *file,
            (None, OpenMode::Read | OpenMode::Write) => return Err(not_found(path)),
            (_, OpenMode::Create) => {
                state.step()?;
                let file = state.files.len();
                state.files.push(FileData::default());
                state.change_name(NameChange::Set(path.to_owned(), file));
                file
            }
        };
        Ok(Arc::new(SimFile {
            inner: Arc::clone(&self.inner),
            file,
            writable: mode != OpenMode::Read,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        if !state.names.contains_key(from) {
            return Err(not_found(from));
        }
        state.change_name(NameChange::Move(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        if !state.names.contains_key(path) {
            return Err(not_found(path));
        }
        state.change_name(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        if state.ignore_syncs {
            return Ok(());
        }
        let of_dir = |change: &NameChange| match change {
            NameChange::Set(path, _) | NameChange::Remove(path) => path.parent() == Some(dir),
            NameChange::Move(from, to) => from.parent() == Some(dir) || to.parent() == Some(dir),
        };
        let (now, later) = std::mem::take(&mut state.pending_names)
            .into_iter()
            .partition(of_dir);
        state.pending_names = later;
        let now: Vec<NameChange> = now;
        for change in now {
            apply(&mut state.durable_names, change);
        }
        Ok(())
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let state = self.state();
        state.alive()?;
        Ok(match state.capacity {
            Some(capacity) => capacity.saturating_sub(state.used()),
            None => u64::MAX,
        })
    }

    fn lock(&self, path: &Path, owner: &str) -> io::Result<Option<Box<dyn Debug + Send + Sync>>> {
        let mut state = self.state();
        state.alive()?;
        if !state.locks.insert(path.to_owned()) {
            return Ok(None);
        }
        state.owners.insert(path.to_owned(), owner.to_owned());
        Ok(Some(Box::new(SimLock {
            inner: Arc::clone(&self.inner),
            path: path.to_owned(),
        })))
    }

    fn lock_holder(&self, path: &Path) -> io::Result<Option<String>> {
        let state = self.state();
        state.alive()?;
        let held = state.locks.contains(path);
        Ok(held.then(|| state.owners.get(path).cloned().unwrap_or_default()))
    }

    fn host(&self) -> String {
        "a simulation".to_owned()
    }

    fn now(&self) -> Duration {
        self.state().clock
    }

    fn random(&self, buffer: &mut [u8]) -> io::Result<()> {
        let mut state = self.state();
        for byte in buffer {
            *byte = state.random.next().to_le_bytes()[0];
        }
        Ok(())
    }
}

impl SimFile {
    fn sync(&self) -> io::Result<()> {
        let mut state = self.inner.lock();
        state.waiting_in_sync += 1;
        self.inner.gate.notify_all();
        while state.syncs_held {
            state = wait(&self.inner.gate, state);
        }
        state.waiting_in_sync -= 1;
        state.step()?;
        let number = state.counts.syncs;
        state.counts.syncs += 1;
        let takes = state.sync_takes;
        state.clock += takes;
        if state.ignore_syncs {
            return Ok(());
        }
        let failure = state.fail_syncs.remove(&number);
        let failure = failure.or(state.failing_syncs.then_some(io::ErrorKind::Other));
        if let Some(kind) = failure {
            state.counts.failed_syncs += 1;
            // Like a kernel: the pages are clean now. Some reached the disk, the others are lost when
            // the power fails, whatever the next sync says.
            let mut random = state.random.clone();
            let file = &mut state.files[self.file];
            file.durable = file.lose_power(PowerLoss::Random, &mut random);
            file.pending.clear();
            state.random = random;
            return Err(io::Error::new(kind, "simulated error of the disk"));
        }
        state.files[self.file].sync();
        Ok(())
    }
}

impl FsFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        let state = self.inner.lock();
        state.alive()?;
        Ok(state.files[self.file].cache.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.inner.lock();
        state.alive()?;
        let cache = &state.files[self.file].cache;
        let start = usize::try_from(offset).map_or(cache.len(), |o| o.min(cache.len()));
        let count = buffer.len().min(cache.len() - start);
        buffer[..count].copy_from_slice(&cache[start..start + count]);
        state.counts.reads += 1;
        state.counts.bytes_read += count as u64;
        Ok(count)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.inner.lock();
        if !self.writable {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let died = state.step();
        if let Err(error) = died {
            // The write that the end meets may have been begun: then it may have reached the disk in part.
            if state
                .crash_at
                .is_some_and(|at| state.counts.steps == at + 1)
            {
                state.counts.steps += 1;
                if state.random.coin() {
                    state.files[self.file].write(offset, data);
                }
            }
            return Err(error);
        }
        state.counts.writes += 1;
        let grows = (offset + data.len()).saturating_sub(state.files[self.file].cache.len());
        let free = state.capacity.map(|c| c.saturating_sub(state.used()));
        if let Some(free) = free.filter(|free| *free < grows as u64) {
            let short = data.len() - (grows - usize::try_from(free).unwrap_or(usize::MAX));
            state.files[self.file].write(offset, &data[..short]);
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        state.files[self.file].write(offset, data);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn forget_cached(&self) {
        let mut state = self.inner.lock();
        let file = &mut state.files[self.file];
        if file.pending.is_empty() {
            file.cache.clone_from(&file.durable);
        }
    }
}
