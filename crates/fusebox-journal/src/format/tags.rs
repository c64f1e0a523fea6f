//! Tags of a record: numbered values that older programs keep and ignore.

use super::u16_at;

pub(crate) const ORIGIN: u8 = 1;
pub(crate) const CODE: u8 = 2;
pub(crate) const REASON: u8 = 3;
pub(crate) const FIRST_REASON: u8 = 4;
pub(crate) const ATTEMPTS: u8 = 5;
pub(crate) const BURIED_AT: u8 = 6;
pub(crate) const REQUEUED_FROM: u8 = 7;

/// The longest text of one tag in bytes; longer ones are cut.
pub(crate) const MAX_TEXT: usize = 4096;

pub(crate) fn push(tags: &mut Vec<u8>, number: u8, value: &[u8]) {
    let length = u16::try_from(value.len()).expect("values are cut to a few thousand bytes");
    tags.push(number);
    tags.extend_from_slice(&length.to_le_bytes());
    tags.extend_from_slice(value);
}

pub(crate) fn push_text(tags: &mut Vec<u8>, number: u8, text: &str) {
    push(
        tags,
        number,
        &text.as_bytes()[..text.floor_char_boundary(MAX_TEXT)],
    );
}

/// The value of the first tag with this number.
pub(crate) fn get(mut tags: &[u8], number: u8) -> Option<&[u8]> {
    while tags.len() >= 3 {
        let end = 3 + usize::from(u16_at(tags, 1));
        let value = tags.get(3..end)?;
        if tags[0] == number {
            return Some(value);
        }
        tags = &tags[end..];
    }
    None
}

pub(crate) fn get_u64(tags: &[u8], number: u8) -> Option<u64> {
    Some(u64::from_le_bytes(get(tags, number)?.try_into().ok()?))
}

pub(crate) fn get_text(tags: &[u8], number: u8) -> Option<String> {
    Some(String::from_utf8_lossy(get(tags, number)?).into_owned())
}
