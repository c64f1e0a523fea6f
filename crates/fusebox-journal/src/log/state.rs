//! What the log knows in memory: segments, ends, settled positions, recent records, counters.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::runs::Runs;
use crate::format::slot::TailMark;
use crate::record::Stored;
use crate::stats::Histogram;

/// One segment file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) first: u64,
    /// Where its last group ends, where that is known and nothing more is written.
    pub(crate) end: Option<u64>,
    /// It holds damage that could not be copied: moved to quarantine instead of removed.
    pub(crate) keep: bool,
}

/// What is shared between writer, reader and cursor; its lock is never held during I/O.
#[derive(Debug)]
pub(crate) struct State {
    /// Ascending by number; first positions never descend.
    pub(crate) segments: Vec<Segment>,
    /// Number and committed end of the segment that is being written.
    pub(crate) tail: Option<(u64, u64)>,
    /// The position behind the last durable record.
    pub(crate) next: u64,
    pub(crate) ahead: Ahead,
    /// Positions were used up by a refused group, and no cursor says so yet: no segment may begin behind
    /// them before.
    pub(crate) unsaved_refusal: bool,
    /// What is known to be synced: by a sync of this process that succeeded, or by the cursor.
    pub(crate) synced: TailMark,
    pub(crate) next_number: u64,
    /// Records accepted since the log was opened, and what they take on disk by themselves.
    pub(crate) accepted: (u64, u64),
    pub(crate) settled: Runs,
    /// Settled positions that every cursor must name: [`Slot::vacant`](crate::format::slot::Slot::vacant).
    pub(crate) vacant: Runs,
    /// Counts changes of `settled`.
    pub(crate) version: u64,
    pub(crate) saved_version: u64,
    /// How many positions were settled when the cursor was saved last.
    pub(crate) saved_settled: u64,
    /// Settled positions that are not in the cursor for want of room.
    pub(crate) unsaved: u64,
    pub(crate) cache: Cache,
    pub(crate) marks: Marks,
    pub(crate) counters: Counters,
}

/// The group that is written and not synced yet: its records have the positions from `next` on. Whoever
/// asks for it may have them, but nothing of them is settled, and nobody is told that they are safe.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    pub(crate) records: Vec<Stored>,
    /// Those that were delivered in the meantime: settled once they are durable.
    delivered: BTreeSet<u64>,
    /// The last of them was handed out.
    seen: bool,
}

/// What is counted since the log was opened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counters {
    pub(crate) appended_records: u64,
    pub(crate) appended_bytes: u64,
    pub(crate) groups: u64,
    pub(crate) largest_group: u64,
    pub(crate) append_failures: u64,
    pub(crate) settle_failures: u64,
    pub(crate) settled: u64,
    pub(crate) lost_records: u64,
    pub(crate) damaged_ranges: u64,
    pub(crate) quarantined_bytes: u64,
    pub(crate) quarantine_failures: u64,
    pub(crate) torn_bytes: u64,
    pub(crate) cursor_lost: bool,
    pub(crate) read_only: bool,
    pub(crate) sync_times: Histogram,
    pub(crate) cursor_times: Histogram,
}

impl State {
    /// Records that are not settled.
    pub(crate) fn waiting(&self) -> u64 {
        (self.next - 1).saturating_sub(self.settled_count())
    }

    /// Positions that are settled.
    pub(crate) fn settled_count(&self) -> u64 {
        self.settled.watermark() + self.settled.above()
    }

    /// The position behind the last one segment number `index` of the list can hold.
    pub(crate) fn bound(&self, index: usize) -> u64 {
        self.segments.get(index + 1).map_or(self.next, |s| s.first)
    }

    /// The index of the segment that must hold a position.
    pub(crate) fn segment_of(&self, position: u64) -> Option<usize> {
        self.segments
            .partition_point(|s| s.first <= position)
            .checked_sub(1)
    }

    pub(crate) fn segment_mut(&mut self, number: u64) -> Option<&mut Segment> {
        self.segments.iter_mut().find(|s| s.number == number)
    }

    /// The segments whose records are all settled, but for the tail: number, first position and the one
    /// behind the last.
    pub(crate) fn done(&self) -> Vec<(u64, u64, u64)> {
        let tail = self.tail.map(|(number, _)| number);
        let of = |index| {
            let segment: &Segment = &self.segments[index];
            let bound = self.bound(index);
            let done =
                tail != Some(segment.number) && self.settled.next_absent(segment.first) >= bound;
            done.then_some((segment.number, segment.first, bound))
        };
        (0..self.segments.len()).filter_map(of).collect()
    }

    /// Marks `start..end` as settled; returns how many were not.
    pub(crate) fn settle(&mut self, start: u64, end: u64) -> u64 {
        let new = self.settled.insert(start, end.min(self.next));
        if new > 0 {
            self.version += 1;
            self.cache.drop_up_to(self.settled.watermark());
        }
        new
    }

    /// Marks a record as delivered: it is settled, or will be when it is durable. Returns how many were
    /// not settled before and are now.
    pub(crate) fn deliver(&mut self, position: u64) -> u64 {
        if position < self.next {
            return self.settle(position, position.saturating_add(1));
        }
        if position - self.next < self.ahead.records.len() as u64 {
            self.ahead.delivered.insert(position);
        }
        0
    }

    /// The first `limit` records behind `after` that are written and neither durable nor delivered yet.
    pub(crate) fn written_after(&mut self, after: u64, limit: usize) -> Vec<Stored> {
        let Ahead {
            records,
            delivered,
            seen,
        } = &mut self.ahead;
        let wanted = |record: &&Stored| {
            let position = record.position;
            position.0 > after && !delivered.contains(&position.0)
        };
        let written: Vec<_> = records.iter().filter(wanted).take(limit).cloned().collect();
        let last = written.last().map(|record| record.position);
        *seen |= last.is_some() && last == records.last().map(|record| record.position);
        written
    }

    /// The group is durable: its records are like all others. Returns how many were delivered meanwhile, and
    /// whether the last of them was handed out.
    pub(crate) fn confirm_ahead(&mut self, gone: &mut Vec<Stored>) -> (u64, bool) {
        let ahead = std::mem::take(&mut self.ahead);
        self.next += ahead.records.len() as u64;
        for record in ahead.records {
            self.cache.push(record, gone);
        }
        let mut settled = 0;
        for position in ahead.delivered {
            settled += self.settle(position, position + 1);
        }
        self.counters.settled += settled;
        (settled, ahead.seen)
    }

    /// The group is refused. Its records may be on their way, and what is reported of them must mean no
    /// others: their positions are used up.
    pub(crate) fn refuse_ahead(&mut self) {
        let ahead = std::mem::take(&mut self.ahead);
        let first = self.next;
        self.next += ahead.records.len() as u64;
        self.settle(first, self.next);
        self.vacant.insert(first, self.next);
        self.unsaved_refusal = true;
    }

    /// Counts positions that cannot be read any more as settled.
    pub(crate) fn lose(&mut self, start: u64, end: u64) -> u64 {
        let lost = self.settle(start, end);
        self.counters.lost_records += lost;
        lost
    }
}

/// The most recent records, so that a reader who keeps up needs no disk.
#[derive(Debug)]
pub(crate) struct Cache {
    records: VecDeque<Stored>,
    bytes: usize,
    limit: usize,
}

/// What a cached record takes beyond its data.
const CACHED_OVERHEAD: usize = 128;

impl Cache {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            records: VecDeque::new(),
            bytes: 0,
            limit,
        }
    }

    fn weight(record: &Stored) -> usize {
        record.entry.data.len() + CACHED_OVERHEAD
    }

    /// Keeps the newest record; those it takes the place of go into `gone`, for the caller to free without
    /// the lock.
    pub(crate) fn push(&mut self, record: Stored, gone: &mut Vec<Stored>) {
        if self.limit == 0 {
            gone.push(record);
            return;
        }
        self.bytes += Self::weight(&record);
        self.records.push_back(record);
        while self.bytes > self.limit {
            gone.extend(self.pop());
        }
    }

    fn pop(&mut self) -> Option<Stored> {
        let record = self.records.pop_front()?;
        self.bytes -= Self::weight(&record);
        Some(record)
    }

    fn drop_up_to(&mut self, watermark: u64) {
        while self
            .records
            .front()
            .is_some_and(|r| r.position.0 <= watermark)
        {
            self.pop();
        }
    }

    /// Records from `position` on, if that one is here. Between two there may be positions that were used
    /// up by refused records.
    pub(crate) fn from(&self, position: u64) -> Option<impl Iterator<Item = &Stored>> {
        let index = self
            .records
            .binary_search_by_key(&position, |record| record.position.0);
        index.ok().map(|index| self.records.range(index..))
    }
}

/// Where some records lie, so that reading need not begin at a segment's first.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    of: BTreeMap<u64, Vec<(u64, u64)>>,
}

/// Bytes between two marks.
const MARK_EVERY: u64 = 64 << 10;

/// Segments with marks.
const MARKED_SEGMENTS: usize = 64;

impl Marks {
    /// A record lies at `offset` of segment `number`.
    pub(crate) fn note(&mut self, number: u64, position: u64, offset: u64) {
        let marks = self.of.entry(number).or_default();
        if marks.last().is_none_or(|(_, at)| at + MARK_EVERY <= offset) {
            marks.push((position, offset));
        }
        if self.of.len() > MARKED_SEGMENTS {
            // The oldest are being read, the newest is being written: forget between the two.
            let middle = self.of.keys().rev().nth(1).copied();
            self.of.retain(|n, _| Some(*n) != middle);
        }
    }

    /// The last mark at or before `position`.
    pub(crate) fn before(&self, number: u64, position: u64) -> Option<(u64, u64)> {
        let marks = self.of.get(&number)?;
        let index = marks.partition_point(|(p, _)| *p <= position);
        Some(marks[index.checked_sub(1)?])
    }

    pub(crate) fn forget(&mut self, number: u64) {
        self.of.remove(&number);
    }
}

impl Counters {
    pub(crate) fn group(&mut self, records: u64, bytes: u64, took: Duration) {
        self.groups += 1;
        self.appended_records += records;
        self.appended_bytes += bytes;
        self.largest_group = self.largest_group.max(records);
        self.sync_times.add(took);
    }
}
