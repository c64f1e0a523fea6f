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

/// A record that the producer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Sent {
    pub(super) position: u8,
    pub(super) event: u8,
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

/// The work of a record that was never handed over.
const FEED: u32 = 20;

/// The work of writing a record: more than what it makes.
const WRITTEN: u32 = FEED + 2;

/// The work of a refusal: more than what a new producer has to do again.
const REFUSAL: u32 = 40;

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

    /// In the process: appended and not durable. Their positions follow those of `records`.
    pub(super) queue: Vec<u8>,
    /// How many of the queue are written as the group that is being synced.
    pub(super) written: u8,
    /// How many of the queue are of a group that was refused, and no cursor says yet that their positions
    /// are used up. Nothing is written meanwhile.
    pub(super) burning: u8,
    /// Positions of the two that Kafka has acknowledged.
    pub(super) early: Set,
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

    /// The producer: what was handed over and not reported, in order.
    pub(super) buffer: Vec<Sent>,
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
    /// The partition: events in the order of their first occurrences.
    pub(super) topic: Vec<u8>,
    /// Whether one is there twice.
    pub(super) repeated: bool,

    /// Positions of refused groups: they hold no record.
    pub(super) refused: Set,
    /// Records that were handed over before they were durable, and were refused or lost, while they are under
    /// way or in the topic: the event, and the place where it stood.
    pub(super) unaccepted: Vec<(u8, u8)>,

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
            written: 0,
            burning: 0,
            early: Set::default(),
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
            repeated: false,
            refused: Set::default(),
            unaccepted: Vec::new(),
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

    /// Behind the last durable record.
    pub(super) fn end(&self) -> u8 {
        u8::try_from(self.records.len()).expect("records are few")
    }

    /// Behind the last record that the drainer may see or have seen.
    pub(super) fn shown_end(&self) -> u8 {
        self.end() + self.written + self.burning
    }

    pub(super) fn event_at(&self, position: u8) -> u8 {
        let ahead = || self.queue[usize::from(position - self.end())];
        let durable = self.records.get(usize::from(position));
        durable.copied().unwrap_or_else(ahead)
    }

    /// The group that is written and not synced.
    pub(super) fn group(&self) -> &[u8] {
        &self.queue[..usize::from(self.written)]
    }

    /// The partition gets an event.
    pub(super) fn arrive(&mut self, event: u8) {
        if self.topic.contains(&event) {
            self.repeated = true;
        } else {
            self.topic.push(event);
        }
    }

    /// Where an event stands in the journal.
    pub(super) fn place(&self, event: u8) -> Option<u8> {
        let accepted = (0..self.end()).filter(|position| !self.refused.has(*position));
        let mut accepted = accepted.chain(self.end() + self.burning..self.queued_end());
        accepted.find(|position| self.event_at(*position) == event)
    }

    /// Where an event stood first of all, also when it was refused or lost there.
    pub(super) fn first_place(&self, event: u8) -> Option<u8> {
        let mut burning = self.end()..self.end() + self.burning;
        let burning = burning.find(|position| self.event_at(*position) == event);
        let unaccepted = self.unaccepted.iter().filter(|(of, _)| *of == event);
        let places = unaccepted.map(|(_, place)| *place).chain(burning);
        places.chain(self.place(event)).min()
    }

    fn queued_end(&self) -> u8 {
        self.end() + u8::try_from(self.queue.len()).expect("few")
    }

    /// A record that was not accepted stood at this place; the event may be under way all the same.
    pub(super) fn note_unaccepted(&mut self, event: u8, place: u8) {
        if self.first_place(event).is_none_or(|first| place < first) {
            self.unaccepted.retain(|(of, _)| *of != event);
            self.unaccepted.push((event, place));
            self.unaccepted.sort_unstable();
        }
    }

    /// What is neither in the topic nor under way need not be known.
    pub(super) fn forget_unaccepted(&mut self) {
        let mut unaccepted = std::mem::take(&mut self.unaccepted);
        unaccepted.retain(|(event, _)| {
            self.topic.contains(event)
                || self.buffer.iter().any(|sent| sent.event == *event)
                || self.ghosts.iter().any(|ghost| ghost.contains(event))
        });
        self.unaccepted = unaccepted;
    }

    /// Requests that the broker has not dealt with on this connection.
    pub(super) fn on_the_wire(&self) -> usize {
        self.sent - self.answers.len()
    }

    /// The next record to hand over.
    pub(super) fn next_to_feed(&self) -> Option<u8> {
        let held = self.in_flight.or(self.condemned).or(self.early);
        let waiting = Set::below(self.shown_end()).without(self.settled.or(held));
        waiting.without(Set::below(self.removed * SEGMENT)).first()
    }

    /// What is on disk and will be sent again by whoever opens the journal next, also when the cursor
    /// was just being saved.
    pub(super) fn waits_on_disk(&self) -> impl Iterator<Item = u8> {
        let there = Set::below(self.end()).without(Set::below(self.removed * SEGMENT));
        let settled = self.cursor.settled.or(self.settled);
        there.without(settled).iter().map(|p| self.event_at(p))
    }

    /// The condemned record that is to be buried next. One that is not durable waits for its sync.
    pub(super) fn next_burial(&self) -> Option<u8> {
        let condemned = self.condemned.first();
        condemned.filter(|position| *position < self.end())
    }

    /// Falls with every step that is no fault, so that nothing goes on for ever.
    pub(super) fn work_left(&self, scenario: &Scenario) -> u32 {
        let later = self.answers.iter().filter(|a| **a == Answer::Later);
        let mut left = u32::try_from(later.count()).expect("few") * REFUSAL;
        if let Some(poison) = scenario.poison {
            left += self.refusals_left(poison);
        }
        for publisher in 0..2 {
            let open = u32::from(scenario.events[publisher] - self.done[publisher]);
            left += open * (WRITTEN + 2) - u32::from(self.asked[publisher]);
        }
        left -= u32::from(self.written) * WRITTEN;
        left += u32::from(self.burning);
        for position in 0..self.shown_end() {
            left += self.work_left_of(position);
        }
        left += u32::try_from(self.ghosts.iter().map(Vec::len).sum::<usize>()).expect("few");
        left + match self.circuit {
            Circuit::Open => 2,
            Circuit::HalfOpen => 1,
            Circuit::Closed => 0,
        }
    }

    /// What the refusals of poison cost: each copy of it is refused twice.
    fn refusals_left(&self, poison: u8) -> u32 {
        // The publisher writes one, or another one after a crash or a refused group.
        let there = self.safe.has(poison) || self.group().contains(&poison);
        let copies = (0..self.shown_end()).filter(|at| self.event_at(*at) == poison);
        let refusals = copies.map(|at| {
            let known = self.settled.has(at) || self.suspects.has(at);
            match (self.in_buffer(at).is_some(), known) {
                _ if self.condemned.has(at) => 0,
                (false, true) if self.settled.has(at) => 0,
                (_, true) => 1,
                (_, false) => 2,
            }
        });
        (refusals.sum::<u32>() + if there { 0 } else { 2 }) * REFUSAL
    }

    /// What one record still costs until the cursor says that it is settled.
    fn work_left_of(&self, position: u8) -> u32 {
        if let Some(at) = self.in_buffer(position) {
            let last = self.settled.or(self.suspects).has(position);
            return if last { 6 } else { 12 } + u32::from(at >= self.answers.len());
        }
        if self.settled.or(self.early).has(position) {
            u32::from(!self.cursor.settled.has(position))
        } else if self.condemned.has(position) {
            4 - u32::from(self.dead.has(self.event_at(position)))
        } else if self.suspects.has(position) {
            10
        } else {
            FEED
        }
    }

    fn in_buffer(&self, position: u8) -> Option<usize> {
        let mut sent = self.buffer.iter();
        sent.position(|sent| sent.position == position)
    }
}
