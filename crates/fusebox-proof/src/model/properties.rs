//! What must hold in every state.

use stateright::Property;

use super::state::State;
use super::{Circuit, Scenario, steps};

/// An event that its publisher knows to be safe is in the topic, among the dead letters, or waits on
/// disk where no crash can take it.
pub const NEVER_LOST: &str = "never lost";
/// An event is reported safe only when it is durable.
pub const SAFE_WHEN_SAID: &str = "never reported safe before it is";
/// First occurrences in the topic are in the order of the journal, so that an event that was safe
/// before another was published comes before it. An event that was handed over before it was durable and
/// was refused or lost then has stood in the journal, too: it may come before what it stood before.
pub const IN_ORDER: &str = "never reordered in the lane";
/// When nothing more happens by itself, everything is published, delivered or buried, and settled.
/// Since every step that is no fault makes the work less, that end is always reached.
pub const NEVER_STUCK: &str = "always drained when the cluster stays up";
/// Opening misses nothing that the cursor says is waiting, and gives no position twice.
pub const NO_FALSE_ALARM: &str = "opening finds what the cursor promises";

/// States that must be reachable, lest the model proves something about nothing.
pub const WITNESSES: [&str; 3] = [
    "all done",
    "a duplicate",
    "a dead letter and the rest delivered",
];

pub(super) fn all() -> Vec<Property<Scenario>> {
    vec![
        Property::always(NEVER_LOST, never_lost),
        Property::always(SAFE_WHEN_SAID, safe_when_said),
        Property::always(IN_ORDER, in_order),
        Property::always(NEVER_STUCK, never_stuck),
        Property::always(NO_FALSE_ALARM, |_, state: &State| !state.alarm),
        Property::sometimes(WITNESSES[0], is_done),
        Property::sometimes(WITNESSES[1], |_, state: &State| state.repeated),
        Property::sometimes(WITNESSES[2], |scenario, state: &State| {
            !state.dead.is_empty() && is_done(scenario, state)
        }),
    ]
}

fn never_lost(_: &Scenario, state: &State) -> bool {
    state.safe.iter().all(|event| {
        state.topic.contains(&event)
            || state.dead.has(event)
            || state.waits_on_disk().any(|waiting| waiting == event)
    })
}

fn safe_when_said(_: &Scenario, state: &State) -> bool {
    state.safe.iter().all(|event| {
        state.records.contains(&event) || state.topic.contains(&event) || state.dead.has(event)
    })
}

fn in_order(_: &Scenario, state: &State) -> bool {
    let before = |earlier: u8, later: u8| {
        // A record that was handed over and then refused or lost may arrive before its event has a place.
        let first = state.first_place(earlier);
        first.is_some_and(|first| state.place(later).is_none_or(|place| first <= place))
    };
    let topic = &state.topic;
    (1..topic.len()).all(|at| topic[..at].iter().all(|event| before(*event, topic[at])))
}

fn never_stuck(scenario: &Scenario, state: &State) -> bool {
    let mut steps = Vec::new();
    steps::progress(scenario, state, &mut steps);
    !steps.is_empty() || is_done(scenario, state)
}

fn is_done(scenario: &Scenario, state: &State) -> bool {
    let published = state.done == scenario.events;
    let arrived =
        (0..scenario.total()).all(|event| state.topic.contains(&event) || state.dead.has(event));
    let settled = state.cursor.settled.len() == state.end();
    published && arrived && settled && state.circuit == Circuit::Closed
}
