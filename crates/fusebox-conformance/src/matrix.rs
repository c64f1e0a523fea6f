//! The behaviour matrix: questions A to G, on which breakers differ most.

use std::time::Duration;

use crate::check::Answer;
use crate::moves::{
    admitted_at_once, break_over, calls, failures_to_open, first_probe, make, recover, started,
    trip, until_admitted, usual_probes, wrong,
};
use crate::subject::{Config, Ending, Subject, Window};

/// A: after 10 000 successes, half of the last 100 calls must fail, so 50 failures, not more.
pub(crate) fn count_window_slides(subject: &dyn Subject) -> Answer {
    let config = Config {
        window: Window::Count(100),
        minimum: 50,
        ..Config::default()
    };
    let breaker = make(subject, &config)?;
    calls(&*breaker, 10_000, Ending::Success)?;
    match failures_to_open(&*breaker, 20_000) {
        Some(50) => Ok(()),
        Some(other) => wrong(format!("{other} failures to open instead of 50")),
        None => wrong("20000 failures did not open it"),
    }
}

/// A′: successes within the window outweigh a few failures, and are forgotten when it has passed.
pub(crate) fn time_window_forgets(subject: &dyn Subject) -> Answer {
    let length = Duration::from_secs(1);
    let config = Config {
        window: Window::Time(length),
        ..Config::default()
    };
    let breaker = make(subject, &config)?;
    calls(&*breaker, 10_000, Ending::Success)?;
    if let Some(failures) = failures_to_open(&*breaker, 50) {
        return wrong(format!(
            "{failures} failures among 10000 successes opened it"
        ));
    }
    breaker.pass(length + length / 2);
    match failures_to_open(&*breaker, 20_000) {
        Some(failures) if failures <= 2 * config.minimum => Ok(()),
        Some(failures) => wrong(format!(
            "{failures} failures to open though all successes were out of the window"
        )),
        None => wrong("20000 failures did not open it"),
    }
}

/// B: twenty callers come to a half-open circuit and stay.
pub(crate) fn half_open_is_limited(subject: &dyn Subject) -> Answer {
    let config = Config::default();
    let breaker = make(subject, &config)?;
    break_over(&*breaker, &config)?;
    let admitted = started(&*breaker, 20).len();
    let permitted = subject.permitted(&config);
    if admitted == permitted {
        return Ok(());
    }
    wrong(format!("{admitted} of 20 admitted, permitted {permitted}"))
}

/// C: all probes are cancelled; the next call takes a slot at once.
pub(crate) fn cancelled_probes_free_slots(subject: &dyn Subject) -> Answer {
    let config = Config::default();
    let breaker = make(subject, &config)?;
    break_over(&*breaker, &config)?;
    drop(first_probe(&*breaker)?);
    admitted_at_once(&*breaker, &config)?;
    drop(started(&*breaker, 20));
    admitted_at_once(&*breaker, &config)
}

/// D: all probes hang; after a while another call is admitted.
pub(crate) fn hung_probes_do_not_wedge(subject: &dyn Subject) -> Answer {
    let config = Config::default();
    let breaker = make(subject, &config)?;
    break_over(&*breaker, &config)?;
    let hung = started(&*breaker, 20);
    if hung.is_empty() {
        return wrong("no probe was admitted after the break");
    }
    let next = until_admitted(&*breaker, &config);
    drop(hung);
    match next {
        Some(_) => Ok(()),
        None => wrong("every later call was refused: stuck"),
    }
}

/// E: calls from before the trip succeed while a probe is under way.
pub(crate) fn late_successes_do_not_close(subject: &dyn Subject) -> Answer {
    let config = Config::default();
    let usual = usual_probes(subject, &config)?;
    let breaker = make(subject, &config)?;
    let late = started(&*breaker, usual + 1);
    break_over(&*breaker, &config)?;
    let probe = first_probe(&*breaker)?;
    for call in late {
        call.end(Ending::Success);
    }
    let more = started(&*breaker, 20);
    let admitted = 1 + more.len();
    drop((probe, more));
    if admitted > usual {
        return wrong(format!(
            "they let {admitted} calls in at once, where {usual} probes are usual"
        ));
    }
    Ok(())
}

/// F: calls from before the trip fail after the circuit has recovered.
pub(crate) fn late_failures_do_not_reopen(subject: &dyn Subject) -> Answer {
    let config = Config::default();
    let breaker = make(subject, &config)?;
    let late = started(&*breaker, 8);
    trip(&*breaker)?;
    breaker.pass(config.first_break);
    recover(subject, &*breaker, &config)?;
    for call in late {
        call.end(Ending::Failure);
    }
    match breaker.start() {
        Ok(call) => {
            call.end(Ending::Success);
            Ok(())
        }
        Err(_) => wrong("re-opened by 8 failures from before the trip"),
    }
}

/// G: every probe panics; the next call takes a slot at once.
pub(crate) fn panicking_probes_free_slots(subject: &dyn Subject) -> Answer {
    let config = Config::default();
    let breaker = make(subject, &config)?;
    break_over(&*breaker, &config)?;
    for _ in 0..subject.permitted(&config) {
        match breaker.start() {
            Ok(call) => call.end(Ending::Panic),
            Err(_) => break, // The end of this check tells for how long.
        }
    }
    admitted_at_once(&*breaker, &config)
}
