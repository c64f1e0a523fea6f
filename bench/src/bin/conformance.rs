//! Prints the comparison table: every check of the suite, put to Fusebox and to its peers.

use fusebox_bench::subjects;
use fusebox_conformance::{run, table};

fn main() {
    let reports: Vec<_> = subjects::all()
        .iter()
        .map(|subject| {
            eprintln!("asking {}", subject.name());
            run(subject)
        })
        .collect();
    print!("{}", table(&reports));
}
