//! One seed: several lives on one disk in front of one cluster, then peace, then the judgement.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fusebox::{BreakerConfig, CircuitBreaker, Clock, TripRule};
use fusebox_journal::fs::sim::{PowerLoss, SimFs};
use fusebox_journal::{AppendError, Position};
use fusebox_kafka::{Broker, Drainer, DrainerConfig};
use fusebox_proof::history::{EventName, Ledger, Verdict};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::chance::Chance;
use super::cluster::{Cluster, is_poisoned};
use super::disk::{Disk, Flaw};

const LANES: u32 = 3;

/// After the last fault everything must have arrived within this time.
const PATIENCE: Duration = Duration::from_mins(2);

/// What became of a seed.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    pub(super) drained: bool,
    pub(super) crashes: u64,
    pub(super) fatal: u64,
    /// Requests that the cluster refused: each ends a producer.
    pub(super) turned_away: u64,
    /// Crashes in the middle of an operation of the disk.
    cut_short: u64,
    dead: usize,
    refused: u64,
    pub(super) failed: u64,
    /// Of those, such that had been shown to the drainer.
    withdrawn: u64,
    /// Records that Kafka had acknowledged before they were durable.
    early: u64,
}

impl Outcome {
    pub(super) fn add(&mut self, other: &Self) {
        self.verdict.safe += other.verdict.safe;
        self.verdict.arrived += other.verdict.arrived;
        self.verdict.duplicates += other.verdict.duplicates;
        self.crashes += other.crashes;
        self.fatal += other.fatal;
        self.turned_away += other.turned_away;
        self.cut_short += other.cut_short;
        self.dead += other.dead;
        self.refused += other.refused;
        self.failed += other.failed;
        self.withdrawn += other.withdrawn;
        self.early += other.early;
    }

    /// An append that was refused, before or after the record was shown.
    fn note(&mut self, error: &AppendError, shown: bool) {
        match error {
            AppendError::NoSpace | AppendError::Full => self.refused += 1,
            _ => self.failed += 1,
        }
        self.withdrawn += u64::from(shown);
    }

    pub(super) fn assert_eventful(&self) {
        for (count, what) in [
            (self.verdict.duplicates as u64, "duplicates"),
            (self.crashes, "crashes"),
            (self.fatal, "failed producers"),
            (self.turned_away, "refused requests"),
            (self.cut_short, "crashes within the disk"),
            (self.dead as u64, "dead letters"),
            (self.refused, "full disks"),
            (self.failed, "failed syncs"),
            (self.withdrawn, "records refused after they were shown"),
            (self.early, "records acknowledged before they were durable"),
        ] {
            assert!(count > 0, "there were no {what}");
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; {} crashes ({} within the disk), {} failed producers, {} refused requests, \
             {} dead letters, \
             {} appends refused by a full disk, {} by a failing one ({} after they were shown), \
             {} acknowledged before they were durable",
            self.verdict,
            self.crashes,
            self.cut_short,
            self.fatal,
            self.turned_away,
            self.dead,
            self.refused,
            self.failed,
            self.withdrawn,
            self.early
        )
    }
}

struct RuntimeClock(Instant);

impl Clock for RuntimeClock {
    fn now(&self) -> Duration {
        Instant::now() - self.0
    }
}

fn breaker() -> CircuitBreaker {
    let config = BreakerConfig::default()
        .with_trip_rule(TripRule::Consecutive)
        .with_failure_threshold(3)
        .with_success_threshold(2)
        .with_break_jitter(0.0)
        .with_recovery_timeout(Duration::from_secs(10));
    CircuitBreaker::builder("kafka")
        .config(config)
        .clock(Arc::new(RuntimeClock(Instant::now())))
        .build()
        .unwrap()
}

/// Lives through a seed.
pub(super) fn live(seed: u64, flaw: Option<Flaw>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(World::new(seed, flaw).run())
}

struct World {
    chance: Chance,
    flaw: Option<Flaw>,
    fs: SimFs,
    cluster: Arc<Cluster>,
    ledger: Arc<Mutex<Ledger>>,
    counts: Arc<Mutex<Outcome>>,
}

impl World {
    fn new(seed: u64, flaw: Option<Flaw>) -> Self {
        let mut chance = Chance::new(seed);
        let fs = SimFs::new(chance.next());
        if flaw == Some(Flaw::NoSync) {
            fs.ignore_syncs();
        }
        Self {
            fs,
            flaw,
            cluster: Cluster::new(chance.fork()),
            ledger: Arc::default(),
            counts: Arc::default(),
            chance,
        }
    }

    async fn run(mut self) -> Outcome {
        for _ in 0..=self.chance.below(4) {
            self.one_life().await;
        }
        self.last_life().await
    }

    /// Begins a life: everything that a process does.
    fn begin(&mut self, slow: bool) -> Option<(JoinSet<()>, Arc<Disk>)> {
        let disk = Disk::open(&self.fs, self.flaw, slow, self.chance.fork());
        let disk = match disk {
            Ok(disk) => {
                self.tell(&format!("opened: {:?}", disk.journal().stats()));
                Arc::new(disk)
            }
            // Only a disk that died at that moment is an excuse.
            Err(error) => {
                assert!(self.fs.has_crashed(), "the journal does not open: {error}");
                return None;
            }
        };
        let mut life = JoinSet::new();
        for cluster in [Arc::clone(&self.cluster), Arc::clone(&self.cluster)] {
            if life.is_empty() {
                life.spawn(async move { cluster.serve().await });
            } else {
                life.spawn(async move { cluster.answer().await });
            }
        }
        let mut config = DrainerConfig::default();
        config.max_records = 1 + usize::try_from(self.chance.below(60)).unwrap();
        config.page = 1 + usize::try_from(self.chance.below(30)).unwrap();
        let broker: Arc<dyn Broker> = Arc::<Cluster>::clone(&self.cluster);
        let backlog = Arc::<Disk>::clone(&disk);
        let drainer = Drainer::new(backlog, broker, breaker(), config);
        let handle = drainer.handle();
        life.spawn(drainer.run(CancellationToken::new()));
        for lane in 0..LANES {
            let (ledger, disk) = (Arc::clone(&self.ledger), Arc::clone(&disk));
            let counts = Arc::clone(&self.counts);
            let (handle, chance) = (handle.clone(), self.chance.fork());
            life.spawn(async move {
                publish(lane, &disk, &ledger, &counts, chance, &handle).await;
            });
        }
        Some((life, disk))
    }

    /// A life that ends badly.
    async fn one_life(&mut self) {
        self.counts.lock().unwrap().crashes += 1;
        if self.chance.one_in(3) {
            self.fs
                .crash_at(self.fs.counts().steps + self.chance.below(300));
        }
        let slow = self.chance.one_in(4);
        let Some((mut life, disk)) = self.begin(slow) else {
            self.lose_power();
            return;
        };
        let end = Instant::now() + self.chance.up_to(Duration::from_secs(5));
        while Instant::now() < end && !self.fs.has_crashed() {
            tokio::time::sleep(self.chance.up_to(Duration::from_millis(300))).await;
            match self.chance.below(8) {
                0 => {
                    let at = self.chance.below(4);
                    self.tell(&format!("sync {at} from here will fail"));
                    self.fs.fail_sync_in(at);
                }
                1 => {
                    self.tell("the disk is full");
                    self.fs.set_capacity(Some(self.fs.used_bytes()));
                }
                2 => {
                    self.tell("the disk has room");
                    self.fs.set_capacity(None);
                }
                _ => {
                    let mut chance = self.chance.fork();
                    self.cluster.change(&mut chance);
                }
            }
        }
        self.tell("the process dies");
        if self.fs.has_crashed() {
            self.counts.lock().unwrap().cut_short += 1;
        }
        life.abort_all();
        while let Some(task) = life.join_next().await {
            // Whoever has panicked has found something.
            assert!(
                task.is_err_and(|e| e.is_cancelled()),
                "a task has ended by itself"
            );
        }
        self.counts.lock().unwrap().early += disk.early();
        // Nothing more reaches the disk, not even what closing would write.
        self.fs.crash_at(self.fs.counts().steps);
        drop(disk);
        self.cluster.producer_dies();
        self.lose_power();
    }

    /// When one seed is replayed, says what happens.
    fn tell(&self, what: &str) {
        if std::env::var_os("SEED").is_some() {
            let (steps, safe) = (self.fs.counts().steps, self.ledger.lock().unwrap().len());
            println!("disk step {steps}, {safe} safe: {what}");
        }
    }

    /// The machine starts again, or only the process.
    fn lose_power(&mut self) {
        let how = match self.chance.below(4) {
            0 => PowerLoss::LoseAll,
            1 => PowerLoss::Random,
            2 => PowerLoss::RandomTorn,
            _ => PowerLoss::KeepAll,
        };
        self.tell(&format!("the machine starts again: {how:?}"));
        self.fs = self.fs.after_power_loss(how, self.chance.next());
    }

    /// Nothing goes wrong any more: everything must arrive.
    async fn last_life(&mut self) -> Outcome {
        self.cluster.heal();
        let (mut life, disk) = self.begin(false).expect("nothing goes wrong");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let deadline = Instant::now() + PATIENCE;
        self.ledger.lock().unwrap().close();
        while disk.journal().stats().waiting > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let journal = disk.journal();
        let letters = journal.dead_letters(Position::START, usize::MAX, |_| true);
        let dead: HashSet<_> = letters
            .iter()
            .map(|letter| EventName::of(u128::from_be_bytes(letter.id)).unwrap())
            .collect();
        assert!(dead.iter().all(|event| is_poisoned(*event)));
        let drained = journal.stats().waiting == 0;
        if std::env::var_os("SEED").is_some() {
            println!("in the end: {:#?}", journal.stats());
        }
        life.abort_all();
        while life.join_next().await.is_some() {}
        let log = self.cluster.log();
        let verdict = self.ledger.lock().unwrap().judge([&log], &dead);
        let mut counts = std::mem::take(&mut *self.counts.lock().unwrap());
        counts.early += disk.early();
        Outcome {
            verdict,
            drained,
            fatal: self.cluster.fatal(),
            turned_away: self.cluster.refused(),
            dead: dead.len(),
            ..counts
        }
    }
}

/// Publishes one event after the other, each until it is safe.
async fn publish(
    lane: u32,
    disk: &Disk,
    ledger: &Mutex<Ledger>,
    counts: &Mutex<Outcome>,
    mut chance: Chance,
    drainer: &fusebox_kafka::DrainerHandle,
) {
    loop {
        let Some(number) = next(lane, ledger) else {
            // Peace: let the others finish.
            return std::future::pending().await;
        };
        let event = EventName { lane, number };
        let size = usize::try_from(chance.below(2_000)).unwrap();
        loop {
            let mut shown = false;
            let written = || {
                shown = true;
                drainer.wake();
            };
            let Err(error) = disk.append(event, size, written).await else {
                break;
            };
            counts.lock().unwrap().note(&error, shown);
            // Again with the same id: it may be there in spite of the answer.
            ledger.lock().unwrap().refused(event);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        ledger.lock().unwrap().safe(event);
        drainer.wake();
        tokio::time::sleep(chance.up_to(Duration::from_millis(40))).await;
    }
}

/// The number of the lane's next event, now asked for.
fn next(lane: u32, ledger: &Mutex<Ledger>) -> Option<u32> {
    let mut ledger = ledger.lock().unwrap();
    if ledger.is_closed() {
        return None;
    }
    let number = ledger.next(lane);
    ledger.ask(EventName { lane, number });
    Some(number)
}
