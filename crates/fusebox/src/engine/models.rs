//! Loom's models of the whole engine: every order of steps of two or three threads, up to a bound of
//! preemptions. `scripts/loom` runs them. Those of the parts are beside the parts.

use std::sync::Arc as StdArc;
use std::time::Duration;

use loom::sync::{Arc, Mutex};
use loom::thread;

use super::word::{Phase, Word};
use super::{Ending, Engine, Ticket};
use crate::clock::{TimeSource, VirtualClock};
use crate::config::{BreakerConfig, Ramp, SlowCall, Window};
use crate::event::{EventKind, Identity};
use crate::outcome::Outcome;
use crate::state::{Mode, ModeChange, State};

const SECOND: Duration = Duration::from_secs(1);

fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 50_000;
    builder.check(model);
}

/// Trips at `failures`, breaks of exactly a second, one probe.
fn config(failures: u32) -> BreakerConfig {
    BreakerConfig::new()
        .with_failure_threshold(failures)
        .with_window(Window::Count(2))
        .with_success_threshold(1)
        .with_break_jitter(0.0)
        .with_half_open_lease(10 * SECOND)
}

fn engine(config: BreakerConfig) -> (Arc<Engine>, VirtualClock) {
    let clock = VirtualClock::new();
    let of = Identity::of_breaker("s", "c");
    let source = TimeSource::from(clock.clone());
    (
        Arc::new(Engine::new(of, StdArc::new(config), source, 1, true)),
        clock,
    )
}

fn ticket(engine: &Engine) -> Option<Ticket> {
    engine.admit().result().ok()
}

fn call(engine: &Engine, outcome: Outcome) {
    if let Some(ticket) = ticket(engine) {
        engine.settle(ticket, Ending::result(outcome, None));
    }
}

fn half_open(engine: &Engine, clock: &VirtualClock) {
    while engine.state() == State::Closed {
        call(engine, Outcome::Failure);
    }
    clock.advance(SECOND);
}

fn moves(engine: &Engine) -> Vec<(State, State)> {
    let events = engine.recent_events();
    let moves = events.iter().filter_map(|event| match event.kind {
        EventKind::Transition { from, to, .. } => Some((from, to)),
        _ => None,
    });
    moves.collect()
}

/// Two failures at once reach the threshold of two: the circuit opens, and once.
#[test]
fn a_trip_has_one_maker_and_is_not_missed() {
    explore(3, || {
        let (engine, _) = engine(config(2));
        let tickets = [ticket(&engine), ticket(&engine)];
        let threads = tickets.map(|ticket| {
            let engine = Arc::clone(&engine);
            thread::spawn(move || {
                engine.settle(
                    ticket.expect("closed"),
                    Ending::result(Outcome::Failure, None),
                );
            })
        });
        for thread in threads {
            thread.join().expect("no panic");
        }
        assert_eq!(engine.state(), State::Open);
        assert_eq!(moves(&engine), [(State::Closed, State::Open)]);
        let seen = engine.snapshot();
        assert_eq!((seen.counts.failure, seen.in_flight), (2, 0));
    });
}

/// Whoever is refused by an open circuit is told the whole break, from its first moment on.
#[test]
fn an_open_circuit_always_knows_its_end() {
    explore(3, || {
        let (engine, _) = engine(config(1));
        let other = Arc::clone(&engine);
        let thread = thread::spawn(move || call(&other, Outcome::Failure));
        if let Err(refusal) = engine.admit().result() {
            assert_eq!(Option::from(refusal.left), Some(SECOND));
        }
        thread.join().expect("no panic");
        assert_eq!(engine.retry_after(), Some(SECOND));
    });
}

fn admit_all(threads: usize, due: bool) {
    let (engine, clock) = engine(config(1));
    half_open(&engine, &clock);
    if !due {
        assert_eq!(engine.state(), State::HalfOpen);
    }
    let others: Vec<_> = (1..threads)
        .map(|_| {
            let engine = Arc::clone(&engine);
            thread::spawn(move || ticket(&engine))
        })
        .collect();
    let mut admitted: Vec<Ticket> = ticket(&engine).into_iter().collect();
    for other in others {
        admitted.extend(other.join().expect("no panic"));
    }
    assert_eq!(admitted.len(), 1);
    assert!(ticket(&engine).is_none());
    for ticket in admitted {
        engine.settle(ticket, Ending::ABANDONED);
    }
    call(&engine, Outcome::Success);
    assert_eq!(engine.state(), State::Closed);
    assert_eq!(engine.snapshot().in_flight, 0);
}

/// Two callers at the moment the break ends: one probe is admitted, and its slot comes back.
#[test]
fn half_open_admits_what_is_permitted_from_its_first_moment() {
    explore(3, || admit_all(2, true));
}

/// The same with three callers, once it is half-open.
#[test]
fn half_open_admits_what_is_permitted_and_leaks_nothing() {
    explore(2, || admit_all(3, false));
}

/// A probe that is given up while another caller looks for a slot.
#[test]
fn a_slot_given_back_is_there_for_the_next() {
    explore(3, || {
        let (engine, clock) = engine(config(1).with_success_threshold(2));
        half_open(&engine, &clock);
        let first = ticket(&engine).expect("a slot");
        let other = Arc::clone(&engine);
        let thread =
            thread::spawn(move || other.settle(first, Ending::result(Outcome::Neutral, None)));
        let second = ticket(&engine).expect("the other slot");
        thread.join().expect("no panic");
        let third = ticket(&engine).expect("the slot that came back");
        assert!(ticket(&engine).is_none());
        engine.settle(second, Ending::result(Outcome::Success, None));
        engine.settle(third, Ending::result(Outcome::Success, None));
        assert_eq!(engine.state(), State::Closed);
    });
}

/// A probe's success against the end of its lease: one verdict, and the circuit goes on.
#[test]
fn a_probe_and_the_end_of_its_lease_do_not_both_decide() {
    explore(3, || {
        let (engine, clock) = engine(config(1));
        half_open(&engine, &clock);
        let probe = ticket(&engine).expect("a slot");
        clock.advance(10 * SECOND);
        let other = Arc::clone(&engine);
        let thread =
            thread::spawn(move || other.settle(probe, Ending::result(Outcome::Success, None)));
        let refused = engine.admit().result().is_err();
        thread.join().expect("no panic");
        let line = moves(&engine);
        // The lease was over before the result came: the result is late in every order.
        assert_eq!(line.last(), Some(&(State::HalfOpen, State::Open)));
        assert!(refused);
        assert_eq!(engine.snapshot().counts.late, 1);
        clock.advance(2 * SECOND);
        call(&engine, Outcome::Success);
        assert_eq!(engine.state(), State::Closed);
    });
}

/// Two probes of a period that needs two: the second success closes it, whoever is second.
#[test]
fn the_last_success_closes_and_nobody_closes_twice() {
    explore(3, || {
        let (engine, clock) = engine(config(1).with_success_threshold(2));
        half_open(&engine, &clock);
        let probes = [ticket(&engine), ticket(&engine)];
        let threads = probes.map(|probe| {
            let engine = Arc::clone(&engine);
            thread::spawn(move || {
                engine.settle(
                    probe.expect("a slot"),
                    Ending::result(Outcome::Success, None),
                );
            })
        });
        for thread in threads {
            thread.join().expect("no panic");
        }
        assert_eq!(engine.snapshot().state, State::Closed);
        assert_eq!(moves(&engine).len(), 3);
        assert_eq!(engine.snapshot().recovery_attempts.success, 1);
    });
}

/// A result of before a reset never shows in the window after it, though it may count as in time
/// before it.
#[test]
fn a_result_belongs_to_its_period_or_to_none() {
    explore(3, || {
        let (engine, _) = engine(config(2));
        let old = ticket(&engine).expect("closed");
        let other = Arc::clone(&engine);
        let thread =
            thread::spawn(move || other.settle(old, Ending::result(Outcome::Failure, None)));
        engine.reset();
        call(&engine, Outcome::Success);
        thread.join().expect("no panic");
        let seen = engine.snapshot();
        assert_eq!((seen.window.calls, seen.window.failures), (1, 0));
        assert_eq!(seen.consecutive_failures, 0);
        assert_eq!((seen.counts.failure, seen.in_flight), (1, 0));
    });
}

/// Changes by two threads: observers hear one unbroken line, in order.
#[test]
fn events_tell_one_unbroken_line() {
    explore(2, || {
        let (engine, _) = engine(config(1));
        let heard = StdArc::new(Mutex::new(Vec::new()));
        let sink = StdArc::clone(&heard);
        engine.observe(StdArc::new(move |event: &crate::Event| {
            let mut heard = sink.lock().expect("no panic");
            heard.push((event.sequence, event.generation));
        }));
        let other = Arc::clone(&engine);
        let thread = thread::spawn(move || other.reset());
        call(&engine, Outcome::Failure);
        thread.join().expect("no panic");
        let line = moves(&engine);
        assert!(line.windows(2).all(|two| two[0].1 == two[1].0), "{line:?}");
        let heard = heard.lock().expect("no panic");
        let sequences: Vec<u64> = heard.iter().map(|(sequence, _)| *sequence).collect();
        let all: Vec<u64> = (1..=sequences.len() as u64).collect();
        assert_eq!(sequences, all);
        assert_eq!(
            sequences.len(),
            engine.recent_events().len(),
            "all are delivered"
        );
        // Every generation is told of, by the reset or by the trip, in order and none left out.
        let mut generations: Vec<u64> = heard.iter().map(|(_, generation)| *generation).collect();
        generations.dedup();
        let all: Vec<u64> = (1..=engine.snapshot().generation).collect();
        assert_eq!(generations, all);
    });
}

/// An operator opens the circuit for a time while a call trips it: whatever comes first, the forced
/// opening holds with its own end, never with that of a break.
#[test]
fn a_forced_opening_has_its_own_end() {
    explore(2, || {
        let (engine, clock) = engine(config(1));
        let other = Arc::clone(&engine);
        let change = ModeChange::to(Mode::ForcedOpen).lasting(50 * SECOND);
        let thread = thread::spawn(move || other.set_mode(&change, true));
        call(&engine, Outcome::Failure);
        if let Err(refusal) = engine.admit().result() {
            let told = Option::<Duration>::from(refusal.left);
            assert!(
                told == Some(SECOND) || told == Some(50 * SECOND),
                "{told:?}"
            );
        }
        thread.join().expect("no panic");
        assert_eq!(engine.retry_after(), Some(50 * SECOND));
        clock.advance(50 * SECOND);
        assert_eq!(engine.snapshot().mode, Mode::Automatic);
    });
}

/// Two operators at once: one mode, with the reason and the end of the one who came last.
#[test]
fn two_operators_do_not_mix() {
    explore(2, || {
        let (engine, _) = engine(config(1));
        let other = Arc::clone(&engine);
        let thread = thread::spawn(move || {
            let change = ModeChange::to(Mode::ForcedOpen)
                .because("a")
                .lasting(3 * SECOND);
            other.set_mode(&change, true);
        });
        let change = ModeChange::to(Mode::ForcedOpen)
            .because("b")
            .lasting(7 * SECOND);
        engine.set_mode(&change, true);
        thread.join().expect("no panic");
        let seen = engine.snapshot();
        let expected = match seen.forced_because.as_deref() {
            Some("a") => 3,
            Some("b") => 7,
            other => panic!("nobody's: {other:?}"),
        };
        assert_eq!(seen.retry_after, Some(expected * SECOND));
    });
}

/// A call that hangs is found by whoever comes when it is overdue, and by one of them.
#[test]
fn an_overdue_call_trips_once() {
    explore(2, || {
        let slow = SlowCall {
            longer_than: SECOND,
            rate: 0.5,
            minimum: 1,
        };
        let (engine, clock) = engine(config(2).with_slow_call(slow));
        let hung = ticket(&engine).expect("closed");
        clock.advance(SECOND);
        let other = Arc::clone(&engine);
        let thread = thread::spawn(move || other.admit().result().is_err());
        let refused = engine.admit().result().is_err();
        let both = [refused, thread.join().expect("no panic")];
        assert!(both.contains(&true), "one of them looks");
        assert_eq!(engine.state(), State::Open);
        assert_eq!(moves(&engine), [(State::Closed, State::Open)]);
        engine.settle(hung, Ending::result(Outcome::Success, None));
        assert_eq!(engine.snapshot().counts.late, 1);
    });
}

/// While a trip on the ramp is prepared, the ramp's own end stays readable: nobody waits for it.
#[test]
fn a_ramp_keeps_its_end_while_a_trip_is_prepared() {
    explore(2, || {
        let ramp = Ramp {
            length: 10 * SECOND,
            steps: 1,
        };
        let (engine, clock) = engine(config(1).with_ramp(ramp));
        half_open(&engine, &clock);
        call(&engine, Outcome::Success);
        // Of two calls on the first step, one passes.
        let passed = ticket(&engine)
            .or_else(|| ticket(&engine))
            .expect("one of two");
        let other = Arc::clone(&engine);
        let thread = thread::spawn(move || {
            other.settle(passed, Ending::result(Outcome::Failure, None));
        });
        engine.state();
        thread.join().expect("no panic");
        assert_eq!(engine.state(), State::Open);
        assert_eq!(engine.retry_after(), Some(2 * SECOND));
    });
}

/// A break's end is fixed by the first; one that was stopped since an earlier generation of the same
/// parity changes nothing.
#[test]
fn the_end_of_a_break_is_fixed_once() {
    explore(3, || {
        let (engine, _) = engine(config(1));
        let other = Arc::clone(&engine);
        let thread = thread::spawn(move || other.fix_break_end(7, 1_000_000_000));
        let other = Arc::clone(&engine);
        let late = thread::spawn(move || other.fix_break_end(5, 5_000_000_000));
        let ours = engine.fix_break_end(7, 2_000_000_000);
        let theirs = thread.join().expect("no panic");
        late.join().expect("no panic");
        assert_eq!(ours, theirs);
        let word = Word::new(Phase::Open, 0, 1, 7);
        let end = engine
            .end_of(word)
            .unwrap_or_else(|_| panic!("it is generation 7's"));
        assert_eq!(end, ours);
    });
}
