//! The journal on a simulated disk, as backlog.
//!
//! Its threads work while ours waits for them, and the one that makes files ahead is kept from the disk
//! (they are made when they are needed then). So one operation is under way at a time and the same seed
//! meets the same disk; the time it takes is simulated before and after. Only a group that is written waits
//! for its sync while everything else goes on, so that its records are sent, acknowledged, refused and
//! settled before they are durable.

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use fusebox_journal::fs::sim::SimFs;
use fusebox_journal::fs::{Fs, FsFile, OpenMode};
use fusebox_journal::{AppendError, Burial, Entry, Journal, JournalConfig, OpenError};
use fusebox_kafka::{Backlog, BacklogError, BacklogStats, DeadReason, Parked, Position, Record};
use fusebox_proof::history::EventName;
use fusebox_proof::publishing::record;
use futures_util::FutureExt as _;
use uuid::Uuid;

use super::chance::Chance;

/// Something that is wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Syncs of files say yes and do nothing.
    NoSync,
    /// Syncs of directories do.
    NoDirectorySync,
    /// What is handed out counts as delivered.
    SettledEarly,
}

/// The journal as the publisher and the drainer of one life see it.
pub(super) struct Disk {
    journal: Journal,
    inherited: u64,
    flaw: Option<Flaw>,
    chance: Mutex<Chance>,
    /// How long an operation may take.
    slow: Duration,
    /// One record is appended at a time.
    turn: tokio::sync::Mutex<()>,
    gate: Arc<Gate>,
    /// Records that were acknowledged before they were durable.
    early: AtomicU64,
}

const LONG_SYNC: Duration = Duration::from_millis(200);

/// Stops the thread that commits between the write of a group and its sync.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<Passage>,
    changed: Condvar,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Passage {
    /// Nobody is there.
    #[default]
    Free,
    /// A group is written.
    Written,
    /// Whoever comes goes on.
    Open,
}

impl Gate {
    /// What the thread that commits does.
    fn stop(&self) {
        let mut state = self.state.lock().unwrap();
        if *state == Passage::Free {
            *state = Passage::Written;
            let wait = |state| self.changed.wait(state).unwrap();
            while *state == Passage::Written {
                state = wait(state);
            }
        }
    }

    fn is_written(&self) -> bool {
        *self.state.lock().unwrap() == Passage::Written
    }

    fn let_on(&self, then: Passage) {
        *self.state.lock().unwrap() = then;
        self.changed.notify_all();
    }
}

impl Drop for Disk {
    /// The threads of a life that is over must end.
    fn drop(&mut self) {
        self.gate.let_on(Passage::Open);
    }
}

fn config() -> JournalConfig {
    let mut config = JournalConfig::default();
    config.segment_bytes = 64 << 10;
    config.dead_segment_bytes = 64 << 10;
    config.max_record_bytes = 4 << 10;
    config.cursor_slot_bytes = 1024;
    config.max_bytes = 1 << 20;
    config.cache_bytes = 4 << 10;
    config.reserve_bytes = 0;
    config
}

impl Disk {
    pub(super) fn open(
        fs: &SimFs,
        flaw: Option<Flaw>,
        slow: bool,
        chance: Chance,
    ) -> Result<Self, OpenError> {
        let shown = Arc::new(Shown {
            fs: fs.clone(),
            directory_syncs: flaw != Some(Flaw::NoDirectorySync),
        });
        let journal = Journal::open_on(shown, "/journal", config())?;
        let inherited = journal.next_position().0;
        let gate = Arc::<Gate>::default();
        journal.on_write({
            let gate = Arc::clone(&gate);
            move || gate.stop()
        });
        let slow = Duration::from_millis(if slow { 300 } else { 3 });
        Ok(Self {
            journal,
            inherited,
            flaw,
            chance: Mutex::new(chance),
            slow,
            turn: tokio::sync::Mutex::default(),
            gate,
            early: AtomicU64::new(0),
        })
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(super) fn early(&self) -> u64 {
        self.early.load(Ordering::Relaxed)
    }

    async fn take_time(&self) {
        let time = self.chance.lock().unwrap().up_to(self.slow);
        tokio::time::sleep(time).await;
    }

    /// A sync, now and then so long that Kafka has answered before it is done.
    async fn take_long(&self) {
        let time = {
            let mut chance = self.chance.lock().unwrap();
            let rare = chance.one_in(4);
            chance.up_to(if rare { LONG_SYNC } else { self.slow })
        };
        tokio::time::sleep(time).await;
    }

    /// Makes an event safe; `written` is called when it is written and not synced yet.
    pub(super) async fn append(
        &self,
        event: EventName,
        size: usize,
        written: impl FnOnce(),
    ) -> Result<(), AppendError> {
        let _turn = self.turn.lock().await;
        self.take_time().await;
        let record = record("t", event, size);
        let admitted_at_ms = self.wall_clock();
        let entry = Entry {
            id: *record.event_id.as_bytes(),
            label: Arc::from("t"),
            admitted_at_ms,
            data: record.payload,
        };
        let mut append = self.journal.append(entry);
        let result = loop {
            if self.gate.is_written() {
                written();
                self.take_long().await;
                self.gate.let_on(Passage::Free);
                // Not awaited: the clock would run on, for a time that nobody knows.
                break append.wait();
            }
            // Refused before anything was written.
            if let Some(result) = (&mut append).now_or_never() {
                break result;
            }
            std::thread::yield_now();
        };
        self.take_time().await;
        result.map(drop)
    }

    /// A clock that jumps, back as well as forth.
    fn wall_clock(&self) -> i64 {
        let jump = self.chance.lock().unwrap().below(1 << 40);
        i64::try_from(jump).unwrap() - (1 << 39)
    }
}

fn event(id: [u8; 16]) -> Record {
    let event = EventName::of(Uuid::from_bytes(id).as_u128()).unwrap();
    record("t", event, 0)
}

fn to_journal(position: Position) -> fusebox_journal::Position {
    fusebox_journal::Position(u64::try_from(position.0).unwrap_or(0))
}

fn failed(
    what: &'static str,
    error: impl std::error::Error + Send + Sync + 'static,
) -> BacklogError {
    BacklogError::new(what, error)
}

#[async_trait]
impl Backlog for Disk {
    async fn peek(&self, after: Position, limit: usize) -> Result<Vec<Parked>, BacklogError> {
        self.take_time().await;
        let after = to_journal(after);
        let recent = self.journal.peek_written(after, limit, 1 << 20);
        let page = match recent {
            Ok(None) => self.journal.peek(after, limit, 1 << 20),
            recent => recent.map(Option::unwrap_or_default),
        };
        let page = page.map_err(|error| failed("read", error))?;
        if self.flaw == Some(Flaw::SettledEarly) {
            let all: Vec<_> = page.iter().map(|stored| stored.position).collect();
            let settled = self.journal.settle(&all).wait();
            settled.map_err(|error| failed("settle", error))?;
        }
        let parked = page.into_iter().map(|stored| Parked {
            position: Position(i64::try_from(stored.position.0).unwrap()),
            record: event(stored.entry.id),
            admitted_at_ms: stored.entry.admitted_at_ms,
            attempts: u32::from(stored.position.0 < self.inherited),
        });
        Ok(parked.collect())
    }

    async fn settle(&self, positions: &[Position]) -> Result<(), BacklogError> {
        self.take_time().await;
        let positions: Vec<_> = positions.iter().map(|p| to_journal(*p)).collect();
        let next = self.journal.next_position();
        let early = positions.iter().filter(|position| **position >= next);
        self.early
            .fetch_add(early.count() as u64, Ordering::Relaxed);
        let settled = self.journal.settle(&positions).wait();
        self.take_time().await;
        settled.map_err(|error| failed("settle", error))
    }

    async fn bury(&self, position: Position, reason: &DeadReason) -> Result<(), BacklogError> {
        // It would wait for the sync of a group that is written, and nobody else could go on.
        let _turn = self.turn.lock().await;
        self.take_time().await;
        let burial = Burial {
            code: reason.code.clone(),
            reason: reason.text.clone(),
            first_reason: reason.first.clone(),
            attempts: reason.attempts,
            buried_at_ms: self.wall_clock(),
        };
        let buried = self.journal.bury(to_journal(position), &burial);
        buried.map_err(|error| failed("bury", error))
    }

    async fn stats(&self) -> Result<BacklogStats, BacklogError> {
        let stats = self.journal.stats();
        Ok(BacklogStats {
            waiting: stats.waiting,
            dead: stats.dead,
            oldest_age: None,
        })
    }

    fn appears_in_order(&self) -> bool {
        true
    }

    fn reads_beside_other_work(&self) -> bool {
        true
    }
}

/// The simulated disk as the journal sees it.
#[derive(Debug)]
struct Shown {
    fs: SimFs,
    /// Whether syncs of directories do anything.
    directory_syncs: bool,
}

impl Shown {
    /// The disk, for whoever works while we wait.
    fn fs(&self) -> io::Result<&SimFs> {
        match std::thread::current().name() {
            Some("journal-prepare") => Err(io::Error::other("nothing is made ahead")),
            _ => Ok(&self.fs),
        }
    }
}

impl Fs for Shown {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.fs()?.create_dir_all(dir)
    }

    fn read_dir(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.fs()?.read_dir(dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn FsFile>> {
        self.fs()?.open(path, mode)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fs()?.rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.fs()?.unlink(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.directory_syncs {
            self.fs()?.sync_dir(dir)
        } else {
            Ok(())
        }
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.fs.free_bytes(dir)
    }

    fn lock(&self, path: &Path, owner: &str) -> io::Result<Option<Box<dyn Debug + Send + Sync>>> {
        self.fs()?.lock(path, owner)
    }

    fn lock_holder(&self, path: &Path) -> io::Result<Option<String>> {
        self.fs()?.lock_holder(path)
    }

    fn host(&self) -> String {
        self.fs.host()
    }

    fn now(&self) -> Duration {
        self.fs.now()
    }

    fn random(&self, buffer: &mut [u8]) -> io::Result<()> {
        self.fs()?.random(buffer)
    }
}
