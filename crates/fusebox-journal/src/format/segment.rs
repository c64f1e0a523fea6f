//! The header of a segment, and the name of its file.

use super::frame::MAX_POSITION;
use super::{HeaderFault, align_up, array_at, check_header, make_header, u32_at, u64_at};

/// Bytes of every header.
pub(crate) const HEADER: usize = 512;

const MAGIC: [u8; 8] = *b"FBXJSEG\0";

/// How bodies are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Clear,
    /// The data key, wrapped.
    Sealed {
        key_name: [u8; 16],
        nonce: [u8; 24],
        wrapped: [u8; 48],
    },
}

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) journal: [u8; 16],
    pub(crate) number: u64,
    pub(crate) first: u64,
    pub(crate) salt: u64,
    pub(crate) size: u64,
    pub(crate) alignment: u32,
    pub(crate) codec: Codec,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; HEADER] {
        make_header(MAGIC, |bytes| {
            bytes[16..32].copy_from_slice(&self.journal);
            bytes[32..40].copy_from_slice(&self.number.to_le_bytes());
            bytes[40..48].copy_from_slice(&self.first.to_le_bytes());
            bytes[48..56].copy_from_slice(&self.salt.to_le_bytes());
            bytes[56..64].copy_from_slice(&self.size.to_le_bytes());
            bytes[64..68].copy_from_slice(&self.alignment.to_le_bytes());
            if let Codec::Sealed {
                key_name,
                nonce,
                wrapped,
            } = &self.codec
            {
                bytes[12..16].copy_from_slice(&1_u32.to_le_bytes());
                bytes[72..88].copy_from_slice(key_name);
                bytes[88..112].copy_from_slice(nonce);
                bytes[112..160].copy_from_slice(wrapped);
            }
        })
    }

    pub(crate) fn decode(bytes: &[u8; HEADER]) -> Result<Self, HeaderFault> {
        check_header(bytes, MAGIC)?;
        let codec = match u32_at(bytes, 12) {
            0 => Codec::Clear,
            1 => Codec::Sealed {
                key_name: array_at(bytes, 72),
                nonce: array_at(bytes, 88),
                wrapped: array_at(bytes, 112),
            },
            _ => return Err(HeaderFault::Invalid),
        };
        let header = Self {
            journal: array_at(bytes, 16),
            number: u64_at(bytes, 32),
            first: u64_at(bytes, 40),
            salt: u64_at(bytes, 48),
            size: u64_at(bytes, 56),
            alignment: u32_at(bytes, 64),
            codec,
        };
        let sane = header.alignment.is_power_of_two()
            && (512..=65_536).contains(&header.alignment)
            && (4096..=1 << 30).contains(&header.size)
            && header.size >= 2 * header.data_start()
            && header.first < MAX_POSITION;
        if sane {
            Ok(header)
        } else {
            Err(HeaderFault::Invalid)
        }
    }

    /// Where the first group begins.
    pub(crate) fn data_start(&self) -> u64 {
        align_up(HEADER as u64, self.alignment.into())
    }

    /// Where groups must end.
    pub(crate) fn data_end(&self) -> u64 {
        self.size - self.data_start()
    }
}

/// The name of a segment's file.
pub(crate) fn file_name(number: u64, first: u64) -> String {
    format!("{number:016x}-{first:016x}.seg")
}

/// Number and first position of a file name, if it is a segment's.
pub(crate) fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (number, first) = name.strip_suffix(".seg")?.split_once('-')?;
    let hex = |text: &str| {
        let plain = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        u64::from_str_radix(text, 16).ok().filter(|_| plain)
    };
    let (number, first) = (hex(number)?, hex(first)?);
    (number < u64::MAX && (1..MAX_POSITION).contains(&first)).then_some((number, first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_are_not_ours() {
        assert_eq!(parse_name(&file_name(7, 100_001)), Some((7, 100_001)));
        assert_eq!(
            file_name(7, 100_001),
            "0000000000000007-00000000000186a1.seg"
        );
        for other in ["spare", "7-1.seg", "+000000000000007-00000000000186a1.seg"] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}
