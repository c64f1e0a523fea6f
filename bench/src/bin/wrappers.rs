//! Prints what the wrapper and the layers cost: nanoseconds per call, the best of several runs' medians.

use fusebox_bench::timing::cpu_time;
use fusebox_bench::wrappers;

/// Every figure is taken this often, in turns, so that one bad moment spoils one run of each.
const RUNS: usize = 5;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("a thread and a timer can be had");
    let _inside = runtime.enter();
    let mut groups = wrappers::all();
    let mut best: Vec<Vec<[f64; 2]>> = groups
        .iter()
        .map(|group| vec![[f64::INFINITY; 2]; group.ways.len()])
        .collect();
    for run in 1..=RUNS {
        eprintln!("run {run} of {RUNS}");
        for (group, best) in groups.iter_mut().zip(&mut best) {
            for (way, [closed, open]) in group.ways.iter_mut().zip(best) {
                *closed = closed.min(cpu_time(&mut way.closed));
                if let Some(refused) = &mut way.open {
                    *open = open.min(cpu_time(refused));
                }
            }
        }
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    println!("Load of the machine when this ended: {load}.\n");
    for (group, best) in groups.iter().zip(&best) {
        let base = best[0][0];
        println!("| ns per call | closed | over {} | open |", group.base);
        println!("|---|---|---|---|");
        for (way, [closed, open]) in group.ways.iter().zip(best) {
            let open = way
                .open
                .as_ref()
                .map_or("–".into(), |_| format!("{open:.1}"));
            println!(
                "| {} | {closed:.1} | {:+.1} | {open} |",
                way.name,
                closed - base
            );
        }
        println!();
    }
}
