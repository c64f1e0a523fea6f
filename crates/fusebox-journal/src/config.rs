//! The settings of a journal and their bounds.

use crate::OpenError;
use crate::format::{FRAME_HEAD, HEADER};

/// Settings of a journal; [`Default`] gives the values named at each field.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct JournalConfig {
    /// Size of a segment file in bytes: 16 MiB. Between 64 KiB and 1 GiB, a multiple of the alignment.
    pub segment_bytes: u64,
    /// Where groups begin: 512 bytes. A power of two up to 64 KiB; take 4096 where the disk rewrites
    /// 4 KiB sectors.
    pub alignment: u64,
    /// The largest group that is written and synced at once: 1 MiB, or one record if it is larger.
    pub max_group_bytes: usize,
    /// Bytes of records that may wait for the disk in memory: 64 MiB. Beyond, appends are refused as
    /// [`Busy`](crate::AppendError::Busy).
    pub max_queue_bytes: u64,
    /// The largest record, label and data together: 4 MiB, less where segments are small.
    pub max_record_bytes: u64,
    /// Bytes of segment files the journal may hold: 4 GiB. At least two segments.
    pub max_bytes: u64,
    /// Records that may wait: 10 million.
    pub max_records: u64,
    /// From which part of either quota [`JournalStats::above_soft_mark`] says so, in percent: 80.
    ///
    /// [`JournalStats::above_soft_mark`]: crate::JournalStats::above_soft_mark
    pub soft_percent: u8,
    /// Bytes of the disk that stay free for others: 64 MiB.
    pub reserve_bytes: u64,
    /// Bytes of recent records kept in memory for the reader: 16 MiB. 0 always reads the disk.
    pub cache_bytes: usize,
    /// Size of one slot of the cursor: 128 KiB. A multiple of 512 up to 16 MiB; fixed when the
    /// directory is created. Settled records that have no room in it are delivered again after a crash.
    pub cursor_slot_bytes: u32,
    /// Copies of damaged ranges kept: 256 MiB. Beyond, damage is counted and not copied.
    pub quarantine_bytes: u64,
    /// Size of a segment file of the dead letters: 1 MiB, more where records may be larger.
    pub dead_segment_bytes: u64,
    /// Bytes of segment files the dead letters may hold: 256 MiB.
    pub dead_max_bytes: u64,
    /// Dead letters that may be kept: 100 000.
    pub dead_max_records: u64,
    /// The keys for encryption at rest: none, so that bodies are written in the clear.
    #[cfg(feature = "encryption")]
    pub keys: Option<crate::KeyRing>,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            alignment: 512,
            max_group_bytes: 1 << 20,
            max_queue_bytes: 64 << 20,
            max_record_bytes: 4 << 20,
            max_bytes: 4 << 30,
            max_records: 10_000_000,
            soft_percent: 80,
            reserve_bytes: 64 << 20,
            cache_bytes: 16 << 20,
            cursor_slot_bytes: 128 << 10,
            quarantine_bytes: 256 << 20,
            dead_segment_bytes: 8 << 20,
            dead_max_bytes: 256 << 20,
            dead_max_records: 100_000,
            #[cfg(feature = "encryption")]
            keys: None,
        }
    }
}

/// What a dead letter may take beyond its record: origin, codes, reasons and their tags.
pub(crate) const DEAD_OVERHEAD: u64 = 16 << 10;

impl JournalConfig {
    /// The largest record a segment of `segment_bytes` can hold.
    fn fits(&self, segment_bytes: u64) -> u64 {
        let heads = 2 * self.alignment.max(HEADER as u64) + self.alignment;
        segment_bytes.saturating_sub(heads + FRAME_HEAD as u64 + 128)
    }

    /// Checks every bound.
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let refuse = |name, value: u64, allowed| {
            Err(OpenError::Setting {
                name,
                value: value.to_string(),
                allowed,
            })
        };
        if !self.alignment.is_power_of_two() || !(512..=65_536).contains(&self.alignment) {
            return refuse(
                "alignment",
                self.alignment,
                "a power of two from 512 to 65536",
            );
        }
        for (name, size) in [
            ("segment_bytes", self.segment_bytes),
            ("dead_segment_bytes", self.dead_segment_bytes),
        ] {
            if !(64 << 10..=1 << 30).contains(&size) || !size.is_multiple_of(self.alignment) {
                return refuse(name, size, "64 KiB to 1 GiB, a multiple of the alignment");
            }
        }
        if self.max_record_bytes == 0 || self.max_record_bytes > self.fits(self.segment_bytes) {
            return refuse(
                "max_record_bytes",
                self.max_record_bytes,
                "at least 1, at most what fits into a segment",
            );
        }
        if self.max_record_bytes + DEAD_OVERHEAD > self.fits(self.dead_segment_bytes) {
            return refuse(
                "dead_segment_bytes",
                self.dead_segment_bytes,
                "room for the largest record and 16 KiB",
            );
        }
        if self.max_queue_bytes < self.max_record_bytes {
            return refuse(
                "max_queue_bytes",
                self.max_queue_bytes,
                "at least the largest record",
            );
        }
        if self.max_bytes < 2 * self.segment_bytes {
            return refuse("max_bytes", self.max_bytes, "at least two segments");
        }
        if self.dead_max_bytes < 2 * self.dead_segment_bytes {
            return refuse(
                "dead_max_bytes",
                self.dead_max_bytes,
                "at least two segments of the dead letters",
            );
        }
        if self.max_records == 0 {
            return refuse("max_records", 0, "at least 1");
        }
        if self.dead_max_records == 0 {
            return refuse("dead_max_records", 0, "at least 1");
        }
        if self.soft_percent > 100 {
            return refuse("soft_percent", self.soft_percent.into(), "at most 100");
        }
        if self.max_group_bytes == 0 {
            return refuse("max_group_bytes", 0, "at least 1");
        }
        let slot = self.cursor_slot_bytes;
        if !(512..=16 << 20).contains(&slot) || !slot.is_multiple_of(512) {
            return refuse(
                "cursor_slot_bytes",
                slot.into(),
                "a multiple of 512 up to 16 MiB",
            );
        }
        Ok(())
    }

    /// The settings of the log of dead letters.
    pub(crate) fn dead(&self) -> Self {
        Self {
            segment_bytes: self.dead_segment_bytes,
            max_record_bytes: self.max_record_bytes + DEAD_OVERHEAD,
            max_bytes: self.dead_max_bytes,
            max_records: self.dead_max_records,
            cache_bytes: 0,
            ..self.clone()
        }
    }
}
