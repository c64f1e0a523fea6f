//! The design, explored to its last state; and mistakes that the exploration must find.

use std::thread::available_parallelism;

use fusebox_proof::model::{
    IN_ORDER, Mistake, NEVER_LOST, NEVER_STUCK, NO_FALSE_ALARM, SAFE_WHEN_SAID, Scenario, WITNESSES,
};
use stateright::{Checker as _, HasDiscoveries, Model as _};

/// Set, the scenarios are larger and take minutes.
const LARGE: &str = "MODEL_LARGE";

fn threads() -> usize {
    available_parallelism().map_or(1, Into::into)
}

/// Explores all of it: no property fails, and what is to be reachable is reached.
fn holds(name: &str, scenario: Scenario, witnesses: &[&'static str]) {
    let checker = scenario.checker().threads(threads()).spawn_bfs().join();
    println!(
        "{name}: {} states, the longest run has {} steps",
        checker.unique_state_count(),
        checker.max_depth()
    );
    assert!(checker.is_done(), "{name} was not explored to its end");
    for (found, path) in checker.discoveries() {
        assert!(
            WITNESSES.contains(&found),
            "{name}, {found}: {:?}\n{:?}",
            path.clone().into_actions(),
            path.last_state()
        );
    }
    for witness in witnesses {
        assert!(
            checker.discovery(witness).is_some(),
            "{name}: not reachable: {witness}"
        );
    }
}

/// `small` by default, `large` when asked for.
fn events(small: [u8; 2], large: [u8; 2]) -> Scenario {
    let large_ones = std::env::var_os(LARGE).is_some();
    Scenario::calm(if large_ones { large } else { small })
}

const DONE: &str = WITNESSES[0];
const DUPLICATE: &str = WITNESSES[1];
const BURIED: &str = WITNESSES[2];

#[test]
fn nothing_goes_wrong() {
    holds("calm", Scenario::calm([2, 2]), &[DONE]);
}

#[test]
fn the_process_dies_once() {
    let scenario = Scenario {
        crashes: 1,
        ..events([2, 2], [2, 3])
    };
    holds("one crash", scenario, &[DONE, DUPLICATE]);
}

#[test]
fn the_process_dies_twice() {
    let scenario = Scenario {
        crashes: 2,
        ..events([1, 1], [2, 1])
    };
    holds("two crashes", scenario, &[DONE, DUPLICATE]);
}

#[test]
fn the_cluster_goes_away_and_connections_break() {
    let scenario = Scenario {
        outages: 2,
        cuts: 1,
        rejects: 1,
        ..events([2, 2], [2, 3])
    };
    // And there is no witness of a duplicate: without a crash or a new producer there is none.
    holds("outage", scenario, &[DONE]);
}

#[test]
fn no_duplicate_without_a_crash_or_a_new_producer() {
    let scenario = Scenario {
        outages: 1,
        cuts: 2,
        rejects: 1,
        ..Scenario::calm([2, 1])
    };
    let checker = scenario.checker().threads(threads()).spawn_bfs().join();
    assert!(checker.discovery(DUPLICATE).is_none());
    assert!(checker.discovery(DONE).is_some());
}

#[test]
fn the_cluster_goes_away_and_the_process_dies() {
    let scenario = Scenario {
        outages: 1,
        crashes: 1,
        ..events([1, 1], [2, 2])
    };
    holds("outage and crash", scenario, &[DONE, DUPLICATE]);
}

#[test]
fn the_producer_is_replaced() {
    let scenario = Scenario {
        fatal: 2,
        cuts: 1,
        outages: 1,
        ..events([2, 1], [2, 2])
    };
    holds("new producer", scenario, &[DONE, DUPLICATE]);
}

#[test]
fn the_producer_is_replaced_and_the_process_dies() {
    let scenario = Scenario {
        fatal: 1,
        crashes: 1,
        ..events([1, 1], [2, 2])
    };
    holds("new producer and crash", scenario, &[DONE, DUPLICATE]);
}

#[test]
fn a_record_is_refused_and_the_process_dies() {
    let scenario = Scenario {
        poison: Some(0),
        crashes: 1,
        ..events([2, 1], [2, 2])
    };
    holds("poison", scenario, &[DONE, BURIED]);
}

#[test]
fn records_are_refused_for_nobodys_sake() {
    let scenario = Scenario {
        refusals: 2,
        cuts: 1,
        ..events([2, 2], [3, 2])
    };
    holds("refused for now", scenario, &[DONE]);
}

#[test]
fn records_are_refused_rejected_and_the_producer_is_replaced() {
    let scenario = Scenario {
        refusals: 1,
        rejects: 1,
        fatal: 1,
        ..events([2, 2], [3, 2])
    };
    holds("refused, rejected, replaced", scenario, &[DONE, DUPLICATE]);
}

#[test]
fn a_record_is_refused_for_nobodys_sake_among_poison_and_the_process_dies() {
    let scenario = Scenario {
        poison: Some(1),
        refusals: 1,
        crashes: 1,
        ..events([2, 1], [2, 2])
    };
    holds("refused, poison, crash", scenario, &[DONE, BURIED]);
}

#[test]
fn syncs_fail_and_the_process_dies() {
    let scenario = Scenario {
        failed_syncs: 1,
        crashes: 1,
        ..events([2, 1], [2, 2])
    };
    holds("failed sync", scenario, &[DONE, DUPLICATE]);
}

#[test]
fn syncs_fail_and_the_producer_is_replaced() {
    let scenario = Scenario {
        failed_syncs: 1,
        fatal: 1,
        ..events([2, 2], [3, 2])
    };
    holds("failed sync, new producer", scenario, &[DONE, DUPLICATE]);
}

#[test]
fn syncs_fail_and_the_cluster_goes_away() {
    let scenario = Scenario {
        failed_syncs: 1,
        outages: 1,
        ..events([2, 2], [3, 2])
    };
    holds("failed sync, outage", scenario, &[DONE, DUPLICATE]);
}

#[test]
fn syncs_fail_and_a_record_is_refused() {
    let scenario = Scenario {
        poison: Some(0),
        failed_syncs: 1,
        ..events([2, 1], [2, 2])
    };
    holds("failed sync, poison", scenario, &[DONE, BURIED]);
}

/// Explores until these properties have failed.
fn caught(mistake: Mistake, scenario: Scenario, by: &[&'static str]) {
    let checker = scenario
        .with(mistake)
        .checker()
        .threads(1)
        .finish_when(HasDiscoveries::AllOf(by.iter().copied().collect()))
        .spawn_bfs()
        .join();
    for property in by {
        let path = checker.discovery(property);
        let path = path.unwrap_or_else(|| panic!("{mistake:?} does not break: {property}"));
        println!("{mistake:?}: {property}: {:?}", path.into_actions());
    }
}

#[test]
fn safe_before_sync_is_caught() {
    let scenario = Scenario {
        crashes: 1,
        ..Scenario::calm([2, 1])
    };
    caught(
        Mistake::SafeBeforeSync,
        scenario,
        &[SAFE_WHEN_SAID, NEVER_LOST],
    );
}

#[test]
fn cursor_before_acknowledgement_is_caught() {
    let scenario = Scenario {
        crashes: 1,
        ..Scenario::calm([2, 1])
    };
    caught(Mistake::SettledBeforeAcknowledged, scenario, &[NEVER_LOST]);
}

#[test]
fn resending_in_the_order_of_reports_is_caught() {
    let scenario = Scenario {
        fatal: 1,
        ..Scenario::calm([3, 1])
    };
    caught(Mistake::ResentInOrderOfReports, scenario, &[IN_ORDER]);
}

#[test]
fn removing_before_the_cursor_is_caught() {
    let scenario = Scenario {
        crashes: 1,
        ..Scenario::calm([2, 1])
    };
    caught(Mistake::RemovedBeforeCursor, scenario, &[NO_FALSE_ALARM]);
}

#[test]
fn settling_before_the_dead_letter_is_caught() {
    let scenario = Scenario {
        poison: Some(0),
        crashes: 1,
        ..Scenario::calm([1, 1])
    };
    caught(Mistake::SettledBeforeBuried, scenario, &[NEVER_LOST]);
}

#[test]
fn a_producer_without_numbers_is_caught() {
    let scenario = Scenario {
        rejects: 1,
        ..Scenario::calm([3, 0])
    };
    caught(Mistake::NotIdempotent, scenario, &[IN_ORDER]);
}

#[test]
fn going_on_behind_a_refused_record_is_caught() {
    let scenario = Scenario {
        refusals: 1,
        ..Scenario::calm([2, 1])
    };
    caught(Mistake::WentOnAfterRefusal, scenario, &[IN_ORDER]);
}

#[test]
fn following_the_first_record_of_a_producer_is_caught() {
    for scenario in [
        Scenario {
            refusals: 1,
            ..Scenario::calm([2, 1])
        },
        Scenario {
            rejects: 1,
            ..Scenario::calm([2, 1])
        },
    ] {
        caught(Mistake::FollowedTheFirst, scenario, &[IN_ORDER]);
    }
}

#[test]
fn a_circuit_that_waits_for_traffic_is_caught() {
    let scenario = Scenario {
        outages: 1,
        fatal: 1,
        ..Scenario::calm([1, 1])
    };
    caught(Mistake::OpenUntilTraffic, scenario, &[NEVER_STUCK]);
}

#[test]
fn beginning_behind_what_was_handed_over_is_caught() {
    let scenario = Scenario {
        crashes: 1,
        ..Scenario::calm([2, 1])
    };
    caught(Mistake::ResumedBehindTheWindow, scenario, &[NEVER_LOST]);
}

#[test]
fn giving_the_positions_of_a_refused_group_again_is_caught() {
    let scenario = Scenario {
        failed_syncs: 1,
        ..Scenario::calm([1, 1])
    };
    caught(Mistake::ReusedPositions, scenario, &[NEVER_LOST]);
}

#[test]
fn settling_before_the_sync_is_caught() {
    let scenario = Scenario {
        crashes: 1,
        ..Scenario::calm([1, 1])
    };
    caught(Mistake::SettledAhead, scenario, &[NEVER_LOST]);
}
