//! Damage is copied aside before the log goes on without it.

use std::io;

use tracing::{error, warn};

use super::{Log, Segment};
use crate::format::segment::{file_name, parse_name};
use crate::format::to_usize;
use crate::fs::OpenMode;

pub(crate) const QUARANTINE: &str = "quarantine";

impl Log {
    /// Copies a damaged range aside and counts the positions in it as settled, unless all of them are.
    pub(super) fn set_aside(&self, segment: &Segment, bytes: (u64, u64), positions: (u64, u64)) {
        let lost = {
            let state = self.state();
            state.settled.next_absent(positions.0) < positions.1
        };
        if !lost {
            return;
        }
        let copied = self.copy_aside(segment, bytes);
        let mut state = self.state();
        let records = state.lose(positions.0, positions.1);
        state.counters.damaged_ranges += 1;
        if let Ok(count) = copied {
            state.counters.quarantined_bytes += count;
        } else {
            state.counters.quarantine_failures += 1;
            if let Some(segment) = state.segment_mut(segment.number) {
                segment.keep = true;
            }
        }
        drop(state);
        error!(
            segment = segment.number,
            from = bytes.0,
            to = bytes.1,
            records,
            copied = copied.is_ok(),
            "damaged range of the journal set aside"
        );
    }

    /// Copies a range unless that was done before; returns how many bytes.
    fn copy_aside(&self, segment: &Segment, (from, to): (u64, u64)) -> io::Result<u64> {
        const CHUNK: u64 = 256 << 10;
        if from >= to {
            // The positions are gone and no bytes are there.
            return Ok(0);
        }
        let dir = self.path(QUARANTINE);
        self.fs.create_dir_all(&dir)?;
        let name = format!("{:016x}-{from:08x}-{to:08x}.bin", segment.number);
        let names = self.fs.read_dir(&dir)?;
        if names.contains(&name) {
            return Ok(0);
        }
        let held: u64 = names.iter().map(|name| self.held_by(name)).sum();
        if held + (to - from) > self.config.quarantine_bytes {
            warn!(held, "quarantine is full, damage is counted only");
            return Ok(0);
        }
        let source = self.fs.open(&self.segment_path(segment), OpenMode::Read)?;
        let tmp = dir.join(format!("{name}.tmp"));
        let target = self.fs.open(&tmp, OpenMode::Create)?;
        let mut buffer = vec![0; to_usize(CHUNK.min(to - from))];
        let mut at = from;
        while at < to {
            let count = to_usize(CHUNK.min(to - at));
            let got = source.read_at(at, &mut buffer[..count])?;
            if got == 0 {
                break;
            }
            target.write_at(at - from, &buffer[..got])?;
            at += got as u64;
        }
        target.sync_all()?;
        self.fs.rename(&tmp, &dir.join(name))?;
        self.fs.sync_dir(&dir)?;
        Ok(at - from)
    }

    /// Bytes a file in quarantine has, by its name.
    fn held_by(&self, name: &str) -> u64 {
        let range = |name: &str| {
            let (_, range) = name.strip_suffix(".bin")?.split_once('-')?;
            let (from, to) = range.split_once('-')?;
            let hex = |text| u64::from_str_radix(text, 16).ok();
            hex(to)?.checked_sub(hex(from)?)
        };
        match range(name) {
            Some(bytes) => bytes,
            None if parse_name(name).is_some() => self.config.segment_bytes,
            None => 0,
        }
    }

    /// Moves a whole file aside: that needs no room, so it is done whatever the quota says.
    pub(super) fn quarantine_segment(&self, segment: &Segment) {
        let dir = self.path(QUARANTINE);
        let name = file_name(segment.number, segment.first);
        let moved = self
            .fs
            .create_dir_all(&dir)
            .and_then(|()| self.fs.rename(&self.segment_path(segment), &dir.join(name)))
            .and_then(|()| self.fs.sync_dir(&dir))
            .and_then(|()| self.fs.sync_dir(&self.dir));
        let mut state = self.state();
        match moved {
            Ok(()) => state.counters.quarantined_bytes += self.config.segment_bytes,
            Err(_) => state.counters.quarantine_failures += 1,
        }
        drop(state);
        match moved {
            Ok(()) => error!(segment = segment.number, "damaged segment set aside"),
            Err(error) => warn!(segment = segment.number, %error, "damaged segment not set aside"),
        }
    }
}
