//! Prints the tables of the journal: durable appends beside the raw limit of the disk for the same
//! batches, draining, and opening with a million records that wait.
//!
//! `journal [DIR]` works below DIR, by default the system's directory for temporary files.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use fusebox_journal::{Entry, Journal, JournalConfig, Position};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// Bytes of a record's data.
const SIZE: usize = 1024;

/// Journal and raw disk take turns so often, each for a fraction of a second: a shared disk is not
/// equally fast for longer.
const TURNS: u64 = 40;

fn main() -> Fallible<()> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from);
    if let Some(how) = arguments.next() {
        return if how == "fill" {
            fill_parked(&dir)
        } else {
            open_parked(&dir)
        };
    }
    let load = std::fs::read_to_string("/proc/loadavg")?;
    println!(
        "Load of the machine when this began: {}.\n",
        load.split(' ').next().unwrap_or("unknown")
    );
    appends(&dir)?;
    println!();
    drain(&dir)?;
    parked(&dir)
}

fn config() -> JournalConfig {
    let mut config = JournalConfig::default();
    config.max_bytes = 16 << 30;
    config
}

fn entry(n: u64) -> Entry {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.to_le_bytes());
    // Nothing that a disk could compress.
    let mut state = n;
    let mut data = Vec::with_capacity(SIZE);
    while data.len() < SIZE {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        data.extend_from_slice(&state.rotate_left(17).to_le_bytes());
    }
    Entry {
        id,
        label: "bench".into(),
        admitted_at_ms: 0,
        data: data.into(),
    }
}

/// One turn of the journal: `writers` tasks append one record after another, each when the one before
/// is durable.
fn turn(
    runtime: &tokio::runtime::Runtime,
    journal: &Journal,
    entries: Vec<Vec<Entry>>,
    latencies: &mut Vec<Duration>,
) -> Fallible<Duration> {
    let started = Instant::now();
    let tasks: Vec<_> = entries
        .into_iter()
        .map(|entries| {
            let journal = journal.clone();
            runtime.spawn(async move {
                let mut latencies = Vec::with_capacity(entries.len());
                for entry in entries {
                    let called = Instant::now();
                    journal.append(entry).await?;
                    latencies.push(called.elapsed());
                }
                Ok::<_, fusebox_journal::AppendError>(latencies)
            })
        })
        .collect();
    for task in tasks {
        latencies.extend(runtime.block_on(task)??);
    }
    Ok(started.elapsed())
}

/// A file as the journal makes its own: zeros, synced.
fn raw_file(dir: &Path) -> Fallible<File> {
    let file = File::create(dir.join("raw"))?;
    let zeros = vec![0; 1 << 20];
    for at in 0..RAW_BYTES >> 20 {
        file.write_all_at(&zeros, at << 20)?;
    }
    file.sync_all()?;
    Ok(file)
}

const RAW_BYTES: u64 = 64 << 20;

/// One turn of the disk: as many batches of as many bytes, with nothing around them.
fn raw_turn(file: &File, groups: u64, bytes: u64, at: &mut u64) -> Fallible<Duration> {
    let batch = (bytes / groups).next_multiple_of(512);
    let data: Vec<u8> = entry(7)
        .data
        .iter()
        .copied()
        .cycle()
        .take(usize::try_from(batch)?)
        .collect();
    let started = Instant::now();
    for _ in 0..groups {
        if *at + batch > RAW_BYTES {
            *at = 0;
        }
        file.write_all_at(&data, *at)?;
        file.sync_data()?;
        *at += batch;
    }
    Ok(started.elapsed())
}

/// A thread that does nothing but write and sync: on a busy machine the one that also makes the records
/// would be woken late.
struct RawDisk {
    orders: mpsc::Sender<(u64, u64)>,
    answers: mpsc::Receiver<Result<Duration, String>>,
}

impl RawDisk {
    fn start(dir: &Path) -> Fallible<Self> {
        let file = raw_file(dir)?;
        let (orders, incoming) = mpsc::channel();
        let (outgoing, answers) = mpsc::channel();
        std::thread::spawn(move || {
            let mut at = 0;
            for (groups, bytes) in incoming {
                let took = raw_turn(&file, groups, bytes, &mut at);
                if outgoing
                    .send(took.map_err(|error| error.to_string()))
                    .is_err()
                {
                    return;
                }
            }
        });
        Ok(Self { orders, answers })
    }

    fn turn(&self, groups: u64, bytes: u64) -> Fallible<Duration> {
        self.orders.send((groups, bytes))?;
        Ok(self.answers.recv()??)
    }
}

fn appends(dir: &Path) -> Fallible<()> {
    println!(
        "| writers | records/s, median of {TURNS} turns | best | of the raw limit, median | quartiles | records in a group | p50 | p99 |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (writers, each) in [(1, 100), (64, 20)] {
        let dir = tempfile::tempdir_in(dir)?;
        let journal = Journal::open(dir.path().join("journal"), config())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .build()?;
        journal.append(entry(0)).wait()?;
        while !journal.stats().spare_ready {
            std::thread::yield_now();
        }
        let raw = RawDisk::start(dir.path())?;
        let (mut rates, mut ratios, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
        let first = journal.stats();
        for _ in 0..TURNS {
            let entries: Vec<Vec<Entry>> = (0..writers)
                .map(|writer| (0..each).map(|n| entry(writer << 32 | n)).collect())
                .collect();
            let before = journal.stats();
            let took = turn(&runtime, &journal, entries, &mut latencies)?;
            let after = journal.stats();
            let groups = after.groups - before.groups;
            let bytes = after.appended_bytes - before.appended_bytes;
            let raw = raw.turn(groups, bytes)?;
            rates.push(to_f64(writers * each) / took.as_secs_f64());
            ratios.push(100.0 * raw.as_secs_f64() / took.as_secs_f64());
        }
        let last = journal.stats();
        rates.sort_by(f64::total_cmp);
        ratios.sort_by(f64::total_cmp);
        latencies.sort_unstable();
        let part = |list: &[f64], part: usize| list[(list.len() - 1) * part / 100];
        let latency = |part: usize| latencies[(latencies.len() - 1) * part / 100];
        println!(
            "| {writers} | {:.0} | {:.0} | {:.0} % | {:.0}–{:.0} % | {:.1} | {:.2?} | {:.2?} |",
            part(&rates, 50),
            part(&rates, 100),
            part(&ratios, 50),
            part(&ratios, 25),
            part(&ratios, 75),
            to_f64(last.appended - first.appended) / to_f64(last.groups - first.groups),
            latency(50),
            latency(99),
        );
    }
    Ok(())
}

/// Appends `records` without waiting for each.
fn fill(journal: &Journal, records: u64) -> Fallible<()> {
    let mut waiting = std::collections::VecDeque::new();
    for n in 0..records {
        waiting.push_back(journal.append(entry(n)));
        if waiting.len() >= 2_000
            && let Some(oldest) = waiting.pop_front()
        {
            oldest.wait()?;
        }
    }
    for rest in waiting {
        rest.wait()?;
    }
    Ok(())
}

fn drain(dir: &Path) -> Fallible<()> {
    const RECORDS: u64 = 300_000;
    let dir = tempfile::tempdir_in(dir)?;
    let journal = Journal::open(dir.path(), config())?;
    let (started, cpu) = (Instant::now(), cpu_time());
    fill(&journal, RECORDS)?;
    let (filled, filling) = (started.elapsed(), cpu_time().saturating_sub(cpu));
    drop(journal);
    println!("| | records/s | records per second of CPU time, all threads |");
    println!("|---|---|---|");
    row(
        "appended by one caller, 2000 under way",
        RECORDS,
        filled,
        filling,
    );
    // Opened anew, so that every record is read from its file.
    let journal = Journal::open(dir.path(), config())?;
    let (started, cpu) = (Instant::now(), cpu_time());
    let mut after = Position::START;
    let mut drained = 0;
    let mut settled = None;
    loop {
        let page = journal.peek(after, 500, 1 << 20)?;
        let Some(last) = page.last() else { break };
        after = last.position;
        drained += page.len() as u64;
        let positions: Vec<_> = page.iter().map(|stored| stored.position).collect();
        settled = Some(journal.settle(&positions));
    }
    if let Some(settled) = settled {
        settled.wait()?;
    }
    let (took, draining) = (started.elapsed(), cpu_time().saturating_sub(cpu));
    if drained != RECORDS || journal.stats().waiting != 0 {
        return Err("the drain has left something".into());
    }
    row(
        "drained in pages of 500, settled durably",
        drained,
        took,
        draining,
    );
    Ok(())
}

fn row(name: &str, records: u64, took: Duration, cpu: Duration) {
    println!(
        "| {name} | {:.0} | {:.0} |",
        to_f64(records) / took.as_secs_f64(),
        to_f64(records) / cpu.as_secs_f64()
    );
}

/// What this process has used so far: a busy machine stretches wall time.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

const PARKED: u64 = 1_000_000;

fn fill_parked(dir: &Path) -> Fallible<()> {
    let journal = Journal::open(dir, config())?;
    fill(&journal, PARKED)?;
    // Dies as a killed process does.
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
    Ok(())
}

fn open_parked(dir: &Path) -> Fallible<()> {
    let started = Instant::now();
    let journal = Journal::open(dir, config())?;
    let opened = started.elapsed();
    let first = journal.peek(Position::START, 500, 1 << 20)?;
    let read = started.elapsed();
    let stats = journal.stats();
    if stats.waiting < PARKED || first.is_empty() {
        return Err("records are missing".into());
    }
    let process = std::fs::read_to_string("/proc/self/status")?;
    let peak = process.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!(
        "| {} | {:.1?} | {:.1?} | {} |",
        stats.waiting,
        opened,
        read,
        peak.unwrap_or("unknown").trim()
    );
    Ok(())
}

/// In processes of their own, so that memory is that of opening.
fn parked(dir: &Path) -> Fallible<()> {
    let dir = tempfile::tempdir_in(dir)?;
    let this = std::env::current_exe()?;
    // It kills itself.
    Command::new(&this).arg(dir.path()).arg("fill").status()?;
    // The kernel forgets what it has read; where that is not allowed the figure is a warm one.
    rustix::fs::sync();
    let cold = std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok();
    let title = if cold { "cold cache" } else { "warm cache" };
    println!("\n| waiting after a kill, {title} | opened in | first 500 read by | peak memory |");
    println!("|---|---|---|---|");
    let status = Command::new(&this).arg(dir.path()).arg("open").status()?;
    if status.success() {
        Ok(())
    } else {
        Err("the parked journal does not open".into())
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn to_f64(n: u64) -> f64 {
    n as f64
}
