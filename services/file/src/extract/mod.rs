//! Turns an uploaded file of any supported kind into clean, validated plain text.
//!
//! Everything here is pure: bytes in, text or a typed reason out. The kind of a file is
//! decided by its content; the name only helps to word a refusal.
//!
//! | content | result |
//! |---|---|
//! | UTF-8, UTF-16 with a byte order mark, a legacy encoding that reads as text | text |
//! | Word document (`.docx`) | body text with tables; no headers, footers, notes, comments or deleted text |
//! | PDF with a text layer | text with its paragraphs put together again |
//! | password-protected document | [`ExtractError::Encrypted`] |
//! | legacy `.doc`, `.odt`, `.rtf`, spreadsheets, pictures | [`ExtractError::Unsupported`] |
//! | scanned PDF, empty or blank file | [`ExtractError::Empty`] |
//! | anything else | [`ExtractError::NotText`] or [`ExtractError::Damaged`] |

mod clean;
mod docx;
mod pdf;
mod plain;
mod rules;
mod sniff;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use rules::TextRules;

/// Most bytes that one file may unpack to; a guard against decompression bombs.
const MAX_UNPACKED_BYTES: usize = 32 * 1024 * 1024;
/// Most characters taken out of one file. Far above any essay; extraction stops here.
const MAX_EXTRACTED_CHARS: usize = 1_000_000;

/// What a file was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Plain text in some encoding.
    PlainText,
    /// A Word document in Office Open XML.
    Docx,
    /// A PDF document.
    Pdf,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PlainText => "text file",
            Self::Docx => "Word document",
            Self::Pdf => "PDF",
        })
    }
}

/// The clean text of one file: NFC, `\n` line ends, no control characters but tab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtractedText {
    /// The text itself; never blank.
    pub text: String,
    /// What the file was found to be.
    pub format: Format,
    /// Length of the text in Unicode characters.
    pub characters: usize,
}

/// Why a file gave no usable text. Always the file's own fault, never a passing one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// The file holds no text at all: no bytes, only blanks, or pictures of text.
    #[error("the {what} holds no text")]
    Empty {
        /// What was found to be empty, for example `file` or `PDF`.
        what: &'static str,
    },
    /// The text is shorter than the rules allow.
    #[error("the text has {characters} characters, at least {min} are needed")]
    TooShort {
        /// Characters found.
        characters: usize,
        /// Fewest characters allowed.
        min: usize,
    },
    /// The text is longer than the rules allow.
    #[error("the text has {characters} characters or more, at most {max} are allowed")]
    TooLong {
        /// Characters found; extraction stops early on absurd lengths.
        characters: usize,
        /// Most characters allowed.
        max: usize,
    },
    /// The document can be opened with a password only.
    #[error("the {what} is protected by a password")]
    Encrypted {
        /// The kind of document.
        what: &'static str,
    },
    /// A known kind of file that is not read here.
    #[error("a {what} cannot be read; use .txt, .docx or .pdf")]
    Unsupported {
        /// The kind of file.
        what: &'static str,
    },
    /// Neither a document nor text in any encoding.
    #[error("the file is neither a document nor text{}", hint(*expected))]
    NotText {
        /// What the file's name promised, where it promised something.
        expected: Option<Format>,
    },
    /// The document is of a supported kind but broken, or unpacks to an absurd size.
    #[error("the {format} is damaged: {reason}")]
    Damaged {
        /// The kind of document.
        format: Format,
        /// What is broken.
        reason: &'static str,
        /// The reader's own error, where it gave one.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The caller gave the file up.
    #[error("the file cannot be read: {what}")]
    Unreadable {
        /// What went wrong.
        what: &'static str,
    },
}

impl ExtractError {
    fn damaged(format: Format, reason: &'static str) -> Self {
        Self::Damaged {
            format,
            reason,
            source: None,
        }
    }

    fn damaged_by(
        format: Format,
        reason: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Damaged {
            format,
            reason,
            source: Some(source.into()),
        }
    }
}

/// Extracts the clean text of a file of any supported kind.
///
/// `file_name` is used for wording only. The text is not yet held against length rules: see
/// [`TextRules::check`].
///
/// This is bounded in memory but takes processor time in proportion to the file (a few
/// milliseconds for an essay), so call it on a blocking thread.
///
/// # Errors
/// [`ExtractError`] when the file gives no text. A reader that panics on a malformed document
/// is reported as [`ExtractError::Damaged`].
pub fn extract(file_name: &str, bytes: &[u8]) -> Result<ExtractedText, ExtractError> {
    let kind = sniff::kind(bytes);
    // The readers of two large formats meet hostile input here; a bug of theirs must cost one
    // file, not the worker.
    let outcome = catch_unwind(AssertUnwindSafe(|| match kind {
        sniff::Kind::Empty => Err(ExtractError::Empty { what: "file" }),
        sniff::Kind::Refused(what) => Err(ExtractError::Unsupported { what }),
        sniff::Kind::Encrypted(what) => Err(ExtractError::Encrypted { what }),
        sniff::Kind::Zip => docx::text(bytes).map(|text| (text, Format::Docx)),
        sniff::Kind::Pdf => pdf::text(bytes).map(|text| (text, Format::Pdf)),
        sniff::Kind::MaybeText => plain::text(bytes)
            .map(|text| (text, Format::PlainText))
            .ok_or_else(|| ExtractError::NotText {
                expected: promised(file_name),
            }),
    }));
    let (raw, format) = match outcome {
        Ok(result) => result?,
        Err(_panic) => {
            let format = if kind == sniff::Kind::Pdf {
                Format::Pdf
            } else {
                Format::Docx
            };
            return Err(ExtractError::damaged(format, "its reader gave up"));
        }
    };
    let text = clean::clean(&raw);
    if !text.chars().any(char::is_alphanumeric) {
        return Err(ExtractError::Empty {
            what: match format {
                Format::PlainText => "file",
                Format::Docx => "Word document",
                Format::Pdf => "PDF",
            },
        });
    }
    let characters = text.chars().count();
    Ok(ExtractedText {
        text,
        format,
        characters,
    })
}

/// What the ending of a file name promises, where it is one of ours.
fn promised(file_name: &str) -> Option<Format> {
    let (_, ending) = file_name.rsplit_once('.')?;
    match ending.to_ascii_lowercase().as_str() {
        "docx" => Some(Format::Docx),
        "pdf" => Some(Format::Pdf),
        _ => None,
    }
}

fn hint(expected: Option<Format>) -> String {
    expected.map_or_else(String::new, |format| {
        format!(", although its name says {format}")
    })
}
