//! Tells the kind of a file by its first bytes, never by its name.

/// The kind of a file as far as its bytes show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No bytes at all.
    Empty,
    /// A ZIP archive: a Word document, or something else that the reader refuses by name.
    Zip,
    /// A PDF.
    Pdf,
    /// A known kind that is not read.
    Refused(&'static str),
    /// A document locked by a password.
    Encrypted(&'static str),
    /// Nothing recognised; may be text.
    MaybeText,
}

/// PDF readers accept leading bytes before the header; so do we, within this many.
const PDF_HEADER_WINDOW: usize = 1024;
const OLE2: &[u8] = &[0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1];

/// Finds the kind of a file.
pub(super) fn kind(bytes: &[u8]) -> Kind {
    const PICTURES: [&[u8]; 8] = [
        b"\x89PNG\r\n\x1a\n",
        b"\xFF\xD8\xFF",
        b"GIF87a",
        b"GIF89a",
        b"II*\0",
        b"MM\0*",
        b"\0\0\0\x18ftyp",
        b"\0\0\0\x24ftyp",
    ];
    if bytes.is_empty() {
        return Kind::Empty;
    }
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return Kind::Zip;
    }
    if bytes.starts_with(OLE2) {
        return ole2(bytes);
    }
    if PICTURES.iter().any(|magic| bytes.starts_with(magic)) {
        return Kind::Refused("picture");
    }
    let head = bytes.get(..PDF_HEADER_WINDOW).unwrap_or(bytes);
    if find(head, b"%PDF-").is_some() {
        return Kind::Pdf;
    }
    let start: Vec<u8> = head
        .iter()
        .copied()
        .skip_while(|byte| byte.is_ascii_whitespace() || matches!(byte, 0xEF | 0xBB | 0xBF))
        .take(16)
        .map(|byte| byte.to_ascii_lowercase())
        .collect();
    if start.starts_with(b"{\\rtf") {
        return Kind::Refused("rich text file (.rtf)");
    }
    if start.starts_with(b"<!doctype html") || start.starts_with(b"<html") {
        return Kind::Refused("web page (.html)");
    }
    Kind::MaybeText
}

/// The old Microsoft container holds legacy documents and, since 2007, encrypted new ones.
fn ole2(bytes: &[u8]) -> Kind {
    let utf16 =
        |name: &str| -> Vec<u8> { name.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    if find(bytes, &utf16("EncryptedPackage")).is_some() {
        Kind::Encrypted("Office document")
    } else if find(bytes, &utf16("WordDocument")).is_some() {
        Kind::Refused("Word 97–2003 document (.doc)")
    } else {
        Kind::Refused("legacy Office file")
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
