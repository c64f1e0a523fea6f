//! The list of checks, and how one is put to a breaker: in its own thread, with a limit.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::matrix;
use crate::report::{Report, Verdict};
use crate::subject::{Ability, Subject};
use crate::threads::{events, outcomes, probes, settings};

/// How long one check may take before the breaker counts as stuck. Real waits take a few seconds.
const LIMIT: Duration = Duration::from_mins(1);

/// `Err` ends a check early with its verdict.
pub(crate) type Answer = Result<(), Verdict>;

/// One question to a breaker.
#[derive(Clone, Copy)]
pub struct Check {
    /// `A` to `G` for the rows of the matrix, otherwise the number of the thread; a letter behind
    /// it tells apart what one of them asks more than once.
    pub id: &'static str,
    /// What is expected, in one line.
    pub title: &'static str,
    /// Abilities without which the question makes no sense.
    pub needs: &'static [Ability],
    ask: fn(&dyn Subject) -> Answer,
}

impl Check {
    /// Puts the question; at most a minute.
    pub fn judge(&self, subject: &Arc<dyn Subject>) -> Verdict {
        self.judge_within(subject, LIMIT)
    }

    /// Puts the question, and takes a breaker that has not answered within `limit` for stuck (its
    /// thread is left behind).
    pub fn judge_within(&self, subject: &Arc<dyn Subject>, limit: Duration) -> Verdict {
        if let Some(missing) = self.needs.iter().find(|a| !subject.abilities().contains(a)) {
            return Verdict::NotApplicable(missing.lack().to_owned());
        }
        let (tell, told) = channel();
        let (ask, subject) = (self.ask, Arc::clone(subject));
        let spawned = thread::Builder::new()
            .name(format!("check {}", self.id))
            .spawn(move || {
                let answer = catch_unwind(AssertUnwindSafe(|| ask(&*subject)));
                // Nobody listens any more when the limit has passed.
                drop(tell.send(answer));
            });
        if let Err(error) = spawned {
            return Verdict::NotApplicable(format!("no thread to ask in: {error}"));
        }
        match told.recv_timeout(limit) {
            Ok(Ok(Ok(()))) => Verdict::Right,
            Ok(Ok(Err(verdict))) => verdict,
            Ok(Err(panic)) => Verdict::Wrong(format!("it panicked: {}", said(&*panic))),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Verdict::Wrong(format!("stuck: it did not return within {limit:?}"))
            }
        }
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("id", &self.id)
            .field("title", &self.title)
            .finish_non_exhaustive()
    }
}

/// Threads of the collection that put no question to a breaker, and why.
pub const NOT_ASKED: [(u8, &str); 3] = [
    (
        10,
        "lock in the window is the bottleneck under load: a matter of speed, measured by the benchmarks",
    ),
    (
        13,
        "a breaker per key leaks memory and series: a matter of registries",
    ),
    (
        19,
        "an open breaker makes the health page red and the balancer removes everybody: a matter of services",
    ),
];

/// Puts every check to `subject`, one after the other.
pub fn run(subject: &Arc<dyn Subject>) -> Report {
    Report {
        subject: subject.name(),
        rows: checks()
            .iter()
            .map(|check| (check, check.judge(subject)))
            .collect(),
    }
}

/// All checks: the matrix, then the threads by number.
pub fn checks() -> &'static [Check] {
    &CHECKS
}

const fn check(
    id: &'static str,
    title: &'static str,
    needs: &'static [Ability],
    ask: fn(&dyn Subject) -> Answer,
) -> Check {
    Check {
        id,
        title,
        needs,
        ask,
    }
}

static CHECKS: [Check; 29] = [
    check(
        "A",
        "the count window slides: old successes do not delay a trip",
        &[Ability::Rate, Ability::CountWindow],
        matrix::count_window_slides,
    ),
    check(
        "A′",
        "the time window forgets what is older than it",
        &[Ability::Rate, Ability::TimeWindow],
        matrix::time_window_forgets,
    ),
    check(
        "B",
        "of 20 half-open callers only the permitted pass",
        &[],
        matrix::half_open_is_limited,
    ),
    check(
        "C",
        "cancelled probes give their slots back at once",
        &[],
        matrix::cancelled_probes_free_slots,
    ),
    check(
        "D",
        "probes that never end do not wedge it",
        &[],
        matrix::hung_probes_do_not_wedge,
    ),
    check(
        "E",
        "late successes do not close a half-open circuit",
        &[],
        matrix::late_successes_do_not_close,
    ),
    check(
        "F",
        "late failures do not re-open a recovered circuit",
        &[],
        matrix::late_failures_do_not_reopen,
    ),
    check(
        "G",
        "a panic in a probe gives its slot back at once",
        &[],
        matrix::panicking_probes_free_slots,
    ),
    check(
        "1",
        "after hung probes another is admitted, and their late results are ignored",
        &[],
        probes::late_results_of_hung_probes_are_ignored,
    ),
    check(
        "2a",
        "neutral results keep no slot and count for nothing",
        &[Ability::Neutral],
        outcomes::neutral_results_keep_nothing,
    ),
    check(
        "2b",
        "a panic in the classifier keeps no slot",
        &[Ability::Classifier],
        outcomes::classifier_panics_keep_no_slot,
    ),
    check(
        "3",
        "cancelled calls, polled or not, count for nothing",
        &[Ability::ExactTrip],
        outcomes::cancelled_calls_count_for_nothing,
    ),
    check(
        "4",
        "late results open it no second time: one event per opening",
        &[Ability::Events],
        events::late_results_fire_no_events,
    ),
    check(
        "5",
        "1000 callers at once in half-open: exactly the permitted pass",
        &[],
        probes::a_thousand_half_open_callers,
    ),
    check(
        "6",
        "the same at the edge from open to half-open",
        &[],
        probes::a_thousand_callers_at_the_edge,
    ),
    check(
        "7",
        "nothing but cancelled calls leaves it closed",
        &[],
        outcomes::cancelled_traffic_leaves_it_closed,
    ),
    check(
        "8",
        "calls cancelled because they were slow count as slow",
        &[Ability::AbandonedSlow],
        outcomes::abandoned_slow_calls_count,
    ),
    check(
        "9",
        "calls that hang open it while they hang",
        &[Ability::SlowInFlight],
        outcomes::hanging_calls_open_it,
    ),
    check(
        "11a",
        "an observer may use the breaker",
        &[Ability::Events],
        events::an_observer_may_call_back,
    ),
    check(
        "11b",
        "observers see one unbroken line of changes",
        &[Ability::Events],
        events::changes_are_one_line,
    ),
    check(
        "12",
        "new settings keep state, counts and observers",
        &[Ability::Reconfigure, Ability::ExactTrip],
        settings::new_settings_keep_what_is_known,
    ),
    check(
        "14",
        "one breaker's trip leaves another alone",
        &[],
        settings::breakers_are_isolated,
    ),
    check(
        "15a",
        "a hundred breakers that trip together probe at different times",
        &[Ability::RetryAfter, Ability::Jitter],
        settings::breaks_spread,
    ),
    check(
        "15b",
        "breaks grow while probes fail, up to a cap",
        &[Ability::RetryAfter, Ability::Escalation],
        settings::breaks_grow_to_a_cap,
    ),
    check(
        "16a",
        "a refusal tells the time left",
        &[Ability::RetryAfter],
        settings::a_refusal_tells_the_time_left,
    ),
    check(
        "16b",
        "a Retry-After of the dependency sets the break",
        &[Ability::RetryAfter, Ability::Hint, Ability::ExactTrip],
        settings::a_hint_sets_the_break,
    ),
    check(
        "17",
        "every minimum is kept or refused, never capped",
        &[Ability::Minimum, Ability::CountWindow, Ability::ExactTrip],
        settings::minimum_is_kept_or_refused,
    ),
    check(
        "18",
        "a million successes delay no trip, sparse failures cause none",
        &[Ability::Rate, Ability::CountWindow],
        settings::a_million_calls,
    ),
    check(
        "20",
        "every change is told, a trip with the totals that caused it",
        &[Ability::Events, Ability::EventTotals, Ability::ExactTrip],
        events::every_change_is_told,
    ),
];

fn said(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
