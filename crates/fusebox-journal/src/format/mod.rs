//! The bytes on disk, as `docs/design/journal.md` draws them: headers, records, cursor slots, tags.

pub(crate) mod frame;
#[cfg(test)]
mod golden;
pub(crate) mod segment;
pub(crate) mod slot;
pub(crate) mod tags;
pub(crate) mod window;

pub(crate) use frame::FRAME_HEAD;
pub(crate) use segment::HEADER;

/// The version that is written; a higher major one is refused.
pub(crate) const MAJOR: u16 = 1;
pub(crate) const MINOR: u16 = 0;

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

pub(crate) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

/// A number of bytes in memory.
pub(crate) fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).expect("what is held in memory has an address")
}

/// The next multiple of `step`, a power of two.
pub(crate) fn align_up(value: u64, step: u64) -> u64 {
    (value + step - 1) & !(step - 1)
}

/// A file that cannot be used as what its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// Not ours, or damaged.
    Invalid,
    /// Ours, and of an unknown major version.
    Version(u16),
}

/// Magic, version and checksum of a header of 512 bytes.
pub(crate) fn check_header(bytes: &[u8; HEADER], magic: [u8; 8]) -> Result<(), HeaderFault> {
    let sum = u32_at(bytes, HEADER - 4);
    if bytes[..8] != magic || sum != crc32c::crc32c(&bytes[..HEADER - 4]) {
        return Err(HeaderFault::Invalid);
    }
    match u16_at(bytes, 8) {
        MAJOR => Ok(()),
        other => Err(HeaderFault::Version(other)),
    }
}

/// Writes magic, version and, last of all, the checksum round what `fill` writes.
pub(crate) fn make_header(magic: [u8; 8], fill: impl FnOnce(&mut [u8])) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(&magic);
    bytes[8..10].copy_from_slice(&MAJOR.to_le_bytes());
    bytes[10..12].copy_from_slice(&MINOR.to_le_bytes());
    fill(&mut bytes);
    let sum = crc32c::crc32c(&bytes[..HEADER - 4]);
    bytes[HEADER - 4..].copy_from_slice(&sum.to_le_bytes());
    bytes
}
