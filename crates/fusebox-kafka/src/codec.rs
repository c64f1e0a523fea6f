//! A record as bytes for a journal; the bytes are pinned by a test.
//!
//! ```text
//! 0   version, 1
//! 1   flags: bit 0, there is a key; unknown bits are ignored
//! 2   number of headers (2 bytes)
//! 4   length of the key (4 bytes)
//! 8   key, UTF-8
//!     for each header: length of the name (2), length of the value (4), name, value, both UTF-8
//!     payload, to the end
//! ```
//!
//! Numbers are little-endian. Topic, event id and time of admission stand in the journal's own head of
//! the record; its checksum covers all of it.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

const VERSION: u8 = 1;
const HAS_KEY: u8 = 1;

/// Bytes that are no record of a version this program reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("a record of version {0}, this program reads version {VERSION}")]
    Version(u8),
    #[error("the bytes of a record end too early")]
    Short,
    #[error("the {0} of a record is not text")]
    Text(&'static str),
}

/// Key, headers and payload of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) key: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) payload: Bytes,
}

/// What is too large for the format; a record that passed the publisher's checks never is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record has more headers, or longer ones, than can be kept")]
pub(crate) struct EncodeError;

pub(crate) fn encode(
    key: Option<&str>,
    headers: &[(String, String)],
    payload: &[u8],
) -> Result<Bytes, EncodeError> {
    let texts: usize = headers.iter().map(|(n, v)| 6 + n.len() + v.len()).sum();
    let key_bytes = key.unwrap_or_default().as_bytes();
    let mut out = BytesMut::with_capacity(8 + key_bytes.len() + texts + payload.len());
    out.put_u8(VERSION);
    out.put_u8(if key.is_some() { HAS_KEY } else { 0 });
    out.put_u16_le(u16::try_from(headers.len()).map_err(|_| EncodeError)?);
    out.put_u32_le(u32::try_from(key_bytes.len()).map_err(|_| EncodeError)?);
    out.put_slice(key_bytes);
    for (name, value) in headers {
        out.put_u16_le(u16::try_from(name.len()).map_err(|_| EncodeError)?);
        out.put_u32_le(u32::try_from(value.len()).map_err(|_| EncodeError)?);
        out.put_slice(name.as_bytes());
        out.put_slice(value.as_bytes());
    }
    out.put_slice(payload);
    Ok(out.freeze())
}

/// Reads what [`encode`] wrote; the payload shares the memory of `data`.
pub(crate) fn decode(mut data: Bytes) -> Result<Content, DecodeError> {
    let version = *data.first().ok_or(DecodeError::Short)?;
    if version != VERSION {
        return Err(DecodeError::Version(version));
    }
    if data.len() < 8 {
        return Err(DecodeError::Short);
    }
    data.advance(1);
    let flags = data.get_u8();
    let count = data.get_u16_le();
    let length = data.get_u32_le();
    let key = text(&mut data, length as usize, "key")?;
    let mut headers = Vec::new();
    for _ in 0..count {
        if data.len() < 6 {
            return Err(DecodeError::Short);
        }
        let (name, value) = (data.get_u16_le(), data.get_u32_le());
        let name = text(&mut data, usize::from(name), "header's name")?;
        let value = text(&mut data, value as usize, "header's value")?;
        headers.push((name, value));
    }
    Ok(Content {
        key: (flags & HAS_KEY != 0).then_some(key),
        headers,
        payload: data,
    })
}

fn text(data: &mut Bytes, length: usize, what: &'static str) -> Result<String, DecodeError> {
    if data.len() < length {
        return Err(DecodeError::Short);
    }
    let bytes = data.split_to(length);
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(DecodeError::Text(what)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bytes_are_pinned() {
        let headers = [("a".to_owned(), "xy".to_owned())];
        let data = encode(Some("k"), &headers, b"payload").unwrap();
        let expected = [
            &[1, 1, 1, 0, 1, 0, 0, 0][..],
            b"k",
            &[1, 0, 2, 0, 0, 0],
            b"axy",
            b"payload",
        ];
        assert_eq!(data, expected.concat());
        // No key is not an empty one.
        assert_eq!(
            encode(None, &[], b"").unwrap()[..],
            [1, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(
            decode(encode(Some(""), &[], b"").unwrap())
                .unwrap()
                .key
                .as_deref(),
            Some("")
        );
    }

    #[test]
    fn other_versions_and_broken_bytes_are_refused_by_name() {
        assert_eq!(
            decode(Bytes::from_static(&[2; 20])),
            Err(DecodeError::Version(2))
        );
        assert_eq!(decode(Bytes::new()), Err(DecodeError::Short));
        let mut data = encode(Some("key"), &[], b"").unwrap().to_vec();
        data[8] = 0xff;
        assert_eq!(decode(data.into()), Err(DecodeError::Text("key")));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            key in proptest::option::of(".{0,20}"),
            headers in proptest::collection::vec((".{0,9}", ".{0,30}"), 0..9),
            payload in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let data = encode(key.as_deref(), &headers, &payload).unwrap();
            let expected = Content { key, headers, payload: payload.into() };
            prop_assert_eq!(decode(data).unwrap(), expected);
        }

        #[test]
        fn no_bytes_make_it_panic(data in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut data = data;
            if let Some(first) = data.first_mut() {
                *first = VERSION;
            }
            drop(decode(data.into()));
        }
    }
}
