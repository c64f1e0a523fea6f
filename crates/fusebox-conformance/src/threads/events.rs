//! Threads 4, 11 and 20: what observers are told.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread;

use crate::check::Answer;
use crate::moves::{break_over, first_probe, make_watched, recover, started, trip, wrong};
use crate::subject::{Breaker, Config, Ending, Observer, Phase, Subject, Totals, Transition};

/// Keeps every change it is told.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<Transition>>>);

impl Diary {
    fn observer(&self) -> Observer {
        let pages = Arc::clone(&self.0);
        Arc::new(move |change| {
            pages
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(*change);
        })
    }

    fn read(&self) -> Vec<Transition> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The changes as pairs, for comparing and telling.
    fn line(&self) -> Vec<(Phase, Phase)> {
        self.read().iter().map(|c| (c.from, c.to)).collect()
    }
}

/// Thread 4: results from before the trip came in while open and half-open, and "opened" it again.
pub(crate) fn late_results_fire_no_events(subject: &dyn Subject) -> Answer {
    let config = Config::default();
    let diary = Diary::default();
    let breaker = make_watched(subject, &config, Some(diary.observer()))?;
    let mut late = started(&*breaker, 16);
    trip(&*breaker)?;
    for call in late.drain(..8) {
        call.end(Ending::Failure);
    }
    breaker.pass(config.first_break);
    let probe = first_probe(&*breaker)?;
    for call in late {
        call.end(Ending::Failure);
    }
    drop(probe);
    let openings = diary.line().iter().filter(|c| c.1 == Phase::Open).count();
    if openings == 1 {
        return Ok(());
    }
    wrong(format!("observers heard of {openings} openings"))
}

/// Thread 11: an observer that used the breaker locked it up for ever.
pub(crate) fn an_observer_may_call_back(subject: &dyn Subject) -> Answer {
    let config = Config::default();
    let told = Arc::new(AtomicUsize::new(0));
    let own: Arc<OnceLock<Weak<dyn Breaker>>> = Arc::default();
    let observer: Observer = {
        let (told, own) = (Arc::clone(&told), Arc::clone(&own));
        Arc::new(move |_| {
            if let Some(breaker) = own.get().and_then(Weak::upgrade) {
                drop(breaker.start());
                told.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let breaker = make_watched(subject, &config, Some(observer))?;
    if own.set(Arc::downgrade(&breaker)).is_err() {
        return wrong("the same breaker was made twice");
    }
    break_over(&*breaker, &config)?;
    recover(subject, &*breaker, &config)?;
    match told.load(Ordering::Relaxed) {
        0 => wrong("the observer was never called"),
        _ => Ok(()),
    }
}

/// Thread 11: with the calls outside the lock, events overtook each other.
pub(crate) fn changes_are_one_line(subject: &dyn Subject) -> Answer {
    let config = Config::default();
    let diary = Diary::default();
    let breaker = make_watched(subject, &config, Some(diary.observer()))?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for worker in 0..3 {
            let (breaker, over) = (&breaker, &over);
            scope.spawn(move || {
                let mut turn = 0_u32;
                while !over.load(Ordering::Relaxed) {
                    turn = turn.wrapping_add(1);
                    if let Ok(call) = breaker.start() {
                        call.end(if (turn + worker).is_multiple_of(3) {
                            Ending::Success
                        } else {
                            Ending::Failure
                        });
                    }
                    thread::yield_now();
                }
            });
        }
        // Also set by a panic here, for which the workers would never be done.
        let _over = SetOnDrop(&over);
        for _ in 0..60 {
            breaker.pass(config.first_break / 2);
            for _ in 0..20 {
                if let Ok(call) = breaker.start() {
                    call.end(Ending::Failure);
                }
            }
        }
    });
    let line = diary.line();
    if line.len() < 3 {
        return wrong(format!("only {} changes were told", line.len()));
    }
    let mut before = Phase::Closed;
    for (number, (from, to)) in line.into_iter().enumerate() {
        if from != before || from == to {
            return wrong(format!(
                "change {} was told as {from:?} to {to:?} when the last known state was {before:?}",
                number + 1
            ));
        }
        before = to;
    }
    Ok(())
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Thread 20: a short opening was missed, a second one not shown, and the counts were already
/// cleared when the event came.
pub(crate) fn every_change_is_told(subject: &dyn Subject) -> Answer {
    use Phase::{Closed, HalfOpen, Open};
    let config = Config::default();
    let diary = Diary::default();
    let breaker = make_watched(subject, &config, Some(diary.observer()))?;
    for _ in 0..2 {
        // The second round fails probes.
        trip(&*breaker)?;
        breaker.pass(config.first_break);
    }
    recover(subject, &*breaker, &config)?;
    let expected = [
        (Closed, Open),
        (Open, HalfOpen),
        (HalfOpen, Open),
        (Open, HalfOpen),
        (HalfOpen, Closed),
    ];
    let line = diary.line();
    if line != expected {
        return wrong(format!("observers were told {line:?}"));
    }
    let cause = Totals {
        calls: u64::from(config.minimum),
        failures: u64::from(config.minimum),
    };
    match diary.read().first().and_then(|change| change.totals) {
        Some(totals) if totals == cause => Ok(()),
        other => wrong(format!("the trip's event carried {other:?}")),
    }
}
