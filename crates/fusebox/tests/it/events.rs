//! Events: what they tell, their order, and that observers may do what they like.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fusebox::State::{Closed, HalfOpen, Open};
use fusebox::{Cause, Event, EventKind, Mode, Outcome, State, Totals};

use crate::support::{SECOND, breaker, call, fail, small, succeed};

type Seen = Arc<Mutex<Vec<Event>>>;

fn watch(breaker: &fusebox::CircuitBreaker) -> Seen {
    let seen = Seen::default();
    let sink = Arc::clone(&seen);
    breaker.on_event(move |event| sink.lock().expect("no panic").push(event.clone()));
    seen
}

fn moves(events: &[Event]) -> Vec<(State, State, Cause)> {
    let moves = events.iter().filter_map(|event| match event.kind {
        EventKind::Transition {
            from, to, cause, ..
        } => Some((from, to, cause)),
        _ => None,
    });
    moves.collect()
}

#[test]
fn a_round_trip_is_told_with_causes_totals_and_dates() {
    let (breaker, clock) = breaker(small());
    let seen = watch(&breaker);
    clock.advance(SECOND);
    succeed(&breaker, 1);
    fail(&breaker, 2);
    clock.advance(7 * SECOND);
    call(&breaker, Outcome::Success);
    fail(&breaker, 1);
    clock.advance(2 * SECOND);
    succeed(&breaker, 2);

    let seen = seen.lock().unwrap().clone();
    assert_eq!(
        moves(&seen),
        [
            (Closed, Open, Cause::FailureRate),
            (Open, HalfOpen, Cause::BreakOver),
            (HalfOpen, Open, Cause::ProbeFailed),
            (Open, HalfOpen, Cause::BreakOver),
            (HalfOpen, Closed, Cause::ProbesSucceeded),
        ]
    );
    let dates: Vec<u64> = seen.iter().map(|event| event.at.as_secs()).collect();
    assert_eq!(
        dates,
        [1, 2, 8, 10, 10],
        "the end of a break is dated when it was due"
    );
    let numbers: Vec<u64> = seen.iter().map(|event| event.sequence).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    let generations: Vec<u64> = seen.iter().map(|event| event.generation).collect();
    assert_eq!(generations, [1, 2, 3, 4, 5]);
    let EventKind::Transition {
        totals, break_for, ..
    } = seen[0].kind
    else {
        panic!("a transition");
    };
    let trip = Totals {
        calls: 3,
        failures: 2,
        slow: 0,
    };
    assert_eq!(
        (totals, break_for),
        (trip, Some(SECOND)),
        "not cleared before the event"
    );
    let EventKind::Transition {
        totals, break_for, ..
    } = seen[2].kind
    else {
        panic!("a transition");
    };
    let probes = Totals {
        calls: 2,
        failures: 1,
        slow: 0,
    };
    assert_eq!((totals, break_for), (probes, Some(2 * SECOND)));
    let EventKind::Transition {
        totals, break_for, ..
    } = seen[4].kind
    else {
        panic!("a transition");
    };
    let probes = Totals {
        calls: 2,
        failures: 0,
        slow: 0,
    };
    assert_eq!((totals, break_for), (probes, None));
    assert_eq!(
        (&*seen[0].service, &*seen[0].circuit),
        ("spellchecker", "content_client")
    );
    assert_eq!(breaker.recent_events(), seen);
}

/// Also where the state stays as it was; and the end of a mode with it.
#[test]
fn a_reset_is_told() {
    let (breaker, _) = breaker(small());
    breaker.reset();
    let told = |breaker: &fusebox::CircuitBreaker| -> Vec<EventKind> {
        let events = breaker.recent_events();
        events.into_iter().map(|event| event.kind).collect()
    };
    assert_eq!(told(&breaker), [EventKind::Reset]);
    breaker.force_open("drill");
    breaker.reset();
    let ended = EventKind::ModeChanged {
        from: Mode::ForcedOpen,
        to: Mode::Automatic,
        who: None,
        why: None,
        until: None,
    };
    let closed = EventKind::Transition {
        from: Open,
        to: Closed,
        cause: Cause::Operator,
        totals: Totals::default(),
        break_for: None,
    };
    let told = told(&breaker);
    assert_eq!(told[told.len() - 3..], [EventKind::Reset, ended, closed]);
}

/// A handler under the breaker's lock would hang here for ever.
#[test]
fn an_observer_may_use_the_breaker_and_order_stays() {
    let (breaker, _) = breaker(small());
    let busy = breaker.clone();
    breaker.on_event(move |event| {
        if let EventKind::Transition { to: Open, .. } = event.kind {
            assert_eq!(busy.snapshot().generation, event.generation);
            busy.reset();
            busy.on_event(|_| {});
        }
    });
    let seen = watch(&breaker);
    fail(&breaker, 2);
    assert_eq!(breaker.state(), Closed, "the observer reset it");
    let told = moves(&seen.lock().unwrap());
    assert_eq!(
        told,
        [
            (Closed, Open, Cause::FailureRate),
            (Open, Closed, Cause::Operator),
        ]
    );
}

#[test]
fn a_panicking_observer_hurts_nobody() {
    let (breaker, clock) = breaker(small());
    breaker.on_event(|_| panic!("an observer's bug"));
    let seen = watch(&breaker);
    fail(&breaker, 2);
    clock.advance(SECOND);
    assert_eq!(breaker.state(), HalfOpen);
    assert_eq!(
        seen.lock().unwrap().len(),
        2,
        "the next observer still hears all"
    );
    assert_eq!(breaker.snapshot().observer_panics, 2);
}

#[test]
fn the_latest_events_are_kept_and_no_more() {
    let (breaker, _) = breaker(small());
    for _ in 0..50 {
        breaker.force_open("drill");
        breaker.automatic();
    }
    let kept = breaker.recent_events();
    assert_eq!(kept.len(), 64);
    assert_eq!(kept.last().map(|event| event.sequence), Some(200));
    assert!(
        kept.windows(2)
            .all(|two| two[0].sequence + 1 == two[1].sequence)
    );
}

#[test]
fn a_stuck_observer_costs_old_events_not_memory() {
    let (breaker, _) = breaker(small());
    let depth = AtomicBool::new(false);
    let again = breaker.clone();
    let told = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&told);
    breaker.on_event(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        // While the first event is being delivered, the rest queues behind it.
        if !depth.swap(true, Ordering::Relaxed) {
            for _ in 0..1_000 {
                again.force_open("drill");
                again.automatic();
            }
        }
    });
    breaker.force_open("drill");
    let dropped = breaker.snapshot().events_dropped;
    assert!(dropped > 0);
    assert_eq!(
        told.load(Ordering::Relaxed) + dropped,
        breaker.recent_events().last().unwrap().sequence
    );
    assert_eq!(told.load(Ordering::Relaxed), 1_025);
}

/// Threads that trip and heal at once: every observer must see one unbroken line of states.
#[test]
fn concurrent_changes_are_told_in_one_unbroken_line() {
    let (breaker, clock) = breaker(small());
    let seen = watch(&breaker);
    std::thread::scope(|scope| {
        for seed in 0..4_u32 {
            let (breaker, clock) = (&breaker, &clock);
            scope.spawn(move || {
                for turn in 0..3_000_u32 {
                    clock.advance(Duration::from_millis(200));
                    if let Ok(permit) = breaker.try_acquire() {
                        if (turn / 50 + seed) % 3 == 0 {
                            permit.failure();
                        } else {
                            permit.success();
                        }
                    }
                }
            });
        }
    });
    // Delivery of the last events may still be at another thread's hands only while it runs.
    let seen = seen.lock().unwrap();
    assert!(
        seen.len() > 20,
        "the traffic moved the circuit {} times",
        seen.len()
    );
    let line = moves(&seen);
    assert!(line.windows(2).all(|two| two[0].1 == two[1].0));
    assert!(
        seen.windows(2)
            .all(|two| two[0].sequence + 1 == two[1].sequence)
    );
    assert!(seen.windows(2).all(|two| two[0].at <= two[1].at));
    assert_eq!(seen.len() as u64, breaker.snapshot().transitions.total());
}
