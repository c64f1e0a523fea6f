//! The databases that could stand in the journal's place, each with the settings that are fastest while a
//! record is on disk when its caller is answered.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use fusebox_journal::Entry;
use redb::{ReadableDatabase as _, ReadableTableMetadata as _, TableDefinition};
use rusqlite::{Connection, params};
use tokio::sync::oneshot;

use crate::Fallible;
use crate::appends::Appender;

/// One candidate, used by one thread.
pub(crate) trait Store: Send {
    /// Makes a group of records durable, with one commit; the first has this position.
    fn append(&mut self, first: u64, group: &[Entry]) -> Fallible<()>;

    /// How many records there are.
    fn count(&self) -> Fallible<u64>;
}

/// The largest group: as the journal's.
const GROUP_BYTES: usize = 1 << 20;

/// Records that are in a store before it is measured: files have grown, and what is reused has been used.
const WARM: u64 = 20_000;

/// A store behind the thread that writes it: whatever waits when a commit has ended is the next one.
#[derive(Clone)]
pub(crate) struct Grouped {
    orders: mpsc::Sender<Order>,
    groups: Arc<AtomicU64>,
}

struct Order {
    entry: Entry,
    durable: oneshot::Sender<Result<(), String>>,
}

/// What a store's thread ends with: the records it was given and those it has.
pub(crate) type Counts = (u64, u64);

impl Grouped {
    /// Starts the thread; it ends with the last clone.
    pub(crate) fn start<S: Store + 'static>(
        mut store: S,
    ) -> Fallible<(Self, JoinHandle<Result<Counts, String>>)> {
        let warm: Vec<Entry> = (0..WARM).map(crate::records::entry).collect();
        let mut given = 0;
        for group in warm.chunks(64) {
            store.append(given + 1, group)?;
            given += group.len() as u64;
        }
        let (orders, incoming) = mpsc::channel();
        let groups = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&groups);
        let thread = std::thread::spawn(move || {
            serve(&mut store, &incoming, &counted, &mut given);
            let there = store.count().map_err(|error| error.to_string())?;
            Ok((given, there))
        });
        Ok((Self { orders, groups }, thread))
    }
}

fn serve(
    store: &mut dyn Store,
    orders: &mpsc::Receiver<Order>,
    groups: &AtomicU64,
    given: &mut u64,
) {
    let (mut group, mut callers) = (Vec::new(), Vec::new());
    while let Ok(first) = orders.recv() {
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(Order { entry, durable }) = next {
            bytes += entry.data.len();
            group.push(entry);
            callers.push(durable);
            next = (bytes < GROUP_BYTES)
                .then(|| orders.try_recv().ok())
                .flatten();
        }
        let done = store.append(*given + 1, &group);
        let done = done.map_err(|error| error.to_string());
        *given += group.len() as u64;
        groups.fetch_add(1, Ordering::Relaxed);
        group.clear();
        for caller in callers.drain(..) {
            // A caller who has gone does not want to know.
            drop(caller.send(done.clone()));
        }
    }
}

impl Appender for Grouped {
    async fn append(&self, entry: Entry) -> Result<(), String> {
        let (durable, answer) = oneshot::channel();
        let order = Order { entry, durable };
        self.orders
            .send(order)
            .map_err(|_| "the store's thread has gone")?;
        answer.await.map_err(|error| error.to_string())?
    }

    fn groups(&self) -> u64 {
        self.groups.load(Ordering::Relaxed)
    }
}

/// `SQLite`: a write-ahead log that is synced at every commit, nobody else in the file.
pub(crate) struct Sqlite(Connection);

impl Sqlite {
    pub(crate) fn open(dir: &Path) -> Fallible<Self> {
        let connection = Connection::open(dir.join("sqlite"))?;
        connection.execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE;
             PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             CREATE TABLE records (
                 position INTEGER PRIMARY KEY,
                 id BLOB NOT NULL,
                 label TEXT NOT NULL,
                 admitted INTEGER NOT NULL,
                 data BLOB NOT NULL
             ) STRICT;",
        )?;
        Ok(Self(connection))
    }
}

impl Store for Sqlite {
    fn append(&mut self, first: u64, group: &[Entry]) -> Fallible<()> {
        let transaction = self.0.transaction()?;
        {
            let mut insert =
                transaction.prepare_cached("INSERT INTO records VALUES (?1, ?2, ?3, ?4, ?5)")?;
            for (position, entry) in (first..).zip(group) {
                insert.execute(params![
                    i64::try_from(position)?,
                    &entry.id[..],
                    &*entry.label,
                    entry.admitted_at_ms,
                    &entry.data[..],
                ])?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn count(&self) -> Fallible<u64> {
        let count: i64 = self
            .0
            .query_row("SELECT count(*) FROM records", [], |row| row.get(0))?;
        Ok(u64::try_from(count)?)
    }
}

/// redb, which syncs at every commit by default.
pub(crate) struct Redb(redb::Database);

type Row = (&'static [u8], &'static str, i64, &'static [u8]);

const RECORDS: TableDefinition<'_, u64, Row> = TableDefinition::new("records");

impl Redb {
    pub(crate) fn open(dir: &Path) -> Fallible<Self> {
        Ok(Self(redb::Database::create(dir.join("redb"))?))
    }
}

impl Store for Redb {
    fn append(&mut self, first: u64, group: &[Entry]) -> Fallible<()> {
        let mut transaction = self.0.begin_write()?;
        transaction.set_durability(redb::Durability::Immediate)?;
        {
            let mut table = transaction.open_table(RECORDS)?;
            for (position, entry) in (first..).zip(group) {
                let row = (
                    &entry.id[..],
                    &*entry.label,
                    entry.admitted_at_ms,
                    &entry.data[..],
                );
                table.insert(position, row)?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn count(&self) -> Fallible<u64> {
        Ok(self.0.begin_read()?.open_table(RECORDS)?.len()?)
    }
}

/// fjall, whose write-ahead log is synced at every commit.
pub(crate) struct Fjall {
    database: Database,
    records: Keyspace,
}

impl Fjall {
    pub(crate) fn open(dir: &Path) -> Fallible<Self> {
        let database = Database::builder(dir.join("fjall")).open()?;
        let records = database.keyspace("records", KeyspaceCreateOptions::default)?;
        Ok(Self { database, records })
    }
}

impl Store for Fjall {
    fn append(&mut self, first: u64, group: &[Entry]) -> Fallible<()> {
        let mut batch = self
            .database
            .batch()
            .durability(Some(PersistMode::SyncData));
        for (position, entry) in (first..).zip(group) {
            let mut value = Vec::with_capacity(entry.data.len() + 64);
            value.extend_from_slice(&entry.id);
            value.extend_from_slice(&entry.admitted_at_ms.to_le_bytes());
            value.push(u8::try_from(entry.label.len())?);
            value.extend_from_slice(entry.label.as_bytes());
            value.extend_from_slice(&entry.data);
            batch.insert(&self.records, position.to_be_bytes(), value);
        }
        Ok(batch.commit()?)
    }

    fn count(&self) -> Fallible<u64> {
        Ok(self.records.len()? as u64)
    }
}
