//! Prints the tables of the journal: durable appends beside the raw limit of the disk for the same batches
//! and beside databases that could stand in its place, draining, and opening with a million records that
//! wait.
//!
//! `storage [DIR]` works below DIR, by default the system's directory for temporary files;
//! `storage DIR appends` prints the first table alone, and `storage DIR journal` only its first rows.

mod appends;
mod candidates;
mod drain;
mod raw;
mod records;

use std::path::PathBuf;

use fusebox_journal::JournalConfig;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Fallible<()> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from);
    match arguments.next().as_deref() {
        // In processes of their own, started by `parked`.
        Some("fill") => drain::fill_parked(&dir),
        Some("open") => drain::open_parked(&dir),
        Some("appends") => appends::appends(&dir, true),
        Some("journal") => appends::appends(&dir, false),
        Some(other) => Err(format!("no such table: {other}").into()),
        None => {
            appends::appends(&dir, true)?;
            println!();
            drain::drain(&dir)?;
            drain::parked(&dir)
        }
    }
}

fn config() -> JournalConfig {
    let mut config = JournalConfig::default();
    config.max_bytes = 16 << 30;
    config
}
