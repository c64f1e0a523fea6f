//! Threads 12 and 14 to 18: settings, their limits, and the lengths of breaks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::check::Answer;
use crate::moves::{calls, failures_to_open, make, make_watched, started, trip, wrong};
use crate::report::Verdict;
use crate::subject::{Ability, Breaker, Config, Ending, Observer, Phase, Refusal, Subject, Window};

/// What a real clock and a rounding may take from a length of time.
const SLACK: Duration = Duration::from_millis(25);

/// Thread 12: a change of settings needed a new breaker; state, counts and observers were lost.
pub(crate) fn new_settings_keep_what_is_known(subject: &dyn Subject) -> Answer {
    let old = Config {
        window: Window::Count(10),
        ..Config::default()
    };
    let new = Config {
        minimum: 6,
        ..old.clone()
    };
    let openings = Arc::new(AtomicUsize::new(0));
    let observer = subject.abilities().contains(&Ability::Events).then(|| {
        let openings = Arc::clone(&openings);
        Arc::new(move |change: &crate::subject::Transition| {
            if change.to == Phase::Open {
                openings.fetch_add(1, Ordering::Relaxed);
            }
        }) as Observer
    });
    let watched = observer.is_some();

    let breaker = make(subject, &old)?;
    trip(&*breaker)?;
    put(&*breaker, &new)?;
    if breaker.start().is_ok() {
        return wrong("new settings closed an open circuit");
    }

    let breaker = make_watched(subject, &old, observer)?;
    calls(&*breaker, 3, Ending::Failure)?;
    put(&*breaker, &new)?;
    match failures_to_open(&*breaker, 20) {
        Some(3) => {}
        Some(1) => return wrong("the new minimum is not in force"),
        other => {
            return wrong(format!(
                "after 3 failures and a new minimum of 6 it took {other:?} more: counts were lost"
            ));
        }
    }
    if watched && openings.load(Ordering::Relaxed) != 1 {
        return wrong("the observer was lost with the old settings");
    }
    Ok(())
}

fn put(breaker: &dyn Breaker, config: &Config) -> Answer {
    breaker
        .reconfigure(config)
        .map_err(|refused| Verdict::Wrong(refused.to_string()))
}

/// Thread 14: one bad host closed the way to all.
pub(crate) fn breakers_are_isolated(subject: &dyn Subject) -> Answer {
    let config = Config::default();
    let (sick, healthy) = (make(subject, &config)?, make(subject, &config)?);
    trip(&*sick)?;
    let admitted = started(&*healthy, 20).len();
    if admitted == 20 {
        return Ok(());
    }
    wrong(format!(
        "another breaker's trip left {admitted} of 20 callers here"
    ))
}

fn time_left(refusal: Refusal) -> Result<Duration, Verdict> {
    refusal
        .retry_after
        .ok_or_else(|| Verdict::Wrong("the refusal told no time".into()))
}

/// Thread 15: instances that tripped together probed in step for ever.
pub(crate) fn breaks_spread(subject: &dyn Subject) -> Answer {
    let longest = Duration::from_secs(10);
    let config = Config {
        first_break: longest,
        longest_break: longest,
        jitter: 0.5,
        ..Config::default()
    };
    // Slots of 50 ms, so that the few milliseconds between two trips do not count as a spread.
    let mut slots = BTreeSet::new();
    for _ in 0..100 {
        let breaker = make(subject, &config)?;
        let length = time_left(trip(&*breaker)?)?;
        if length + SLACK < longest / 2 || length > longest + longest / 2 {
            return wrong(format!(
                "a break of {length:?} for {longest:?} at a jitter of a half"
            ));
        }
        slots.insert(length.as_millis() / 50);
    }
    if slots.len() >= 20 {
        return Ok(());
    }
    wrong(format!(
        "100 breakers chose only {} different moments",
        slots.len()
    ))
}

/// Thread 15: breaks that never grow hammer a dependency that stays down.
pub(crate) fn breaks_grow_to_a_cap(subject: &dyn Subject) -> Answer {
    let config = Config {
        longest_break: Duration::from_millis(400),
        ..Config::default()
    };
    let breaker = make(subject, &config)?;
    let mut breaks = Vec::new();
    for _ in 0..5 {
        let length = time_left(trip(&*breaker)?)?;
        breaks.push(length);
        breaker.pass(length + Duration::from_millis(1));
    }
    let grow = breaks.windows(2).all(|w| w[1] + SLACK >= w[0]);
    let (first, last) = (breaks[0], breaks[breaks.len() - 1]);
    if !grow || last < first + first / 2 {
        return wrong(format!("five breaks in a row lasted {breaks:?}"));
    }
    if breaks.iter().any(|b| *b > config.longest_break) {
        return wrong(format!(
            "breaks of {breaks:?} where {:?} is the longest allowed",
            config.longest_break
        ));
    }
    Ok(())
}

/// Thread 16: a refused caller did not know when to come back.
pub(crate) fn a_refusal_tells_the_time_left(subject: &dyn Subject) -> Answer {
    let config = Config {
        first_break: Duration::from_secs(2),
        longest_break: Duration::from_secs(2),
        ..Config::default()
    };
    let breaker = make(subject, &config)?;
    let at_once = time_left(trip(&*breaker)?)?;
    let step = Duration::from_millis(200);
    breaker.pass(step);
    let Err(refusal) = breaker.start() else {
        return wrong("the break ended early");
    };
    let later = time_left(refusal)?;
    if at_once > config.first_break || at_once.is_zero() || later + step > at_once + SLACK {
        return wrong(format!(
            "a break of {:?} was told as {at_once:?}, and as {later:?} after {step:?} of it",
            config.first_break
        ));
    }
    Ok(())
}

/// Thread 16: the dependency said when to come back, and nobody listened.
pub(crate) fn a_hint_sets_the_break(subject: &dyn Subject) -> Answer {
    let config = Config::default();
    let asked = Duration::from_secs(10);
    let breaker = make(subject, &config)?;
    calls(&*breaker, config.minimum - 1, Ending::Failure)?;
    calls(&*breaker, 1, Ending::FailureAskingFor(asked))?;
    let Err(refusal) = breaker.start() else {
        return wrong("it did not open");
    };
    let told = time_left(refusal)?;
    if told + SLACK < asked {
        return wrong(format!("asked for {asked:?}, the break lasts {told:?}"));
    }
    Ok(())
}

/// Thread 17: a minimum above the window was cut to the window without a word.
pub(crate) fn minimum_is_kept_or_refused(subject: &dyn Subject) -> Answer {
    for window in [4, 10, 100] {
        for minimum in [1, 4, 10, 50, 200] {
            let config = Config {
                window: Window::Count(window),
                minimum,
                ..Config::default()
            };
            let breaker = match subject.make(&config, None) {
                Ok(breaker) => breaker,
                Err(_) if minimum > window => continue,
                Err(refused) => {
                    return wrong(format!("window {window}, minimum {minimum}: {refused}"));
                }
            };
            match failures_to_open(&*breaker, 10 * minimum) {
                Some(failures) if failures == minimum => {}
                Some(failures) => {
                    return wrong(format!(
                        "window {window}, minimum {minimum}: opened at {failures}"
                    ));
                }
                None => {
                    return wrong(format!("window {window}, minimum {minimum}: never opened"));
                }
            }
        }
    }
    Ok(())
}

/// Thread 18: counts over a lifetime never open, and counts without a rate open a healthy circuit.
pub(crate) fn a_million_calls(subject: &dyn Subject) -> Answer {
    let config = Config {
        window: Window::Count(100),
        minimum: 50,
        ..Config::default()
    };
    let breaker = make(subject, &config)?;
    calls(&*breaker, 1_000_000, Ending::Success)?;
    match failures_to_open(&*breaker, 200) {
        Some(50) => {}
        Some(other) => return wrong(format!("{other} failures to open instead of 50")),
        None => return wrong("200 failures did not open it"),
    }
    let breaker = make(subject, &config)?;
    for number in 0..1_000 {
        let sparse = calls(&*breaker, 99, Ending::Success)
            .and_then(|()| calls(&*breaker, 1, Ending::Failure));
        if sparse.is_err() {
            return wrong(format!(
                "one failure in a hundred opened it after {number} of them"
            ));
        }
    }
    Ok(())
}
