//! A small breaker of its own, right by default, with one flaw built in on request.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fusebox_conformance::{
    Ability, Breaker, Call, Config, Ending, Observer, Phase, Refusal, Refused, Subject, Totals,
    Transition, Window, unwind_with,
};

/// What the toy does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    LifetimeCounts,
    TimeIsIgnored,
    EverybodyProbes,
    OneProbeTooMany,
    CancelKeepsSlot,
    NoLease,
    NoGenerations,
    PanicKeepsSlot,
    NeutralKeepsSlot,
    NeutralIsSuccess,
    ClassifierPanicKeepsSlot,
    CancelIsFailure,
    CancelIsSuccess,
    LateFailureOpensAgain,
    CancelledIsNeverSlow,
    BlindToHanging,
    ObserverUnderLock,
    EventsOvertake,
    SettingsForgetCounts,
    SettingsClose,
    SettingsDropObserver,
    AllShareOne,
    NoJitter,
    JitterWithoutLimit,
    NoGrowth,
    NoCap,
    TimeLeftStandsStill,
    NoTimeLeft,
    DeafToHints,
    MinimumIsCapped,
    NoRate,
    TotalsAreCleared,
    SecondTripUntold,
}

/// The subject: toys with `flaw`.
pub(crate) struct Toys {
    flaw: Flaw,
    shared: Mutex<Option<Arc<Toy>>>,
    made: AtomicU64,
}

impl Toys {
    pub(crate) fn with(flaw: Flaw) -> Arc<dyn Subject> {
        Arc::new(Self {
            flaw,
            shared: Mutex::default(),
            made: AtomicU64::new(0),
        })
    }
}

impl Subject for Toys {
    fn name(&self) -> String {
        format!("toy ({:?})", self.flaw)
    }

    fn abilities(&self) -> &[Ability] {
        &[
            Ability::Rate,
            Ability::CountWindow,
            Ability::TimeWindow,
            Ability::ExactTrip,
            Ability::Minimum,
            Ability::Neutral,
            Ability::Classifier,
            Ability::SlowInFlight,
            Ability::AbandonedSlow,
            Ability::Events,
            Ability::EventTotals,
            Ability::Reconfigure,
            Ability::RetryAfter,
            Ability::Hint,
            Ability::Jitter,
            Ability::Escalation,
        ]
    }

    fn make(
        &self,
        config: &Config,
        observer: Option<Observer>,
    ) -> Result<Arc<dyn Breaker>, Refused> {
        let mut config = config.clone();
        if let Window::Count(window) = config.window
            && config.minimum > window
        {
            if self.flaw != Flaw::MinimumIsCapped {
                return Err(Refused("the minimum is above the window".into()));
            }
            config.minimum = window;
        }
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let fresh = || Arc::new(Toy::new(self.flaw, config, observer, number));
        let toy = if self.flaw == Flaw::AllShareOne {
            Arc::clone(lock(&self.shared).get_or_insert_with(fresh))
        } else {
            fresh()
        };
        Ok(Arc::new(Handle(toy)))
    }
}

struct Handle(Arc<Toy>);

struct Toy {
    flaw: Flaw,
    core: Mutex<Core>,
    observer: Mutex<Option<Observer>>,
}

struct Core {
    config: Config,
    now: Duration,
    phase: Phase,
    generation: u64,
    window: VecDeque<Mark>,
    /// Failures in the window.
    failures: usize,
    opened_at: Duration,
    open_for: Duration,
    trips_in_row: u32,
    hint: Option<Duration>,
    probes: u32,
    successes: u32,
    last_probe: Duration,
    under_way: Vec<(u64, Duration)>,
    chance: u64,
    waiting: VecDeque<Transition>,
    delivering: bool,
}

#[derive(Clone, Copy)]
struct Mark {
    at: Duration,
    failed: bool,
    slow: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Toy {
    fn new(flaw: Flaw, config: Config, observer: Option<Observer>, number: u64) -> Self {
        Self {
            flaw,
            core: Mutex::new(Core {
                config,
                now: Duration::ZERO,
                phase: Phase::Closed,
                generation: 0,
                window: VecDeque::new(),
                failures: 0,
                opened_at: Duration::ZERO,
                open_for: Duration::ZERO,
                trips_in_row: 0,
                hint: None,
                probes: 0,
                successes: 0,
                last_probe: Duration::ZERO,
                under_way: Vec::new(),
                chance: number,
                waiting: VecDeque::new(),
                delivering: false,
            }),
            observer: Mutex::new(observer),
        }
    }

    /// Does one thing under the lock, then tells the observer, one thread at a time.
    fn with<R>(&self, act: impl FnOnce(&mut Core) -> R) -> R {
        let mut core = lock(&self.core);
        core.advance(self.flaw);
        let result = act(&mut core);
        core.advance(self.flaw);
        if core.delivering {
            return result;
        }
        core.delivering = true;
        while let Some(change) = core.next_change(self.flaw) {
            let observer = lock(&self.observer).clone();
            if self.flaw == Flaw::ObserverUnderLock {
                if let Some(observer) = observer {
                    observer(&change);
                }
            } else {
                drop(core);
                if let Some(observer) = observer {
                    observer(&change);
                }
                core = lock(&self.core);
            }
        }
        core.delivering = false;
        result
    }
}

impl Core {
    fn next_change(&mut self, flaw: Flaw) -> Option<Transition> {
        if flaw == Flaw::EventsOvertake && self.waiting.len() < 2 {
            return None;
        }
        if flaw == Flaw::EventsOvertake {
            self.waiting.swap(0, 1);
        }
        let change = self.waiting.pop_front()?;
        let untold = flaw == Flaw::SecondTripUntold
            && change.from == Phase::HalfOpen
            && change.to == Phase::Open;
        if untold {
            return self.next_change(flaw);
        }
        Some(change)
    }

    fn change(&mut self, to: Phase, totals: Option<Totals>) {
        self.waiting.push_back(Transition {
            from: self.phase,
            to,
            totals,
        });
        self.phase = to;
        self.generation += 1;
        self.forget_all();
        self.probes = 0;
        self.successes = 0;
        if to == Phase::Closed {
            self.trips_in_row = 0;
        }
    }

    fn open(&mut self, flaw: Flaw) {
        let totals = Totals {
            calls: self.window.len() as u64,
            failures: self.failures as u64,
        };
        let grown = if flaw == Flaw::NoGrowth {
            self.config.first_break
        } else {
            self.config.first_break * 2_u32.pow(self.trips_in_row.min(20))
        };
        let capped = if flaw == Flaw::NoCap {
            grown
        } else {
            grown.min(self.config.longest_break)
        };
        self.chance = self
            .chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let share = f64::from(u32::try_from(self.chance >> 32).expect("32 bits are left"))
            / f64::from(u32::MAX);
        let jitter = match flaw {
            Flaw::NoJitter => 0.0,
            Flaw::JitterWithoutLimit => 1.0,
            _ => self.config.jitter,
        };
        self.open_for = capped.mul_f64(1.0 - jitter * share);
        if let Some(hint) = self.hint.take()
            && flaw != Flaw::DeafToHints
        {
            self.open_for = self.open_for.max(hint);
        }
        self.opened_at = self.now;
        self.trips_in_row += 1;
        let cleared = flaw == Flaw::TotalsAreCleared;
        self.change(Phase::Open, (!cleared).then_some(totals));
    }

    fn advance(&mut self, flaw: Flaw) {
        if self.phase == Phase::Open && self.now >= self.opened_at + self.open_for {
            self.change(Phase::HalfOpen, None);
        }
        let hung = self.probes + self.successes >= self.config.probes
            && self.now >= self.last_probe + self.config.lease;
        if self.phase == Phase::HalfOpen && hung && flaw != Flaw::NoLease {
            self.open(flaw);
        }
        if self.phase == Phase::Closed && flaw != Flaw::BlindToHanging {
            self.judge_slow(flaw);
        }
    }

    fn judge_slow(&mut self, flaw: Flaw) {
        let Some(slow) = self.config.slow else { return };
        let hanging = self
            .under_way
            .iter()
            .filter(|(generation, since)| {
                *generation == self.generation && self.now >= *since + slow.longer_than
            })
            .count();
        let count = hanging + self.window.iter().filter(|m| m.slow).count();
        let calls = hanging + self.window.len();
        if count >= slow.minimum as usize && share(count) >= slow.rate * share(calls) {
            self.open(flaw);
        }
    }

    fn admit(&mut self, flaw: Flaw) -> Result<(u64, Duration), Refusal> {
        if self.phase == Phase::Open {
            let left = match flaw {
                Flaw::TimeLeftStandsStill => Some(self.open_for),
                Flaw::NoTimeLeft => None,
                _ => Some((self.opened_at + self.open_for).saturating_sub(self.now)),
            };
            return Err(Refusal { retry_after: left });
        }
        if self.phase == Phase::HalfOpen {
            let most = match flaw {
                Flaw::EverybodyProbes => u32::MAX,
                Flaw::OneProbeTooMany => self.config.probes + 1,
                _ => self.config.probes,
            };
            if self.probes + self.successes >= most {
                return Err(Refusal::default());
            }
            self.probes += 1;
            self.last_probe = self.now;
        }
        self.under_way.push((self.generation, self.now));
        Ok((self.generation, self.now))
    }

    /// `None` is a call that counts for nothing.
    fn settle(
        &mut self,
        ticket: (u64, Duration),
        keep_slot: bool,
        failed: Option<bool>,
        flaw: Flaw,
    ) {
        let at = self.under_way.iter().position(|t| *t == ticket);
        self.under_way.swap_remove(at.expect("settled once"));
        let late = ticket.0 != self.generation;
        if late && flaw == Flaw::LateFailureOpensAgain && failed == Some(true) {
            self.change(Phase::Open, None);
        }
        if late && flaw != Flaw::NoGenerations {
            return;
        }
        let slow = self
            .config
            .slow
            .is_some_and(|s| self.now >= ticket.1 + s.longer_than);
        match self.phase {
            Phase::Open => {}
            Phase::HalfOpen => {
                if !keep_slot {
                    self.probes = self.probes.saturating_sub(1);
                }
                match failed {
                    None => {}
                    Some(true) => self.open(flaw),
                    Some(false) => {
                        self.successes += 1;
                        if self.successes >= self.config.probes {
                            self.change(Phase::Closed, None);
                        }
                    }
                }
            }
            Phase::Closed => {
                let counts_as_slow = slow && flaw != Flaw::CancelledIsNeverSlow;
                if failed.is_some() || counts_as_slow {
                    self.record(failed == Some(true), slow, flaw);
                }
            }
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(mark) = self.window.pop_front() {
            self.failures -= usize::from(mark.failed);
        }
    }

    fn forget_all(&mut self) {
        self.window.clear();
        self.failures = 0;
    }

    fn record(&mut self, failed: bool, slow: bool, flaw: Flaw) {
        self.window.push_back(Mark {
            at: self.now,
            failed,
            slow,
        });
        self.failures += usize::from(failed);
        match self.config.window {
            _ if matches!(flaw, Flaw::LifetimeCounts | Flaw::NoRate) => {}
            Window::Count(most) => {
                while self.window.len() > most as usize {
                    self.forget_oldest();
                }
            }
            Window::Time(length) => {
                let (now, forget) = (self.now, flaw != Flaw::TimeIsIgnored);
                while forget && self.window.front().is_some_and(|m| m.at + length < now) {
                    self.forget_oldest();
                }
            }
        }
        if !failed {
            return;
        }
        let rate = if flaw == Flaw::NoRate {
            0.0
        } else {
            self.config.failure_rate
        };
        let enough = share(self.failures) >= rate * share(self.window.len());
        if self.failures >= self.config.minimum as usize && enough {
            self.open(flaw);
        }
    }
}

fn share(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("tests make fewer than four milliards of calls"))
}

impl Breaker for Handle {
    fn start(&self) -> Result<Box<dyn Call>, Refusal> {
        let toy = Arc::clone(&self.0);
        let ticket = toy.with(|core| core.admit(toy.flaw))?;
        Ok(Box::new(ToyCall {
            toy,
            ticket: Some(ticket),
        }))
    }

    fn pass(&self, by: Duration) {
        self.0.with(|core| core.now += by);
    }

    fn reconfigure(&self, config: &Config) -> Result<(), Refused> {
        let flaw = self.0.flaw;
        self.0.with(|core| {
            core.config = config.clone();
            if flaw == Flaw::SettingsForgetCounts {
                core.forget_all();
            }
            if flaw == Flaw::SettingsClose {
                core.change(Phase::Closed, None);
            }
        });
        if flaw == Flaw::SettingsDropObserver {
            *lock(&self.0.observer) = None;
        }
        Ok(())
    }
}

struct ToyCall {
    toy: Arc<Toy>,
    ticket: Option<(u64, Duration)>,
}

impl ToyCall {
    fn settle(&mut self, keep_slot: bool, failed: Option<bool>) {
        if let Some(ticket) = self.ticket.take() {
            let flaw = self.toy.flaw;
            self.toy
                .with(|core| core.settle(ticket, keep_slot, failed, flaw));
        }
    }
}

impl Call for ToyCall {
    fn end(mut self: Box<Self>, ending: Ending) {
        let flaw = self.toy.flaw;
        match ending {
            Ending::Success => self.settle(false, Some(false)),
            Ending::Neutral => {
                let failed = (flaw == Flaw::NeutralIsSuccess).then_some(false);
                self.settle(flaw == Flaw::NeutralKeepsSlot, failed);
            }
            Ending::Panic => {
                if flaw == Flaw::PanicKeepsSlot {
                    self.settle(true, None);
                }
                unwind_with(self);
            }
            Ending::ClassifierPanic => {
                self.settle(flaw == Flaw::ClassifierPanicKeepsSlot, None);
            }
            Ending::FailureAskingFor(time) => {
                self.toy.with(|core| core.hint = Some(time));
                self.settle(false, Some(true));
            }
            _ => self.settle(false, Some(true)),
        }
    }
}

impl Drop for ToyCall {
    fn drop(&mut self) {
        let failed = match self.toy.flaw {
            Flaw::CancelIsFailure => Some(true),
            Flaw::CancelIsSuccess => Some(false),
            _ => None,
        };
        self.settle(self.toy.flaw == Flaw::CancelKeepsSlot, failed);
    }
}
