//! The publishing pipeline as a state model, small enough to be explored to the last state.
//!
//! One lane: several publishers, the journal with its group commit, cursor and segments, the drainer
//! with its window and circuit, one producer with requests under way, and the partition. Between any
//! two steps the process may be killed, the power may fail, connections may break, the cluster may go
//! away, and the producer may have to be replaced, as often as the [`Scenario`] allows.
//!
//! What corresponds to what in the code, and what the model leaves out, stands in
//! `docs/design/model.md`.

mod properties;
mod state;
mod steps;

pub use self::properties::{
    IN_ORDER, NEVER_LOST, NEVER_STUCK, NO_FALSE_ALARM, SAFE_WHEN_SAID, WITNESSES,
};
pub use self::state::{Circuit, Set, State};
pub use self::steps::Step;

use stateright::{Model, Property};

/// A deliberate mistake that the properties must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// The caller is told that its event is safe when it is written, before it is synced.
    SafeBeforeSync,
    /// A record is settled when it is handed to the producer, before Kafka has answered.
    SettledBeforeAcknowledged,
    /// After a failed producer the records are sent again in the order of the failure reports.
    ResentInOrderOfReports,
    /// A segment is removed when it is settled in memory, before the cursor that says so is durable.
    RemovedBeforeCursor,
    /// A refused record is settled before its dead letter is durable.
    SettledBeforeBuried,
    /// The producer numbers nothing, so that a request that was rejected is overtaken by the next.
    NotIdempotent,
    /// An open circuit waits for the next publish instead of for the clock.
    OpenUntilTraffic,
    /// After a restart the drainer begins behind what the process before it had handed over.
    ResumedBehindTheWindow,
    /// After a refusal the producer numbers what is behind anew, and goes on.
    WentOnAfterRefusal,
    /// A new producer sends on before its first record is acknowledged.
    FollowedTheFirst,
    /// The group after one that was refused gets the same positions.
    ReusedPositions,
    /// A record that is acknowledged before its sync is settled at once.
    SettledAhead,
}

/// How much happens, and how often things go wrong.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// How many events each publisher publishes, one after the other.
    pub events: [u8; 2],
    /// An event that Kafka refuses for its own sake.
    pub poison: Option<u8>,
    /// How often the process dies, with or without the machine.
    pub crashes: u8,
    /// How often the cluster goes away and comes back.
    pub outages: u8,
    /// How often a connection breaks with requests and answers under way.
    pub cuts: u8,
    /// How often a broker rejects a request that it would take later.
    pub rejects: u8,
    /// How often a broker refuses a record, for nobody's sake, and the producer says so.
    pub refusals: u8,
    /// How often the producer fails for good and is replaced.
    pub fatal: u8,
    /// How often the sync of a group fails.
    pub failed_syncs: u8,
    /// The mistake, if one is made.
    pub mistake: Option<Mistake>,
}

impl Scenario {
    /// Publishers and nothing that goes wrong.
    pub fn calm(events: [u8; 2]) -> Self {
        Self {
            events,
            poison: None,
            crashes: 0,
            outages: 0,
            cuts: 0,
            rejects: 0,
            refusals: 0,
            fatal: 0,
            failed_syncs: 0,
            mistake: None,
        }
    }

    /// The same with a mistake.
    #[must_use]
    pub fn with(mut self, mistake: Mistake) -> Self {
        self.mistake = Some(mistake);
        self
    }

    pub(crate) fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// All events there are.
    pub(crate) fn total(&self) -> u8 {
        self.events[0] + self.events[1]
    }

    /// The event a publisher is to publish when it has published `done`.
    pub(crate) fn event(&self, publisher: usize, done: u8) -> Option<u8> {
        let before = if publisher == 0 { 0 } else { self.events[0] };
        (done < self.events[publisher]).then_some(before + done)
    }
}

impl Model for Scenario {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Step>) {
        steps::progress(self, state, actions);
        steps::faults(state, actions);
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let next = steps::apply(self, state, step);
        if self.mistake.is_none() && state.up && !step.is_fault() {
            // So a run without further faults comes to its end, and `NEVER_STUCK` says to which.
            let (before, after) = (state.work_left(self), next.work_left(self));
            assert!(after < before, "{step:?} leads nowhere: {state:#?}");
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
