//! What a journal tells about itself.

use std::time::Duration;

/// Counts of durations in steps of powers of two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many took less than 16 µs · 2^index and not less than half of that; the last one has the
    /// rest.
    pub buckets: [u64; 20],
    /// All of them.
    pub count: u64,
    /// Their sum.
    pub sum: Duration,
    /// The longest.
    pub max: Duration,
}

impl Histogram {
    /// The upper bound of a bucket, exclusive; the last one has none.
    pub fn bound(index: usize) -> Option<Duration> {
        (index < 19).then(|| Duration::from_micros(16 << index))
    }

    pub(crate) fn add(&mut self, time: Duration) {
        let index = (0..19)
            .find(|i| Self::bound(*i).is_some_and(|bound| time < bound))
            .unwrap_or(19);
        self.buckets[index] += 1;
        self.count += 1;
        self.sum += time;
        self.max = self.max.max(time);
    }
}

/// The state of a journal and what it has done since it was opened.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts for gauges of their own"
)]
pub struct JournalStats {
    /// Records that are neither settled nor buried.
    pub waiting: u64,
    /// When the oldest of them was admitted, in milliseconds since the Unix epoch, as far as a read
    /// has met it.
    pub oldest_admitted_at_ms: Option<i64>,
    /// Bytes of segment files, the one being written only as far as it is written.
    pub bytes: u64,
    /// The quota of bytes.
    pub max_bytes: u64,
    /// The quota of records.
    pub max_records: u64,
    /// Whether one of both quotas is used up to the soft mark.
    pub above_soft_mark: bool,
    /// Segment files.
    pub segments: u64,
    /// Whether the next segment is ready.
    pub spare_ready: bool,
    /// Bytes free on the disk, as far as it tells.
    pub disk_free: Option<u64>,
    /// Whether a disk error made the journal read-only.
    pub read_only: bool,
    /// Records accepted.
    pub appended: u64,
    /// Bytes written for them.
    pub appended_bytes: u64,
    /// Groups written: writes with one sync each.
    pub groups: u64,
    /// Records of the largest group.
    pub largest_group: u64,
    /// Times of write and sync of a group.
    pub sync_times: Histogram,
    /// Groups whose write or sync failed.
    pub append_failures: u64,
    /// Records that wait for the disk in memory.
    pub queued: u64,
    /// Their bytes.
    pub queued_bytes: u64,
    /// Times from the call of append to the answer, of accepted records.
    pub append_times: Histogram,
    /// Records refused because a quota was reached.
    pub refused_full: u64,
    /// Records refused because too much waited for the disk in memory.
    pub refused_busy: u64,
    /// Records refused because the disk had no room.
    pub refused_no_space: u64,
    /// Records refused for their own sake: too large, or with a label that is.
    pub refused_invalid: u64,
    /// Records refused because the disk failed.
    pub refused_disk: u64,
    /// At the pace of late, how long until a quota is reached; `None` when the journal does not grow.
    pub time_to_full: Option<Duration>,
    /// At the pace of late, how long until nothing waits; `None` when it does not shrink.
    pub time_to_empty: Option<Duration>,
    /// Records settled, buried ones included.
    pub settled: u64,
    /// Times of writing and syncing the cursor.
    pub cursor_times: Histogram,
    /// Settled records that a crash now would bring back.
    pub cursor_lag: u64,
    /// Cursor writes that failed.
    pub settle_failures: u64,
    /// Settled records that the cursor has no room for: delivered again after a crash.
    pub unsaved: u64,
    /// Records that were acknowledged and cannot be read any more.
    pub lost_records: u64,
    /// Damaged ranges met.
    pub damaged_ranges: u64,
    /// Bytes copied or moved to quarantine.
    pub quarantined_bytes: u64,
    /// Damaged ranges that could not be copied.
    pub quarantine_failures: u64,
    /// Bytes of an unfinished group found when opening.
    pub torn_bytes: u64,
    /// Whether the cursor was unreadable when opening, so that everything is delivered again.
    pub cursor_lost: bool,
    /// Dead letters.
    pub dead: u64,
    /// Bytes of their segment files.
    pub dead_bytes: u64,
    /// Acknowledged dead letters that cannot be read any more.
    pub dead_lost: u64,
}
