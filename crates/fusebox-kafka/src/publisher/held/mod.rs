//! Direct and memory: events are held in memory until Kafka has them; in direct mode they move to the
//! journal when Kafka does not take them.
//!
//! One drainer feeds Kafka from memory and journal as from one backlog in one order, so changing
//! between the two neither reorders nor repeats: what was handed to the producer before a change is
//! still the producer's, and its report settles it wherever it lies by then.
//!
//! ```text
//!            trouble: circuit not closed, oldest event unacknowledged for too long, shutdown
//!   Direct ─────────────────────────────────────────────────────────────► Spilling
//!     ▲      every held event is appended to the journal, in order            │ all appended
//!     │ no append under way                                                   ▼
//!   Returning ◄─────────────────────────────────────────────────────── Journaling
//!            circuit closed, the drainer has read all there is to read
//! ```
//!
//! | phase | a new event | safe when |
//! |---|---|---|
//! | direct | is held, fed to Kafka | Kafka has it, or the journal after a spill |
//! | spilling, journaling | is appended behind what spilled | the journal has it |
//! | returning | waits for the appends under way, one sync | see direct |
//!
//! Memory mode has no journal and stays in the first phase; there an event is called safe at once.

mod places;
mod spill;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fusebox::{CircuitBreaker, State as Circuit};
use fusebox_journal::{AppendError, Pending};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use self::places::Places;
use super::config::PublisherConfig;
use super::journal::{encoded, refused};
use super::line::{Line, wait_for_room};
use crate::backlog::{Backlog, BacklogError, BacklogStats, DeadReason, JournalBacklog};
use crate::bus::PublishError;
use crate::drainer::DrainerHandle;
use crate::receipt::{Accepted, NotAcknowledged};
use crate::record::{Parked, Position, Record};

type Appended = Result<fusebox_journal::Position, AppendError>;

/// Events in memory, and the journal behind them.
pub(crate) struct Held {
    journal: Option<JournalBacklog>,
    breaker: CircuitBreaker,
    line: Line,
    config: PublisherConfig,
    state: Mutex<State>,
    /// Something to do for [`tend`](Self::tend).
    work: Notify,
    /// Room in memory.
    room: Notify,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Goes up whenever a place in the journal may have got another meaning.
    changes: u64,
    events: BTreeMap<Position, Event>,
    bytes: usize,
    places: Places,
    /// Appends by publishers that have not answered.
    appending: usize,
    /// Appends of a spill, in order, to be awaited by `tend`.
    spilling: Vec<(Position, Pending<Appended>)>,
    /// Appends whose publisher has gone away.
    orphans: Vec<Pending<Appended>>,
    /// No direct phase any more.
    closing: bool,
    spilled: u64,
    /// Memory mode: what Kafka refused for good.
    dead: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Direct,
    Spilling,
    Journaling,
    Returning,
}

#[derive(Debug)]
struct Event {
    parked: Parked,
    bytes: usize,
    since: Instant,
    kept: Kept,
    /// Its place in the journal, as soon as it has one.
    place: Option<fusebox_journal::Position>,
    /// Told when the journal has it.
    publisher: Option<oneshot::Sender<Result<Position, PublishError>>>,
}

/// Where an event in memory is beside that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// Nowhere.
    Memory,
    /// On its way into the journal.
    Appending,
    /// The same, and Kafka has it: to be settled as soon as its place is known.
    Settled,
    /// In the journal.
    Journal,
    /// The journal refused it, and its publisher knows; it may still reach Kafka.
    Refused,
}

/// What became of one try to admit an event.
enum Admission<'a> {
    Held(Position, oneshot::Receiver<Result<Position, PublishError>>),
    Appending(Appending<'a>),
    NoRoom,
    /// Ask again when told so.
    Later,
}

/// An append under way; the count of those must not fall before its answer.
struct Appending<'a> {
    held: &'a Held,
    pending: Option<Pending<Appended>>,
}

impl Held {
    pub(super) fn new(
        journal: Option<JournalBacklog>,
        breaker: CircuitBreaker,
        line: Line,
        config: PublisherConfig,
    ) -> Arc<Self> {
        let phase = match journal {
            // What an earlier process left goes first.
            Some(_) => Phase::Journaling,
            None => Phase::Direct,
        };
        let held = Arc::new(Self {
            journal,
            breaker,
            line,
            config,
            state: Mutex::new(State {
                phase,
                changes: 0,
                events: BTreeMap::new(),
                bytes: 0,
                places: Places::new(),
                appending: 0,
                spilling: Vec::new(),
                orphans: Vec::new(),
                closing: false,
                spilled: 0,
                dead: 0,
            }),
            work: Notify::new(),
            room: Notify::new(),
        });
        let watched = Arc::downgrade(&held);
        held.breaker.on_event(move |_| {
            if let Some(held) = watched.upgrade() {
                held.work.notify_one();
            }
        });
        held
    }

    pub(super) fn line(&self) -> &Line {
        &self.line
    }

    pub(super) fn journal(&self) -> Option<&fusebox_journal::Journal> {
        self.journal.as_ref().map(JournalBacklog::journal)
    }

    pub(super) fn spilled(&self) -> u64 {
        self.lock().spilled
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn publish(
        &self,
        record: &Record,
        drainer: &DrainerHandle,
    ) -> Result<Accepted, PublishError> {
        let event_id = record.event_id;
        // Before it can be sent, or its acknowledgement could be missed.
        let mut receipt = drainer.expect(event_id);
        let deadline = self.line.deadline();
        let mut turn = None;
        loop {
            if turn.is_none() && self.line.is_formed() {
                let deadline = deadline.ok_or(PublishError::Full)?;
                turn = Some(self.line.turn(deadline).await.ok_or(PublishError::Full)?);
            }
            let mut room = Box::pin(self.room.notified());
            room.as_mut().enable();
            let refusal = match self.admit(record)? {
                Admission::Held(position, kept) => {
                    drainer.wake();
                    if self.journal.is_none() {
                        return Ok(Accepted::expecting(event_id, Some(position), receipt));
                    }
                    tokio::select! {
                        biased;
                        end = receipt.wait() => match end {
                            Ok(delivered) => return Ok(Accepted::delivered(event_id, delivered)),
                            Err(NotAcknowledged::Dead(reason)) => {
                                return Err(PublishError::Dead(reason));
                            }
                            Err(NotAcknowledged::Stopped) => return Err(stopped()),
                        },
                        kept = kept => match kept {
                            Ok(position) => {
                                return Ok(Accepted::expecting(event_id, Some(position?), receipt));
                            }
                            // Settled or buried; the end is about to be told, or the worker is gone.
                            Err(_) => match receipt.wait().await {
                                Ok(delivered) => return Ok(Accepted::delivered(event_id, delivered)),
                                Err(NotAcknowledged::Dead(reason)) => {
                                    return Err(PublishError::Dead(reason));
                                }
                                Err(NotAcknowledged::Stopped) => return Err(stopped()),
                            },
                        },
                    }
                }
                Admission::Appending(append) => match append.answer().await {
                    Ok(place) => {
                        drainer.wake();
                        let position = self.lock().places.of(place.0);
                        return Ok(Accepted::expecting(event_id, Some(position), receipt));
                    }
                    Err(error) => refused(error),
                },
                Admission::NoRoom => PublishError::Full,
                Admission::Later => {
                    room.await;
                    continue;
                }
            };
            let Some(deadline) = deadline else {
                return Err(refusal);
            };
            if !matches!(refusal, PublishError::Full | PublishError::NoSpace) {
                return Err(refusal);
            }
            if turn.is_none() {
                let Some(mine) = self.line.turn(deadline).await else {
                    return Err(refusal);
                };
                turn = Some(mine);
            } else if !wait_for_room(room, deadline).await {
                return Err(refusal);
            }
        }
    }

    /// Takes an event in, under the lock: the order of calls is the order in Kafka.
    fn admit(&self, record: &Record) -> Result<Admission<'_>, PublishError> {
        let mut state = self.lock();
        if state.phase == Phase::Direct {
            if self.journal.is_none() {
                return if state.closing {
                    Err(stopped())
                } else {
                    Ok(self.hold(&mut state, record))
                };
            }
            if self.is_well(&state) {
                return Ok(self.hold(&mut state, record));
            }
            self.begin_spill(&mut state);
        }
        let Some(journal) = &self.journal else {
            return Err(stopped());
        };
        if state.phase == Phase::Returning {
            if self.is_well(&state) {
                return Ok(Admission::Later);
            }
            state.enter(Phase::Journaling);
        }
        let entry = encoded(record, journal)?;
        state.appending += 1;
        Ok(Admission::Appending(Appending {
            held: self,
            pending: Some(journal.journal().append(entry)),
        }))
    }

    fn hold(&self, state: &mut State, record: &Record) -> Admission<'_> {
        let bytes = record.wire_size();
        let full = state.events.len() >= self.config.memory_records
            || state.bytes.saturating_add(bytes) > self.config.memory_bytes;
        if full && !state.events.is_empty() {
            return Admission::NoRoom;
        }
        let position = state.places.next_in_memory();
        let (publisher, kept) = oneshot::channel();
        let event = Event {
            parked: Parked {
                position,
                record: record.clone(),
                admitted_at_ms: self.config.clock.now_ms(),
                attempts: 0,
            },
            bytes,
            since: Instant::now(),
            kept: Kept::Memory,
            place: None,
            publisher: Some(publisher),
        };
        if state.events.is_empty() {
            // There is an oldest event to watch now.
            self.work.notify_one();
        }
        state.bytes += bytes;
        state.events.insert(position, event);
        Admission::Held(position, kept)
    }

    /// Whether events may go to Kafka without being written first.
    fn is_well(&self, state: &State) -> bool {
        !state.closing && self.breaker.state() == Circuit::Closed
    }

    /// Records of the journal behind a place that memory does not hold; none when there are no more.
    async fn read_journal(&self, from: u64, limit: usize) -> Result<Vec<Parked>, BacklogError> {
        let Some(journal) = &self.journal else {
            return Ok(Vec::new());
        };
        let mut from = from;
        loop {
            // While events are held, or on their way, the journal has nothing new for the drainer.
            let end = self.lock().journal_end();
            if from.saturating_add(1) >= end {
                return Ok(Vec::new());
            }
            let mut read = journal.read(from, limit).await?;
            let Some(last) = read.last() else {
                return Ok(read);
            };
            from = place_of(last.position);
            {
                let state = self.lock();
                read.retain(|parked| {
                    let place = place_of(parked.position);
                    place < end && !state.places.is_in_memory(place)
                });
            }
            if !read.is_empty() {
                return Ok(read);
            }
        }
    }

    /// One page in the common order of what the journal has and what memory holds.
    fn merge(
        &self,
        state: &mut State,
        after: Position,
        read: Vec<Parked>,
        limit: usize,
    ) -> Vec<Parked> {
        let mut page: Vec<_> = read
            .into_iter()
            .map(|parked| state.placed(parked))
            .collect();
        // Behind the last of these the journal may have more that comes before what memory holds.
        let end = match page.last() {
            Some(last) => Bound::Excluded(last.position),
            None => Bound::Unbounded,
        };
        if page.last().is_none_or(|last| last.position > after) {
            let held = state.events.range((Bound::Excluded(after), end));
            let waiting = held.filter(|(_, event)| event.kept != Kept::Settled);
            page.extend(waiting.take(limit).map(|(_, event)| event.parked.clone()));
            page.sort_unstable_by_key(|parked| parked.position);
            page.truncate(limit);
        }
        if page.is_empty() && state.phase == Phase::Journaling && self.is_well(state) {
            state.enter(Phase::Returning);
            self.return_if_quiet(state);
        }
        page
    }

    /// One append less is under way.
    fn appended(&self, state: &mut State) {
        state.appending -= 1;
        self.return_if_quiet(state);
    }

    fn return_if_quiet(&self, state: &mut State) {
        let Some(journal) = self.journal() else {
            return;
        };
        if state.phase == Phase::Returning && state.appending == 0 {
            state.places.begin_direct(journal.next_position().0);
            state.enter(Phase::Direct);
            tracing::info!("events go to Kafka directly");
            self.call_for_room();
        }
    }

    /// Called when there may be room again, in memory or in the journal.
    fn call_for_room(&self) {
        self.room.notify_waiters();
    }
}

/// The place of a record as the journal gave it.
fn place_of(position: Position) -> u64 {
    u64::try_from(position.0).unwrap_or(0)
}

/// The event's end will not be known here: the worker does not run.
fn stopped() -> PublishError {
    BacklogError::new("keep the event", "the publisher has stopped").into()
}

impl Appending<'_> {
    async fn answer(mut self) -> Appended {
        let Some(pending) = self.pending.as_mut() else {
            return Err(AppendError::Closed);
        };
        let answer = pending.await;
        self.pending = None;
        answer
    }
}

impl Drop for Appending<'_> {
    fn drop(&mut self) {
        let mut state = self.held.lock();
        match self.pending.take() {
            None => self.held.appended(&mut state),
            // The publisher went away; the append did not.
            Some(pending) => {
                state.orphans.push(pending);
                self.held.work.notify_one();
            }
        }
    }
}

impl State {
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.changes += 1;
    }

    /// The place in the journal from which on the drainer must not read.
    fn journal_end(&self) -> u64 {
        match self.phase {
            // Which places the spilled events have is known when the spill is complete.
            Phase::Direct | Phase::Spilling => self.places.direct_from(),
            Phase::Journaling | Phase::Returning => u64::MAX,
        }
    }

    /// A record of the journal under its position in the common order.
    fn placed(&self, mut parked: Parked) -> Parked {
        parked.position = self.places.of(place_of(parked.position));
        parked
    }

    fn remove(&mut self, position: Position) -> Option<Event> {
        let event = self.events.remove(&position)?;
        self.bytes -= event.bytes;
        if let Some(place) = event.place {
            self.places.forget_spilled(place);
        }
        Some(event)
    }
}

#[async_trait]
impl Backlog for Held {
    async fn peek(&self, after: Position, limit: usize) -> Result<Vec<Parked>, BacklogError> {
        loop {
            let (changes, from) = {
                let state = self.lock();
                (state.changes, state.places.in_journal(after))
            };
            let read = self.read_journal(from, limit).await?;
            let mut state = self.lock();
            // Otherwise the places that were read mean something else by now.
            if state.changes == changes {
                return Ok(self.merge(&mut state, after, read, limit));
            }
        }
    }

    async fn settle(&self, positions: &[Position]) -> Result<(), BacklogError> {
        let places = {
            let mut state = self.lock();
            let mut places = Vec::new();
            for position in positions {
                match state.events.get_mut(position) {
                    None => places.push(state.places.journal_place(*position)),
                    Some(event) => match event.kept {
                        Kept::Appending => event.kept = Kept::Settled,
                        Kept::Settled => {}
                        Kept::Memory | Kept::Refused => drop(state.remove(*position)),
                        Kept::Journal => places.extend(event.place),
                    },
                }
            }
            places
        };
        if let Some(journal) = &self.journal
            && !places.is_empty()
        {
            journal.settle_all(&places).await?;
        }
        {
            let mut state = self.lock();
            for position in positions {
                let in_journal = |event: &Event| event.kept == Kept::Journal;
                if state.events.get(position).is_some_and(in_journal) {
                    state.remove(*position);
                }
            }
        }
        self.call_for_room();
        Ok(())
    }

    async fn bury(&self, position: Position, reason: &DeadReason) -> Result<(), BacklogError> {
        let Some(journal) = &self.journal else {
            let mut state = self.lock();
            if let Some(event) = state.remove(position) {
                state.dead += 1;
                tracing::error!(
                    event_id = %event.parked.record.event_id,
                    topic = event.parked.record.topic,
                    %reason,
                    "event in memory given up: there is no place for dead letters"
                );
            }
            drop(state);
            self.call_for_room();
            return Ok(());
        };
        let place = {
            let mut state = self.lock();
            match state.events.get_mut(&position) {
                None => Some(state.places.journal_place(position)),
                Some(event) => match event.kept {
                    Kept::Journal => event.place,
                    Kept::Appending => {
                        return Err(BacklogError::new("bury a record", "it is being kept"));
                    }
                    Kept::Memory | Kept::Refused => None,
                    Kept::Settled => return Ok(()),
                },
            }
        };
        let place = match place {
            Some(place) => place,
            // Dead letters come from the journal: it has to go through it.
            None => match self.keep(position).await? {
                Some(place) => place,
                None => return Ok(()),
            },
        };
        journal.bury_at(place, reason).await?;
        drop(self.lock().remove(position));
        self.call_for_room();
        Ok(())
    }

    async fn stats(&self) -> Result<BacklogStats, BacklogError> {
        let mut count = match &self.journal {
            Some(journal) => journal.stats().await?,
            None => BacklogStats::default(),
        };
        let state = self.lock();
        let elsewhere = |event: &&Event| matches!(event.kept, Kept::Memory | Kept::Refused);
        count.waiting += state.events.values().filter(elsewhere).count() as u64;
        count.dead += state.dead;
        let oldest = state
            .events
            .values()
            .next()
            .map(|event| event.since.elapsed());
        count.oldest_age = oldest.max(count.oldest_age);
        Ok(count)
    }

    fn appears_in_order(&self) -> bool {
        true
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.lock();
        f.debug_struct("Held")
            .field("phase", &state.phase)
            .field("events", &state.events.len())
            .finish_non_exhaustive()
    }
}

/// How soon the journal is looked at without being told to: an operator may have requeued something.
const LOOK_EVERY: Duration = Duration::from_millis(500);
