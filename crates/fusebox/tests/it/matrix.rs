//! The behaviour matrix: seven questions on which breakers differ, A to G.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fusebox::{Outcome, State, Window};

use crate::support::{SECOND, breaker, call, fail, half_open, small, succeed};

#[test]
fn a_the_window_slides_so_ten_thousand_old_successes_do_not_delay_a_trip() {
    let config = small()
        .with_failure_threshold(50)
        .with_window(Window::Count(100));
    let (breaker, _) = breaker(config);
    succeed(&breaker, 10_000);
    fail(&breaker, 49);
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn b_of_twenty_half_open_callers_exactly_the_permitted_pass() {
    let (breaker, clock) = breaker(small());
    half_open(&breaker, &clock);
    let permits: Vec<_> = (0..20).filter_map(|_| breaker.try_acquire().ok()).collect();
    assert_eq!(permits.len(), 2);
    assert_eq!(breaker.snapshot().counts.blocked, 18);
}

#[test]
fn c_dropped_probes_give_their_slots_back() {
    let (breaker, clock) = breaker(small());
    half_open(&breaker, &clock);
    for _ in 0..5 {
        let probes = [breaker.try_acquire(), breaker.try_acquire()];
        assert!(probes.iter().all(Result::is_ok));
        assert!(breaker.try_acquire().is_err());
        drop(probes);
    }
    assert_eq!(breaker.state(), State::HalfOpen, "nothing was decided");
    succeed(&breaker, 2);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn d_probes_that_never_settle_cannot_wedge_it() {
    let (breaker, clock) = breaker(small());
    half_open(&breaker, &clock);
    let first = breaker.try_acquire().expect("a slot");
    clock.advance(4 * SECOND);
    let second = breaker.try_acquire().expect("a slot");
    clock.advance(9 * SECOND);
    assert!(
        breaker.try_acquire().is_err(),
        "the lease runs from the last probe"
    );
    clock.advance(SECOND);
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(
        breaker.retry_after(),
        Some(2 * SECOND),
        "an escalated break"
    );

    clock.advance(2 * SECOND);
    succeed(&breaker, 2);
    assert_eq!(breaker.state(), State::Closed);
    first.failure();
    second.failure();
    let after = breaker.snapshot();
    assert_eq!((after.state, after.counts.late), (State::Closed, 2));
    assert_eq!(after.window.failures, 0);
}

#[test]
fn d_a_lease_that_ran_out_unseen_is_dated_when_it_did() {
    let (breaker, clock) = breaker(small());
    half_open(&breaker, &clock);
    let hung = [breaker.try_acquire(), breaker.try_acquire()];
    clock.advance(100 * SECOND);
    // Lease until 10 s later, a break of 2 s after it: long over.
    assert_eq!(breaker.state(), State::HalfOpen);
    let times = breaker.snapshot().time_in_state;
    assert_eq!(times.get(State::Open), 3 * SECOND);
    assert_eq!(times.get(State::HalfOpen), 98 * SECOND);
    drop(hung);
    assert_eq!(breaker.snapshot().counts.late, 2);
}

#[test]
fn d_a_slow_probe_among_free_slots_is_no_hung_one() {
    let (breaker, clock) = breaker(small());
    half_open(&breaker, &clock);
    let slow = breaker.try_acquire().expect("a slot");
    clock.advance(60 * SECOND);
    succeed(&breaker, 1);
    slow.success();
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn e_late_successes_do_not_close_a_half_open_circuit() {
    let (breaker, clock) = breaker(small());
    let old: Vec<_> = (0..5)
        .map(|_| breaker.try_acquire().expect("closed"))
        .collect();
    half_open(&breaker, &clock);
    for permit in old {
        permit.success();
    }
    assert_eq!(breaker.state(), State::HalfOpen);
    let snapshot = breaker.snapshot();
    assert_eq!((snapshot.counts.late, snapshot.counts.success), (5, 5));
    let probes: Vec<_> = (0..20).filter_map(|_| breaker.try_acquire().ok()).collect();
    assert_eq!(probes.len(), 2, "late results free no slots either");
}

#[test]
fn f_late_failures_do_not_reopen_a_recovered_circuit() {
    let (breaker, clock) = breaker(small());
    let old: Vec<_> = (0..5)
        .map(|_| breaker.try_acquire().expect("closed"))
        .collect();
    half_open(&breaker, &clock);
    let probe = breaker.try_acquire().expect("a slot");
    succeed(&breaker, 1);
    probe.success();
    assert_eq!(breaker.state(), State::Closed);
    for permit in old {
        permit.failure();
    }
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(breaker.snapshot().window.failures, 0);
    assert_eq!(breaker.snapshot().counts.late, 5);
}

#[test]
fn g_a_panic_in_a_probe_is_neutral_and_gives_the_slot_back() {
    let (breaker, clock) = breaker(small());
    half_open(&breaker, &clock);
    for _ in 0..3 {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            breaker.call_sync_with(
                |_: &Result<(), ()>| Outcome::Success,
                || panic!("a bug of the caller"),
            )
        }));
        assert!(panicked.is_err());
    }
    let snapshot = breaker.snapshot();
    assert_eq!((snapshot.state, snapshot.in_flight), (State::HalfOpen, 0));
    assert_eq!(snapshot.counts.neutral, 3);
    succeed(&breaker, 2);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn g_a_panic_in_the_classifier_gives_the_slot_back_too() {
    let (breaker, clock) = breaker(small());
    half_open(&breaker, &clock);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        breaker.call_sync_with(
            |_: &Result<(), ()>| panic!("a bug of the caller"),
            || Ok(()),
        )
    }));
    assert!(panicked.is_err());
    assert_eq!(breaker.snapshot().in_flight, 0);
    call(&breaker, Outcome::Neutral);
    succeed(&breaker, 2);
    assert_eq!(breaker.state(), State::Closed);
}
