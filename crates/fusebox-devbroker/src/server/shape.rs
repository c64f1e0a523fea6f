//! What requests look like, so that one that lies about itself is refused before it costs anything.
//!
//! The generated decoders reserve memory for as many elements as an array claims to have. Here each
//! request is walked once, and may claim no more than it brings.

use bytes::Buf as _;
use kafka_protocol::messages::ApiKey;

/// Elements of all arrays of a request together.
const MAX_ELEMENTS: usize = 100_000;

/// A field.
#[derive(Debug, Clone, Copy)]
enum Field {
    /// So many bytes.
    Fixed(usize),
    /// A string, or none.
    Text,
    /// Bytes, or none.
    Blob,
    /// An array, or none.
    Array(&'static [Since]),
    /// A field that is gone after this version.
    Until(i16, &'static Field),
}

/// A field and the first version that has it.
type Since = (i16, Field);

use Field::{Array, Blob, Fixed, Text, Until};

const I8: Field = Fixed(1);
const I16: Field = Fixed(2);
const I32: Field = Fixed(4);
const I64: Field = Fixed(8);

/// The fields of a request, in the versions we take. `None` for one without arrays.
fn fields(api: ApiKey) -> Option<&'static [Since]> {
    Some(match api {
        ApiKey::Metadata => &[(0, Array(&[(0, Text)])), (4, I8), (8, I8), (8, I8)],
        ApiKey::Produce => &[
            (3, Text),
            (0, I16),
            (0, I32),
            (0, Array(&[(0, Text), (0, Array(&[(0, I32), (0, Blob)]))])),
        ],
        ApiKey::Fetch => &[
            (0, I32),
            (0, I32),
            (0, I32),
            (3, I32),
            (4, I8),
            (7, I32),
            (7, I32),
            (
                0,
                Array(&[
                    (0, Text),
                    (
                        0,
                        Array(&[(0, I32), (9, I32), (0, I64), (5, I64), (0, I32)]),
                    ),
                ]),
            ),
            (7, Array(&[(0, Text), (0, Array(&[(0, I32)]))])),
            (11, Text),
        ],
        ApiKey::ListOffsets => &[
            (0, I32),
            (2, I8),
            (
                0,
                Array(&[(0, Text), (0, Array(&[(0, I32), (4, I32), (0, I64)]))]),
            ),
        ],
        ApiKey::JoinGroup => &[
            (0, Text),
            (0, I32),
            (1, I32),
            (0, Text),
            (0, Text),
            (0, Array(&[(0, Text), (0, Blob)])),
        ],
        ApiKey::SyncGroup => &[
            (0, Text),
            (0, I32),
            (0, Text),
            (0, Array(&[(0, Text), (0, Blob)])),
        ],
        ApiKey::OffsetCommit => &[
            (0, Text),
            (1, I32),
            (1, Text),
            (2, Until(4, &I64)),
            (
                0,
                Array(&[
                    (0, Text),
                    (0, Array(&[(0, I32), (0, I64), (6, I32), (0, Text)])),
                ]),
            ),
        ],
        ApiKey::OffsetFetch => &[(0, Text), (0, Array(&[(0, Text), (0, Array(&[(0, I32)]))]))],
        ApiKey::CreateTopics => &[
            (
                0,
                Array(&[
                    (0, Text),
                    (0, I32),
                    (0, I16),
                    (0, Array(&[(0, I32), (0, Array(&[(0, I32)]))])),
                    (0, Array(&[(0, Text), (0, Text)])),
                ]),
            ),
            (0, I32),
            (1, I8),
        ],
        ApiKey::DeleteTopics => &[(0, Array(&[(0, Text)])), (0, I32)],
        ApiKey::DescribeConfigs => &[
            (0, Array(&[(0, I8), (0, Text), (0, Array(&[(0, Text)]))])),
            (1, I8),
            (3, I8),
        ],
        ApiKey::DescribeGroups => &[(0, Array(&[(0, Text)])), (3, I8)],
        ApiKey::DeleteGroups => &[(0, Array(&[(0, Text)]))],
        _ => return None,
    })
}

/// Whether a request's body brings what it claims.
pub(crate) fn is_honest(api: ApiKey, version: i16, mut body: &[u8]) -> bool {
    let mut elements = 0;
    match fields(api) {
        Some(fields) => walk(version, fields, &mut body, &mut elements).is_some(),
        None => true,
    }
}

fn walk(version: i16, fields: &[Since], body: &mut &[u8], elements: &mut usize) -> Option<()> {
    for (since, field) in fields {
        if version >= *since {
            step(version, field, body, elements)?;
        }
    }
    Some(())
}

fn step(version: i16, field: &Field, body: &mut &[u8], elements: &mut usize) -> Option<()> {
    match field {
        Fixed(bytes) => skip(body, *bytes),
        Text => {
            let length = body.try_get_i16().ok()?;
            skip(body, usize::try_from(length).unwrap_or(0))
        }
        Blob => {
            let length = body.try_get_i32().ok()?;
            skip(body, usize::try_from(length).unwrap_or(0))
        }
        Array(of) => {
            let length = body.try_get_i32().ok()?;
            let length = usize::try_from(length).unwrap_or(0);
            *elements = elements.checked_add(length)?;
            if *elements > MAX_ELEMENTS {
                return None;
            }
            (0..length).try_for_each(|_| walk(version, of, body, elements))
        }
        Until(last, field) if version <= *last => step(version, field, body, elements),
        Until(..) => Some(()),
    }
}

fn skip(body: &mut &[u8], bytes: usize) -> Option<()> {
    *body = body.get(bytes..)?;
    Some(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Bytes of a body that the walk leaves over.
    pub(crate) fn left_over(api: ApiKey, version: i16, mut body: &[u8]) -> Option<usize> {
        let fields = fields(api)?;
        walk(version, fields, &mut body, &mut 0)?;
        Some(body.len())
    }

    #[test]
    fn an_array_that_claims_more_than_it_brings_is_refused() {
        let honest = [0, 0, 0, 1, 0, 1, b'a'];
        assert!(is_honest(ApiKey::Metadata, 1, &honest));
        for claim in [2_i32, 1000, i32::MAX] {
            let mut lie = honest;
            lie[..4].copy_from_slice(&claim.to_be_bytes());
            assert!(!is_honest(ApiKey::Metadata, 1, &lie));
        }
        // Two bytes each: all there, but too many.
        let mut many = 100_001_i32.to_be_bytes().to_vec();
        many.resize(4 + 2 * 100_001, 0);
        assert!(!is_honest(ApiKey::Metadata, 1, &many));
    }
}
