//! From record to record through all segments, with what is wrong on the way.

use std::io;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use super::{Finding, FindingKind, Inspection, Seen, SeenRecord, SegmentName};
use crate::format::frame::{self, BodyCipher};
use crate::format::segment::{Codec, SegmentHeader};
use crate::format::window::{self, Window};
use crate::format::{HEADER, HeaderFault};
use crate::fs::{FsFile, OpenMode};
use crate::log::reader::read_header;
use crate::log::recover;
use crate::{JournalError, Position};

/// What a walk looks for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Limits {
    /// Both copies of each header, too.
    pub(super) headers: bool,
}

/// What a walk comes by.
#[derive(Debug)]
pub(super) enum Step {
    Seen(Seen),
    /// A whole record that cannot be decrypted for want of its key.
    Encrypted {
        settled: bool,
    },
    /// The tail of a live journal is not judged behind here.
    Tail {
        segment: SegmentName,
        from: u64,
    },
}

type Visit<'a> = dyn FnMut(Step) -> ControlFlow<()> + 'a;

/// One segment on the way.
struct Place<'a> {
    segment: SegmentName,
    file: &'a dyn FsFile,
    header: &'a SegmentHeader,
    cipher: Option<Arc<dyn BodyCipher>>,
    /// Positions of the segment end before this one.
    bound: u64,
    /// Bytes end here.
    end: u64,
    /// From here on a live owner may be writing.
    unjudged: u64,
}

impl Inspection {
    pub(super) fn walk(
        &self,
        after: u64,
        limits: Limits,
        visit: &mut Visit<'_>,
    ) -> Result<(), JournalError> {
        let mut expected = match self.cursor {
            super::CursorState::Lost => self.segments.first().map_or(1, |s| s.first),
            super::CursorState::Slots(_) => self.settled.next_absent(0),
        };
        for (index, segment) in self.segments.iter().enumerate() {
            let following = self.segments.get(index + 1).map(|s| s.first);
            if following.is_some_and(|first| first <= after + 1) && !limits.headers {
                expected = expected.max(following.unwrap_or(0));
                continue;
            }
            if segment.first > expected && after < segment.first {
                let from = expected.max(after + 1);
                let gone = self.missing(FindingKind::Missing, *segment, 0..0, from, segment.first);
                if let Some(finding) = gone
                    && visit(Step::Seen(Seen::Finding(finding))).is_break()
                {
                    return Ok(());
                }
            }
            let flow = self
                .walk_segment(*segment, following, after, limits, visit)
                .map_err(JournalError::io("read a segment"))?;
            if flow.is_break() {
                return Ok(());
            }
            if let Some(following) = following {
                expected = expected.max(following);
            }
        }
        let from = expected.max(after + 1);
        let lost = self.not_settled(from, self.mark.next);
        if self.segments.is_empty() && self.owner.is_none() && lost > 0 {
            let all_gone = Finding {
                kind: FindingKind::Missing,
                file: self.dir.clone(),
                bytes: 0..0,
                positions: Some((Position(from), Position(self.mark.next - 1))),
                lost,
            };
            if visit(Step::Seen(Seen::Finding(all_gone))).is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn walk_segment(
        &self,
        segment: SegmentName,
        following: Option<u64>,
        after: u64,
        limits: Limits,
        visit: &mut Visit<'_>,
    ) -> io::Result<ControlFlow<()>> {
        let mut report = |finding: Option<Finding>| match finding {
            Some(finding) => visit(Step::Seen(Seen::Finding(finding))),
            None => ControlFlow::Continue(()),
        };
        let file = match self.fs.open(&self.path(segment), OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A live owner removes what is settled.
                let gone = match following {
                    Some(bound) if self.owner.is_none() => {
                        self.missing(FindingKind::Missing, segment, 0..0, segment.first, bound)
                    }
                    _ => None,
                };
                return Ok(report(gone));
            }
            Err(error) => return Err(error),
        };
        let size = file.size()?;
        let header = match read_header(file.as_ref(), |header| self.is_ours(header, segment))? {
            Ok(header) => header,
            Err(fault) => {
                let kind = match fault {
                    HeaderFault::Version(_) => FindingKind::Version,
                    HeaderFault::Invalid => FindingKind::Header,
                };
                let bound = following.unwrap_or(self.mark.next).max(segment.first);
                let finding = Finding {
                    kind,
                    file: self.path(segment),
                    bytes: 0..size,
                    positions: (bound > segment.first)
                        .then(|| (Position(segment.first), Position(bound - 1))),
                    lost: self.not_settled(segment.first, bound),
                };
                return Ok(report(Some(finding)));
            }
        };
        let cipher = self.cipher_of(&header).unwrap_or(None);
        let mut noted = Vec::new();
        if limits.headers {
            noted = self.header_copies(segment, file.as_ref(), &header)?;
        }
        if cipher.is_none() && header.codec != Codec::Clear {
            noted.push(Finding::new(
                FindingKind::Encrypted,
                self.path(segment),
                0..size,
            ));
        }
        for finding in noted {
            if report(Some(finding)).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        let mut place = Place {
            segment,
            file: file.as_ref(),
            header: &header,
            cipher,
            bound: following.unwrap_or(u64::MAX),
            end: header.data_end(),
            unjudged: u64::MAX,
        };
        if following.is_none() {
            let synced = if self.mark.number == header.number {
                self.mark.end
            } else {
                0
            };
            if self.owner.is_some() {
                place.unjudged = synced.max(header.data_start());
            } else {
                let scan = recover::scan(place.file, &header, self.mark)?;
                place.end = scan.end;
                // What the cursor knows to be written and is not there is gone, here or with a
                // segment behind this one.
                place.bound = scan.next.max(self.mark.next);
                if scan.torn_bytes > 0 {
                    let bytes = scan.end..scan.end + scan.torn_bytes;
                    let torn = Finding::new(FindingKind::Torn, self.path(segment), bytes);
                    let flow = self.walk_records(&place, after, visit)?;
                    return Ok(match flow {
                        ControlFlow::Break(()) => flow,
                        ControlFlow::Continue(()) => visit(Step::Seen(Seen::Finding(torn))),
                    });
                }
            }
        }
        self.walk_records(&place, after, visit)
    }

    /// The copies of the header that are not readable.
    fn header_copies(
        &self,
        segment: SegmentName,
        file: &dyn FsFile,
        header: &SegmentHeader,
    ) -> io::Result<Vec<Finding>> {
        let mut unreadable = Vec::new();
        for at in [0, header.size - HEADER as u64] {
            let mut bytes = [0; HEADER];
            let got = file.read_at(at, &mut bytes)?;
            if got < HEADER || SegmentHeader::decode(&bytes) != Ok(*header) {
                let bytes = at..at + HEADER as u64;
                let path = self.path(segment);
                unreadable.push(Finding::new(FindingKind::HeaderCopy, path, bytes));
            }
        }
        Ok(unreadable)
    }

    fn walk_records(
        &self,
        place: &Place<'_>,
        after: u64,
        visit: &mut Visit<'_>,
    ) -> io::Result<ControlFlow<()>> {
        let header = place.header;
        let mut window = Window::new(place.file, header, place.end);
        let (mut offset, mut position) = (header.data_start(), header.first);
        while position < place.bound {
            let (damage, frame) = match window.next(offset, position)? {
                window::Step::Record {
                    frame,
                    damaged_from,
                } if frame.head.position < place.bound => {
                    let damage = damaged_from.map(|from| (from..frame.offset, frame.head.position));
                    (damage, Some(frame))
                }
                window::Step::Record { frame, .. } => {
                    (Some((offset..frame.offset, place.bound)), None)
                }
                window::Step::End { at, .. } => {
                    (Some((at.min(place.end)..place.end, place.bound)), None)
                }
            };
            if let Some((bytes, to)) = damage {
                if bytes.start >= place.unjudged {
                    return Ok(visit(Step::Tail {
                        segment: place.segment,
                        from: bytes.start,
                    }));
                }
                let bytes = bytes.start..bytes.end.min(place.unjudged);
                // Of the positions behind the last record of a live tail nothing is known.
                let to = if to == u64::MAX { self.mark.next } else { to };
                let found = if frame.is_some() {
                    Some(self.damage(place.segment, bytes, position, to))
                } else {
                    // When all of it is settled, the segments behind were removed.
                    let kind = if bytes.is_empty() {
                        FindingKind::Missing
                    } else {
                        FindingKind::Damage
                    };
                    self.missing(kind, place.segment, bytes, position, to)
                };
                if let Some(finding) = found
                    && to > after + 1
                    && visit(Step::Seen(Seen::Finding(finding))).is_break()
                {
                    return Ok(ControlFlow::Break(()));
                }
            }
            let Some(frame) = frame else { break };
            position = frame.head.position + 1;
            offset = frame.offset + frame.head.padded();
            if position <= after + 1 {
                continue;
            }
            if place.cipher.is_none() && header.codec != Codec::Clear {
                let settled = self.settled.contains(frame.head.position);
                if visit(Step::Encrypted { settled }).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                continue;
            }
            let bytes = window.frame(&frame)?;
            let size = frame.head.padded();
            let cipher = place.cipher.as_deref();
            let seen = match frame::decode(bytes, frame.offset, header.salt, cipher) {
                Some((stored, tags)) => Seen::Record(SeenRecord {
                    settled: self.settled.contains(frame.head.position),
                    stored,
                    file: self.path(place.segment),
                    offset: frame.offset,
                    size,
                    tags,
                }),
                None => Seen::Finding(Finding {
                    kind: FindingKind::Undecodable,
                    ..self.damage(
                        place.segment,
                        frame.offset..frame.offset + size,
                        frame.head.position,
                        position,
                    )
                }),
            };
            if visit(Step::Seen(seen)).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn damage(&self, segment: SegmentName, bytes: Range<u64>, from: u64, to: u64) -> Finding {
        Finding {
            kind: FindingKind::Damage,
            file: self.path(segment),
            bytes,
            positions: (to > from).then(|| (Position(from), Position(to - 1))),
            lost: self.not_settled(from, to),
        }
    }

    /// A finding if one of the positions is not settled.
    fn missing(
        &self,
        kind: FindingKind,
        segment: SegmentName,
        bytes: Range<u64>,
        from: u64,
        to: u64,
    ) -> Option<Finding> {
        let finding = Finding {
            kind,
            ..self.damage(segment, bytes, from, to)
        };
        (finding.lost > 0).then_some(finding)
    }

    fn not_settled(&self, from: u64, to: u64) -> u64 {
        let mut settled = self.settled.clone();
        settled.insert(from, to)
    }

    #[cfg(not(feature = "encryption"))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "the same signature as with encryption"
    )]
    fn cipher_of(&self, _header: &SegmentHeader) -> io::Result<Option<Arc<dyn BodyCipher>>> {
        Ok(None)
    }

    #[cfg(feature = "encryption")]
    fn cipher_of(&self, header: &SegmentHeader) -> io::Result<Option<Arc<dyn BodyCipher>>> {
        crate::crypt::cipher_of(self.keys.as_ref(), header)
    }
}
