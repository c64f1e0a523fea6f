//! The words of a circuit: how a few numbers share one `AtomicU64`, so that they change together.
//!
//! ```text
//! control   generation:48 | level:6 | window:6 | phase:4      state, and which period it is
//! dated     tag:20        | time:44 in units of 100 µs        end of a break or mode, wish of a dependency
//! streak    tag:32        | failures:32                       failures in a row
//! probes    tag:28        | under way:18 | succeeded:18       slots of a half-open period
//! ```
//!
//! A *tag* is the low bits of a generation. A word whose tag is not the present one's counts as
//! empty: that is how a new period begins without sweeping anything. Tags wrap; two generations are
//! told apart, and ordered, as long as less than half the tag's range lies between them.

use std::fmt;
use std::time::Duration;

/// What a circuit does, in its four bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    Closed = 0,
    Open = 1,
    /// Open because the dependency itself asked for it: no health check ends it.
    OpenAsked = 2,
    HalfOpen = 3,
    /// Closed again, for a growing share of the calls.
    Ramp = 4,
    ForcedOpen = 5,
    Disabled = 6,
    MetricsOnly = 7,
    /// Built as a pass-through; never left.
    SwitchedOff = 8,
}

impl Phase {
    const ALL: [Phase; 9] = [
        Phase::Closed,
        Phase::Open,
        Phase::OpenAsked,
        Phase::HalfOpen,
        Phase::Ramp,
        Phase::ForcedOpen,
        Phase::Disabled,
        Phase::MetricsOnly,
        Phase::SwitchedOff,
    ];
}

/// The control word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(u64);

const PHASE_BITS: u32 = 4;
const WINDOW_BITS: u32 = 6;
const LEVEL_BITS: u32 = 6;
const WINDOW_AT: u32 = PHASE_BITS;
const LEVEL_AT: u32 = WINDOW_AT + WINDOW_BITS;
const GENERATION_AT: u32 = LEVEL_AT + LEVEL_BITS;

/// A phase that no circuit is in.
const REFUSAL: u64 = (1 << PHASE_BITS) - 1;
const _: () = assert!(Phase::ALL.len() as u64 <= REFUSAL);

/// Windows of different shape a breaker can have had.
pub(crate) const WINDOWS: usize = 1 << WINDOW_BITS;
/// Breaks that are told apart for their length; more count as this many.
pub(crate) const LEVELS: u32 = (1 << LEVEL_BITS) - 1;

impl Word {
    pub(crate) const fn new(phase: Phase, window: usize, level: u32, generation: u64) -> Self {
        let window = window as u64 & ((1 << WINDOW_BITS) - 1);
        let level = if level > LEVELS { LEVELS } else { level } as u64;
        Self(phase as u64 | window << WINDOW_AT | level << LEVEL_AT | generation << GENERATION_AT)
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// No word of a circuit, but the mark of a refusal: by one that is half-open, or open.
    pub(crate) const fn refusal(half_open: bool) -> Self {
        Self(REFUSAL | (half_open as u64) << PHASE_BITS)
    }

    #[inline]
    pub(crate) const fn is_refusal(self) -> bool {
        self.0 & ((1 << PHASE_BITS) - 1) == REFUSAL
    }

    #[inline]
    pub(crate) fn is_closed(self) -> bool {
        self.0 & ((1 << PHASE_BITS) - 1) == Phase::Closed as u64
    }

    /// Closed, in the first window the breaker has had: what nearly all calls meet.
    #[inline]
    pub(crate) fn is_plain(self) -> bool {
        self.0 & ((1 << LEVEL_AT) - 1) == Phase::Closed as u64
    }

    pub(crate) fn phase(self) -> Phase {
        let phase = (self.0 & ((1 << PHASE_BITS) - 1)) as usize;
        // Only `new` makes words, so the index is one of a phase.
        Phase::ALL[phase]
    }

    #[inline]
    pub(crate) const fn window(self) -> usize {
        (self.0 >> WINDOW_AT & ((1 << WINDOW_BITS) - 1)) as usize
    }

    pub(crate) const fn level(self) -> u32 {
        (self.0 >> LEVEL_AT & ((1 << LEVEL_BITS) - 1)) as u32
    }

    #[inline]
    pub(crate) const fn generation(self) -> u64 {
        self.0 >> GENERATION_AT
    }

    /// Are both of the same period? (Window and level may have changed within it.)
    #[inline]
    pub(crate) const fn same_period(self, other: Word) -> bool {
        (self.0 ^ other.0) >> GENERATION_AT == 0
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Word")
            .field("phase", &self.phase())
            .field("window", &self.window())
            .field("level", &self.level())
            .field("generation", &self.generation())
            .finish()
    }
}

/// The low `BITS` of a generation.
#[inline]
pub(crate) const fn tag<const BITS: u32>(generation: u64) -> u64 {
    generation & ((1 << BITS) - 1)
}

/// Is tag `a` of a later generation than tag `b`? Right while they are less than half the range of
/// `BITS` apart.
#[inline]
pub(crate) const fn newer<const BITS: u32>(a: u64, b: u64) -> bool {
    let ahead = a.wrapping_sub(b) & ((1 << BITS) - 1);
    ahead != 0 && ahead < 1 << (BITS - 1)
}

/// A moment with the tag of its generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dated(u64);

const TIME_BITS: u32 = 44;
pub(crate) const DATED_TAG_BITS: u32 = 64 - TIME_BITS;
const UNIT_NANOS: u64 = 100_000;
/// "Until reset": no time is that late.
const NEVER: u64 = (1 << TIME_BITS) - 1;

impl Dated {
    /// `None` is "until reset"; a moment past the range (55 years of the clock) is its end, which
    /// is still no "until reset". Rounded up to 100 µs.
    pub(crate) const fn new(generation: u64, nanos: Option<u64>) -> Self {
        let time = match nanos {
            None => NEVER,
            Some(nanos) => {
                let units = nanos.div_ceil(UNIT_NANOS);
                if units >= NEVER { NEVER - 1 } else { units }
            }
        };
        Self(tag::<DATED_TAG_BITS>(generation) << TIME_BITS | time)
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    pub(crate) const fn is_of(self, generation: u64) -> bool {
        self.0 >> TIME_BITS == tag::<DATED_TAG_BITS>(generation)
    }

    pub(crate) const fn is_newer_than(self, generation: u64) -> bool {
        newer::<DATED_TAG_BITS>(self.0 >> TIME_BITS, tag::<DATED_TAG_BITS>(generation))
    }

    /// `None`: until reset.
    pub(crate) const fn nanos(self) -> Option<u64> {
        match self.0 & NEVER {
            NEVER => None,
            units => Some(units.saturating_mul(UNIT_NANOS)),
        }
    }
}

/// Failures in a row, of one generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Streak(u64);

const COUNT_BITS: u32 = 32;

impl Streak {
    pub(crate) const fn new(generation: u64, failures: u32) -> Self {
        Self(tag::<COUNT_BITS>(generation) << COUNT_BITS | failures as u64)
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// The failures in a row, if they are of `generation`.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the lower half of the word"
    )]
    pub(crate) const fn of(self, generation: u64) -> u32 {
        if self.0 >> COUNT_BITS == tag::<COUNT_BITS>(generation) {
            self.0 as u32
        } else {
            0
        }
    }

    pub(crate) const fn is_newer_than(self, generation: u64) -> bool {
        newer::<COUNT_BITS>(self.0 >> COUNT_BITS, tag::<COUNT_BITS>(generation))
    }

    /// No failures, whosever they would be: the cheapest question.
    #[inline]
    pub(crate) const fn is_zero(self) -> bool {
        self.0 & u32::MAX as u64 == 0
    }
}

/// The slots of a half-open period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slots(u64);

const SLOT_BITS: u32 = 18;
pub(crate) const SLOTS_TAG_BITS: u32 = 64 - 2 * SLOT_BITS;
const UNDER_WAY: u64 = 1 << SLOT_BITS;

impl Slots {
    pub(crate) const fn none(generation: u64) -> Self {
        Self(tag::<SLOTS_TAG_BITS>(generation) << (2 * SLOT_BITS))
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    pub(crate) const fn is_of(self, generation: u64) -> bool {
        self.0 >> (2 * SLOT_BITS) == tag::<SLOTS_TAG_BITS>(generation)
    }

    pub(crate) const fn is_newer_than(self, generation: u64) -> bool {
        newer::<SLOTS_TAG_BITS>(self.0 >> (2 * SLOT_BITS), tag::<SLOTS_TAG_BITS>(generation))
    }

    pub(crate) const fn under_way(self) -> u32 {
        (self.0 >> SLOT_BITS & (UNDER_WAY - 1)) as u32
    }

    pub(crate) const fn succeeded(self) -> u32 {
        (self.0 & (UNDER_WAY - 1)) as u32
    }

    /// Slots taken: by probes under way, and for good by those that succeeded.
    pub(crate) const fn taken(self) -> u32 {
        self.under_way() + self.succeeded()
    }

    #[must_use]
    pub(crate) const fn begin(self) -> Self {
        Self(self.0 + UNDER_WAY)
    }

    /// Only with one under way.
    #[must_use]
    pub(crate) const fn give_back(self) -> Self {
        Self(self.0 - UNDER_WAY)
    }

    /// Only with one under way.
    #[must_use]
    pub(crate) const fn succeed(self) -> Self {
        Self(self.0 - UNDER_WAY + 1)
    }
}

/// Whole nanoseconds, as far as they go (584 years).
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GENERATIONS: [u64; 6] = [0, 1, 2, 0xffff_ffff, (1 << 47) + 5, (1 << 48) - 1];

    /// The design page draws the words with the widths they have here.
    #[test]
    fn the_design_page_draws_these_words() {
        let page = include_str!("../../../../docs/design/breaker.md");
        let generation = 64 - GENERATION_AT;
        let failures = 64 - COUNT_BITS;
        let words = [
            format!(
                "control   generation:{generation} | level:{LEVEL_BITS} | window:{WINDOW_BITS} | phase:{PHASE_BITS}"
            ),
            format!("dated     tag:{DATED_TAG_BITS} | time:{TIME_BITS} in units of 100 µs"),
            format!("streak    tag:{COUNT_BITS} | failures:{failures}"),
            format!(
                "slots     tag:{SLOTS_TAG_BITS} | probes under way:{SLOT_BITS} | succeeded:{SLOT_BITS}"
            ),
        ];
        assert_eq!(UNIT_NANOS, 100_000);
        for word in words {
            assert!(page.contains(&word), "not on the page: {word}");
        }
    }

    /// Every phase, window and level, with generations at the edges of their field.
    #[test]
    fn every_control_word_gives_back_its_fields() {
        for (index, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, index, "its place in the table is its code");
            for window in 0..WINDOWS {
                for level in 0..=LEVELS {
                    for generation in GENERATIONS {
                        let word = Word::new(phase, window, level, generation);
                        assert_eq!(word.phase(), phase);
                        assert_eq!(word.window(), window);
                        assert_eq!(word.level(), level);
                        assert_eq!(word.generation(), generation);
                        assert_eq!(word.is_closed(), phase == Phase::Closed);
                        assert_eq!(word.is_plain(), word.is_closed() && window == 0);
                        assert!(!word.is_refusal());
                        assert_eq!(Word::from_bits(word.bits()), word);
                    }
                }
            }
        }
        for half_open in [false, true] {
            let refusal = Word::refusal(half_open);
            assert!(refusal.is_refusal() && !refusal.is_plain());
            assert_ne!(refusal, Word::refusal(!half_open));
        }
        let high = Word::new(Phase::Open, 0, LEVELS + 9, 7);
        assert_eq!((high.level(), high.generation()), (LEVELS, 7));
    }

    /// The order of tags, for every pair of a small width: the same code at every width.
    #[test]
    fn the_later_of_two_tags_is_the_newer_within_half_the_range() {
        const BITS: u32 = 10;
        for from in 0..1_u64 << BITS {
            for ahead in 0..1_u64 << BITS {
                let (old, new) = (tag::<BITS>(from), tag::<BITS>(from + ahead));
                let near = ahead != 0 && ahead < 1 << (BITS - 1);
                assert_eq!(newer::<BITS>(new, old), near, "{from} + {ahead}");
                // What is behind is never newer, and equal only to itself.
                if near {
                    assert!(!newer::<BITS>(old, new) && old != new);
                }
            }
        }
    }

    #[test]
    fn until_reset_is_not_a_time_and_no_time_is_until_reset() {
        assert_eq!(Dated::new(3, None).nanos(), None);
        for late in [
            u64::MAX,
            u64::MAX - 1,
            (NEVER + 1) * UNIT_NANOS,
            NEVER * UNIT_NANOS,
        ] {
            let end = Dated::new(3, Some(late)).nanos();
            assert_eq!(end, Some((NEVER - 1) * UNIT_NANOS), "clamped, not wrapped");
        }
        assert_eq!(Dated::new(0, Some(1)).nanos(), Some(UNIT_NANOS));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn words_of_different_periods_differ(
            generation in 0_u64..1 << 48,
            other in 0_u64..1 << 48,
            fields in (0_usize..9, 0_usize..WINDOWS, 0..=LEVELS),
            others in (0_usize..9, 0_usize..WINDOWS, 0..=LEVELS),
        ) {
            let a = Word::new(Phase::ALL[fields.0], fields.1, fields.2, generation);
            let b = Word::new(Phase::ALL[others.0], others.1, others.2, other);
            prop_assert_eq!(a.same_period(b), generation == other);
            prop_assert_eq!(a == b, generation == other && fields == others);
            // By chance two periods are never the same.
            let c = Word::new(Phase::ALL[others.0], others.1, others.2, generation);
            prop_assert!(a.same_period(c));
            prop_assert_eq!(a == c, fields == others);
        }

        #[test]
        fn a_date_keeps_its_time_and_its_period(generation in any::<u64>(), nanos in 0..(NEVER - 1) * UNIT_NANOS) {
            let dated = Dated::new(generation, Some(nanos));
            let kept = dated.nanos().expect("a time");
            prop_assert!(kept >= nanos && kept - nanos < UNIT_NANOS, "rounded up: {} {}", nanos, kept);
            prop_assert!(dated.is_of(generation) && !dated.is_of(generation.wrapping_add(1)));
            prop_assert_eq!(Dated::from_bits(dated.bits()), dated);
            for ahead in [1, (1 << (DATED_TAG_BITS - 1)) - 1] {
                let later = generation.wrapping_add(ahead);
                prop_assert!(Dated::new(later, Some(nanos)).is_newer_than(generation));
                prop_assert!(!dated.is_newer_than(later) && !dated.is_newer_than(generation));
            }
        }

        #[test]
        fn a_streak_is_of_one_period(generation in 1..u64::MAX, failures in any::<u32>(), ahead in 1_u64..1 << 31) {
            let streak = Streak::new(generation, failures);
            prop_assert_eq!(streak.of(generation), failures);
            prop_assert_eq!(streak.is_zero(), failures == 0);
            prop_assert!(Streak::new(generation, 0).is_zero(), "a number that chance never gives");
            prop_assert_eq!(Streak::from_bits(streak.bits()), streak);
            prop_assert_eq!(streak.of(generation.wrapping_add(ahead)), 0);
            prop_assert!(!streak.is_newer_than(generation.wrapping_add(ahead)));
            prop_assert!(Streak::new(generation.wrapping_add(ahead), failures).is_newer_than(generation));
        }

        /// Any walk of probes: the two numbers and the tag never touch each other.
        #[test]
        fn slots_do_not_borrow_from_each_other(generation in any::<u64>(), steps in prop::collection::vec(0_u8..3, 0..200)) {
            let mut slots = Slots::none(generation);
            let (mut under_way, mut succeeded) = (0_u32, 0_u32);
            for step in steps {
                match step {
                    0 => { slots = slots.begin(); under_way += 1; }
                    1 if under_way > 0 => { slots = slots.give_back(); under_way -= 1; }
                    2 if under_way > 0 => { slots = slots.succeed(); under_way -= 1; succeeded += 1; }
                    _ => {}
                }
                prop_assert_eq!((slots.under_way(), slots.succeeded()), (under_way, succeeded));
                prop_assert_eq!(slots.taken(), under_way + succeeded);
                prop_assert!(slots.is_of(generation) && !slots.is_of(generation.wrapping_add(1)));
                prop_assert!(!slots.is_newer_than(generation));
                prop_assert!(slots.is_newer_than(generation.wrapping_sub(1)));
                prop_assert_eq!(Slots::from_bits(slots.bits()), slots);
            }
        }
    }

    /// The most probes the settings allow, all at once, in either field.
    #[test]
    fn the_widest_half_open_period_fits() {
        let most = crate::config::MOST_PROBES;
        let mut slots = Slots::none(u64::MAX);
        for _ in 0..most {
            slots = slots.begin();
        }
        assert_eq!((slots.under_way(), slots.succeeded()), (most, 0));
        for _ in 0..most {
            slots = slots.succeed();
        }
        assert_eq!((slots.under_way(), slots.succeeded()), (0, most));
        assert!(slots.is_of(u64::MAX));
        // Even a live change to more probes, with all slots taken, stays inside the fields.
        assert!(2 * most < 1 << SLOT_BITS);
    }
}
