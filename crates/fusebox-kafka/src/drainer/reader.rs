//! Reading the backlog page by page, and beginning again where that is needed.

use std::collections::VecDeque;

use crate::record::{Parked, Position};

/// Where the drainer is in the backlog.
#[derive(Debug)]
pub(super) struct Reader {
    /// Records read and not fed yet, ascending, none of them in the window.
    page: VecDeque<Parked>,
    limit: usize,
    /// Everything up to here has been read since reading last began at the start.
    cursor: Position,
    /// Everything up to here has been read at some time.
    furthest: Position,
    /// The last page came back empty, and nobody has said since that there is more.
    at_end: bool,
    /// Somebody said so while the page was being read.
    called: bool,
}

impl Reader {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            page: VecDeque::new(),
            limit: limit.max(1),
            cursor: Position::START,
            furthest: Position::START,
            at_end: false,
            called: false,
        }
    }

    /// The next record in order.
    pub(super) fn take(&mut self) -> Option<Parked> {
        self.page.pop_front()
    }

    /// Gives back the record that was taken last.
    pub(super) fn put_back(&mut self, parked: Parked) {
        self.page.push_front(parked);
    }

    /// Whether all that the backlog has shown was taken.
    pub(super) fn is_exhausted(&self) -> bool {
        self.page.is_empty() && self.at_end
    }

    /// Whether a page should be read.
    pub(super) fn wants_page(&self) -> bool {
        self.page.is_empty() && !self.at_end
    }

    /// Whether the next page lies behind all that was read before: it holds nothing that is in the window,
    /// or was, and has just been settled.
    pub(super) fn reads_on(&self) -> bool {
        self.cursor == self.furthest
    }

    /// The backlog may hold more than was read.
    pub(super) fn there_is_more(&mut self) {
        self.at_end = false;
        self.called = true;
    }

    /// Reads from the start again; what the window holds will be left out.
    pub(super) fn start_over(&mut self) {
        self.cursor = Position::START;
        self.page.clear();
        self.at_end = false;
    }

    /// After which position to read, and how much.
    pub(super) fn begin_page(&mut self) -> (Position, usize) {
        self.called = false;
        (self.cursor, self.limit)
    }

    /// Takes what was read after `after`, unless reading has begun anew meanwhile.
    pub(super) fn take_page(
        &mut self,
        after: Position,
        page: Vec<Parked>,
        is_known: impl Fn(Position) -> bool,
    ) {
        if after != self.cursor {
            return;
        }
        // A short page is not the end: a backlog may bound it by bytes.
        self.at_end = page.is_empty() && !self.called;
        if let Some(last) = page.last() {
            self.cursor = self.cursor.max(last.position);
            self.furthest = self.furthest.max(self.cursor);
        }
        self.page
            .extend(page.into_iter().filter(|parked| !is_known(parked.position)));
    }
}
