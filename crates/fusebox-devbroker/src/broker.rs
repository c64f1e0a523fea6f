//! Starting and stopping a broker.

use std::{
    fmt,
    fs::{self, File, TryLockError},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Runtime, sync::Notify};
use tokio_util::sync::CancellationToken;

use crate::{
    api::Broker,
    config::{DevBrokerConfig, FsyncPolicy, NewTopic},
    error::{StartError, StoreError, TopicError},
    faults::Faults,
    group::Groups,
    log::RecoveryReport,
    server::{self, Port},
    store::{identity::Identity, offsets::Offsets},
    topics::{TopicSettings, Topics},
};

/// Threads of a broker. More than one, because they also do its reading and writing of files.
const THREADS: usize = 2;

/// A running broker, on threads of its own. It stops when it is dropped.
pub struct DevBroker {
    broker: Arc<Broker>,
    recovery: RecoveryReport,
    data_dir: PathBuf,
    stop: CancellationToken,
    thread: Option<thread::JoinHandle<()>>,
}

impl DevBroker {
    /// Opens the data, checks it, and listens.
    ///
    /// Blocks until that is done: milliseconds, and with much data as long as it takes to read all
    /// of it once. May be called inside or outside of a runtime.
    ///
    /// # Errors
    /// When a setting cannot be meant, the address is not a loopback address or taken, the folder is
    /// in use by another broker, or the data is not what it should be.
    pub fn start(config: DevBrokerConfig) -> Result<Self, StartError> {
        config.validate()?;
        let store = Store::open(&config)?;
        let recovery = store.recovery;
        let data_dir = store.folder.clone();
        let stop = CancellationToken::new();
        let (started, start) = mpsc::channel();
        let stopping = stop.clone();
        let thread = thread::Builder::new()
            .name("devbroker".to_owned())
            .spawn(move || run(config, store, &started, &stopping))
            .map_err(StartError::Threads)?;
        let started = start.recv().map_err(|_| {
            StartError::Threads(io::Error::other("the broker's thread ended at its start"))
        })?;
        match started {
            Ok(broker) => {
                tracing::info!(address = %broker.address, ?data_dir, "devbroker listens");
                Ok(Self {
                    broker,
                    recovery,
                    data_dir,
                    stop,
                    thread: Some(thread),
                })
            }
            Err(error) => {
                join(thread);
                Err(error)
            }
        }
    }

    /// Address for `bootstrap.servers`.
    pub fn bootstrap_servers(&self) -> String {
        self.broker.address.to_string()
    }

    /// The same as an address.
    pub fn address(&self) -> SocketAddr {
        self.broker.address
    }

    /// Where the data is.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// What had to be removed when the data was opened.
    pub fn recovery(&self) -> RecoveryReport {
        self.recovery
    }

    /// Makes a topic.
    ///
    /// # Errors
    /// When it is there already, its name or number of partitions is not valid, or it could not be
    /// written down.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<(), TopicError> {
        let new = NewTopic::new(name, partitions);
        self.broker
            .topics
            .create(&[(new, TopicSettings::default())])
    }

    /// Deletes a topic, its records, and what groups have committed for it.
    ///
    /// # Errors
    /// When there is none, or the change could not be written down.
    pub fn delete_topic(&self, name: &str) -> Result<(), TopicError> {
        self.broker.delete_topic(name)
    }

    /// Names of all topics and their numbers of partitions, by name.
    pub fn topics(&self) -> Vec<(String, i32)> {
        let all = self.broker.topics.all().into_iter();
        all.map(|(name, topic)| (name, topic.partitions()))
            .collect()
    }

    /// The first and the next offset of a partition, if there is such a partition.
    pub fn offsets(&self, topic: &str, partition: i32) -> Option<(i64, i64)> {
        let topic = self.broker.topics.get(topic)?;
        let log = topic.log(partition)?;
        Some((log.start(), log.end()))
    }

    /// What can be made to go wrong.
    pub fn faults(&self) -> Faults {
        self.broker.faults.clone()
    }

    /// Closes all connections, writes everything to the disk, and gives the folder back.
    ///
    /// Blocks until that is done, which is as long as the disk takes. Dropping does the same, but
    /// tells no errors.
    ///
    /// # Errors
    /// When the disk does not take what was written. A start finds what it did take.
    pub fn shutdown(mut self) -> Result<(), StoreError> {
        self.stop();
        let synced = sync(&self.broker);
        synced.map_err(StoreError::at(&self.data_dir))
    }

    fn stop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            join(thread);
        }
    }
}

impl Drop for DevBroker {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for DevBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevBroker")
            .field("address", &self.broker.address)
            .field("data_dir", &self.data_dir)
            .finish_non_exhaustive()
    }
}

fn join(thread: thread::JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("the broker's thread panicked");
    }
}

/// The opened data, and what keeps others from it.
struct Store {
    folder: PathBuf,
    identity: Identity,
    topics: Topics,
    offsets: Offsets,
    recovery: RecoveryReport,
    guard: Guard,
}

/// What goes when the broker does: in this order.
struct Guard {
    _lock: File,
    _temporary: Option<TempDir>,
}

impl Store {
    fn open(config: &DevBrokerConfig) -> Result<Self, StartError> {
        let (folder, temporary) = if let Some(folder) = &config.data_dir {
            (folder.clone(), None)
        } else {
            let folder = tempfile::Builder::new()
                .prefix("devbroker-")
                .tempdir()
                .map_err(StoreError::at(std::env::temp_dir()))?;
            (folder.path().to_owned(), Some(folder))
        };
        fs::create_dir_all(&folder).map_err(StoreError::at(&folder))?;
        let lock = lock(&folder)?;
        let (topics, mut recovery) = Topics::open(&folder, config)?;
        let (offsets, torn) = Offsets::open(&folder)?;
        recovery.torn_bytes += torn;
        let identity = Identity::open(&folder)?;
        if let Some(id) = topics.highest_producer_id() {
            identity.seen(id);
        }
        let there = |new: &NewTopic| topics.get(&new.name).is_some();
        let missing: Vec<_> = config
            .topics
            .iter()
            .filter(|new| !there(new))
            .map(|new| (new.clone(), TopicSettings::default()))
            .collect();
        if !missing.is_empty() {
            topics.create(&missing)?;
        }
        Ok(Self {
            folder,
            identity,
            topics,
            offsets,
            recovery,
            guard: Guard {
                _lock: lock,
                _temporary: temporary,
            },
        })
    }
}

/// Takes the folder for this process. The system gives it back, however the process ends.
fn lock(folder: &Path) -> Result<File, StartError> {
    let path = folder.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(StoreError::at(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StartError::InUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(StoreError::at(path)(error).into()),
    }
}

type Started = mpsc::Sender<Result<Arc<Broker>, StartError>>;

/// The life of a broker, on its own thread.
fn run(config: DevBrokerConfig, store: Store, started: &Started, stop: &CancellationToken) {
    let guard = store.guard;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("devbroker")
        .enable_all()
        .build();
    let listening = runtime.map_err(StartError::Threads).and_then(|runtime| {
        let (port, listener) = listen(&runtime, config.listen)?;
        Ok((runtime, port, listener))
    });
    let (runtime, port, listener) = match listening {
        Ok(listening) => listening,
        Err(error) => {
            drop(guard);
            drop(started.send(Err(error)));
            return;
        }
    };
    let broker = Arc::new(Broker {
        address: port.address(),
        identity: store.identity,
        topics: store.topics,
        groups: Groups::new(store.offsets, config.group_initial_rebalance_delay),
        faults: Faults::new(),
        appended: Notify::new(),
        config,
    });
    drop(started.send(Ok(Arc::clone(&broker))));
    runtime.block_on(async {
        let housekeeping = async {
            tokio::join!(
                broker.groups.run(),
                retain(&broker),
                sync_regularly(&broker)
            )
        };
        tokio::select! {
            () = server::serve(Arc::clone(&broker), port, listener, stop.clone()) => {}
            _ = housekeeping => {}
        }
    });
    // Waits for the threads: nothing is written after this.
    drop(runtime);
    if let Err(error) = sync(&broker) {
        tracing::error!(%error, "not everything is on the disk");
    }
    drop(guard);
}

fn listen(runtime: &Runtime, address: SocketAddr) -> Result<(Port, TcpListener), StartError> {
    let _inside = runtime.enter();
    Port::take(address).map_err(|source| StartError::Listen { address, source })
}

fn sync(broker: &Broker) -> io::Result<()> {
    broker.topics.sync()?;
    broker.groups.offsets().sync()
}

async fn retain(broker: &Broker) {
    loop {
        tokio::time::sleep(broker.config.retention_check).await;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        tokio::task::block_in_place(|| broker.topics.retain(now_ms));
    }
}

async fn sync_regularly(broker: &Broker) {
    if broker.config.fsync != FsyncPolicy::EverySecond {
        std::future::pending::<()>().await;
    }
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if let Err(error) = tokio::task::block_in_place(|| sync(broker)) {
            tracing::error!(%error, "not everything is on the disk");
        }
    }
}
