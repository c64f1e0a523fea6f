//! One state of the model.

use super::Scenario;

/// Events or positions, by number; both are few.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Set(u16);

impl Set {
    pub(super) fn has(self, n: u8) -> bool {
        self.0 & (1 << n) != 0
    }

    pub(super) fn add(&mut self, n: u8) {
        self.0 |= 1 << n;
    }

    pub(super) fn remove(&mut self, n: u8) {
        self.0 &= !(1 << n);
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) fn below(n: u8) -> Self {
        Self((1 << n) - 1)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn len(self) -> u8 {
        u8::try_from(self.0.count_ones()).expect("at most 16")
    }

    pub(super) fn first(self) -> Option<u8> {
        (!self.is_empty()).then(|| u8::try_from(self.0.trailing_zeros()).expect("at most 16"))
    }

    pub(super) fn iter(self) -> impl Iterator<Item = u8> {
        (0..16).filter(move |n| self.has(*n))
    }
}

impl std::fmt::Debug for Set {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// The circuit in front of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Circuit {
    /// The window is fed.
    Closed,
    /// Nothing is fed.
    Open,
    /// One record is fed when nothing is in flight.
    HalfOpen,
}

/// How often each fault may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    pub(super) crashes: u8,
    pub(super) outages: u8,
    pub(super) cuts: u8,
    pub(super) rejects: u8,
    pub(super) refusals: u8,
    pub(super) fatal: u8,
    pub(super) failed_syncs: u8,
}

/// What the cursor file says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Cursor {
    pub(super) settled: Set,
    /// The position behind all that was durable when it was saved.
    pub(super) next: u8,
}

/// What Kafka answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    /// It is in the log.
    Taken,
    /// It is refused for its own sake.
    Refused,
    /// It is refused, and would be taken later.
    Later,
    /// Its number is not the next one.
    OutOfOrder,
}

/// What has become of a producer's first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum First {
    /// The broker has taken none: it expects no number, and takes any.
    Nothing,
    /// The broker has taken one, and counts from there.
    Taken,
    /// And the producer knows.
    Acknowledged,
}

/// Records of one segment.
pub(super) const SEGMENT: u8 = 2;

/// What the drainer may have handed over and not settled.
pub(super) const WINDOW: u8 = 3;

/// Requests under way on one connection.
pub(super) const REQUESTS: usize = 2;

/// A state: what is on disk, in the process, on the wire and in Kafka. Positions count from 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// How many events each publisher knows to be safe.
    pub(super) done: [u8; 2],
    /// Whether its next one is asked for.
    pub(super) asked: [bool; 2],
    /// Events whose publisher was told that they are safe.
    pub(super) safe: Set,

    /// In the process: appended and not synced.
    pub(super) queue: Vec<u8>,
    /// In the files, by position.
    pub(super) records: Vec<u8>,
    /// Segments removed, and how many of the removals a power loss can no longer undo.
    pub(super) removed: u8,
    pub(super) removed_durably: u8,
    pub(super) cursor: Cursor,
    /// Events among the dead letters, durably.
    pub(super) dead: Set,

    /// In the process: settled positions.
    pub(super) settled: Set,
    /// Handed over and not reported.
    pub(super) in_flight: Set,
    /// Records that were refused once.
    pub(super) suspects: Set,
    /// Records that were refused twice.
    pub(super) condemned: Set,
    pub(super) circuit: Circuit,

    /// The producer: positions handed over and not reported, in order.
    pub(super) buffer: Vec<u8>,
    /// How many of them are on the present connection: all that may be, whenever the cluster is up.
    pub(super) sent: usize,
    /// Answers under way, for the first of the buffer.
    pub(super) answers: Vec<Answer>,
    /// How many of the buffer the broker has taken, whether we know or not: the number it expects.
    pub(super) processed: usize,
    /// What has become of the first record of this producer.
    pub(super) first: First,

    pub(super) up: bool,
    /// Events on the wire of producers that are gone: each may still arrive, in order.
    pub(super) ghosts: Vec<Vec<u8>>,
    /// The partition.
    pub(super) topic: Vec<u8>,

    /// Opening found a record missing that the cursor says is waiting.
    pub(super) alarm: bool,
    pub(super) budget: Budget,
}

impl State {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            done: [0; 2],
            asked: [false; 2],
            safe: Set::default(),
            queue: Vec::new(),
            records: Vec::new(),
            removed: 0,
            removed_durably: 0,
            cursor: Cursor::default(),
            dead: Set::default(),
            settled: Set::default(),
            in_flight: Set::default(),
            suspects: Set::default(),
            condemned: Set::default(),
            circuit: Circuit::Closed,
            buffer: Vec::new(),
            sent: 0,
            answers: Vec::new(),
            processed: 0,
            first: First::Nothing,
            up: true,
            ghosts: Vec::new(),
            topic: Vec::new(),
            alarm: false,
            budget: Budget {
                crashes: scenario.crashes,
                outages: scenario.outages,
                cuts: scenario.cuts,
                rejects: scenario.rejects,
                refusals: scenario.refusals,
                fatal: scenario.fatal,
                failed_syncs: scenario.failed_syncs,
            },
        }
    }

    pub(super) fn end(&self) -> u8 {
        u8::try_from(self.records.len()).expect("records are few")
    }

    pub(super) fn event_at(&self, position: u8) -> u8 {
        self.records[usize::from(position)]
    }

    /// Requests that the broker has not dealt with on this connection.
    pub(super) fn on_the_wire(&self) -> usize {
        self.sent - self.answers.len()
    }

    /// The next record to hand over.
    pub(super) fn next_to_feed(&self) -> Option<u8> {
        let held = self.in_flight.or(self.condemned);
        let waiting = Set::below(self.end()).without(self.settled.or(held));
        waiting.without(Set::below(self.removed * SEGMENT)).first()
    }

    /// What is on disk and will be sent again by whoever opens the journal next, also when the cursor
    /// was just being saved.
    pub(super) fn waits_on_disk(&self) -> impl Iterator<Item = u8> {
        let there = Set::below(self.end()).without(Set::below(self.removed * SEGMENT));
        let settled = self.cursor.settled.or(self.settled);
        there.without(settled).iter().map(|p| self.event_at(p))
    }

    /// Falls with every step that is no fault, so that nothing goes on for ever.
    pub(super) fn work_left(&self, scenario: &Scenario) -> u32 {
        const FEED: u32 = 20;
        // More than what a new producer has to do again.
        const REFUSAL: u32 = 40;
        let later = self.answers.iter().filter(|a| **a == Answer::Later);
        let mut left = u32::try_from(later.count()).expect("few") * REFUSAL;
        if let Some(poison) = scenario.poison {
            // Each copy of it is refused twice; a crash may make the publisher write another one.
            left += if self.safe.has(poison) {
                0
            } else {
                2 * REFUSAL
            };
            let copies = (0..self.end()).filter(|at| self.event_at(*at) == poison);
            left += copies
                .map(|at| {
                    match (
                        self.settled.or(self.condemned).has(at),
                        self.suspects.has(at),
                    ) {
                        (true, _) => 0,
                        (false, true) => REFUSAL,
                        (false, false) => 2 * REFUSAL,
                    }
                })
                .sum::<u32>();
        }
        for publisher in 0..2 {
            let open = u32::from(scenario.events[publisher] - self.done[publisher]);
            left += open * (FEED + 2) - u32::from(self.asked[publisher]);
        }
        for position in 0..self.end() {
            left += if self.settled.has(position) {
                u32::from(!self.cursor.settled.has(position))
            } else if self.condemned.has(position) {
                4 - u32::from(self.dead.has(self.event_at(position)))
            } else if let Some(at) = self.buffer.iter().position(|p| *p == position) {
                let first = if self.suspects.has(position) { 6 } else { 12 };
                first + u32::from(at >= self.answers.len())
            } else if self.suspects.has(position) {
                10
            } else {
                FEED
            };
        }
        left += u32::try_from(self.ghosts.iter().map(Vec::len).sum::<usize>()).expect("few");
        left + match self.circuit {
            Circuit::Open => 2,
            Circuit::HalfOpen => 1,
            Circuit::Closed => 0,
        }
    }
}
