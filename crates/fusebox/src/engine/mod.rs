//! The state machine of one circuit, without a lock on the way of any call.
//!
//! Every operation first brings the circuit up to the present time ([`Engine::look`]) and then acts.
//! So the state is a function of the history and the time, whoever looks and when.
//!
//! | in | when | to |
//! |---|---|---|
//! | closed | a failure or a slow call meets the trip rule | open, for a break |
//! | open | the break is over, or a health check says so | half-open |
//! | half-open | `success_threshold` probes succeeded | closed |
//! | half-open | a probe fails or is slow | open, for a longer break |
//! | half-open | all slots are taken and the lease has run out | open, for a longer break |
//! | any | `force_open` | forced open |
//! | any | another mode, the end of a mode, or a reset | closed |
//!
//! One word, [`Word`], says what holds. A change is one compare-and-exchange of it, so it has one
//! maker; it begins a new *generation*. A ticket carries the word it was issued under, and a result
//! of an older generation is counted and moves nothing. All else that belongs to a period carries
//! its generation as a tag and is empty for every other one. The maker of a change enters it in the
//! [`Journal`]; see `docs/design/breaker.md` for why this is sound.

mod admission;
mod control;
mod journal;
#[cfg(all(test, fusebox_loom))]
mod models;
mod overdue;
mod results;
mod rules;
mod view;
pub(crate) mod word;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock::TimeSource;
use crate::config::BreakerConfig;
use crate::event::{Cause, Identity};
use crate::state::{Mode, State};
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering, lock, update};
use crate::window::{Lane, Lanes, Others, REFRESH, Sliding, Totals, Windows};
use admission::Slot;
pub(crate) use admission::{Admission, Refusal, Ticket};
pub(crate) use journal::Observer;
use journal::{Also, Entry, Journal};
use overdue::{CellName, Overdue};
pub(crate) use results::Ending;
use rules::{NO_LIMIT, random};
use word::{Dated, Phase, Slots, Word, nanos};

/// What a health check may do about the circuit.
#[derive(Debug)]
pub(crate) enum ProbePlan {
    /// Nothing: calls pass, or an operator or the dependency itself has the say.
    Idle,
    /// A good result ends the break of this generation.
    EndBreak { generation: u64 },
    /// The check takes a probe's slot.
    Probe(Ticket),
}

/// The words of one circuit, in the order they lie in memory: what every call reads, then what few
/// touch, then the lane that a thread writes at every call, then again what few touch. So writing
/// the lane takes no cache line away from other threads' calls.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Engine {
    control: AtomicU64,
    /// Copies of settings for the hot path: the limit of slow calls, and whether those under way
    /// count.
    slow_after: AtomicU64,
    judges_under_way: AtomicBool,
    /// A health check is under way.
    checking: AtomicBool,
    /// A copy as well: the probes of a half-open period.
    probes: AtomicU32,
    streak: AtomicU64,
    clock: TimeSource,
    /// The clock's time when the breaker was built: the zero of all times in here.
    origin: u64,
    /// The latest time a change was made at.
    latest: AtomicU64,
    windows: Windows,
    lanes: Others,
    of: Identity,

    /// There once slow calls have been judged.
    overdue: OnceLock<Box<Overdue>>,
    /// The end of the break that generations of this parity are: an even one's stays readable while
    /// the next one's is written.
    break_ends: [AtomicU64; 2],
    /// The same for manual modes, by the parity of their serial number (the word's level).
    mode_ends: [AtomicU64; 2],
    slots: AtomicU64,
    /// When a probe last took a slot, or tried to.
    last_probe: AtomicU64,
    /// One more copy of a setting.
    lease: AtomicU64,

    lane: Lane,

    /// One operator at a time; holds the serial number of the last manual mode.
    operator: Mutex<u32>,
    settings: ArcSwap<BreakerConfig>,
    seed: u64,
    /// Until when the dependency asked to be left alone, in a failure of the tagged generation.
    wish: AtomicU64,
    /// Calls that came while traffic was let back in steps.
    ramp_turn: AtomicU64,
    failures: AtomicU64,
    neutral: AtomicU64,
    slow: AtomicU64,
    late: AtomicU64,
    /// Made with its first entry.
    journal: Mutex<Option<Box<Journal>>>,
}

/// A cache line, and what some processors fetch with it is not counted.
#[cfg(not(fusebox_loom))]
const _: () = {
    const LINE: usize = 64;
    let lane = std::mem::offset_of!(Engine, lane);
    let end = lane + size_of::<Lane>();
    assert!(lane - std::mem::offset_of!(Engine, overdue) >= LINE);
    assert!(size_of::<Engine>() - end >= LINE);
};

impl Phase {
    fn state(self) -> State {
        match self {
            Phase::Open | Phase::OpenAsked | Phase::ForcedOpen => State::Open,
            Phase::HalfOpen | Phase::Ramp => State::HalfOpen,
            _ => State::Closed,
        }
    }

    fn mode(self) -> Mode {
        match self {
            Phase::ForcedOpen => Mode::ForcedOpen,
            Phase::Disabled | Phase::SwitchedOff => Mode::Disabled,
            Phase::MetricsOnly => Mode::MetricsOnly,
            _ => Mode::Automatic,
        }
    }

    /// Are calls in it judged by the trip rules?
    fn is_judged(self) -> bool {
        matches!(self, Phase::Closed | Phase::Ramp | Phase::MetricsOnly)
    }
}

/// A change about to be made: what it leads to, and what the books will say of it.
struct Change {
    to: Phase,
    /// Another window than before.
    window: Option<usize>,
    level: u32,
    cause: Cause,
    totals: Totals,
    at: u64,
    break_for: Option<Duration>,
    also: Also,
}

impl Change {
    fn new(to: Phase, level: u32, cause: Cause, at: u64) -> Self {
        Self {
            to,
            window: None,
            level,
            cause,
            totals: Totals::default(),
            at,
            break_for: None,
            also: Also::Nothing,
        }
    }
}

impl Engine {
    /// A closed circuit; `config` has been validated. Switched off, it lets all pass for ever.
    pub(crate) fn new(
        of: Identity,
        config: Arc<BreakerConfig>,
        clock: TimeSource,
        seed: u64,
        enabled: bool,
    ) -> Self {
        let origin = clock.nanos();
        let phase = if enabled {
            Phase::Closed
        } else {
            Phase::SwitchedOff
        };
        let zero = || AtomicU64::new(0);
        let engine = Self {
            control: AtomicU64::new(Word::new(phase, 0, 0, 0).bits()),
            slow_after: AtomicU64::new(config.slow_after()),
            judges_under_way: AtomicBool::new(config.judge_calls_under_way),
            checking: AtomicBool::new(false),
            probes: AtomicU32::new(config.success_threshold),
            streak: zero(),
            clock,
            origin,
            latest: zero(),
            windows: Windows::new(config.window),
            lanes: Others::new(),
            of,
            overdue: OnceLock::new(),
            // Of no generation that a break or a wish could have.
            break_ends: [zero(), zero()],
            mode_ends: [zero(), zero()],
            slots: AtomicU64::new(Slots::none(u64::MAX).bits()),
            last_probe: zero(),
            lease: AtomicU64::new(nanos(config.half_open_lease)),
            lane: Lane::new(),
            operator: Mutex::new(0),
            settings: ArcSwap::new(config),
            seed,
            wish: AtomicU64::new(Dated::new(u64::MAX, Some(0)).bits()),
            ramp_turn: zero(),
            failures: zero(),
            neutral: zero(),
            slow: zero(),
            late: zero(),
            journal: Mutex::new(None),
        };
        engine.prepare_overdue();
        engine
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.of
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.word().phase() != Phase::SwitchedOff
    }

    #[expect(
        clippy::inline_always,
        reason = "a function's prologue is a tenth of the cost of a whole call"
    )]
    #[inline(always)]
    fn lanes(&self) -> Lanes<'_> {
        Lanes {
            first: &self.lane,
            others: &self.lanes,
        }
    }

    /// Brings the circuit up to the present, and answers what holds and when that is.
    ///
    /// Whoever looks may make a change that was due, dated when it was. Terminates: every turn of
    /// the loop, somebody has begun a generation, and a half-open period begins without probes, so
    /// it cannot expire at the same moment.
    pub(crate) fn look(&self) -> (Word, u64) {
        loop {
            let word = self.word();
            // After the word: then no change that holds is dated later than the time we act at.
            let now = self.now();
            let moved = match word.phase() {
                Phase::Closed => self.look_at_speed(word, now),
                Phase::Ramp => self.look_at_ramp(word, now) || self.look_at_speed(word, now),
                Phase::MetricsOnly => self.look_at_mode(word, now) || self.look_at_speed(word, now),
                Phase::Open | Phase::OpenAsked => self.look_at_break(word, now),
                Phase::HalfOpen => self.look_at_probes(word, now),
                Phase::ForcedOpen | Phase::Disabled => self.look_at_mode(word, now),
                Phase::SwitchedOff => false,
            };
            if !moved {
                return (word, now);
            }
        }
    }

    /// Each of these answers true when the word has moved on, by its own doing or another's.
    fn look_at_break(&self, word: Word, now: u64) -> bool {
        match self.end_of(word) {
            Err(Moved) => true,
            Ok(Some(end)) if now >= end => {
                let change = Change::new(Phase::HalfOpen, word.level(), Cause::BreakOver, end);
                self.shift(word, change);
                true
            }
            Ok(_) => false,
        }
    }

    fn look_at_ramp(&self, word: Word, now: u64) -> bool {
        match self.end_of(word) {
            Err(Moved) => true,
            Ok(Some(end)) if now >= end => {
                let change = Change::new(Phase::Closed, 0, Cause::ProbesSucceeded, end);
                self.shift(word, change);
                true
            }
            Ok(_) => false,
        }
    }

    fn look_at_mode(&self, word: Word, now: u64) -> bool {
        match self.end_of(word) {
            Err(Moved) => true,
            Ok(Some(end)) if now >= end => {
                self.end_mode(word, end);
                true
            }
            Ok(_) => false,
        }
    }

    fn look_at_probes(&self, word: Word, now: u64) -> bool {
        let slots = Slots::from_bits(self.slots.load(Ordering::Acquire));
        if !slots.is_of(word.generation()) {
            return slots.is_newer_than(word.generation());
        }
        let needed = self.probes.load(Ordering::Acquire);
        let probes = Totals {
            calls: u64::from(slots.succeeded()),
            ..Totals::default()
        };
        if slots.succeeded() >= needed {
            // Whoever counted the last success is about to do the same.
            self.close(word, probes, now);
            return true;
        }
        // Fewer probes than needed have succeeded, so with no slot free some are under way.
        if slots.taken() >= needed {
            let end = self.lease_end();
            if now >= end {
                self.open(word, Cause::LeaseExpired, probes, end);
                return true;
            }
        }
        false
    }

    /// When the probes of a half-open circuit have held all its slots for too long. For those who
    /// have seen that none is left.
    fn lease_end(&self) -> u64 {
        let lease = self.lease.load(Ordering::Acquire);
        self.last_probe
            .load(Ordering::Acquire)
            .saturating_add(lease)
    }

    fn look_at_speed(&self, word: Word, now: u64) -> bool {
        let limit = self.slow_after.load(Ordering::Relaxed);
        let Some(overdue) = self.overdue.get() else {
            return false;
        };
        let judged = self.judges_under_way.load(Ordering::Relaxed);
        if limit == NO_LIMIT || !judged || !overdue.is_due(now) {
            return false;
        }
        // Only a call that has become overdue may trip, as only a call that ended badly may.
        overdue
            .look(word.generation(), now, limit)
            .is_some_and(|calls| self.judge_speed(word, calls, now))
    }

    /// When the break or the mode of `word` ends; `Ok(None)`: not by itself.
    fn end_of(&self, word: Word) -> Result<Option<u64>, Moved> {
        let generation = word.generation();
        if word.phase().mode() == Mode::Automatic {
            let end = self.break_ends[parity(generation)].load(Ordering::Acquire);
            // Written before the word that needs it, and again only after that word has gone.
            let end = Dated::from_bits(end);
            return if end.is_of(generation) {
                Ok(end.nanos())
            } else {
                Err(Moved)
            };
        }
        let end = self.mode_ends[parity(word.level().into())].load(Ordering::Acquire);
        // The operation that could have overwritten it comes two modes later.
        if self.word() == word {
            Ok(Dated::from_bits(end).nanos())
        } else {
            Err(Moved)
        }
    }

    /// Fixes the end of the break that `generation` will be, and answers it. The first to fix it
    /// wins: all that try to open the same circuit at once agree on the length.
    fn fix_break_end(&self, generation: u64, end: u64) -> Option<u64> {
        let cell = &self.break_ends[parity(generation)];
        let fixed = update(cell, |seen| {
            let seen = Dated::from_bits(seen);
            let free = !seen.is_of(generation) && !seen.is_newer_than(generation);
            free.then(|| Dated::new(generation, Some(end)).bits())
        });
        let fixed = fixed.map_or_else(|| cell.load(Ordering::Acquire), |(_, fixed)| fixed);
        Dated::from_bits(fixed).nanos()
    }

    fn time_left(&self, word: Word, now: u64) -> Result<Option<Duration>, Moved> {
        let end = self.end_of(word)?;
        Ok(end.map(|end| Duration::from_nanos(end.saturating_sub(now))))
    }

    /// Ends the probing well: the circuit closes, or begins to let traffic back.
    fn close(&self, word: Word, probes: Totals, at: u64) -> bool {
        if let Some(ramp) = self.settings.load().ramp {
            let generation = word.generation().wrapping_add(1);
            let end = at.saturating_add(nanos(ramp.length));
            self.fix_break_end(generation, end);
            let change = Change::new(Phase::Ramp, word.level(), Cause::ProbesSucceeded, at);
            return self.shift(word, change);
        }
        let change = Change::new(Phase::Closed, 0, Cause::ProbesSucceeded, at);
        self.shift(
            word,
            Change {
                totals: probes,
                ..change
            },
        )
    }

    /// Begins a break.
    fn open(&self, word: Word, cause: Cause, totals: Totals, at: u64) -> bool {
        let generation = word.generation().wrapping_add(1);
        let wish = Dated::from_bits(self.wish.load(Ordering::Acquire));
        let asked = if wish.is_of(word.generation()) {
            wish.nanos()
        } else {
            None
        };
        let asked = asked
            .filter(|until| *until > at)
            .map(|until| Duration::from_nanos(until - at));
        let length =
            self.settings
                .load()
                .break_length(word.level(), asked, random(self.seed, generation));
        let end = self.fix_break_end(generation, at.saturating_add(nanos(length)));
        let phase = if asked.is_some() {
            Phase::OpenAsked
        } else {
            Phase::Open
        };
        let change = Change::new(phase, word.level() + 1, cause, at);
        self.shift(
            word,
            Change {
                totals,
                break_for: end.map(|end| Duration::from_nanos(end.saturating_sub(at))),
                ..change
            },
        )
    }

    /// Makes the change, unless another has come first: then nothing happens, and false. Delivers
    /// the events that wait, so it must not be called under a lock.
    fn shift(&self, from: Word, change: Change) -> bool {
        let made = self.shift_quietly(from, change);
        if made {
            self.deliver();
        }
        made
    }

    /// [`Engine::shift`] without delivery. The one place where a generation begins.
    fn shift_quietly(&self, from: Word, change: Change) -> bool {
        let mut seen = from;
        let next = loop {
            let generation = seen.generation().wrapping_add(1);
            let window = change.window.unwrap_or(seen.window());
            let next = Word::new(change.to, window, change.level, generation);
            // Release: what the new period needs (the end of a break) is written. Acquire: the
            // entry below comes after that of the period before.
            match self.control.compare_exchange(
                seen.bits(),
                next.bits(),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => break next,
                Err(now) => {
                    let now = Word::from_bits(now);
                    // Within a period only the shape of the window changes.
                    if !now.same_period(from) {
                        return false;
                    }
                    seen = now;
                }
            }
        };
        self.latest.fetch_max(change.at, Ordering::AcqRel);
        if next.generation() % REFRESH == 0 {
            self.windows.refresh(next.generation());
        }
        let entry = Entry {
            from: from.phase().state(),
            to: next.phase().state(),
            cause: change.cause,
            totals: change.totals,
            at: self.date(change.at),
            break_for: change.break_for,
            also: change.also,
        };
        self.write(|journal| journal.enter(&self.of, next.generation(), entry));
        true
    }

    /// Delivers waiting events until none is left, unless another thread is at it.
    fn deliver(&self) {
        if !self.write(|journal| journal.log.claim()) {
            return;
        }
        while let Some((event, observers)) = self.write(Journal::next_delivery) {
            for observer in observers.iter() {
                // A panic must not end delivery for ever, nor abort a drop during unwinding.
                if catch_unwind(AssertUnwindSafe(|| observer(&event))).is_err() {
                    self.write(|journal| journal.observer_panics += 1);
                }
            }
        }
    }

    /// Does something with the journal, which must not call anybody.
    fn write<R>(&self, f: impl FnOnce(&mut Journal) -> R) -> R {
        let mut journal = lock(&self.journal);
        f(journal.get_or_insert_with(|| Box::new(Journal::new(self.date(0)))))
    }

    /// The same for those who only read: a journal without entries is not made for it.
    fn read<R>(&self, f: impl FnOnce(&Journal) -> R) -> R {
        match &*lock(&self.journal) {
            Some(journal) => f(journal),
            None => f(&Journal::new(self.date(0))),
        }
    }

    #[inline]
    fn word(&self) -> Word {
        // Acquire: whoever sees a period sees what its beginning wrote before.
        Word::from_bits(self.control.load(Ordering::Acquire))
    }

    #[expect(
        clippy::inline_always,
        reason = "a function's prologue is a tenth of the cost of a whole call"
    )]
    #[inline(always)]
    fn window(&self, word: Word) -> &Sliding {
        self.windows.get(word.window())
    }

    /// The time since the breaker was built. A clock that steps back finds it standing still at the
    /// latest change.
    #[inline]
    fn now(&self) -> u64 {
        let now = self.clock.nanos().saturating_sub(self.origin);
        now.max(self.latest.load(Ordering::Relaxed))
    }

    /// A time that is not after the present one, if the present one is surely before `end`.
    fn before(&self, end: u64) -> Option<u64> {
        let (time, slack) = self.clock.at_least();
        let time = time.saturating_sub(self.origin);
        let time = time.max(self.latest.load(Ordering::Relaxed));
        (time.saturating_add(slack) < end).then_some(time)
    }

    /// Is the clock surely before `end`? Where it steps back it is so again, unlike [`Engine::now`].
    #[expect(
        clippy::inline_always,
        reason = "a function's prologue is a tenth of the cost of a whole call"
    )]
    #[inline(always)]
    fn is_before(&self, end: u64) -> bool {
        let (time, slack) = self.clock.at_least();
        time.saturating_add(slack) < self.origin.saturating_add(end)
    }

    /// That time on the breaker's clock.
    fn date(&self, time: u64) -> Duration {
        Duration::from_nanos(self.origin.saturating_add(time))
    }

    /// Calls under way are counted by age from the first time that slow calls are judged.
    fn prepare_overdue(&self) {
        let settings = self.settings.load();
        if settings.slow_call.is_some() && settings.judge_calls_under_way {
            self.overdue.get_or_init(|| Box::new(Overdue::new()));
        }
    }
}

/// The word has moved on: look again.
struct Moved;

fn parity(number: u64) -> usize {
    (number & 1) as usize
}

/// An engine for a test of its parts, and its clock.
#[cfg(all(test, not(fusebox_loom)))]
fn for_test(config: BreakerConfig) -> (Engine, crate::clock::VirtualClock) {
    let clock = crate::clock::VirtualClock::new();
    let of = Identity::of_breaker("s", "c");
    let source = TimeSource::from(clock.clone());
    let engine = Engine::new(of, Arc::new(config), source, 1, true);
    (engine, clock)
}

#[cfg(all(test, not(fusebox_loom)))]
mod tests {
    use super::*;
    use crate::config::SlowCall;

    /// The counters of calls under way are large: only who has them judged pays for them.
    #[test]
    fn calls_under_way_take_memory_only_where_they_are_judged() {
        let speed = SlowCall {
            longer_than: Duration::from_secs(1),
            rate: 0.5,
            minimum: 1,
        };
        let plain = BreakerConfig::new();
        let judged = BreakerConfig::new().with_slow_call(speed);
        let when_ended = judged.clone().with_judge_calls_under_way(false);
        for (config, expected) in [(plain, false), (when_ended, false), (judged, true)] {
            let (engine, _) = for_test(config);
            assert_eq!(engine.overdue.get().is_some(), expected);
        }
    }

    #[test]
    fn the_first_to_fix_the_end_of_a_break_wins() {
        const UNIT: u64 = 1_000_000;
        let (engine, _) = for_test(BreakerConfig::new());
        let fixed = |generation, end: u64| engine.fix_break_end(generation, end * UNIT);
        assert_eq!(fixed(6, 100), Some(100 * UNIT));
        assert_eq!(fixed(6, 200), Some(100 * UNIT), "it is fixed");
        assert_eq!(fixed(4, 300), Some(100 * UNIT), "too late");
        assert_eq!(fixed(7, 400), Some(400 * UNIT), "the next one");
        assert_eq!(fixed(6, 500), Some(100 * UNIT), "stays readable meanwhile");
        assert_eq!(fixed(8, 600), Some(600 * UNIT));
    }
}
