//! Prints the table of speed: nanoseconds per call, the best of several runs' medians. `quick WORD` times
//! only the breakers whose name contains the word, beside the bare call.

use fusebox_bench::cases::{self, Case};
use fusebox_bench::timing::{Loop, cpu_time};

/// Every figure is taken this often, in turns, so that one bad moment spoils one run of each.
const RUNS: usize = 5;

/// The figures of one case, in the order of the columns.
type Row = [Option<f64>; 5];

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("a thread and a timer can be had");
    let _inside = runtime.enter();
    let mut cases = cases::all();
    if let Some(word) = std::env::args().nth(1) {
        let bare = cases.remove(0);
        cases.retain(|case| case.name.contains(&word));
        cases.insert(0, bare);
    }
    let mut best: Vec<Row> = vec![Row::default(); cases.len()];
    for run in 1..=RUNS {
        eprintln!("run {run} of {RUNS}");
        for (case, best) in cases.iter_mut().zip(&mut best) {
            for (best, new) in best.iter_mut().zip(measure(case)) {
                *best = match (*best, new) {
                    (Some(old), Some(new)) => Some(old.min(new)),
                    (old, new) => old.or(new),
                };
            }
        }
    }
    let bare = best[0][0].unwrap_or(f64::NAN);
    println!(
        "| ns per call | closed | × bare call | 1 % errors | open | half-open, refused | closed, 2 threads |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (case, [closed, mixed, open, half_open, two]) in cases.iter().zip(best) {
        let times = closed.map(|closed| closed / bare);
        let cells = [closed, times, mixed, open, half_open, two].map(cell);
        println!("| {} | {} |", case.name, cells.join(" | "));
    }
}

fn measure(case: &mut Case) -> Row {
    let time = |run: &mut Option<Loop>| run.as_mut().map(cpu_time);
    [
        Some(cpu_time(&mut case.closed)),
        time(&mut case.mixed),
        time(&mut case.open),
        time(&mut case.half_open),
        (case.two_threads)(),
    ]
}

fn cell(figure: Option<f64>) -> String {
    figure.map_or_else(|| "–".into(), |figure| format!("{figure:.1}"))
}
