//! Threads 1, 5 and 6: probes that never end, and crowds at a half-open circuit.

use crate::check::Answer;
use crate::moves::{
    break_over, crowd, first_probe, make, started, until_admitted, usual_probes, wrong,
};
use crate::report::Verdict;
use crate::subject::{Breaker, Call, Config, Ending, Subject};

const CALLERS: usize = 1_000;
const ROUNDS: usize = 5;

/// Thread 1: a probe never ended, and the circuit refused everything for days. When another probe
/// is at last admitted, the results of the hung ones must neither close nor open anything.
pub(crate) fn late_results_of_hung_probes_are_ignored(subject: &dyn Subject) -> Answer {
    let config = Config::default();
    let usual = usual_probes(subject, &config)?;

    let breaker = make(subject, &config)?;
    let (hung, probe) = past_the_lease(&*breaker, &config)?;
    for call in hung {
        call.end(Ending::Success);
    }
    let more = started(&*breaker, 20);
    let admitted = 1 + more.len();
    drop((probe, more));
    if admitted > usual {
        return wrong(format!(
            "late successes of hung probes let {admitted} calls in at once, where {usual} are usual"
        ));
    }

    let breaker = make(subject, &config)?;
    let (hung, probe) = past_the_lease(&*breaker, &config)?;
    for call in hung {
        call.end(Ending::Failure);
    }
    probe.end(Ending::Success);
    match breaker.start() {
        Ok(_) => Ok(()),
        Err(_) => wrong("late failures of hung probes opened it again"),
    }
}

type Calls = Vec<Box<dyn Call>>;

fn past_the_lease(
    breaker: &dyn Breaker,
    config: &Config,
) -> Result<(Calls, Box<dyn Call>), Verdict> {
    break_over(breaker, config)?;
    let hung = started(breaker, 20);
    match until_admitted(breaker, config) {
        Some((_, probe)) => Ok((hung, probe)),
        None => wrong("every later call was refused: stuck"),
    }
}

/// Thread 5: all callers rushed through a half-open circuit and the outage grew.
pub(crate) fn a_thousand_half_open_callers(subject: &dyn Subject) -> Answer {
    rush(subject, |breaker| {
        let first = first_probe(breaker)?;
        let admitted = crowd(breaker, CALLERS);
        drop(first);
        Ok((admitted, 1))
    })
}

/// Thread 6: callers that all find the break just over passed together, over the limit.
pub(crate) fn a_thousand_callers_at_the_edge(subject: &dyn Subject) -> Answer {
    rush(subject, |breaker| Ok((crowd(breaker, CALLERS), 0)))
}

/// Lets a crowd come that many rounds; `come` answers how many were admitted, and how many before.
fn rush(
    subject: &dyn Subject,
    come: impl Fn(&dyn Breaker) -> Result<(usize, usize), Verdict>,
) -> Answer {
    let config = Config::default();
    let permitted = subject.permitted(&config);
    for _ in 0..ROUNDS {
        let breaker = make(subject, &config)?;
        break_over(&*breaker, &config)?;
        let (admitted, before) = come(&*breaker)?;
        if admitted + before != permitted {
            return wrong(format!(
                "{admitted} of {CALLERS} admitted besides {before} before, permitted {permitted}"
            ));
        }
    }
    Ok(())
}
