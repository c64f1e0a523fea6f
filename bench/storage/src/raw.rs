//! The raw limit: batches written to a file of zeros and synced, with nothing around them.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::Fallible;
use crate::records::entry;

const BYTES: u64 = 64 << 20;

/// A thread that does nothing but write and sync: on a busy machine the one that also makes the records
/// would be woken late.
pub(crate) struct RawDisk {
    orders: mpsc::Sender<(u64, u64)>,
    answers: mpsc::Receiver<Result<Duration, String>>,
}

impl RawDisk {
    pub(crate) fn start(dir: &Path) -> Fallible<Self> {
        let file = file_of_zeros(dir)?;
        let (orders, incoming) = mpsc::channel();
        let (outgoing, answers) = mpsc::channel();
        std::thread::spawn(move || {
            let mut at = 0;
            for (groups, bytes) in incoming {
                let took = batches(&file, groups, bytes, &mut at);
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

    /// How long as many batches of as many bytes altogether take.
    pub(crate) fn turn(&self, groups: u64, bytes: u64) -> Fallible<Duration> {
        self.orders.send((groups, bytes))?;
        Ok(self.answers.recv()??)
    }
}

/// A file as the journal makes its own: zeros, synced.
fn file_of_zeros(dir: &Path) -> Fallible<File> {
    let file = File::create(dir.join("raw"))?;
    let zeros = vec![0; 1 << 20];
    for at in 0..BYTES >> 20 {
        file.write_all_at(&zeros, at << 20)?;
    }
    file.sync_all()?;
    Ok(file)
}

fn batches(file: &File, groups: u64, bytes: u64, at: &mut u64) -> Fallible<Duration> {
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
        if *at + batch > BYTES {
            *at = 0;
        }
        file.write_all_at(&data, *at)?;
        file.sync_data()?;
        *at += batch;
    }
    Ok(started.elapsed())
}
