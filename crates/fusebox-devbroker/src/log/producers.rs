//! What idempotent producers have already written to one partition: the last five batches of each,
//! so that a batch sent again is answered and not written twice, and a gap is refused.

use std::collections::{HashMap, VecDeque};

use bytes::{Buf as _, BufMut as _};
use kafka_protocol::ResponseError;

use super::batch::BatchHeader;

/// Batches a producer may have in flight, hence can send again.
const REMEMBERED: usize = 5;
/// Producers of one partition. Those that wrote longest ago are forgotten first.
const MAX_PRODUCERS: usize = 10_000;

/// What becomes of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is new and in order.
    Append,
    /// It was written before, at this offset.
    Duplicate(i64),
    /// It is out of order, or from a producer that was replaced.
    Refuse(ResponseError),
}

#[derive(Debug, Clone, Copy)]
struct Written {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    last: VecDeque<Written>,
}

/// The producers of one partition.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    known: HashMap<i64, Producer>,
    /// Whether a producer may have written here that is not known any more: old segments are gone.
    forgetful: bool,
}

impl Producers {
    /// Judges a batch. A producer that is not idempotent is always right.
    pub(crate) fn judge(&self, batch: &BatchHeader) -> Verdict {
        if batch.producer_id < 0 {
            return Verdict::Append;
        }
        let out_of_order = Verdict::Refuse(ResponseError::OutOfOrderSequenceNumber);
        let Some(producer) = self.known.get(&batch.producer_id) else {
            // With the whole log at hand, one who begins in the middle has lost its beginning.
            return if batch.base_sequence == 0 || self.forgetful {
                Verdict::Append
            } else {
                out_of_order
            };
        };
        if batch.producer_epoch < producer.epoch {
            return Verdict::Refuse(ResponseError::InvalidProducerEpoch);
        }
        if batch.producer_epoch > producer.epoch {
            return if batch.base_sequence == 0 {
                Verdict::Append
            } else {
                out_of_order
            };
        }
        let last_sequence = last_sequence(batch);
        let again = producer.last.iter().find(|written| {
            (written.first_sequence, written.last_sequence) == (batch.base_sequence, last_sequence)
        });
        if let Some(written) = again {
            return Verdict::Duplicate(written.base_offset);
        }
        match producer.last.back() {
            Some(newest) if batch.base_sequence == after(newest.last_sequence, 1) => {
                Verdict::Append
            }
            Some(newest) if is_before(last_sequence, newest.last_sequence) => {
                Verdict::Refuse(ResponseError::DuplicateSequenceNumber)
            }
            _ => out_of_order,
        }
    }

    /// Remembers a batch that is in the log.
    pub(crate) fn remember(&mut self, batch: &BatchHeader) {
        if batch.producer_id < 0 {
            return;
        }
        if self.known.len() >= MAX_PRODUCERS && !self.known.contains_key(&batch.producer_id) {
            self.forget_oldest();
        }
        let producer = self
            .known
            .entry(batch.producer_id)
            .or_insert_with(|| Producer {
                epoch: batch.producer_epoch,
                last: VecDeque::with_capacity(REMEMBERED),
            });
        if producer.epoch != batch.producer_epoch {
            producer.epoch = batch.producer_epoch;
            producer.last.clear();
        }
        if producer.last.len() == REMEMBERED {
            producer.last.pop_front();
        }
        producer.last.push_back(Written {
            first_sequence: batch.base_sequence,
            last_sequence: last_sequence(batch),
            base_offset: batch.base_offset,
        });
    }

    /// From now on a producer that is not known may begin anywhere.
    pub(crate) fn may_have_forgotten(&mut self) {
        self.forgetful = true;
    }

    /// Appends all that is known, for an index.
    pub(super) fn put(&self, into: &mut Vec<u8>) {
        into.put_u8(u8::from(self.forgetful));
        into.put_u32_le(u32::try_from(self.known.len()).unwrap_or(0));
        let mut known: Vec<_> = self.known.iter().collect();
        known.sort_unstable_by_key(|(id, _)| **id);
        for (id, producer) in known {
            into.put_i64_le(*id);
            into.put_i16_le(producer.epoch);
            into.put_u8(u8::try_from(producer.last.len()).unwrap_or(0));
            for written in &producer.last {
                into.put_i32_le(written.first_sequence);
                into.put_i32_le(written.last_sequence);
                into.put_i64_le(written.base_offset);
            }
        }
    }

    /// Takes what [`put`](Self::put) wrote.
    pub(super) fn take(from: &mut &[u8]) -> Option<Self> {
        let mut producers = Self {
            forgetful: from.try_get_u8().ok()? != 0,
            ..Self::default()
        };
        for _ in 0..from.try_get_u32_le().ok()? {
            let id = from.try_get_i64_le().ok()?;
            let mut producer = Producer {
                epoch: from.try_get_i16_le().ok()?,
                last: VecDeque::with_capacity(REMEMBERED),
            };
            for _ in 0..from.try_get_u8().ok()? {
                producer.last.push_back(Written {
                    first_sequence: from.try_get_i32_le().ok()?,
                    last_sequence: from.try_get_i32_le().ok()?,
                    base_offset: from.try_get_i64_le().ok()?,
                });
            }
            producers.known.insert(id, producer);
        }
        Some(producers)
    }

    /// The highest producer id seen.
    pub(crate) fn highest_id(&self) -> Option<i64> {
        self.known.keys().copied().max()
    }

    fn forget_oldest(&mut self) {
        let newest_offset = |producer: &Producer| {
            producer
                .last
                .back()
                .map_or(-1, |written| written.base_offset)
        };
        let oldest = self
            .known
            .iter()
            .min_by_key(|(_, producer)| newest_offset(producer))
            .map(|(id, _)| *id);
        if let Some(id) = oldest {
            self.known.remove(&id);
            self.forgetful = true;
        }
    }
}

fn last_sequence(batch: &BatchHeader) -> i32 {
    after(batch.base_sequence, batch.records - 1)
}

/// Sequences go round from the greatest number to 0.
fn after(sequence: i32, steps: i32) -> i32 {
    sequence.wrapping_add(steps) & i32::MAX
}

/// Whether `a` comes before `b`, or is it; they are taken to be less than half the circle apart.
fn is_before(a: i32, b: i32) -> bool {
    b.wrapping_sub(a) & i32::MAX < 1 << 30
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::batch::tests::batch;

    fn header(values: usize, producer: i64, epoch: i16, sequence: i32) -> BatchHeader {
        let bytes = batch(&vec!["v"; values], producer, epoch, sequence);
        BatchHeader::from_producer(&bytes).unwrap()
    }

    fn written(producers: &mut Producers, batch: &BatchHeader, offset: i64) {
        assert_eq!(producers.judge(batch), Verdict::Append);
        producers.remember(&batch.at_offset(offset));
    }

    #[test]
    fn the_last_five_batches_are_answered_again_with_their_offsets() {
        let mut producers = Producers::default();
        for number in 0..6 {
            let batch = header(2, 9, 0, number * 2);
            written(&mut producers, &batch, i64::from(number) * 10);
        }
        for number in 1..6 {
            let again = producers.judge(&header(2, 9, 0, number * 2));
            assert_eq!(again, Verdict::Duplicate(i64::from(number) * 10));
        }
        let too_old = producers.judge(&header(2, 9, 0, 0));
        let code = ResponseError::DuplicateSequenceNumber;
        assert_eq!(too_old, Verdict::Refuse(code));
    }

    #[test]
    fn a_gap_is_refused_and_a_log_without_its_beginning_takes_any_start() {
        let mut producers = Producers::default();
        let gap = Verdict::Refuse(ResponseError::OutOfOrderSequenceNumber);
        assert_eq!(producers.judge(&header(1, 9, 0, 5)), gap);
        written(&mut producers, &header(5, 9, 0, 0), 0);
        assert_eq!(producers.judge(&header(1, 9, 0, 6)), gap);
        written(&mut producers, &header(1, 9, 0, 5), 5);
        producers.may_have_forgotten();
        assert_eq!(producers.judge(&header(1, 10, 0, 5)), Verdict::Append);
    }

    #[test]
    fn a_new_epoch_begins_at_zero_and_the_old_one_is_fenced() {
        let mut producers = Producers::default();
        written(&mut producers, &header(3, 9, 0, 0), 0);
        let gap = Verdict::Refuse(ResponseError::OutOfOrderSequenceNumber);
        assert_eq!(producers.judge(&header(1, 9, 1, 3)), gap);
        written(&mut producers, &header(1, 9, 1, 0), 3);
        let fenced = Verdict::Refuse(ResponseError::InvalidProducerEpoch);
        assert_eq!(producers.judge(&header(1, 9, 0, 3)), fenced);
    }

    #[test]
    fn sequences_go_round() {
        let mut producers = Producers::default();
        producers.may_have_forgotten();
        written(&mut producers, &header(3, 9, 0, i32::MAX - 1), 0);
        // Max - 1, max, 0: the next is 1.
        written(&mut producers, &header(1, 9, 0, 1), 3);
        let again = producers.judge(&header(3, 9, 0, i32::MAX - 1));
        assert_eq!(again, Verdict::Duplicate(0));
    }

    #[test]
    fn memory_is_bounded() {
        let mut producers = Producers::default();
        for id in 0..=10_000 {
            written(&mut producers, &header(1, id, 0, 0), id);
        }
        assert_eq!(producers.known.len(), MAX_PRODUCERS);
        assert!(!producers.known.contains_key(&0));
        assert_eq!(producers.highest_id(), Some(10_000));
    }
}
