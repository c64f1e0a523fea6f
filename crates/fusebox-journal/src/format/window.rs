//! Reads a segment through a sliding window and tells records from what is none.

use std::io;

use super::frame::{FRAME_HEAD, FrameHead, is_valid};
use super::segment::SegmentHeader;
use super::{align_up, u64_at};
use crate::fs::FsFile;

const CHUNK: usize = 256 << 10;

/// A view of a segment's bytes from its first group up to `end`.
#[derive(Debug)]
pub(crate) struct Window<'a> {
    file: &'a dyn FsFile,
    header: &'a SegmentHeader,
    end: u64,
    at: u64,
    bytes: Vec<u8>,
}

/// What is at an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Record(RawFrame),
    /// Nothing valid. `zero` when the place was never written.
    Nothing {
        zero: bool,
    },
}

/// Where a valid record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawFrame {
    pub(crate) offset: u64,
    pub(crate) head: FrameHead,
}

/// The next thing on the way through a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A record; the bytes before it, from `damaged_from` on, are no record, or positions are missing
    /// before it.
    Record {
        frame: RawFrame,
        damaged_from: Option<u64>,
    },
    /// No further record. `clean` when only zeros follow.
    End { at: u64, clean: bool },
}

impl<'a> Window<'a> {
    /// A window on the segment up to `end`, at most to where groups end.
    pub(crate) fn new(file: &'a dyn FsFile, header: &'a SegmentHeader, end: u64) -> Self {
        Self {
            file,
            header,
            end: end.min(header.data_end()),
            at: 0,
            bytes: Vec::new(),
        }
    }

    /// The bytes at `offset`; fewer where the window or the file ends.
    fn slice(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let len = len.min(usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX));
        let have = self.at + self.bytes.len() as u64;
        if offset < self.at || offset + len as u64 > have {
            let room = usize::try_from(self.end - offset.min(self.end)).unwrap_or(usize::MAX);
            self.bytes.resize(len.max(CHUNK.min(room)), 0);
            self.at = offset;
            let got = match self.file.read_at(offset, &mut self.bytes) {
                Ok(got) => got,
                Err(error) => {
                    self.bytes.clear();
                    return Err(error);
                }
            };
            self.bytes.truncate(got);
        }
        let start = usize::try_from(offset - self.at).unwrap_or(usize::MAX);
        let start = start.min(self.bytes.len());
        Ok(&self.bytes[start..self.bytes.len().min(start + len)])
    }

    /// The bytes of a record that was found.
    pub(crate) fn frame(&mut self, frame: &RawFrame) -> io::Result<&[u8]> {
        self.slice(frame.offset, frame.head.len)
    }

    /// What is at `offset`.
    fn look(&mut self, offset: u64) -> io::Result<Found> {
        let (salt, end) = (self.header.salt, self.end);
        let start = self.header.data_start();
        let alignment = u64::from(self.header.alignment);
        let head = self.slice(offset, FRAME_HEAD)?;
        if head.len() < FRAME_HEAD {
            let zero = head.iter().all(|b| *b == 0);
            return Ok(Found::Nothing { zero });
        }
        if u64_at(head, 0) == 0 {
            return Ok(Found::Nothing { zero: true });
        }
        let parsed = FrameHead::decode(head, offset, end)
            .filter(|head| head.group >= start && head.group % alignment == 0);
        let Some(head) = parsed else {
            return Ok(Found::Nothing { zero: false });
        };
        let frame = self.slice(offset, head.len)?;
        if frame.len() == head.len && is_valid(frame, offset, salt) {
            Ok(Found::Record(RawFrame { offset, head }))
        } else {
            Ok(Found::Nothing { zero: false })
        }
    }

    /// The first record at or behind `offset` with a position of at least `position`.
    pub(crate) fn next(&mut self, offset: u64, position: u64) -> io::Result<Step> {
        let mut at = offset;
        let mut found = self.look(at)?;
        // Behind a group: zeros up to where the next one may begin.
        if found == (Found::Nothing { zero: true }) {
            at = align_up(at, self.header.alignment.into());
            found = self.look(at)?;
        }
        let fits = |found: &Found| match found {
            Found::Record(frame) => (frame.head.position >= position).then_some(*frame),
            Found::Nothing { .. } => None,
        };
        if let Some(frame) = fits(&found) {
            // Zeros up to where a group may begin hide that records before it are gone.
            let gap = frame.head.position > position;
            return Ok(Step::Record {
                frame,
                damaged_from: gap.then_some(offset),
            });
        }
        let damaged_from = at;
        let mut clean = true;
        while at < self.end {
            // Sectors of zeros hold no record: skip them quickly.
            let rest = self.slice(at, 4096)?;
            let zeros = rest.iter().take_while(|b| **b == 0).count();
            if rest.is_empty() {
                break;
            }
            if zeros == rest.len() {
                at += zeros as u64;
                continue;
            }
            clean = false;
            at += (zeros & !7) as u64;
            if let Some(frame) = fits(&self.look(at)?) {
                return Ok(Step::Record {
                    frame,
                    damaged_from: Some(damaged_from),
                });
            }
            at += 8;
        }
        Ok(Step::End {
            at: damaged_from,
            clean,
        })
    }
}
