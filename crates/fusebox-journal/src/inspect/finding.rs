//! What may be wrong with a journal's files, and where.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use crate::Position;

/// Something that is wrong, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// In which file.
    pub file: PathBuf,
    /// Which bytes of the file.
    pub bytes: Range<u64>,
    /// The first and the last position concerned, where that is known.
    pub positions: Option<(Position, Position)>,
    /// How many records that are not settled are gone by it.
    pub lost: u64,
}

/// Kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// Bytes that were safe once are no records any more.
    Damage,
    /// A record whose checksum is right cannot be understood or decrypted.
    Undecodable,
    /// A segment whose header is unreadable in both copies.
    Header,
    /// One copy of a segment's header is unreadable; the other one counts.
    HeaderCopy,
    /// Files of positions that are not settled are gone.
    Missing,
    /// A segment of a version this program does not know.
    Version,
    /// The cursor is gone or unreadable: all that is still there will be delivered again.
    Cursor,
    /// One slot of the cursor is unreadable; the other one counts. A loss of power does that.
    CursorSlot,
    /// Records of this segment are encrypted and its key is not set: their checksums were looked at and
    /// not their content.
    Encrypted,
    /// An unfinished group at the end of the tail; none of it was acknowledged. A crash does that.
    Torn,
}

impl FindingKind {
    /// Whether nothing is wrong with the disk: an ordinary crash leaves this behind, or a key is missing.
    pub fn is_harmless(self) -> bool {
        matches!(self, Self::Torn | Self::CursorSlot | Self::Encrypted)
    }

    fn text(self) -> &'static str {
        match self {
            Self::Damage => "damaged",
            Self::Undecodable => "not understood",
            Self::Header => "header unreadable",
            Self::HeaderCopy => "one copy of the header unreadable",
            Self::Missing => "missing",
            Self::Version => "of an unknown version",
            Self::Cursor => "cursor unreadable",
            Self::CursorSlot => "one slot of the cursor unreadable",
            Self::Encrypted => "encrypted with a key that is not set",
            Self::Torn => "unfinished group, never acknowledged",
        }
    }
}

impl Finding {
    /// A finding that costs no record.
    pub(super) fn new(kind: FindingKind, file: PathBuf, bytes: Range<u64>) -> Self {
        Self {
            kind,
            file,
            bytes,
            positions: None,
            lost: 0,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = self.bytes;
        write!(f, "{}", self.file.display())?;
        if start < end {
            write!(f, ", bytes {start} to {end}")?;
        }
        write!(f, ": {}", self.kind.text())?;
        if let Some((first, last)) = self.positions {
            write!(f, ", positions {first} to {last}, {} lost", self.lost)?;
        }
        Ok(())
    }
}
