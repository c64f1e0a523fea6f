//! A publisher process under load, killed with `SIGKILL` again and again, most of the times in the
//! middle of an outage.
//!
//! Everything is real but the machine's power: processes, sockets, disk, the broker. `KILLS` is the
//! number of kills; `scripts/kill-200` asks for 200.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use fusebox_proof::history::{EventName, Found, Ledger, Verdict};
use fusebox_proof::publishing::WINDOW;
use huleedu_contracts::ids::EventId;
use huleedu_kit::ServiceId;
use huleedu_kit::store::{Migration, NoObserver, Store, StoreOptions};
use sqlx::{QueryBuilder, Row as _};
use uuid::Uuid;

use crate::support::cluster::{Cluster, DevBroker};
use crate::support::topics::{PARTITIONS, create, fresh, read_all};
use crate::support::until;

const LANES: u32 = 8;

/// A publisher that is broken on purpose, to show that what it does wrong is noticed.
#[derive(Debug, Clone, Copy)]
enum Flaw {
    /// What was delivered is never settled while the process lives, so a death repeats all of it.
    NeverSettles,
    /// A try that may be a repetition does not say so.
    NeverMarks,
}

impl Flaw {
    fn argument(self) -> &'static str {
        match self {
            Self::NeverSettles => "never-settles",
            Self::NeverMarks => "never-marks",
        }
    }
}

/// Where the publishers send, and where they keep what they have not sent.
struct Place {
    broker: DevBroker,
    topic: String,
    folder: tempfile::TempDir,
    flaw: Option<Flaw>,
}

impl Place {
    async fn new(flaw: Option<Flaw>) -> Self {
        let broker = DevBroker::start();
        let topic = fresh("killed");
        create(&broker.bootstrap(), 1, [topic.as_str()]).await;
        Self {
            broker,
            topic,
            folder: tempfile::tempdir().unwrap(),
            flaw,
        }
    }

    fn publisher(&self, flaw: Option<Flaw>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_proof-publisher"));
        command
            .args([
                "--bootstrap",
                &self.broker.bootstrap(),
                "--topic",
                &self.topic,
                "--journal",
            ])
            .arg(self.folder.path().join("journal"));
        if let Some(flaw) = flaw {
            command.args(["--flaw", flaw.argument()]);
        }
        command
    }
}

/// One life of the publisher.
struct Life {
    child: Child,
    reader: JoinHandle<()>,
    safe: Arc<AtomicUsize>,
    sent: Arc<AtomicUsize>,
}

impl Life {
    fn start(place: &Place, ledger: &Arc<Mutex<Ledger>>) -> Self {
        let next: Vec<String> = {
            let ledger = ledger.lock().unwrap();
            // What was asked for and not answered is left behind: it may have been taken or not.
            (0..LANES)
                .map(|lane| ledger.next(lane).to_string())
                .collect()
        };
        let mut child = place
            .publisher(place.flaw)
            .args(["--next", &next.join(",")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let [safe, sent] = [0, 0].map(|none| Arc::new(AtomicUsize::new(none)));
        let out = BufReader::new(child.stdout.take().unwrap());
        let ledger = Arc::clone(ledger);
        let counts = [Arc::clone(&safe), Arc::clone(&sent)];
        let reader = thread::spawn(move || listen(out, &ledger, &counts));
        Self {
            child,
            reader,
            safe,
            sent,
        }
    }

    async fn reach(&self, safe: usize) {
        let what = format!("{safe} events are safe");
        until(&what, || self.safe.load(Ordering::Relaxed) >= safe).await;
    }

    /// Until Kafka has acknowledged so many of its events.
    async fn send(&self, events: usize) {
        let what = format!("{events} events are acknowledged");
        until(&what, || self.sent.load(Ordering::Relaxed) >= events).await;
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // What it has said before it died is in the pipe.
        self.reader.join().unwrap();
    }
}

/// Writes down what the publisher says.
fn listen(
    mut out: BufReader<ChildStdout>,
    ledger: &Mutex<Ledger>,
    [safe, sent]: &[Arc<AtomicUsize>; 2],
) {
    let mut line = String::new();
    loop {
        line.clear();
        if out.read_line(&mut line).unwrap() == 0 || !line.ends_with('\n') {
            // A line that death cut off was not said.
            return;
        }
        let mut words = line.split_whitespace();
        let word = words.next().unwrap();
        if word == "ready" {
            continue;
        }
        if word == "sent" {
            sent.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let mut number = || words.next().unwrap().parse().unwrap();
        let event = EventName {
            lane: number(),
            number: number(),
        };
        let mut ledger = ledger.lock().unwrap();
        if word == "safe" {
            ledger.safe(event);
            safe.fetch_add(1, Ordering::Relaxed);
        } else {
            ledger.ask(event);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_during_outages_lose_and_reorder_nothing() {
    let given = std::env::var("KILLS").ok();
    let kills: usize = given.map_or(20, |text| text.parse().expect("KILLS is a number"));
    let (found, verdict) = kill_again_and_again(kills, None).await;
    verdict.assert_complete_and_in_order();
    // Whoever reads can tell every repetition, also without the id: all occurrences but one say so.
    assert_eq!(verdict.unmarked, 0, "{verdict}");
    println!(
        "{:.1} repetitions for each death, at most {WINDOW} are allowed",
        f64::from(u32::try_from(verdict.duplicates).unwrap())
            / f64::from(u32::try_from(kills).unwrap())
    );
    assert!(repeats_within_bound(&verdict, kills), "{verdict}");
    if kills >= 20 {
        assert!(
            verdict.duplicates > 0,
            "it was never killed when it matters"
        );
    }
    let started = Instant::now();
    let applied = apply(&found).await;
    println!(
        "applied {applied} of {} records in {:?}",
        verdict.arrived + verdict.duplicates,
        started.elapsed()
    );
    assert_eq!(applied, verdict.arrived);
}

/// A death repeats what was sent and not settled in a cursor that survives it, and nothing else does:
/// no producer was replaced, and outages repeat nothing.
fn repeats_within_bound(verdict: &Verdict, kills: usize) -> bool {
    verdict.duplicates <= kills * WINDOW
}

/// The controls: publishers that are broken on purpose must not pass.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_that_repeats_too_much_is_found() {
    let kills = 12;
    let (_, verdict) = kill_again_and_again(kills, Some(Flaw::NeverSettles)).await;
    // Only the bound tells it from a good one.
    verdict.assert_complete_and_in_order();
    assert_eq!(verdict.unmarked, 0, "{verdict}");
    assert!(
        !repeats_within_bound(&verdict, kills),
        "not found: {verdict}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_that_hides_its_repetitions_is_found() {
    let mut kills = 0;
    // A death need not repeat anything.
    let found = loop {
        kills += 5;
        let (_, verdict) = kill_again_and_again(5, Some(Flaw::NeverMarks)).await;
        verdict.assert_complete_and_in_order();
        if verdict.unmarked > 0 || kills >= 40 {
            break verdict;
        }
    };
    assert!(found.unmarked > 0, "not found after {kills} kills: {found}");
}

/// Publishers live and die one after the other; answers what the topic holds, and what that comes to.
async fn kill_again_and_again(
    kills: usize,
    flaw: Option<Flaw>,
) -> (BTreeMap<i32, Vec<Found>>, Verdict) {
    let place = Place::new(flaw).await;
    let broker = &place.broker;
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    // In the middle of sending. Of one that never settles, every second life sends six times what a
    // death may repeat, and all but the first of them nothing but repetitions.
    let flawed = matches!(flaw, Some(Flaw::NeverSettles));
    let enough = if flawed { 6 * WINDOW } else { 5 };
    for kill in 0..kills {
        let safe = 40 + kill * 37 % 160;
        // Each life finds the broker well, but every fourth.
        if kill % 4 == 2 {
            broker.freeze(1);
        }
        let life = Life::start(&place, &ledger);
        match kill % 4 {
            // Killed while the broker is frozen.
            1 => {
                life.reach(safe / 2).await;
                broker.freeze(1);
                life.reach(safe).await;
                life.kill();
                broker.thaw(1);
                continue;
            }
            // Killed while it sends what an outage has left.
            2 => {
                life.reach(safe).await;
                broker.thaw(1);
                if kill % 8 == 2 || flawed {
                    life.send(enough).await;
                }
            }
            // The broker dies, too, and comes back.
            3 => {
                life.reach(safe / 3).await;
                broker.kill(1);
                life.reach(safe).await;
                if kill % 8 == 3 {
                    life.kill();
                    broker.start(1);
                    continue;
                }
                broker.start(1);
                life.reach(safe + 20).await;
            }
            // Killed while it sends, or before its producer has begun: that takes seconds.
            _ => {
                life.reach(safe).await;
                if kill % 8 == 0 || flawed {
                    life.send(enough).await;
                }
            }
        }
        life.kill();
    }
    // A last life that publishes nothing and ends when all is delivered; nothing is wrong with it.
    let mut last = place.publisher(None);
    let status = tokio::task::spawn_blocking(move || last.status().unwrap());
    assert!(status.await.unwrap().success());

    let found = read_all(&broker.bootstrap(), &place.topic, PARTITIONS);
    let verdict = ledger
        .lock()
        .unwrap()
        .judge(found.values(), &HashSet::new());
    println!("{kills} kills: {verdict}");
    (found, verdict)
}

/// Records that are applied in one transaction.
const BATCH: usize = 500;

const SCHEMA: &[Migration] = &[Migration {
    version: 100,
    name: "applied",
    sql: "CREATE TABLE applied (position {serial}, lane BIGINT NOT NULL, number BIGINT NOT NULL);",
}];

/// Applies the records as a service does, event ids into the inbox in the same transaction, and every
/// batch of them twice, as after a crash before the offset was committed. Returns how many took
/// effect, once each and in order.
async fn apply(found: &BTreeMap<i32, Vec<Found>>) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        url: format!("sqlite://{}", folder.path().join("store.db").display()),
        max_connections: 1,
        outbox_limit: 1,
        observer: Arc::new(NoObserver),
    };
    let store = Store::open(ServiceId::EssayLifecycle, options, SCHEMA)
        .await
        .unwrap();
    let batches = found.values().flat_map(|records| records.chunks(BATCH));
    for (number, batch) in batches.enumerate() {
        // Dies before the offset is committed, and does it again; every fourth time it died before the
        // commit, too.
        let ends: &[bool] = if number % 4 == 0 {
            &[false, true, true]
        } else {
            &[true, true]
        };
        for commits in ends {
            let mut tx = store.begin().await.unwrap();
            let mut effects = Vec::new();
            for Found { event, .. } in batch {
                let id = EventId::from(Uuid::from_u128(event.id()));
                if tx.note_applied(id).await.unwrap() {
                    effects.push(*event);
                }
            }
            if !effects.is_empty() {
                let mut insert = QueryBuilder::new("INSERT INTO applied (lane, number) ");
                insert.push_values(effects, |mut row, event| {
                    row.push_bind(i64::from(event.lane))
                        .push_bind(i64::from(event.number));
                });
                insert.build().execute(tx.conn()).await.unwrap();
            }
            if *commits {
                tx.commit().await.unwrap();
            }
        }
    }
    let rows = sqlx::query("SELECT lane, number FROM applied ORDER BY position")
        .fetch_all(store.pool())
        .await
        .unwrap();
    let mut last: HashMap<i64, i64> = HashMap::new();
    for row in &rows {
        let (lane, number): (i64, i64) = (row.get(0), row.get(1));
        let before = last.insert(lane, number).unwrap_or(-1);
        assert!(before < number, "lane {lane}: {number} after {before}");
    }
    rows.len()
}
