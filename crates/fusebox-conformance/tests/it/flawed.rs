//! Every check is seen to fail: a toy with each flaw, and the checks that must notice it.

use std::collections::BTreeSet;
use std::time::Duration;

use fusebox_conformance::{Check, Verdict, checks, run};

use crate::toy::{Flaw, Toys};

const NOTICED_BY: [(Flaw, &[&str]); 33] = [
    (Flaw::LifetimeCounts, &["A", "18"]),
    (Flaw::TimeIsIgnored, &["A′"]),
    (Flaw::EverybodyProbes, &["B", "5", "6"]),
    (Flaw::OneProbeTooMany, &["B", "5", "6"]),
    (Flaw::CancelKeepsSlot, &["C", "3"]),
    (Flaw::NoLease, &["D", "1"]),
    (Flaw::NoGenerations, &["E", "F", "1"]),
    (Flaw::PanicKeepsSlot, &["G"]),
    (Flaw::NeutralKeepsSlot, &["2a"]),
    (Flaw::NeutralIsSuccess, &["2a"]),
    (Flaw::ClassifierPanicKeepsSlot, &["2b"]),
    (Flaw::CancelIsFailure, &["3", "7"]),
    (Flaw::CancelIsSuccess, &["3"]),
    (Flaw::LateFailureOpensAgain, &["4"]),
    (Flaw::CancelledIsNeverSlow, &["8"]),
    (Flaw::BlindToHanging, &["9"]),
    (Flaw::ObserverUnderLock, &["11a"]),
    (Flaw::EventsOvertake, &["11b"]),
    (Flaw::SettingsForgetCounts, &["12"]),
    (Flaw::SettingsClose, &["12"]),
    (Flaw::SettingsDropObserver, &["12"]),
    (Flaw::AllShareOne, &["14"]),
    (Flaw::NoJitter, &["15a"]),
    (Flaw::JitterWithoutLimit, &["15a"]),
    (Flaw::NoGrowth, &["15b"]),
    (Flaw::NoCap, &["15b"]),
    (Flaw::TimeLeftStandsStill, &["16a"]),
    (Flaw::NoTimeLeft, &["16a"]),
    (Flaw::DeafToHints, &["16b"]),
    (Flaw::MinimumIsCapped, &["17"]),
    (Flaw::NoRate, &["18"]),
    (Flaw::TotalsAreCleared, &["20"]),
    (Flaw::SecondTripUntold, &["20"]),
];

fn by_id(id: &str) -> &'static Check {
    checks()
        .iter()
        .find(|check| check.id == id)
        .unwrap_or_else(|| panic!("no check {id}"))
}

#[test]
fn a_sound_breaker_is_right_everywhere() {
    for (check, verdict) in run(&Toys::with(Flaw::None)).rows {
        assert_eq!(verdict, Verdict::Right, "{}: {}", check.id, check.title);
    }
}

#[test]
fn every_flaw_is_noticed() {
    for (flaw, ids) in NOTICED_BY {
        for id in ids {
            // A breaker that locks itself up is given up for lost sooner than a slow one.
            let limit = Duration::from_secs(if flaw == Flaw::ObserverUnderLock {
                2
            } else {
                60
            });
            let verdict = by_id(id).judge_within(&Toys::with(flaw), limit);
            assert!(verdict.is_wrong(), "{flaw:?} under {id}: {verdict}");
        }
    }
}

#[test]
fn every_check_notices_something() {
    let proven: BTreeSet<&str> = NOTICED_BY
        .iter()
        .flat_map(|(_, ids)| *ids)
        .copied()
        .collect();
    let all: BTreeSet<&str> = checks().iter().map(|check| check.id).collect();
    assert_eq!(proven, all);
}
