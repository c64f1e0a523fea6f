//! Threads 2, 3, 7, 8 and 9: what cancelled, neutral, slow and hanging calls count for.

use std::time::Duration;

use crate::check::Answer;
use crate::moves::{
    break_over, calls, failures_to_open, first_probe, make, started, usual_probes, wrong,
};
use crate::subject::{Ability, Breaker, Config, Ending, Slow, Subject, Window};

/// Thread 2: ignored errors kept the probes' permits, until none was left.
pub(crate) fn neutral_results_keep_nothing(subject: &dyn Subject) -> Answer {
    keep_no_slot(subject, Ending::Neutral)?;
    if subject.abilities().contains(&Ability::ExactTrip) {
        count_for_nothing(subject, &|breaker| {
            if let Ok(call) = breaker.start() {
                call.end(Ending::Neutral);
            }
        })?;
    }
    Ok(())
}

/// Thread 2: a classifier that panicked kept the permit.
pub(crate) fn classifier_panics_keep_no_slot(subject: &dyn Subject) -> Answer {
    keep_no_slot(subject, Ending::ClassifierPanic)
}

fn keep_no_slot(subject: &dyn Subject, ending: Ending) -> Answer {
    let config = Config::default();
    let usual = usual_probes(subject, &config)?;
    let breaker = make(subject, &config)?;
    break_over(&*breaker, &config)?;
    calls(&*breaker, 10, ending)?;
    let admitted = started(&*breaker, 20).len();
    if admitted == usual {
        return Ok(());
    }
    wrong(format!(
        "after 10 probes that ended so, {admitted} of 20 callers were admitted, where {usual} are usual"
    ))
}

/// Thread 3: cancelled calls leaked slots, or were counted as failures (or successes).
pub(crate) fn cancelled_calls_count_for_nothing(subject: &dyn Subject) -> Answer {
    count_for_nothing(subject, &|breaker| {
        breaker.abandon_unstarted();
        drop(breaker.start());
    })?;
    let config = Config::default();
    let breaker = make(subject, &config)?;
    break_over(&*breaker, &config)?;
    for _ in 0..20 {
        breaker.abandon_unstarted();
    }
    first_probe(&*breaker).map(drop)
}

/// All but one of the failures it takes, then many calls of a kind that counts for nothing, then
/// the failure that is missing.
fn count_for_nothing(subject: &dyn Subject, call: &dyn Fn(&dyn Breaker)) -> Answer {
    let config = Config::default();
    let fresh = make(subject, &config)?;
    let Some(failures) = failures_to_open(&*fresh, 10 * config.minimum) else {
        return wrong("it does not open at a number of failures, as declared");
    };
    let breaker = make(subject, &config)?;
    calls(&*breaker, failures.saturating_sub(1), Ending::Failure)?;
    for _ in 0..50 {
        call(&*breaker);
    }
    match breaker.start() {
        Ok(last) => last.end(Ending::Failure),
        Err(_) => return wrong("they counted as failures: it opened early"),
    }
    match breaker.start() {
        Err(_) => Ok(()),
        Ok(_) => wrong("they counted as successes: the last failure did not open it"),
    }
}

/// Thread 7: clients that give up fast opened the circuit of a healthy server.
pub(crate) fn cancelled_traffic_leaves_it_closed(subject: &dyn Subject) -> Answer {
    let config = Config::default();
    let breaker = make(subject, &config)?;
    for number in 1..=200 {
        breaker.abandon_unstarted();
        match breaker.start() {
            Ok(call) => drop(call),
            Err(_) => return wrong(format!("opened before cancelled call {number}")),
        }
    }
    let admitted = started(&*breaker, 20).len();
    if admitted == 20 {
        return Ok(());
    }
    wrong(format!("{admitted} of 20 callers admitted afterwards"))
}

/// Slow after 100 ms; four slow calls of at least half open it, failures do not.
fn slow() -> Config {
    Config {
        window: Window::Count(10),
        minimum: 10,
        slow: Some(Slow {
            longer_than: Duration::from_millis(100),
            rate: 0.5,
            minimum: 4,
        }),
        ..Config::default()
    }
}

/// Thread 8: hedging cancelled every slow call, so the breaker never saw that the server was slow.
pub(crate) fn abandoned_slow_calls_count(subject: &dyn Subject) -> Answer {
    let breaker = make(subject, &slow())?;
    for _ in 0..10 {
        // One after the other, so that none is judged by the company it has while under way.
        let Ok(call) = breaker.start() else {
            return Ok(());
        };
        breaker.pass(Duration::from_millis(150));
        drop(call);
    }
    match breaker.start() {
        Err(_) => Ok(()),
        Ok(_) => wrong("ten calls, all slow and then cancelled, left it closed"),
    }
}

/// Thread 9: the server hung, nothing ended, so nothing was counted.
pub(crate) fn hanging_calls_open_it(subject: &dyn Subject) -> Answer {
    let breaker = make(subject, &slow())?;
    let hung = started(&*breaker, 4);
    if hung.len() < 4 || breaker.start().is_err() {
        return wrong("it refused calls before any was slow");
    }
    breaker.pass(Duration::from_millis(150));
    let after = breaker.start().is_ok();
    drop(hung);
    if after {
        return wrong("four calls hung, and it stayed closed");
    }
    Ok(())
}
