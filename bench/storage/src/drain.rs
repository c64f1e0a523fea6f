//! The journal alone: filling and draining it, and opening it with a million records that wait.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use fusebox_journal::{Journal, Position};

use crate::records::{entry, rate};
use crate::{Fallible, config};

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

pub(crate) fn drain(dir: &Path) -> Fallible<()> {
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
        rate(records, took),
        rate(records, cpu)
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

pub(crate) fn fill_parked(dir: &Path) -> Fallible<()> {
    let journal = Journal::open(dir, config())?;
    fill(&journal, PARKED)?;
    // Dies as a killed process does.
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
    Ok(())
}

pub(crate) fn open_parked(dir: &Path) -> Fallible<()> {
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
pub(crate) fn parked(dir: &Path) -> Fallible<()> {
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
