//! The header of a record batch (format version 2 of Kafka), and what is checked before one is
//! stored or served. The records inside stay as the producer made them.

use bytes::Buf as _;
use kafka_protocol::ResponseError;
use thiserror::Error;

/// Bytes of a batch before its records.
pub(crate) const HEADER_BYTES: usize = 61;
/// Bytes before the length field counts, itself included.
const BEFORE_LENGTH: usize = 12;
/// Where the bytes that the checksum covers begin.
const CHECKSUMMED_FROM: usize = 21;

const COMPRESSION: i16 = 0b111;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// What the header of a batch says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    /// Offset of the first record.
    pub(crate) base_offset: i64,
    /// Offset of the last record.
    pub(crate) last_offset: i64,
    /// Bytes of the whole batch.
    pub(crate) bytes: usize,
    /// Time of the first record, milliseconds since 1970.
    pub(crate) base_timestamp: i64,
    /// Latest time of a record.
    pub(crate) max_timestamp: i64,
    /// Who made it, -1 when the producer is not idempotent.
    pub(crate) producer_id: i64,
    /// Incarnation of the producer.
    pub(crate) producer_epoch: i16,
    /// Sequence of the first record.
    pub(crate) base_sequence: i32,
    /// Number of records.
    pub(crate) records: i32,
    crc: u32,
    attributes: i16,
}

/// Why bytes are not a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum BatchError {
    /// It ends before it is complete.
    #[error("the batch ends early")]
    Short,
    /// Something follows it.
    #[error("more than one batch")]
    Trailing,
    /// A format of records before version 2, or none.
    #[error("record format {0} is not supported")]
    Format(i8),
    /// Its checksum does not fit its bytes.
    #[error("the checksum does not fit")]
    Checksum,
    /// Its counts contradict each other.
    #[error("the counts of the batch contradict each other")]
    Counts,
    /// A compression that does not exist.
    #[error("compression {0} is not known")]
    Compression(i16),
    /// Part of a transaction.
    #[error("transactions are not supported")]
    Transactional,
}

impl BatchError {
    /// The code a producer gets.
    pub(crate) fn code(self) -> ResponseError {
        match self {
            Self::Short | Self::Checksum => ResponseError::CorruptMessage,
            Self::Trailing | Self::Counts => ResponseError::InvalidRecord,
            Self::Format(_) => ResponseError::UnsupportedForMessageFormat,
            Self::Compression(_) => ResponseError::UnsupportedCompressionType,
            Self::Transactional => ResponseError::InvalidTxnState,
        }
    }
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`; the records need not be there yet.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        // The format is in the same place in every version, and an older header is shorter.
        if let Some(&format) = bytes.get(16)
            && format != 2
        {
            return Err(BatchError::Format(format.cast_signed()));
        }
        let mut header: &[u8] = bytes
            .first_chunk::<HEADER_BYTES>()
            .ok_or(BatchError::Short)?;
        let base_offset = header.get_i64();
        let length = header.get_i32();
        let _leader_epoch = header.get_i32();
        let _format = header.get_i8();
        let crc = header.get_u32();
        let attributes = header.get_i16();
        let last_offset_delta = header.get_i32();
        let base_timestamp = header.get_i64();
        let max_timestamp = header.get_i64();
        let producer_id = header.get_i64();
        let producer_epoch = header.get_i16();
        let base_sequence = header.get_i32();
        let records = header.get_i32();
        let bytes = usize::try_from(length)
            .ok()
            .and_then(|length| length.checked_add(BEFORE_LENGTH))
            .filter(|bytes| *bytes >= HEADER_BYTES)
            .ok_or(BatchError::Counts)?;
        // A batch that compaction has emptied can have fewer records; nothing here compacts.
        if records < 1 || last_offset_delta != records - 1 {
            return Err(BatchError::Counts);
        }
        let last_offset = base_offset
            .checked_add(i64::from(last_offset_delta))
            .filter(|_| base_offset >= 0)
            .ok_or(BatchError::Counts)?;
        Ok(Self {
            base_offset,
            last_offset,
            bytes,
            base_timestamp,
            max_timestamp,
            producer_id,
            producer_epoch,
            base_sequence,
            records,
            crc,
            attributes,
        })
    }

    /// Whether `batch`, which begins with this header, is complete and has its checksum.
    pub(crate) fn verify(&self, batch: &[u8]) -> Result<(), BatchError> {
        let batch = batch.get(..self.bytes).ok_or(BatchError::Short)?;
        let covered = batch.get(CHECKSUMMED_FROM..).ok_or(BatchError::Short)?;
        if crc32c::crc32c(covered) == self.crc {
            Ok(())
        } else {
            Err(BatchError::Checksum)
        }
    }

    /// Reads and checks what a producer sent: exactly one whole batch.
    pub(crate) fn from_producer(bytes: &[u8]) -> Result<Self, BatchError> {
        let header = Self::parse(bytes)?;
        header.verify(bytes)?;
        if bytes.len() != header.bytes {
            return Err(BatchError::Trailing);
        }
        if header.attributes & (TRANSACTIONAL | CONTROL) != 0 {
            return Err(BatchError::Transactional);
        }
        let compression = header.attributes & COMPRESSION;
        if compression > 4 {
            return Err(BatchError::Compression(compression));
        }
        let idempotent = header.producer_id >= 0;
        if idempotent && (header.base_sequence < 0 || header.producer_epoch < 0) {
            return Err(BatchError::Counts);
        }
        if compression == 0 {
            let records = bytes.get(HEADER_BYTES..).unwrap_or_default();
            check_records(records, header.records)?;
        }
        Ok(header)
    }

    /// The same batch with the offset it gets in the log.
    pub(crate) fn at_offset(&self, base_offset: i64) -> Self {
        let delta = self.last_offset - self.base_offset;
        Self {
            base_offset,
            last_offset: base_offset + delta,
            ..*self
        }
    }

    /// `batch` with its offset in the log written into it. The checksum does not cover the offset.
    pub(crate) fn stamped(&self, batch: &[u8]) -> Vec<u8> {
        let mut stored = batch.to_vec();
        if let Some(offset) = stored.first_chunk_mut::<8>() {
            *offset = self.base_offset.to_be_bytes();
        }
        // Epoch of the leader, which is always the first.
        if let Some(epoch) = stored.get_mut(12..16) {
            epoch.fill(0);
        }
        stored
    }
}

/// Whether `bytes` are `count` records, numbered from 0. A consumer would stumble over others for
/// ever, so they are turned away here.
fn check_records(mut bytes: &[u8], count: i32) -> Result<(), BatchError> {
    for number in 0..i64::from(count) {
        let length = varint(&mut bytes).ok_or(BatchError::Counts)?;
        let length = usize::try_from(length).map_err(|_| BatchError::Counts)?;
        let (mut record, rest) = bytes.split_at_checked(length).ok_or(BatchError::Counts)?;
        bytes = rest;
        let (_attributes, after) = record.split_first().ok_or(BatchError::Counts)?;
        record = after;
        varint(&mut record).ok_or(BatchError::Counts)?;
        if varint(&mut record) != Some(number) {
            return Err(BatchError::Counts);
        }
    }
    if bytes.is_empty() {
        Ok(())
    } else {
        Err(BatchError::Counts)
    }
}

/// Takes a zigzag number of at most ten bytes.
fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some((value >> 1).cast_signed() ^ -((value & 1).cast_signed()));
        }
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use bytes::BufMut as _;
    use proptest::prelude::*;

    use super::*;

    /// A batch as a producer sends it.
    pub(crate) fn batch(values: &[&str], producer: i64, epoch: i16, sequence: i32) -> Vec<u8> {
        batch_at(values, producer, epoch, sequence, 1_700_000_000_000)
    }

    pub(crate) fn batch_at(
        values: &[&str],
        producer: i64,
        epoch: i16,
        sequence: i32,
        time: i64,
    ) -> Vec<u8> {
        let count = i32::try_from(values.len()).unwrap();
        let mut covered = Vec::new();
        covered.put_i16(0);
        covered.put_i32(count - 1);
        covered.put_i64(time);
        covered.put_i64(time);
        covered.put_i64(producer);
        covered.put_i16(epoch);
        covered.put_i32(sequence);
        covered.put_i32(count);
        for (number, value) in values.iter().enumerate() {
            let mut record = vec![0, 0];
            record.push(u8::try_from(number).unwrap() * 2);
            record.push(1);
            record.push(u8::try_from(value.len()).unwrap() * 2);
            record.extend(value.as_bytes());
            record.push(0);
            covered.push(u8::try_from(record.len()).unwrap() * 2);
            covered.extend(record);
        }
        let mut batch = Vec::new();
        batch.put_i64(0);
        batch.put_i32(i32::try_from(covered.len() + 9).unwrap());
        batch.put_i32(-1);
        batch.put_u8(2);
        batch.put_u32(crc32c::crc32c(&covered));
        batch.extend(covered);
        batch
    }

    #[test]
    fn a_batch_is_read_and_stamped() {
        let bytes = batch(&["a", "b", "c"], 7, 1, 40);
        let header = BatchHeader::from_producer(&bytes).unwrap();
        assert_eq!((header.records, header.bytes), (3, bytes.len()));
        let stored = header.at_offset(100).stamped(&bytes);
        let again = BatchHeader::parse(&stored).unwrap();
        again.verify(&stored).unwrap();
        assert_eq!((again.base_offset, again.last_offset), (100, 102));
        assert_eq!((again.producer_id, again.base_sequence), (7, 40));
    }

    #[test]
    fn what_is_not_exactly_one_batch_is_refused() {
        let good = batch(&["abc"], -1, -1, -1);
        let refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = good.clone();
            change(&mut bytes);
            BatchHeader::from_producer(&bytes).unwrap_err()
        };
        assert_eq!(refused(&|b| b.truncate(60)), BatchError::Short);
        assert_eq!(refused(&|b| b.truncate(b.len() - 1)), BatchError::Short);
        assert_eq!(refused(&|b| b.push(0)), BatchError::Trailing);
        assert_eq!(refused(&|b| b[16] = 1), BatchError::Format(1));
        assert_eq!(
            refused(&|b| *b.last_mut().unwrap() ^= 1),
            BatchError::Checksum
        );
        assert_eq!(refused(&|b| b[26] = 9), BatchError::Counts);
        let forge = |at: usize, value: u8| {
            refused(&|b| {
                b[at] = value;
                let crc = crc32c::crc32c(&b[21..]);
                b[17..21].copy_from_slice(&crc.to_be_bytes());
            })
        };
        assert_eq!(forge(22, 0x10), BatchError::Transactional);
        assert_eq!(forge(22, 5), BatchError::Compression(5));
        // The record is said to be longer than it is, or to have another number.
        assert_eq!(forge(61, 40), BatchError::Counts);
        assert_eq!(forge(64, 2), BatchError::Counts);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(BatchHeader::from_producer(&bytes).is_err());
        }

        #[test]
        fn no_changed_byte_goes_unnoticed(at in 8_usize..70, flip in 1_u8..) {
            let mut bytes = batch(&["some value"], 3, 0, 0);
            let at = at % bytes.len();
            // The offset and the leader's epoch are the broker's to write.
            prop_assume!(!(0..8).contains(&at) && !(12..16).contains(&at));
            bytes[at] ^= flip;
            prop_assert!(BatchHeader::from_producer(&bytes).is_err());
        }
    }
}
