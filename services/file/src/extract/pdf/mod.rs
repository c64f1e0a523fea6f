//! Reads the text layer of a PDF: opens it within bounds, walks its pages, and hands the
//! pieces of text with their places to [`layout`].

mod font;
mod layout;
mod page;
mod standard;

use lopdf::{Document, LoadOptions};

use super::{ExtractError, Format, MAX_EXTRACTED_CHARS, MAX_UNPACKED_BYTES};

/// More pages than any essay has.
const MAX_PAGES: usize = 500;

/// Extracts the text of a PDF.
pub(super) fn text(bytes: &[u8]) -> Result<String, ExtractError> {
    let options = LoadOptions {
        // A document that only restricts printing opens with the empty password.
        password: Some(String::new()),
        max_decompressed_size: Some(MAX_UNPACKED_BYTES),
        ..LoadOptions::default()
    };
    let document = match Document::load_mem_with_options(bytes, options) {
        Ok(document) => document,
        Err(lopdf::Error::InvalidPassword | lopdf::Error::Decryption(_)) => return Err(locked()),
        Err(error) => {
            return Err(ExtractError::damaged_by(
                Format::Pdf,
                "it cannot be opened",
                error,
            ));
        }
    };
    if document.is_encrypted() && !document.was_encrypted() {
        return Err(locked());
    }
    let mut budget = MAX_UNPACKED_BYTES;
    let mut fonts = page::Fonts::new();
    let mut lines = layout::Lines::default();
    let mut pages = 0;
    for page_id in document.page_iter().take(MAX_PAGES) {
        pages += 1;
        page::read(&document, page_id, &mut budget, &mut fonts, &mut lines)?;
        lines.end_page();
        if lines.characters() > MAX_EXTRACTED_CHARS {
            return Err(ExtractError::TooLong {
                characters: lines.characters(),
                max: MAX_EXTRACTED_CHARS,
            });
        }
    }
    if pages == 0 {
        return Err(ExtractError::damaged(Format::Pdf, "it has no pages"));
    }
    let (text, unreadable) = lines.into_text();
    // Fonts without a table of letters give glyph numbers, not text; better no text than noise.
    if unreadable * 5 > text.chars().count() {
        return Err(ExtractError::damaged(
            Format::Pdf,
            "its fonts do not say which letters they draw",
        ));
    }
    Ok(text)
}

fn locked() -> ExtractError {
    ExtractError::Encrypted { what: "PDF" }
}
