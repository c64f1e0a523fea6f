//! Reads the body text of a Word document (Office Open XML).
//!
//! Taken: paragraphs, tabs, breaks, tables (cells by tab, rows by line), inserted text and
//! text boxes. Left out on purpose, since they are not the essay: headers, footers, footnotes,
//! comments, field codes, and text deleted or moved away under change tracking.

use std::io::{Cursor, Read};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use zip::ZipArchive;

use super::{ExtractError, Format, MAX_EXTRACTED_CHARS, MAX_UNPACKED_BYTES};

/// A Word document has some dozens of parts; many more is an attack.
const MAX_ENTRIES: usize = 4096;
/// Deepest element nesting that is followed.
const MAX_DEPTH: usize = 512;

/// Extracts the text of a Word document.
pub(super) fn text(bytes: &[u8]) -> Result<String, ExtractError> {
    let mut archive = ZipArchive::new(Cursor::new(bytes))
        .map_err(|error| ExtractError::damaged_by(Format::Docx, "not a readable archive", error))?;
    if archive.len() > MAX_ENTRIES {
        return Err(ExtractError::damaged(Format::Docx, "too many parts"));
    }
    let Some(main) = main_part(&mut archive)? else {
        return Err(ExtractError::Unsupported {
            what: other_archive(&mut archive),
        });
    };
    let xml = part(&mut archive, &main)?
        .ok_or_else(|| ExtractError::damaged(Format::Docx, "its text is missing"))?;
    body_text(&xml)
}

/// The name of the main text part, or `None` when this is no Word document.
fn main_part(archive: &mut ZipArchive<Cursor<&[u8]>>) -> Result<Option<String>, ExtractError> {
    let Some(relations) = part(archive, "_rels/.rels")? else {
        return Ok(archive
            .index_for_name(DEFAULT_MAIN)
            .map(|_| DEFAULT_MAIN.to_owned()));
    };
    let mut reader = Reader::from_str(&relations);
    loop {
        match reader.read_event().map_err(broken_xml)? {
            Event::Start(element) | Event::Empty(element) => {
                let is_main = attribute(&element, "Type")
                    .is_some_and(|value| value.ends_with("/officeDocument"));
                if let (true, Some(target)) = (is_main, attribute(&element, "Target")) {
                    let target = target.trim_start_matches('/').to_owned();
                    return Ok(target.starts_with("word/").then_some(target));
                }
            }
            Event::Eof => {
                return Ok(archive
                    .index_for_name(DEFAULT_MAIN)
                    .map(|_| DEFAULT_MAIN.to_owned()));
            }
            _ => {}
        }
    }
}

const DEFAULT_MAIN: &str = "word/document.xml";

fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    element
        .attributes()
        .with_checks(false)
        .flatten()
        .find(|attribute| attribute.key.as_ref() == name)
        .map(|attribute| attribute.value.into_owned())
}

/// Says what an archive is that holds no Word text.
fn other_archive(archive: &mut ZipArchive<Cursor<&[u8]>>) -> &'static str {
    if archive.index_for_name("xl/workbook.xml").is_some() {
        return "spreadsheet (.xlsx)";
    }
    if archive.index_for_name("ppt/presentation.xml").is_some() {
        return "presentation (.pptx)";
    }
    if archive.index_for_name("Index/Document.iwa").is_some() {
        return "Pages document (.pages)";
    }
    match part(archive, "mimetype") {
        Ok(Some(mime)) if mime.starts_with("application/vnd.oasis.opendocument.text") => {
            "OpenDocument text (.odt)"
        }
        _ => "ZIP archive",
    }
}

/// Unpacks one part as text, within the bound.
fn part(
    archive: &mut ZipArchive<Cursor<&[u8]>>,
    name: &str,
) -> Result<Option<String>, ExtractError> {
    let Some(index) = archive.index_for_name(name) else {
        return Ok(None);
    };
    let is_locked = archive
        .by_index_raw(index)
        .is_ok_and(|entry| entry.encrypted());
    if is_locked {
        return Err(ExtractError::Encrypted {
            what: "Word document",
        });
    }
    let entry = archive
        .by_index(index)
        .map_err(|error| ExtractError::damaged_by(Format::Docx, "a part is unreadable", error))?;
    let mut unpacked = Vec::new();
    entry
        .take(MAX_UNPACKED_BYTES as u64 + 1)
        .read_to_end(&mut unpacked)
        .map_err(|error| ExtractError::damaged_by(Format::Docx, "a part is unreadable", error))?;
    if unpacked.len() > MAX_UNPACKED_BYTES {
        return Err(ExtractError::damaged(
            Format::Docx,
            "it unpacks to an absurd size",
        ));
    }
    let (decoded, _, had_errors) = encoding_rs::UTF_8.decode(&unpacked);
    if had_errors {
        return Err(ExtractError::damaged(Format::Docx, "its text is garbled"));
    }
    Ok(Some(decoded.into_owned()))
}

fn broken_xml(error: quick_xml::Error) -> ExtractError {
    ExtractError::damaged_by(Format::Docx, "its text is broken off", error)
}

/// Where in the document the walk is.
#[derive(Default)]
struct Walk {
    out: String,
    characters: usize,
    depth: usize,
    /// Depth of the element whose whole content is left out.
    skip_from: Option<usize>,
    /// Open `t` elements; only their text counts.
    in_text: usize,
    /// Open table cells; a paragraph end inside one must not end the row's line.
    in_cell: usize,
}

fn body_text(xml: &str) -> Result<String, ExtractError> {
    let mut reader = Reader::from_str(xml);
    let mut walk = Walk::default();
    loop {
        match reader.read_event().map_err(broken_xml)? {
            Event::Start(element) => {
                walk.depth += 1;
                if walk.depth > MAX_DEPTH {
                    return Err(ExtractError::damaged(
                        Format::Docx,
                        "it is nested too deeply",
                    ));
                }
                walk.open(element.local_name().as_ref());
            }
            Event::Empty(element) => walk.single(element.local_name().as_ref()),
            Event::End(element) => {
                walk.close(element.local_name().as_ref());
                walk.depth = walk.depth.saturating_sub(1);
            }
            Event::Text(text) => walk.push(&text.xml10_content()),
            Event::CData(text) => walk.push(&text.xml10_content()),
            Event::GeneralRef(reference) => {
                let character = match reference.resolve_char_ref() {
                    Ok(Some(character)) => Some(character),
                    _ => named_character(&reference.xml10_content()),
                };
                // Unknown entities are never expanded: a document type could define bombs.
                if let Some(character) = character {
                    walk.push(character.encode_utf8(&mut [0; 4]));
                }
            }
            Event::Eof => return Ok(walk.out),
            _ => {}
        }
        if walk.characters > MAX_EXTRACTED_CHARS {
            return Err(ExtractError::TooLong {
                characters: walk.characters,
                max: MAX_EXTRACTED_CHARS,
            });
        }
    }
}

fn named_character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => None,
    }
}

impl Walk {
    fn open(&mut self, name: &str) {
        // `Fallback` repeats what the alternative before it holds; `moveFrom` is text moved away;
        // properties hold tab stops, which are named like tabs.
        if self.skip_from.is_none()
            && matches!(
                name,
                "Fallback" | "moveFrom" | "del" | "pPr" | "rPr" | "sectPr"
            )
        {
            self.skip_from = Some(self.depth);
        }
        match name {
            "t" => self.in_text += 1,
            "tc" => self.in_cell += 1,
            other => self.mark(other),
        }
    }

    fn single(&mut self, name: &str) {
        match name {
            "p" => self.end_paragraph(),
            other => self.mark(other),
        }
    }

    /// Elements that stand for a character.
    fn mark(&mut self, name: &str) {
        if self.skip_from.is_some() {
            return;
        }
        match name {
            "tab" | "ptab" => self.out.push('\t'),
            "br" | "cr" => self.out.push('\n'),
            "noBreakHyphen" => self.out.push('-'),
            _ => {}
        }
    }

    fn close(&mut self, name: &str) {
        match name {
            "t" => self.in_text = self.in_text.saturating_sub(1),
            "p" => self.end_paragraph(),
            "tc" => {
                self.in_cell = self.in_cell.saturating_sub(1);
                self.out.truncate(self.out.trim_end_matches(' ').len());
                self.out.push('\t');
            }
            "tr" => {
                self.out.truncate(self.out.trim_end_matches('\t').len());
                self.out.push('\n');
            }
            _ => {}
        }
        if self.skip_from == Some(self.depth) {
            self.skip_from = None;
        }
    }

    fn end_paragraph(&mut self) {
        if self.skip_from.is_none() {
            self.out.push(if self.in_cell > 0 { ' ' } else { '\n' });
        }
    }

    fn push(&mut self, text: &str) {
        if self.in_text > 0 && self.skip_from.is_none() {
            self.characters += text.chars().count();
            self.out.push_str(text);
        }
    }
}
