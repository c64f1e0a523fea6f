//! One font of a PDF page: which letters its codes stand for, and how wide they are.

use std::collections::HashMap;

use lopdf::{Dictionary, Document, Encoding, Error, Object};

use super::standard;

/// Width of an unknown glyph, in thousandths of the font size.
const USUAL_WIDTH: f64 = 500.0;

/// A font as far as text extraction needs it.
pub(super) struct Font {
    decoder: Decoder,
    /// Bytes per code: two for composite fonts, else one.
    code_len: usize,
    widths: HashMap<u32, f64>,
    default_width: f64,
}

/// The letters of each code, looked up once per code: the library's own table borrows the
/// document, and a page uses few codes.
struct Decoder {
    dictionary: Dictionary,
    known: HashMap<u32, String>,
}

/// One decoded code.
pub(super) struct Glyph<'a> {
    /// Its letters; several for a ligature, U+FFFD when the font does not say.
    pub(super) letters: &'a str,
    /// Its advance in thousandths of the font size.
    pub(super) width: f64,
    /// Whether the word-spacing setting applies: it does to the one-byte code 32.
    pub(super) is_word_space: bool,
}

impl Font {
    /// Reads a font dictionary. `limit` bounds what its tables may unpack to.
    pub(super) fn read(document: &Document, dictionary: &Dictionary, limit: usize) -> Self {
        let is_composite = name(document, dictionary, b"Subtype") == Some(b"Type0");
        let code_len = if is_composite { 2 } else { 1 };
        let mut dictionary = dictionary.clone();
        dictionary.set("Type", Object::Name(b"Font".to_vec()));
        // Where a font has a table to Unicode, that table is right and the encoding is a guess.
        let has_table = dictionary
            .get_deref(b"ToUnicode", document)
            .is_ok_and(|object| object.as_stream().is_ok());
        if has_table {
            dictionary.remove(b"Encoding");
        }
        let (widths, default_width) = if is_composite {
            composite_widths(document, &dictionary)
        } else {
            simple_widths(document, &dictionary)
        };
        let mut font = Self {
            decoder: Decoder {
                dictionary,
                known: HashMap::new(),
            },
            code_len,
            widths,
            default_width,
        };
        font.fill(document, limit);
        if font.widths.is_empty() && !is_composite {
            font.use_standard_widths(document);
        }
        font
    }

    /// Decodes a shown string code by code.
    pub(super) fn glyphs<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = Glyph<'a>> {
        bytes.chunks(self.code_len).map(|chunk| {
            let code = chunk
                .iter()
                .fold(0_u32, |code, byte| code << 8 | u32::from(*byte));
            Glyph {
                letters: self
                    .decoder
                    .known
                    .get(&code)
                    .map_or("\u{FFFD}", String::as_str),
                width: self
                    .widths
                    .get(&code)
                    .copied()
                    .unwrap_or(self.default_width),
                is_word_space: self.code_len == 1 && code == 32,
            }
        })
    }

    /// Looks up every code the font can hold: 256 for simple fonts, 65,536 for composite ones.
    fn fill(&mut self, document: &Document, limit: usize) {
        let Ok(encoding) = self
            .decoder
            .dictionary
            .get_font_encoding_with_limit(document, limit)
        else {
            return;
        };
        let last = if self.code_len == 2 {
            u32::from(u16::MAX)
        } else {
            u32::from(u8::MAX)
        };
        let known = &mut self.decoder.known;
        for code in 0..=last {
            let bytes = code.to_be_bytes();
            let chunk = bytes.get(4 - self.code_len..).unwrap_or_default();
            if let Some(letters) = letters(&encoding, chunk, self.code_len) {
                known.insert(code, letters);
            }
        }
    }
}

impl Font {
    /// A font without widths is one of the standard ones, or looks like one of them.
    fn use_standard_widths(&mut self, document: &Document) {
        let name = name(document, &self.decoder.dictionary, b"BaseFont").unwrap_or_default();
        let Some(widths) = standard::of(name) else {
            return;
        };
        for (code, letters) in &self.decoder.known {
            let width = letters
                .chars()
                .next()
                .and_then(|letter| standard::width(widths, letter));
            self.widths
                .extend(width.map(|width| (*code, f64::from(width))));
        }
    }
}

fn letters(encoding: &Encoding<'_>, chunk: &[u8], code_len: usize) -> Option<String> {
    if let Encoding::UnicodeMapEncoding(map) = encoding {
        let code = chunk
            .iter()
            .fold(0_u32, |code, byte| code << 8 | u32::from(*byte));
        let len = u8::try_from(code_len).ok()?;
        let units = map.get(code, len)?;
        return Some(String::from_utf16_lossy(&units));
    }
    let decoded: Result<String, Error> = encoding.bytes_to_string(chunk);
    decoded.ok().filter(|letters| !letters.is_empty())
}

fn name<'a>(document: &'a Document, dictionary: &'a Dictionary, key: &[u8]) -> Option<&'a [u8]> {
    dictionary.get_deref(key, document).ok()?.as_name().ok()
}

fn number(document: &Document, object: &Object) -> Option<f64> {
    let (_, object) = document.dereference(object).ok()?;
    object.as_float().ok().map(f64::from)
}

fn simple_widths(document: &Document, dictionary: &Dictionary) -> (HashMap<u32, f64>, f64) {
    let first = dictionary
        .get_deref(b"FirstChar", document)
        .and_then(Object::as_i64)
        .ok()
        .and_then(|first| u32::try_from(first).ok())
        .unwrap_or(0);
    let widths = dictionary
        .get_deref(b"Widths", document)
        .and_then(Object::as_array)
        .map(|array| {
            (first..)
                .zip(array.iter().take(256))
                .filter_map(|(code, width)| Some((code, number(document, width)?)))
                .collect()
        })
        .unwrap_or_default();
    (widths, USUAL_WIDTH)
}

/// The `W` array of a composite font: `first [w w …]` and `first last w`, mixed.
fn composite_widths(document: &Document, dictionary: &Dictionary) -> (HashMap<u32, f64>, f64) {
    let mut widths = HashMap::new();
    let descendant = dictionary
        .get_deref(b"DescendantFonts", document)
        .and_then(Object::as_array)
        .ok()
        .and_then(|fonts| fonts.first())
        .and_then(|font| document.dereference(font).ok())
        .and_then(|(_, font)| font.as_dict().ok());
    let Some(descendant) = descendant else {
        return (widths, 1000.0);
    };
    let default = descendant
        .get(b"DW")
        .ok()
        .and_then(|width| number(document, width));
    if let Ok(entries) = descendant
        .get_deref(b"W", document)
        .and_then(Object::as_array)
    {
        let mut rest = entries.as_slice();
        while let [first, second, tail @ ..] = rest {
            let Some(first) = code(document, first) else {
                break;
            };
            let run = document
                .dereference(second)
                .ok()
                .and_then(|(_, run)| run.as_array().ok());
            if let Some(run) = run {
                for (code, width) in (first..=u32::from(u16::MAX)).zip(run) {
                    widths.extend(number(document, width).map(|width| (code, width)));
                }
                rest = tail;
            } else {
                let (Some(last), [width, tail @ ..]) = (code(document, second), tail) else {
                    break;
                };
                if let Some(width) = number(document, width) {
                    widths.extend((first..=last).map(|code| (code, width)));
                }
                rest = tail;
            }
        }
    }
    (widths, default.unwrap_or(1000.0))
}

fn code(document: &Document, object: &Object) -> Option<u32> {
    let (_, object) = document.dereference(object).ok()?;
    object
        .as_i64()
        .ok()
        .and_then(|code| u16::try_from(code).ok())
        .map(u32::from)
}
