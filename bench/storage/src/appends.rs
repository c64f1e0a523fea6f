//! Durable appends: the journal, the raw limit of the disk for the same batches, and the candidates.

use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fusebox_journal::{Entry, Journal, JournalStats};
use tokio::runtime::Runtime;

use crate::candidates::{Counts, Fjall, Grouped, Redb, Sqlite};
use crate::raw::RawDisk;
use crate::records::{entry, part, rate, to_f64};
use crate::{Fallible, config};

/// Everybody takes turns so often, each for a fraction of a second: a shared disk is not equally fast for
/// longer.
const TURNS: usize = 40;

/// What makes records durable for many callers at once.
pub(crate) trait Appender: Clone + Send + 'static {
    /// Answers when the record is durable.
    fn append(&self, entry: Entry) -> impl Future<Output = Result<(), String>> + Send;

    /// How many groups it has written.
    fn groups(&self) -> u64;
}

impl Appender for Journal {
    async fn append(&self, entry: Entry) -> Result<(), String> {
        let done = Self::append(self, entry).await;
        done.map(drop).map_err(|error| error.to_string())
    }

    fn groups(&self) -> u64 {
        self.stats().groups
    }
}

/// What was measured of one subject.
#[derive(Default)]
struct Figures {
    name: &'static str,
    rates: Vec<f64>,
    of_the_limit: Vec<f64>,
    of_the_journal: Vec<f64>,
    latencies: Vec<Duration>,
    records: u64,
    groups: u64,
}

/// Everybody's turns in one directory, for one number of writers.
struct Course {
    runtime: Runtime,
    writers: u64,
    each: u64,
    journal: Journal,
    raw: RawDisk,
    candidates: Vec<(Grouped, JoinHandle<Result<Counts, String>>)>,
}

const NAMES: [&str; 5] = ["raw limit", "the journal", "SQLite", "fjall", "redb"];

/// Prints the table, with the candidates `beside` the journal or without them.
pub(crate) fn appends(dir: &Path, beside: bool) -> Fallible<()> {
    println!(
        "| writers | through | records/s, median of {TURNS} turns | best | of the raw limit, median | quartiles | of the journal, median | records in a group | p50 | p99 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for (writers, each) in [(1, 100), (64, 40)] {
        let dir = tempfile::tempdir_in(dir)?;
        for figures in Course::start(dir.path(), writers, each, beside)?.run()? {
            print(writers, figures);
        }
    }
    Ok(())
}

impl Course {
    fn start(dir: &Path, writers: u64, each: u64, beside: bool) -> Fallible<Self> {
        let journal = Journal::open(dir.join("journal"), config())?;
        journal.append(entry(0)).wait()?;
        wait_for_spare(&journal);
        Ok(Self {
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .build()?,
            writers,
            each,
            journal,
            raw: RawDisk::start(dir)?,
            candidates: if beside {
                vec![
                    Grouped::start(Sqlite::open(dir)?)?,
                    Grouped::start(Fjall::open(dir)?)?,
                    Grouped::start(Redb::open(dir)?)?,
                ]
            } else {
                Vec::new()
            },
        })
    }

    fn run(self) -> Fallible<Vec<Figures>> {
        let mut all: Vec<Figures> = NAMES
            .iter()
            .take(2 + self.candidates.len())
            .map(|&name| Figures {
                name,
                ..Figures::default()
            })
            .collect();
        let subjects = self.candidates.len() + 1;
        for turn in 0..TURNS {
            let mut times = vec![Duration::ZERO; NAMES.len()];
            // Whom one leaves something to do is not always the same.
            for subject in (0..subjects).map(|n| (n + turn) % subjects) {
                if subject == 0 {
                    let before = self.journal.stats();
                    let figures = &mut all[1];
                    times[1] = self.turn(&self.journal, figures)?;
                    let after = self.journal.stats();
                    times[0] = self.limit(&before, &after)?;
                } else {
                    let (candidate, _) = &self.candidates[subject - 1];
                    times[subject + 1] = self.turn(candidate, &mut all[subject + 1])?;
                }
            }
            let records = self.writers * self.each;
            for (figures, took) in all.iter_mut().zip(&times) {
                let share = |of: Duration| 100.0 * of.as_secs_f64() / took.as_secs_f64();
                figures.rates.push(rate(records, *took));
                figures.of_the_limit.push(share(times[0]));
                figures.of_the_journal.push(share(times[1]));
            }
        }
        if self.journal.stats().waiting != self.journal.stats().appended {
            return Err("the journal has lost something".into());
        }
        for ((grouped, thread), name) in self.candidates.into_iter().zip(&NAMES[2..]) {
            drop(grouped);
            let counts = thread.join().map_err(|_| "a store's thread has panicked")?;
            let (given, there) = counts?;
            if given != there {
                return Err(format!("{name} has {there} of {given} records").into());
            }
        }
        Ok(all)
    }

    /// Every writer appends one record after another, each when the one before is durable.
    fn turn<A: Appender>(&self, subject: &A, figures: &mut Figures) -> Fallible<Duration> {
        let entries: Vec<Vec<Entry>> = (0..self.writers)
            .map(|writer| (0..self.each).map(|n| entry(writer << 32 | n)).collect())
            .collect();
        let groups = subject.groups();
        let started = Instant::now();
        let tasks: Vec<_> = entries
            .into_iter()
            .map(|entries| {
                let subject = subject.clone();
                self.runtime.spawn(async move {
                    let mut latencies = Vec::with_capacity(entries.len());
                    for entry in entries {
                        let called = Instant::now();
                        subject.append(entry).await?;
                        latencies.push(called.elapsed());
                    }
                    Ok::<_, String>(latencies)
                })
            })
            .collect();
        for task in tasks {
            figures.latencies.extend(self.runtime.block_on(task)??);
        }
        let took = started.elapsed();
        figures.records += self.writers * self.each;
        figures.groups += subject.groups() - groups;
        Ok(took)
    }

    /// What the disk needs for the batches that the journal has written between the two.
    fn limit(&self, before: &JournalStats, after: &JournalStats) -> Fallible<Duration> {
        // The segment made ahead is the journal's own work, and nobody else's turn.
        wait_for_spare(&self.journal);
        self.raw.turn(
            after.groups - before.groups,
            after.appended_bytes - before.appended_bytes,
        )
    }
}

fn wait_for_spare(journal: &Journal) {
    while !journal.stats().spare_ready {
        std::thread::yield_now();
    }
}

fn print(writers: u64, mut figures: Figures) {
    for list in [
        &mut figures.rates,
        &mut figures.of_the_limit,
        &mut figures.of_the_journal,
    ] {
        list.sort_by(f64::total_cmp);
    }
    figures.latencies.sort_unstable();
    print!(
        "| {writers} | {} | {:.0} | {:.0} | {:.0} % | {:.0}–{:.0} % | {:.0} % |",
        figures.name,
        part(&figures.rates, 50),
        part(&figures.rates, 100),
        part(&figures.of_the_limit, 50),
        part(&figures.of_the_limit, 25),
        part(&figures.of_the_limit, 75),
        part(&figures.of_the_journal, 50),
    );
    if figures.latencies.is_empty() {
        println!(" – | – | – |");
    } else {
        println!(
            " {:.1} | {:.2?} | {:.2?} |",
            to_f64(figures.records) / to_f64(figures.groups),
            part(&figures.latencies, 50),
            part(&figures.latencies, 99),
        );
    }
}
