//! Decodes plain text of unknown encoding, and tells text from binary data.

use std::borrow::Cow;
use std::collections::HashSet;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::Encoding;

/// Of this many characters, at most one may be a control character in real text.
const CHARS_PER_CONTROL: usize = 50;

/// Decodes a text file, or answers `None` when it is not text.
///
/// A byte order mark decides; else UTF-8 if it is valid; else the legacy encoding that the
/// bytes most look like, which is Windows-1252 for western European text.
pub(super) fn text(bytes: &[u8]) -> Option<String> {
    let decoded = if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        let body = bytes.get(mark..).unwrap_or_default();
        // A cut-off last character of a marked file is a lesser evil than refusing the file.
        encoding.decode_without_bom_handling(body).0.into_owned()
    } else if bytes.contains(&0) {
        return None;
    } else if let Ok(text) = std::str::from_utf8(bytes) {
        text.to_owned()
    } else {
        legacy(bytes)?
    };
    is_plausible(&decoded).then_some(decoded)
}

fn legacy(bytes: &[u8]) -> Option<String> {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(bytes, true);
    let encoding = detector.guess(None, Utf8Detection::Deny);
    encoding
        .decode_without_bom_handling_and_without_replacement(bytes)
        .map(Cow::into_owned)
        .filter(|text| is_varied(text))
}

/// Real text is nearly free of control characters.
fn is_plausible(text: &str) -> bool {
    let (mut all, mut controls) = (0_usize, 0_usize);
    for character in text.chars() {
        all += 1;
        let is_control = character.is_control() && !character.is_whitespace();
        controls += usize::from(is_control || character == '\u{FFFD}');
    }
    controls * CHARS_PER_CONTROL <= all
}

/// Nearly any bytes decode in some single-byte encoding; text of some length is not made of a
/// handful of different letters.
fn is_varied(text: &str) -> bool {
    let different: HashSet<char> = text.chars().collect();
    text.len() < 32 || different.len() >= 6
}
