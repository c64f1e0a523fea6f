//! The moves that checks are made of.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::check::Answer;
use crate::report::Verdict;
use crate::subject::{Breaker, Call, Config, Ending, Observer, Refusal, Subject};

/// How long a breaker that judges over time gets to open under nothing but failures.
const PATIENCE: u32 = 300;
const STEP: Duration = Duration::from_millis(10);

/// A crowd comes from this many threads, each with its share of callers.
const THREADS: usize = 100;

pub(crate) fn wrong<T>(observed: impl Into<String>) -> Result<T, Verdict> {
    Err(Verdict::Wrong(observed.into()))
}

pub(crate) fn make(subject: &dyn Subject, config: &Config) -> Result<Arc<dyn Breaker>, Verdict> {
    make_watched(subject, config, None)
}

pub(crate) fn make_watched(
    subject: &dyn Subject,
    config: &Config,
    observer: Option<Observer>,
) -> Result<Arc<dyn Breaker>, Verdict> {
    subject
        .make(config, observer)
        .map_err(|refused| Verdict::Wrong(refused.to_string()))
}

/// Makes `times` calls that all end the same; a refusal is wrong.
pub(crate) fn calls(breaker: &dyn Breaker, times: u32, ending: Ending) -> Answer {
    for number in 0..times {
        match breaker.start() {
            Ok(call) => call.end(ending),
            Err(_) => {
                return wrong(format!(
                    "call {} of {times} ({ending:?}) was refused",
                    number + 1
                ));
            }
        }
    }
    Ok(())
}

/// Failures until a call is refused, at most `most`; `None` when it never is.
pub(crate) fn failures_to_open(breaker: &dyn Breaker, most: u32) -> Option<u32> {
    for failures in 0..=most {
        match breaker.start() {
            Err(_) => return Some(failures),
            Ok(call) if failures < most => call.end(Ending::Failure),
            Ok(call) => call.end(Ending::Success),
        }
    }
    None
}

/// Fails calls until one is refused.
pub(crate) fn trip(breaker: &dyn Breaker) -> Result<Refusal, Verdict> {
    for _ in 0..PATIENCE {
        for _ in 0..50 {
            match breaker.start() {
                Err(refusal) => return Ok(refusal),
                Ok(call) => call.end(Ending::Failure),
            }
        }
        breaker.pass(STEP);
    }
    wrong(format!(
        "{} failures in {:?} did not open it",
        PATIENCE * 50,
        STEP * PATIENCE
    ))
}

/// Opens a closed breaker and lets the break pass.
pub(crate) fn break_over(breaker: &dyn Breaker, config: &Config) -> Answer {
    trip(breaker)?;
    breaker.pass(config.first_break);
    Ok(())
}

/// As many calls of `callers` as are admitted, all under way.
pub(crate) fn started(breaker: &dyn Breaker, callers: usize) -> Vec<Box<dyn Call>> {
    (0..callers).filter_map(|_| breaker.start().ok()).collect()
}

/// Starts the first call after a break, which must be admitted.
pub(crate) fn first_probe(breaker: &dyn Breaker) -> Result<Box<dyn Call>, Verdict> {
    breaker
        .start()
        .map_err(|_| Verdict::Wrong("no probe was admitted after the break".into()))
}

/// Lets time pass until a call is admitted; `None` when that outlasts lease and several breaks.
pub(crate) fn until_admitted(
    breaker: &dyn Breaker,
    config: &Config,
) -> Option<(Duration, Box<dyn Call>)> {
    let most = config.lease + 6 * config.longest_break;
    let step = config.first_break / 4;
    let mut waited = Duration::ZERO;
    loop {
        if let Ok(call) = breaker.start() {
            return Some((waited, call));
        }
        if waited > most {
            return None;
        }
        breaker.pass(step);
        waited += step;
    }
}

/// The next call must be admitted without a wait.
pub(crate) fn admitted_at_once(breaker: &dyn Breaker, config: &Config) -> Answer {
    match until_admitted(breaker, config) {
        Some((waited, _)) if waited.is_zero() => Ok(()),
        Some((waited, _)) => wrong(format!("the next call was refused for {waited:?}")),
        None => wrong("every later call was refused: stuck"),
    }
}

/// Lets probes succeed until more calls are admitted at once than probes would be.
pub(crate) fn recover(subject: &dyn Subject, breaker: &dyn Breaker, config: &Config) -> Answer {
    let enough = subject.permitted(config) + 3;
    for _ in 0..50 {
        let calls = started(breaker, enough);
        let (admitted, none) = (calls.len(), calls.is_empty());
        for call in calls {
            call.end(Ending::Success);
        }
        if admitted == enough {
            return Ok(());
        }
        if none {
            breaker.pass(config.first_break / 4);
        }
    }
    wrong("it did not close though every probe succeeded")
}

/// How many of 20 callers a half-open breaker of this make admits at once, right or not.
pub(crate) fn usual_probes(subject: &dyn Subject, config: &Config) -> Result<usize, Verdict> {
    let breaker = make(subject, config)?;
    break_over(&*breaker, config)?;
    let usual = started(&*breaker, 20).len();
    if usual == 20 {
        return Err(Verdict::NotApplicable(
            "half-open admits everybody, so this cannot show".into(),
        ));
    }
    Ok(usual)
}

/// How many of `callers` that come at the same moment, from many threads, are admitted.
pub(crate) fn crowd(breaker: &dyn Breaker, callers: usize) -> usize {
    let admitted = AtomicUsize::new(0);
    let panic = Mutex::new(None);
    let (gate, done) = (Barrier::new(THREADS), Barrier::new(THREADS));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                gate.wait();
                // Caught, because the others would wait for this thread for ever.
                let held = catch_unwind(AssertUnwindSafe(|| started(breaker, callers / THREADS)));
                // Nobody lets go before all have asked, so no slot is used twice.
                done.wait();
                match held {
                    Ok(held) => {
                        admitted.fetch_add(held.len(), Ordering::Relaxed);
                    }
                    Err(payload) => {
                        *panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(payload);
                    }
                }
            });
        }
    });
    if let Some(payload) = panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
        resume_unwind(payload);
    }
    admitted.into_inner()
}
