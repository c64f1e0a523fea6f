//! The cases of the table of speed under criterion: wall time, for looking closer at one of them
//! (`cargo bench -- 'closed/Fusebox'`).

use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use fusebox_bench::cases;
use fusebox_bench::timing::Loop;

fn peers(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("a thread and a timer can be had");
    let _inside = runtime.enter();
    for case in cases::all() {
        let situations = [
            ("closed", Some(case.closed)),
            ("one_percent_errors", case.mixed),
            ("open", case.open),
            ("half_open_refused", case.half_open),
        ];
        for (situation, run) in situations {
            if let Some(run) = run {
                bench(criterion, situation, case.name, run);
            }
        }
    }
}

fn bench(criterion: &mut Criterion, situation: &str, name: &str, mut run: Loop) {
    criterion
        .benchmark_group(situation)
        .bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let start = Instant::now();
                run(times);
                start.elapsed()
            });
        });
}

criterion_group!(benches, peers);
criterion_main!(benches);
