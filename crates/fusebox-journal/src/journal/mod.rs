//! The journal: a log, its dead letters and the threads that serve many callers at once.

mod promise;
mod threads;

use std::fmt::Debug;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use crate::dead::DeadLetters;
use crate::format::frame::NewRecord;
use crate::format::tags;
use crate::fs::{Fs, RealFs};
use crate::log::{Log, Read};
use crate::pace::{Level, Pace};
use crate::{
    AppendError, Burial, DeadLetter, DeadSummary, Entry, JournalConfig, JournalError, JournalStats,
    OpenError, Position, Stored,
};
pub use promise::Pending;
use promise::{promise, ready};
use threads::{Desk, Hook, Leaving, Orders, Waiting};

pub(crate) const LOCK: &str = "LOCK";
pub(crate) const DEAD: &str = "dead";

/// A durable queue on disk. Clones are the same journal; it closes with the last of them.
///
/// ```
/// use std::sync::Arc;
///
/// use fusebox_journal::{Entry, Journal, JournalConfig, Position};
///
/// # let dir = tempfile::tempdir()?;
/// let journal = Journal::open(dir.path(), JournalConfig::default())?;
/// let position = journal
///     .append(Entry {
///         id: [7; 16],
///         label: Arc::from("orders"),
///         admitted_at_ms: 1_700_000_000_000,
///         data: "one coffee".into(),
///     })
///     .wait()?;
/// let waiting = journal.peek(Position::START, 10, 1 << 20)?;
/// assert_eq!(waiting[0].entry.data, "one coffee");
/// journal.settle(&[position]).wait()?;
/// assert!(journal.peek(Position::START, 10, 1 << 20)?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Journal {
    shared: Arc<Shared>,
    /// Stops the threads with the last clone; those hold only `shared`.
    threads: Arc<Threads>,
}

#[derive(Debug)]
struct Shared {
    log: Log,
    dead: DeadLetters,
    config: JournalConfig,
    fs: Arc<dyn Fs>,
    desk: Desk,
    /// One burial, requeue or discard at a time.
    dead_work: std::sync::Mutex<()>,
    pace: std::sync::Mutex<Pace>,
}

#[derive(Debug)]
struct Threads {
    shared: Arc<Shared>,
    handles: std::sync::Mutex<Vec<JoinHandle<()>>>,
    /// Given back when all threads have ended.
    lock: std::sync::Mutex<Option<Box<dyn Debug + Send + Sync>>>,
}

/// What one of the threads does.
type Run = Box<dyn FnOnce(&Arc<Shared>) + Send>;

impl Journal {
    /// Opens the journal in `dir` on the machine's file system, or makes one. Blocks.
    ///
    /// # Errors
    /// When another process owns it, a setting is out of bounds, a file is of a newer version, or the
    /// disk fails. Damage to the content is no error: see [`stats`](Self::stats).
    pub fn open(dir: impl AsRef<Path>, config: JournalConfig) -> Result<Self, OpenError> {
        Self::open_on(Arc::new(RealFs), dir, config)
    }

    /// Like [`open`](Self::open), on any file system.
    ///
    /// # Errors
    /// Like [`open`](Self::open).
    pub fn open_on(
        fs: Arc<dyn Fs>,
        dir: impl AsRef<Path>,
        config: JournalConfig,
    ) -> Result<Self, OpenError> {
        config.check()?;
        let dir = dir.as_ref();
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io { what, path, source }
        };
        fs.create_dir_all(dir).map_err(failed("create", dir))?;
        let path = dir.join(LOCK);
        let owner = format!("process {} on {}", std::process::id(), fs.host());
        let lock = fs.lock(&path, &owner).map_err(failed("lock", &path))?;
        let Some(lock) = lock else {
            let owner = read_owner(fs.as_ref(), &path);
            return Err(OpenError::Locked {
                dir: dir.to_owned(),
                owner,
            });
        };
        let log = Log::open(Arc::clone(&fs), dir, config.clone())?;
        let dead = DeadLetters::open(Arc::clone(&fs), &dir.join(DEAD), &config)?;
        let shared = Arc::new(Shared {
            log,
            dead,
            config,
            fs,
            desk: Desk::default(),
            dead_work: std::sync::Mutex::new(()),
            pace: std::sync::Mutex::default(),
        });
        shared.settle_the_buried().map_err(|error| OpenError::Io {
            what: "settle buried records in",
            path: dir.to_owned(),
            source: std::io::Error::other(error),
        })?;
        shared.desk.lock().prepare = true;
        let threads = Threads {
            shared: Arc::clone(&shared),
            handles: std::sync::Mutex::new(Vec::new()),
            lock: std::sync::Mutex::new(Some(lock)),
        };
        let (answers, committed) = mpsc::sync_channel(1);
        let runs: [(&str, Run); 4] = [
            (
                "journal-answer",
                Box::new(move |_| threads::answer(&committed)),
            ),
            (
                "journal-commit",
                Box::new(move |shared| threads::commit(shared, &answers)),
            ),
            ("journal-settle", Box::new(threads::settle)),
            ("journal-prepare", Box::new(threads::prepare)),
        ];
        // A thread that cannot be started: the guard stops those that run.
        for (name, run) in runs {
            let shared = Arc::clone(&shared);
            let handle = thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || {
                    let _leaving = Leaving(&shared.desk);
                    run(&shared);
                })
                .map_err(failed("start a thread for", dir))?;
            guard(&threads.handles).push(handle);
        }
        Ok(Self {
            shared,
            threads: Arc::new(threads),
        })
    }

    /// Appends a record; the result says its position when it is durable.
    ///
    /// The order of calls is the order of positions. A record that is refused for want of room is not
    /// queued: [`room`](Self::room) tells when to try again.
    pub fn append(&self, entry: Entry) -> Pending<Result<Position, AppendError>> {
        self.shared.append(NewRecord::plain(entry))
    }

    /// Answers when records were settled or space was freed since the call, so that an append that was
    /// refused may succeed. It may not: bound the tries with a deadline.
    pub fn room(&self) -> Pending<()> {
        let (promise, pending) = promise(());
        self.shared.desk.wait_for_room(promise);
        pending
    }

    /// Records after `after` that are neither settled nor buried, ascending: at most `limit`, and not
    /// many more bytes than `bytes`. Blocks when they are not in memory.
    ///
    /// Positions behind one that was returned may have gaps: refused, settled or lost records.
    ///
    /// # Errors
    /// When the disk cannot be read, or the journal is closed.
    pub fn peek(
        &self,
        after: Position,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<Stored>, JournalError> {
        self.shared.check_open()?;
        Ok(stored(self.shared.log.read(after.0, limit, bytes)?))
    }

    /// Like [`peek`](Self::peek), without touching the disk: `None` when that would be needed. Does not
    /// block.
    ///
    /// # Errors
    /// When the journal is closed.
    pub fn peek_recent(
        &self,
        after: Position,
        limit: usize,
        bytes: usize,
    ) -> Result<Option<Vec<Stored>>, JournalError> {
        self.shared.check_open()?;
        Ok(self.shared.log.recent(after.0, limit, bytes).map(stored))
    }

    /// Records after `after` from memory, like [`peek_recent`](Self::peek_recent), and behind them those of
    /// the group that is written and **not durable yet**. For whoever would lose time by waiting for the sync
    /// and bears that such a record is refused after all: its `append` then fails, it is handed out no more,
    /// and its position is never used again. Settling one is kept in mind until it is durable. Of a written
    /// group `bytes` bounds nothing; it has at most [`JournalConfig::max_group_bytes`]. Does not block.
    ///
    /// # Errors
    /// When the journal is closed.
    pub fn peek_written(
        &self,
        after: Position,
        limit: usize,
        bytes: usize,
    ) -> Result<Option<Vec<Stored>>, JournalError> {
        self.shared.check_open()?;
        let log = &self.shared.log;
        let read = log.recent_or_written(after.0, limit, bytes);
        Ok(read.map(stored))
    }

    /// Calls `hook` when a group has been written, before its sync: [`peek_written`](Self::peek_written) has
    /// it. Like [`on_append`](Self::on_append) otherwise.
    pub fn on_write(&self, hook: impl Fn() + Send + Sync + 'static) {
        let mut orders = self.shared.desk.lock();
        orders.on_write = Some(Hook(Arc::new(hook)));
    }

    /// Calls `hook` after each group that has become durable, before those who appended it are answered; not
    /// for one that [`peek_written`](Self::peek_written) has handed out to its end.
    ///
    /// It runs on the thread that commits, so it must return at once and must not panic. A later hook
    /// takes the place of an earlier one, and [`close`](Self::close) lets go of it.
    pub fn on_append(&self, hook: impl Fn() + Send + Sync + 'static) {
        let mut orders = self.shared.desk.lock();
        orders.on_append = Some(Hook(Arc::new(hook)));
    }

    /// Marks records as delivered. They are not handed out again by this process at once, and by later
    /// ones when the result is there. Settled positions are left alone.
    pub fn settle(&self, positions: &[Position]) -> Pending<Result<(), JournalError>> {
        let positions: Vec<u64> = positions.iter().map(|p| p.0).collect();
        self.shared.log.settle(&positions);
        if !self.shared.log.is_dirty() {
            return ready(Ok(()));
        }
        let (promise, pending) = promise(Err(JournalError::Closed));
        let mut orders = self.shared.desk.lock();
        if !orders.closing {
            orders.settlers.push(promise);
            orders.save = true;
            drop(orders);
            self.shared.desk.settle.notify_one();
        }
        pending
    }

    /// Moves a record to the dead letters: durable there before it is settled here. Blocks. A record
    /// that is settled or buried already is left alone.
    ///
    /// # Errors
    /// When it cannot be read, or the dead letters are full, or the disk fails. May be called again.
    pub fn bury(&self, position: Position, burial: &Burial) -> Result<(), JournalError> {
        self.shared.bury(position, burial)
    }

    /// Dead letters behind `after` that `filter` takes, ascending: at most `limit`.
    pub fn dead_letters(
        &self,
        after: Position,
        limit: usize,
        filter: impl Fn(&DeadSummary) -> bool,
    ) -> Vec<DeadSummary> {
        self.shared.dead.list(after, limit, filter)
    }

    /// One dead letter with its content and reasons. Blocks.
    ///
    /// # Errors
    /// When there is none, or the disk fails.
    pub fn dead_letter(&self, position: Position) -> Result<DeadLetter, JournalError> {
        self.shared.dead.get(position)
    }

    /// Appends a dead letter's record to the journal again, with its id and a new position: it comes
    /// behind all that waits, so its old order is gone. Blocks.
    ///
    /// A crash in between leaves both: consumers tell a repetition by its id.
    ///
    /// # Errors
    /// When there is no such dead letter, the journal is full, or the disk fails.
    pub fn requeue(&self, position: Position) -> Result<Position, JournalError> {
        self.shared.requeue(position)
    }

    /// Removes a dead letter for good. Blocks.
    ///
    /// # Errors
    /// When there is none, or the disk fails.
    pub fn discard(&self, position: Position) -> Result<(), JournalError> {
        let _work = self.shared.dead_work()?;
        self.shared.dead.remove(position)
    }

    /// State and counts. Asks the disk how much is free.
    pub fn stats(&self) -> JournalStats {
        self.shared.stats()
    }

    /// The random id of this journal; with a position it names a record for good.
    pub fn id(&self) -> [u8; 16] {
        self.shared.log.id()
    }

    /// The position the next record will get, unless others come first.
    pub fn next_position(&self) -> Position {
        Position(self.shared.log.next_position())
    }

    /// Commits what is queued, saves the cursor, and gives the directory free. Blocks. Other clones
    /// refuse everything from then on.
    ///
    /// # Errors
    /// When the cursor cannot be saved: what was settled last is delivered again.
    pub fn close(&self) -> Result<(), JournalError> {
        self.threads.stop()
    }
}

fn stored(read: Vec<Read>) -> Vec<Stored> {
    read.into_iter().map(|read| read.stored).collect()
}

fn read_owner(fs: &dyn Fs, path: &Path) -> String {
    let read = || {
        let file = fs.open(path, crate::fs::OpenMode::Read).ok()?;
        let mut text = [0; 256];
        let count = file.read_at(0, &mut text).ok()?;
        Some(String::from_utf8_lossy(&text[..count]).into_owned())
    };
    read()
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| "another process".to_owned())
}

fn guard<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Threads {
    fn stop(&self) -> Result<(), JournalError> {
        self.shared.desk.lock().closing = true;
        self.shared.desk.commit.notify_all();
        self.shared.desk.settle.notify_all();
        self.shared.desk.prepare.notify_all();
        let handles = std::mem::take(&mut *guard(&self.handles));
        for handle in handles {
            if handle.join().is_err() {
                tracing::error!("a thread of the journal has panicked");
            }
        }
        {
            let mut orders = self.shared.desk.lock();
            (orders.on_write, orders.on_append) = (None, None);
        }
        // A burial under way is waited for, later ones are refused.
        let _work = guard(&self.shared.dead_work);
        // Whoever came too late is told so.
        let (queue, settlers) = {
            let mut orders = self.shared.desk.lock();
            (
                std::mem::take(&mut orders.queue),
                std::mem::take(&mut orders.settlers),
            )
        };
        drop(queue);
        let saved = self.shared.log.save_cursor();
        for settler in settlers {
            settler.answer(saved.clone());
        }
        self.shared.desk.call_room_waiters();
        let saved = saved.and(self.shared.dead.save());
        drop(guard(&self.lock).take());
        saved
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if guard(&self.lock).is_some()
            && let Err(error) = self.stop()
        {
            tracing::warn!(%error, "cursor not saved when closing");
        }
    }
}

impl Shared {
    fn append(&self, record: NewRecord) -> Pending<Result<Position, AppendError>> {
        let since = self.fs.now();
        let checked = self.log.check_size(&record);
        let mut orders = self.desk.lock();
        let size = match checked.and_then(|size| self.admit(&orders, size)) {
            Ok(size) => size,
            Err(error) => {
                orders.refused.count(&error, 1);
                return ready(Err(error));
            }
        };
        orders.admitted.0 += 1;
        orders.admitted.1 += size;
        let (promise, pending) = promise(Err(AppendError::Closed));
        orders.queue.push_back(Waiting {
            record,
            size,
            since,
            promise,
        });
        let first = orders.queue.len() == 1;
        drop(orders);
        if first {
            self.desk.commit.notify_one();
        }
        pending
    }

    /// Whether a record of this size may be queued.
    fn admit(&self, orders: &Orders, size: u64) -> Result<u64, AppendError> {
        if orders.closing {
            return Err(AppendError::Closed);
        }
        let load = self.log.load();
        let (records, bytes) = orders.under_way(&load);
        if load.waiting + records >= self.config.max_records
            || load.bytes + bytes + size > self.config.max_bytes
        {
            return Err(AppendError::Full);
        }
        // A single one always gets in.
        if bytes > 0 && bytes + size > self.config.max_queue_bytes {
            return Err(AppendError::Busy);
        }
        Ok(size)
    }

    fn check_open(&self) -> Result<(), JournalError> {
        if self.desk.lock().closing {
            return Err(JournalError::Closed);
        }
        Ok(())
    }

    /// The right to work with the dead letters, until it is dropped.
    fn dead_work(&self) -> Result<std::sync::MutexGuard<'_, ()>, JournalError> {
        let work = guard(&self.dead_work);
        self.check_open()?;
        Ok(work)
    }

    /// Reads one record that waits.
    fn waiting(&self, position: Position) -> Result<Option<Stored>, JournalError> {
        let Some(before) = position.0.checked_sub(1) else {
            return Ok(None);
        };
        let read = self.log.read(before, 1, usize::MAX)?.pop();
        Ok(read
            .map(|read| read.stored)
            .filter(|stored| stored.position == position))
    }

    fn bury(&self, position: Position, burial: &Burial) -> Result<(), JournalError> {
        let _work = self.dead_work()?;
        self.log.wait_until_durable(position.0);
        if let Some(stored) = self.waiting(position)? {
            let known = self.dead.of_origin(position.0);
            if known.is_none_or(|known| known.id != stored.entry.id) {
                self.dead.add(position, &stored.entry, burial)?;
                // It may have begun a segment: the next is made ahead, so a full disk still buries.
                self.desk.lock().prepare = true;
                self.desk.prepare.notify_one();
            }
            self.log.settle(&[position.0]);
        } else if position.0 == 0 || position.0 >= self.log.next_position() {
            return Err(JournalError::NotFound(position));
        }
        // Also when an earlier try settled it and could not save that.
        self.log.save_cursor()?;
        self.desk.call_room_waiters();
        Ok(())
    }

    fn requeue(&self, position: Position) -> Result<Position, JournalError> {
        let _work = self.dead_work()?;
        let letter = self.dead.get(position)?;
        let mut extra = Vec::new();
        tags::push(&mut extra, tags::REQUEUED_FROM, &position.0.to_le_bytes());
        let record = NewRecord {
            entry: letter.entry,
            tags: extra,
        };
        let appended = self.append(record).wait();
        let new = appended.map_err(|source| JournalError::Append {
            what: "the requeued record",
            source,
        })?;
        self.dead.remove(position)?;
        Ok(new)
    }

    /// Settles records whose burial was cut short by a crash.
    fn settle_the_buried(&self) -> Result<(), JournalError> {
        for (origin, id) in self.dead.origins() {
            if origin < self.log.next_position()
                && !self.log.is_settled(origin)
                && let Some(stored) = self.waiting(Position(origin))?
                && stored.entry.id == id
            {
                self.log.settle(&[origin]);
            }
        }
        if let Err(error) = self.log.save_cursor() {
            tracing::warn!(%error, "buried records settled in memory only");
        }
        Ok(())
    }

    fn stats(&self) -> JournalStats {
        let usage = self.log.usage();
        let dead = self.dead.usage();
        let counters = usage.counters;
        let (refused, append_times, queued) = {
            let orders = self.desk.lock();
            let queued = orders.under_way(&self.log.load());
            (orders.refused, orders.append_times, queued)
        };
        let now = self.fs.now();
        let outlook = guard(&self.pace).look(
            now,
            &Level {
                records: usage.waiting,
                bytes: usage.bytes,
                added_records: counters.appended_records,
                added_bytes: counters.appended_bytes,
                settled_records: counters.settled,
                max_records: self.config.max_records,
                max_bytes: self.config.max_bytes,
            },
        );
        let soft = |used: u64, quota: u64| {
            u128::from(used) * 100 >= u128::from(quota) * u128::from(self.config.soft_percent)
        };
        JournalStats {
            waiting: usage.waiting,
            oldest_admitted_at_ms: self.oldest(usage.oldest),
            bytes: usage.bytes,
            max_bytes: self.config.max_bytes,
            max_records: self.config.max_records,
            above_soft_mark: soft(usage.bytes, self.config.max_bytes)
                || soft(usage.waiting, self.config.max_records),
            segments: usage.segments,
            spare_ready: self.log.spare_ready(),
            disk_free: self.fs.free_bytes(self.log.dir()).ok(),
            read_only: counters.read_only,
            appended: counters.appended_records,
            appended_bytes: counters.appended_bytes,
            groups: counters.groups,
            largest_group: counters.largest_group,
            sync_times: counters.sync_times,
            append_failures: counters.append_failures,
            append_times,
            queued: queued.0,
            queued_bytes: queued.1,
            refused_full: refused.full,
            refused_busy: refused.busy,
            refused_no_space: refused.no_space,
            refused_invalid: refused.invalid,
            refused_disk: refused.disk,
            cursor_times: counters.cursor_times,
            cursor_lag: usage.cursor_lag,
            time_to_full: outlook.time_to_full,
            time_to_empty: outlook.time_to_empty,
            settled: counters.settled,
            settle_failures: counters.settle_failures,
            unsaved: usage.unsaved,
            lost_records: counters.lost_records,
            damaged_ranges: counters.damaged_ranges,
            quarantined_bytes: counters.quarantined_bytes,
            quarantine_failures: counters.quarantine_failures,
            torn_bytes: counters.torn_bytes,
            cursor_lost: counters.cursor_lost,
            dead: dead.waiting,
            dead_bytes: dead.bytes,
            dead_lost: dead.counters.lost_records,
        }
    }

    /// When the oldest waiting record was admitted.
    fn oldest(&self, position: u64) -> Option<i64> {
        let read = self.log.read(position.checked_sub(1)?, 1, 1);
        let stored = read.ok()?.pop()?.stored;
        Some(stored.entry.admitted_at_ms)
    }
}
