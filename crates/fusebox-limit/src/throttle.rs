//! A throttle at the caller: of what an overloaded dependency would turn away, most is not sent.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fusebox::{Classify, Clock, Outcome};
use thiserror::Error;

use crate::config::{LimitConfigError, check};
use crate::place::Sample;

/// Steps in which the window moves on.
const STEPS: usize = 20;
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_hours(1);

/// How a throttle judges. The defaults suit calls from one service to another.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ThrottleConfig {
    /// Calls that are sent for each one that is accepted. Default: 2.
    ///
    /// With 2 nothing is held back while at least half is accepted, and an overloaded dependency
    /// turns away at most as many calls as it serves. Less spares it more and finds out later that
    /// it accepts more again.
    pub ratio: f64,
    /// How far back calls count. Default: 10 s.
    ///
    /// Longer than nearly all calls take, or answers come after their calls are forgotten. To find
    /// out that an outage is over takes one to two windows. Where a caller makes only a few calls
    /// a minute, take some minutes.
    pub window: Duration,
    /// The greatest share of calls that is held back. Default: 0.9.
    ///
    /// The rest is what finds out that the dependency has recovered.
    pub most_refused: f64,
}

impl Default for ThrottleConfig {
    fn default() -> Self {
        Self {
            ratio: 2.0,
            window: Duration::from_secs(10),
            most_refused: 0.9,
        }
    }
}

impl ThrottleConfig {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with another [`ThrottleConfig::ratio`].
    #[must_use]
    pub fn with_ratio(mut self, ratio: f64) -> Self {
        self.ratio = ratio;
        self
    }

    /// The same with another [`ThrottleConfig::window`].
    #[must_use]
    pub fn with_window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// The same with another [`ThrottleConfig::most_refused`].
    #[must_use]
    pub fn with_most_refused(mut self, share: f64) -> Self {
        self.most_refused = share;
        self
    }

    /// Checks that every setting makes sense.
    ///
    /// # Errors
    /// The first setting that does not, with its value and what is allowed.
    pub fn validate(&self) -> Result<(), LimitConfigError> {
        check(
            // Below 1 it would hold back calls of a dependency that accepts every one.
            (1.0..=100.0).contains(&self.ratio),
            "ratio",
            &self.ratio,
            "1 to 100",
        )?;
        check(
            (SHORTEST..=LONGEST).contains(&self.window),
            "window",
            &self.window,
            "100ms to 1h",
        )?;
        check(
            (0.0..=1.0).contains(&self.most_refused),
            "most_refused",
            &self.most_refused,
            "0 to 1",
        )
    }
}

/// Holds calls back at the caller while the dependency turns most of them away.
///
/// A dependency that is overloaded spends part of what it has on saying no. The throttle counts
/// calls and what became of them, and of `requests` calls in its window, `accepts` of them accepted,
/// refuses the next one with the chance `(requests − ratio · accepts) / (requests + 1)`: the client
/// throttle of Google's SRE book. Calls it refuses are requests too.
///
/// It is no breaker: it never refuses everything, and errors that say nothing about load leave it
/// alone. Clones are handles to the same throttle.
///
/// ```
/// use std::sync::Arc;
/// use fusebox::MonotonicClock;
/// use fusebox_limit::{Throttle, ThrottleConfig};
///
/// let throttle = Throttle::new(ThrottleConfig::new(), Arc::new(MonotonicClock::new()))?;
/// for _ in 0..9 {
///     // Chance comes from the caller: a number from 0 up to 1, drawn anew for each call.
///     throttle.try_begin(0.99)?.overloaded();
/// }
/// assert!(throttle.try_begin(0.5).is_err(), "9 of 10 are refused now");
/// assert!(throttle.try_begin(0.99).is_ok(), "the tenth is not");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Throttle {
    inner: Arc<Inner>,
}

struct Inner {
    config: ThrottleConfig,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    counts: Counts,
    admitted: u64,
    refused: u64,
}

/// What a throttle knows about itself, taken at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ThrottleSnapshot {
    /// Calls in the window, refused ones included.
    pub requests: u64,
    /// Of those, the ones the dependency accepted.
    pub accepts: u64,
    /// The share of calls that is refused at present.
    pub share_refused: f64,
    /// Calls that were let through, since the throttle was built.
    pub admitted: u64,
    /// Calls that were refused, since the throttle was built.
    pub refused: u64,
}

/// A call was held back because the dependency turns most of them away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[error("the dependency turns most calls away, and this one was not made")]
pub struct Throttled(());

/// A refusal of our own is no evidence against the dependency behind the next breaker out.
impl Classify for Throttled {
    fn outcome(&self) -> Outcome {
        Outcome::Neutral
    }
}

/// Leave for one call. Dropped without a report it says nothing, as a cancelled call: it is taken out
/// of the count.
#[must_use = "a pass dropped at once tells of a cancelled call"]
pub struct Pass {
    /// `None` once reported.
    inner: Option<Arc<Inner>>,
    step: u64,
}

impl Throttle {
    /// A throttle that has seen nothing yet.
    ///
    /// # Errors
    /// A setting makes no sense.
    pub fn new(config: ThrottleConfig, clock: Arc<dyn Clock>) -> Result<Self, LimitConfigError> {
        config.validate()?;
        Ok(Self {
            inner: Arc::new(Inner {
                config,
                clock,
                state: Mutex::new(State {
                    counts: Counts::default(),
                    admitted: 0,
                    refused: 0,
                }),
            }),
        })
    }

    /// Asks for leave to make a call. `chance` is drawn evenly from 0 up to, but not including, 1.
    ///
    /// # Errors
    /// The call is held back.
    pub fn try_begin(&self, chance: f64) -> Result<Pass, Throttled> {
        let step = self.inner.step();
        let mut state = self.inner.lock();
        let step = state.counts.move_to(step);
        let share = self.inner.share(&state.counts);
        // Counted before the call is made. Counted after it, all calls under way would be unknown,
        // and a dependency that hangs would look idle.
        state.counts.request(step);
        if chance < share {
            state.refused += 1;
            return Err(Throttled(()));
        }
        state.admitted += 1;
        drop(state);
        Ok(Pass {
            inner: Some(Arc::clone(&self.inner)),
            step,
        })
    }

    /// Everything the throttle knows about itself.
    pub fn snapshot(&self) -> ThrottleSnapshot {
        let step = self.inner.step();
        let mut state = self.inner.lock();
        state.counts.move_to(step);
        ThrottleSnapshot {
            requests: state.counts.requests,
            accepts: state.counts.accepts,
            share_refused: self.inner.share(&state.counts),
            admitted: state.admitted,
            refused: state.refused,
        }
    }
}

impl Inner {
    fn step(&self) -> u64 {
        let length = self.config.window.as_nanos() / STEPS as u128;
        u64::try_from(self.clock.now().as_nanos() / length).unwrap_or(u64::MAX)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a share: beyond two to the 52nd calls one more or less is nothing"
    )]
    fn share(&self, counts: &Counts) -> f64 {
        let (requests, accepts) = (counts.requests as f64, counts.accepts as f64);
        let share = (requests - self.config.ratio * accepts) / (requests + 1.0);
        share.clamp(0.0, self.config.most_refused)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Only sums of numbers are made under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// Says how the call ended. [`Sample::Success`] is a call the dependency accepted,
    /// [`Sample::Overloaded`] one it turned away or never answered; one that is ignored is taken out
    /// of the count.
    pub fn report(mut self, sample: Sample) {
        self.tell(sample);
    }

    /// The dependency took the call on.
    pub fn accepted(self) {
        self.report(Sample::Success);
    }

    /// The dependency turned the call away, or it ran out of time.
    pub fn overloaded(self) {
        self.report(Sample::Overloaded);
    }

    fn tell(&mut self, sample: Sample) {
        if let Some(inner) = self.inner.take() {
            let step = inner.step();
            let mut state = inner.lock();
            state.counts.move_to(step);
            match sample {
                Sample::Success => state.counts.accept(self.step),
                Sample::Overloaded => {}
                Sample::Ignored => state.counts.take_back(self.step),
            }
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.tell(Sample::Ignored);
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = self.snapshot();
        f.debug_struct("Throttle")
            .field("requests", &now.requests)
            .field("accepts", &now.accepts)
            .field("share_refused", &now.share_refused)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").finish_non_exhaustive()
    }
}

/// Calls and accepted ones of the last [`STEPS`] steps, the present one included.
///
/// What became of a call is counted in the step the call was made in: both leave the window
/// together, so there are never more accepted calls than calls.
#[derive(Debug, Default)]
struct Counts {
    steps: [Step; STEPS],
    newest: u64,
    requests: u64,
    accepts: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Step {
    requests: u64,
    accepts: u64,
}

impl Counts {
    /// Forgets what has left the window, and answers the step that is present: never an earlier
    /// one than before, whatever the order in which threads have read the clock.
    fn move_to(&mut self, step: u64) -> u64 {
        let passed = step.saturating_sub(self.newest).min(STEPS as u64);
        self.newest = self.newest.max(step);
        for back in 0..passed {
            let left = std::mem::take(self.of(self.newest - back));
            self.requests -= left.requests;
            self.accepts -= left.accepts;
        }
        self.newest
    }

    fn request(&mut self, step: u64) {
        self.of(step).requests += 1;
        self.requests += 1;
    }

    fn accept(&mut self, step: u64) {
        if self.holds(step) {
            self.of(step).accepts += 1;
            self.accepts += 1;
        }
    }

    fn take_back(&mut self, step: u64) {
        if self.holds(step) {
            self.of(step).requests -= 1;
            self.requests -= 1;
        }
    }

    fn holds(&self, step: u64) -> bool {
        self.newest - step < STEPS as u64
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the remainder is below the number of steps"
    )]
    fn of(&mut self, step: u64) -> &mut Step {
        &mut self.steps[(step % STEPS as u64) as usize]
    }
}

#[cfg(test)]
#[expect(
    clippy::float_cmp,
    reason = "shares of small whole numbers, computed the same way"
)]
mod tests {
    use std::collections::VecDeque;

    use fusebox::VirtualClock;
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn throttle(config: ThrottleConfig) -> (Throttle, VirtualClock) {
        let clock = VirtualClock::new();
        let throttle = Throttle::new(config, Arc::new(clock.clone())).unwrap();
        (throttle, clock)
    }

    fn counts(throttle: &Throttle) -> (u64, u64) {
        let now = throttle.snapshot();
        (now.requests, now.accepts)
    }

    #[test]
    fn the_defaults_hold_and_nonsense_is_named() {
        let ok = ThrottleConfig::new;
        assert_eq!(ok().validate(), Ok(()));
        for config in [
            ok().with_ratio(1.0).with_window(SHORTEST),
            ok().with_ratio(100.0).with_window(LONGEST),
            ok().with_most_refused(0.0),
            ok().with_most_refused(1.0),
        ] {
            assert_eq!(config.validate(), Ok(()));
        }
        let nano = Duration::from_nanos(1);
        for (config, setting) in [
            (ok().with_ratio(0.9), "ratio"),
            (ok().with_ratio(100.1), "ratio"),
            (ok().with_ratio(f64::NAN), "ratio"),
            (ok().with_window(SHORTEST.mul_f64(0.99)), "window"),
            (ok().with_window(LONGEST + nano), "window"),
            (ok().with_most_refused(-0.1), "most_refused"),
            (ok().with_most_refused(1.1), "most_refused"),
            (ok().with_most_refused(f64::NAN), "most_refused"),
        ] {
            assert_eq!(config.validate().unwrap_err().setting(), setting);
            assert!(Throttle::new(config, Arc::new(VirtualClock::new())).is_err());
        }
    }

    #[test]
    fn nothing_is_held_back_while_half_is_accepted() {
        let (throttle, _) = throttle(ThrottleConfig::new());
        for _ in 0..1_000 {
            throttle.try_begin(0.0).unwrap().accepted();
            throttle.try_begin(0.0).unwrap().overloaded();
        }
        assert_eq!(throttle.snapshot().share_refused, 0.0);
        assert_eq!(counts(&throttle), (2_000, 1_000));
    }

    #[test]
    fn the_share_is_that_of_the_formula_and_bounded() {
        let (throttle, _) = throttle(ThrottleConfig::new());
        for _ in 0..10 {
            throttle.try_begin(0.999).unwrap().accepted();
        }
        for _ in 0..29 {
            throttle.try_begin(0.999).unwrap().overloaded();
        }
        // 39 calls, 10 of them accepted: 19 of 40.
        assert_eq!(throttle.snapshot().share_refused, 19.0 / 40.0);
        assert!(throttle.try_begin(19.0 / 40.0).is_ok(), "not below");
        assert!(throttle.try_begin(0.47).is_err());
        for _ in 0..10_000 {
            if let Ok(pass) = throttle.try_begin(0.0) {
                pass.overloaded();
            }
        }
        assert_eq!(throttle.snapshot().share_refused, 0.9);
        assert!(throttle.try_begin(0.899).is_err());
        assert!(throttle.try_begin(0.9).is_ok(), "one in ten goes always");
    }

    // go-zero #5011: counted when they ended, calls that hang were no calls.
    #[test]
    fn calls_that_hang_are_counted_while_they_hang() {
        let (throttle, _) = throttle(ThrottleConfig::new());
        let hanging: Vec<Pass> = (0..99)
            .map(|_| throttle.try_begin(0.999).unwrap())
            .collect();
        assert_eq!(counts(&throttle), (99, 0));
        assert!(throttle.try_begin(0.5).is_err());
        // Given up by their callers they say nothing, as for a circuit.
        drop(hanging);
        assert_eq!(counts(&throttle), (1, 0), "only the refused one is left");
    }

    #[test]
    fn refused_calls_are_requests_too() {
        let (throttle, _) = throttle(ThrottleConfig::new());
        throttle.try_begin(0.0).unwrap().overloaded();
        for _ in 0..3 {
            assert!(throttle.try_begin(0.0).is_err());
        }
        let now = throttle.snapshot();
        assert_eq!((now.requests, now.admitted, now.refused), (4, 1, 3));
    }

    #[test]
    fn a_result_leaves_the_window_with_its_call() {
        let (throttle, clock) = throttle(ThrottleConfig::new().with_window(2 * SECOND));
        let slow = throttle.try_begin(0.0).unwrap();
        let gone = throttle.try_begin(0.5).unwrap();
        clock.advance(Duration::from_millis(1_999));
        assert_eq!(counts(&throttle), (2, 0));
        clock.advance(Duration::from_millis(1));
        assert_eq!(counts(&throttle), (0, 0));
        slow.accepted();
        drop(gone);
        assert_eq!(counts(&throttle), (0, 0), "neither counted nor taken out");
        clock.advance(1_000 * SECOND);
        throttle.try_begin(0.0).unwrap().accepted();
        assert_eq!(counts(&throttle), (1, 1));
    }

    /// A hundred calls a second; from the tenth to the fortieth second all are turned away. The
    /// model is the table of the documentation: how much is sent in an outage, how soon it is over.
    #[test]
    fn in_an_outage_a_tenth_is_sent_and_after_it_all_again_within_two_windows() {
        for seed in 0..5_u32 {
            let (throttle, clock) = throttle(ThrottleConfig::new());
            // Weyl's sequence: evenly spread, and another beginning for each seed.
            let mut chance = f64::from(seed) * 0.137;
            let mut sent = [0_u32; 80];
            for (second, sent) in sent.iter_mut().enumerate() {
                for _ in 0..100 {
                    chance = (chance + 0.618_033_988_749_895).fract();
                    clock.advance(Duration::from_millis(10));
                    if let Ok(pass) = throttle.try_begin(chance) {
                        *sent += 1;
                        if (10..40).contains(&second) {
                            pass.overloaded();
                        } else {
                            pass.accepted();
                        }
                    }
                }
            }
            let before: u32 = sent[..10].iter().sum();
            let late: u32 = sent[20..40].iter().sum();
            let after: u32 = sent[60..].iter().sum();
            assert_eq!(before, 1_000, "seed {seed}: in health all are sent");
            assert!((180..320).contains(&late), "seed {seed}: {late} of 2000");
            assert_eq!(after, 2_000, "seed {seed}: {sent:?}");
        }
    }

    #[test]
    fn threads_lose_no_count() {
        let (throttle, _) = throttle(ThrottleConfig::new());
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let throttle = &throttle;
                scope.spawn(move || {
                    for call in 0..1_000 {
                        let pass = throttle.try_begin(0.999).unwrap();
                        match (call + thread) % 4 {
                            0 => pass.overloaded(),
                            1 => drop(pass),
                            _ => pass.accepted(),
                        }
                    }
                });
            }
        });
        assert_eq!(counts(&throttle), (3_000, 2_000));
    }

    proptest! {
        /// Against a list of every call: nothing is counted twice, forgotten early or kept late.
        #[test]
        fn counts_what_a_list_counts(
            moves in prop::collection::vec((0_u8..6, 0_u64..700, 0_usize..9), 0..300),
        ) {
            let config = ThrottleConfig::new().with_window(SECOND).with_most_refused(0.0);
            let (throttle, clock) = throttle(config);
            // 50 ms a step: a call counts while fewer than 20 steps have begun since its own.
            let step = |clock: &VirtualClock| u64::try_from(clock.now().as_millis()).unwrap() / 50;
            let mut calls: Vec<(u64, bool)> = Vec::new();
            let mut open: VecDeque<(Pass, usize)> = VecDeque::new();
            let mut taken_back: Vec<usize> = Vec::new();
            for (what, millis, which) in moves {
                match what {
                    0 => clock.advance(Duration::from_millis(millis)),
                    1 | 2 => {
                        open.push_back((throttle.try_begin(0.0).unwrap(), calls.len()));
                        calls.push((step(&clock), false));
                    }
                    _ if open.is_empty() => {}
                    _ => {
                        let (pass, call) = open.remove(which % open.len()).unwrap();
                        match what {
                            3 => { pass.accepted(); calls[call].1 = true; }
                            4 => pass.overloaded(),
                            _ => { drop(pass); taken_back.push(call); }
                        }
                    }
                }
                let now = step(&clock);
                let inside = calls.iter().enumerate().filter(|(n, (at, _))| {
                    now - at < STEPS as u64 && !taken_back.contains(n)
                });
                let requests = inside.clone().count() as u64;
                let accepts = inside.filter(|(_, (_, accepted))| *accepted).count() as u64;
                prop_assert_eq!(counts(&throttle), (requests, accepts));
            }
        }
    }
}
