//! Identifiers and short names, each with a type of its own and checked when it is read.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::Language;
use crate::macros::{random_id, text_impls, text_type};

/// A text that cannot be the id or name it was meant to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {why}")]
pub struct InvalidText {
    what: &'static str,
    why: Why,
}

impl InvalidText {
    /// The type that refused the text, for example `BatchId`.
    pub fn what(&self) -> &'static str {
        self.what
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Why {
    #[error("must not be blank")]
    Blank,
    #[error("must have at most {max} characters, not {chars}")]
    TooLong { max: usize, chars: usize },
    #[error("must not hold control characters")]
    Control,
    #[error("must be 32 lower-case hexadecimal digits")]
    NotHex,
    #[error("must be a UUID")]
    NotUuid,
    #[error("must be U, a letter A to F with an optional + or -, or a digit 0 to 9")]
    NotGrade,
}

pub(crate) fn check_text(what: &'static str, text: &str, max: usize) -> Result<(), InvalidText> {
    let refuse = |why| Err(InvalidText { what, why });
    if text.trim().is_empty() {
        return refuse(Why::Blank);
    }
    let chars = text.chars().count();
    if chars > max {
        return refuse(Why::TooLong { max, chars });
    }
    if text.chars().any(char::is_control) {
        return refuse(Why::Control);
    }
    Ok(())
}

text_type! {
    /// One batch of essays, made by the Batch Orchestrator at registration.
    pub struct BatchId(max = 255);
}
text_type! {
    /// One slot of a batch that an essay takes, made by the Batch Orchestrator at registration.
    pub struct EssayId(max = 255);
}
text_type! {
    /// One uploaded file, made by the File Service; two files with the same text have two ids.
    pub struct FileUploadId(max = 255);
}
text_type! {
    /// The person who owns a batch: the subject of the identity token.
    pub struct UserId(max = 255);
}
text_type! {
    /// The organisation of a user, when there is one.
    pub struct OrgId(max = 255);
}
text_type! {
    /// A school class, made by Class Management.
    pub struct ClassId(max = 255);
}
text_type! {
    /// A student, made by Class Management.
    pub struct StudentId(max = 255);
}
text_type! {
    /// The assignment that a batch answers.
    pub struct AssignmentId(max = 100);
}
text_type! {
    /// The name of a pipeline that a client may ask for, for example `cj_assessment`.
    ///
    /// Which names exist is the Batch Conductor's knowledge, so an unknown name is refused there.
    pub struct PipelineName(max = 100);
}
text_type! {
    /// The language of a text as its short code, for example `en` or `sv`.
    ///
    /// Kept as text on purpose: a service that does not know a language must be able to read the
    /// request and refuse the essay by name. See [`Language`].
    pub struct LanguageTag(max = 35);
}

impl PipelineName {
    /// The pipeline that ranks a batch: spell-checking, then comparative judgement.
    pub fn cj_assessment() -> Self {
        Self(String::from("cj_assessment"))
    }
}

impl From<Language> for LanguageTag {
    fn from(language: Language) -> Self {
        Self(language.as_str().to_owned())
    }
}

random_id!(BatchId, EssayId, FileUploadId, ClassId, StudentId);

/// A stored content of the Content Service: 32 lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StorageId(String);

impl StorageId {
    /// The number of digits.
    pub const DIGITS: usize = 32;

    /// Checks a text and takes it over.
    ///
    /// # Errors
    /// When the text is not 32 lower-case hexadecimal digits.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidText> {
        let text = text.into();
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == Self::DIGITS && text.bytes().all(digit) {
            Ok(Self(text))
        } else {
            Err(InvalidText {
                what: "StorageId",
                why: Why::NotHex,
            })
        }
    }

    /// The id whose digits spell these bytes, the first byte first.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(bytes)))
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

text_impls!(StorageId);

/// A grade: `U` (none), `A` to `F` with an optional `+` or `-`, or a national step `0` to `9`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LetterGrade(String);

impl LetterGrade {
    /// Checks a text and takes it over.
    ///
    /// # Errors
    /// When the text is none of the grades.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidText> {
        let text = text.into();
        match text.as_bytes() {
            [b'U' | b'0'..=b'9' | b'A'..=b'F'] | [b'A'..=b'F', b'+' | b'-'] => Ok(Self(text)),
            _ => Err(InvalidText {
                what: "LetterGrade",
                why: Why::NotGrade,
            }),
        }
    }

    /// No grade: there were no anchor essays to project one from.
    pub fn ungraded() -> Self {
        Self(String::from("U"))
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

text_impls!(LetterGrade);

/// What ties together everything that happened for one request, across all services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CorrelationId(Uuid);

impl CorrelationId {
    /// Makes a fresh random id.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Reads the header `X-Correlation-ID` of an HTTP request.
    ///
    /// A UUID is taken as it is. Any other text is mapped to a UUID (version 5, OID namespace), so
    /// that the same text gives the same id in every service. A blank text gives a fresh one.
    pub fn from_header(value: &str) -> Self {
        let value = value.trim();
        if value.is_empty() {
            return Self::random();
        }
        Self(
            Uuid::try_parse(value)
                .unwrap_or_else(|_| Uuid::new_v5(&Uuid::NAMESPACE_OID, value.as_bytes())),
        )
    }

    /// The UUID itself.
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }
}

/// One event: sent again it keeps its id, by which consumers know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(Uuid);

impl EventId {
    /// Makes a fresh random id.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The UUID itself.
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }
}

macro_rules! uuid_impls {
    ($($name:ident),+) => {
        $(
            impl std::fmt::Display for $name {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    std::fmt::Display::fmt(&self.0, f)
                }
            }

            impl From<Uuid> for $name {
                fn from(id: Uuid) -> Self {
                    Self(id)
                }
            }

            impl std::str::FromStr for $name {
                type Err = InvalidText;

                fn from_str(text: &str) -> Result<Self, Self::Err> {
                    Uuid::try_parse(text).map(Self).map_err(|_| InvalidText {
                        what: stringify!($name),
                        why: Why::NotUuid,
                    })
                }
            }
        )+
    };
}

uuid_impls!(CorrelationId, EventId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_long_and_control_texts_are_refused() {
        assert!("b-1".parse::<BatchId>().is_ok());
        for bad in ["", "  ", "a\nb", "a\0b", "\u{7f}"] {
            assert!(bad.parse::<BatchId>().is_err(), "{bad:?}");
        }
        assert!(BatchId::new("x".repeat(255)).is_ok());
        assert!(
            BatchId::new("ö".repeat(255)).is_ok(),
            "characters, not bytes"
        );
        let message = BatchId::new("x".repeat(256)).unwrap_err().to_string();
        assert_eq!(message, "BatchId must have at most 255 characters, not 256");
        assert!(AssignmentId::new("x".repeat(101)).is_err());
    }

    #[test]
    fn ids_are_checked_when_read_from_json() {
        assert!(serde_json::from_str::<BatchId>("\"b\"").is_ok());
        assert!(serde_json::from_str::<BatchId>("\"\"").is_err());
        assert!(serde_json::from_str::<StorageId>("\"xyz\"").is_err());
    }

    #[test]
    fn a_storage_id_is_32_lower_case_hex_digits() {
        let id = StorageId::from_bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
        assert_eq!(id.as_str(), "000102030405060708090a0b0c0d0eff");
        assert_eq!(id.as_str().parse::<StorageId>().unwrap(), id);
        for bad in [
            "000102030405060708090A0B0C0D0EFF",
            "000102030405060708090a0b0c0d0ef",
            "000102030405060708090a0b0c0d0efff",
            "g00102030405060708090a0b0c0d0eff",
        ] {
            assert!(bad.parse::<StorageId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn grades_of_every_scale_are_accepted_and_nothing_else() {
        for good in ["U", "A", "F", "E-", "B+", "0", "9"] {
            assert!(good.parse::<LetterGrade>().is_ok(), "{good}");
        }
        for bad in ["", "G", "U+", "10", "a", "A++", "+A", "9+"] {
            assert!(bad.parse::<LetterGrade>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_correlation_header_that_is_no_uuid_is_mapped_the_same_way_everywhere() {
        let uuid = "550e8400-e29b-41d4-a716-446655440000";
        assert_eq!(CorrelationId::from_header(uuid).to_string(), uuid);
        // uuid5(NAMESPACE_OID, "my-request") as other implementations of RFC 9562 compute it.
        let mapped = CorrelationId::from_header(" my-request ");
        assert_eq!(mapped, CorrelationId::from_header("my-request"));
        assert_eq!(mapped.to_string(), "0d6ec3cb-df8b-5805-9dc3-3d0db66985a6");
        assert_ne!(
            CorrelationId::from_header(""),
            CorrelationId::from_header("")
        );
    }

    #[test]
    fn random_ids_differ() {
        assert_ne!(BatchId::random(), BatchId::random());
        assert_ne!(EventId::random(), EventId::random());
    }
}
