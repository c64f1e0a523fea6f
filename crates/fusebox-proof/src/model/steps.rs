//! What can happen next, and what it does.

use super::state::{Answer, Circuit, Cursor, First, REQUESTS, SEGMENT, Sent, Set, State, WINDOW};
use super::{Mistake, Scenario};

/// One step of anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// A publisher appends its next event.
    Publish(usize),
    /// The committer has written all that was queued as one group; the drainer may have it.
    Write,
    /// The group is synced, and its publishers are answered.
    Commit,
    /// By mistake it answers them before.
    AnswerEarly,
    /// The drainer hands the next record to the producer.
    Feed,
    /// The broker deals with the next request.
    Take,
    /// An answer arrives; the drainer settles the record, or tries it alone, or condemns it.
    Hear,
    /// The cursor is written and synced, and segments that are done with are removed.
    SaveCursor,
    /// The same, and it says for the first time that the positions of a refused group are used up.
    SaveRefusal,
    /// The dead letter of a condemned record becomes durable.
    Bury,
    /// The condemned record is settled.
    SettleBuried,
    /// The break of an open circuit is over.
    TryAgain,
    /// With nothing to send, the cluster gave a sign of life.
    SignOfLife,
    /// The cluster is back.
    Return,
    /// A request of a producer that is gone arrives after all.
    GhostArrives(usize),
    /// What was on a dead producer's wire is lost.
    GhostLost(usize),

    /// The circuit notices that nothing is delivered.
    Stall,
    /// The process dies, in the middle of whatever it was doing: the group that was being written
    /// survives up to some record, the cursor that was being saved is there or not, and removals of
    /// segments are undone or not.
    Crash {
        /// Records of the queue that survive.
        records: usize,
        /// Whether a cursor that says all that is settled survives.
        cursor: bool,
        /// Whether the removals do.
        removals: bool,
    },
    /// The cluster goes away.
    Vanish,
    /// The connection breaks; of the requests under way the broker still takes the first ones.
    Cut(usize),
    /// The broker rejects a request that it would take later.
    Reject,
    /// The broker refuses the next request, and would take it later.
    Refuse,
    /// The producer has failed for good and is replaced.
    Fatal,
    /// The sync of a group fails: its publishers are told that it was not accepted.
    FailCommit,
}

impl Step {
    /// Whether the world could do without it.
    pub(super) fn is_fault(self) -> bool {
        matches!(
            self,
            Self::Stall
                | Self::Crash { .. }
                | Self::Vanish
                | Self::Cut(_)
                | Self::Reject
                | Self::Refuse
                | Self::Fatal
                | Self::FailCommit
        )
    }
}

/// Everything that happens by itself.
pub(super) fn progress(scenario: &Scenario, state: &State, steps: &mut Vec<Step>) {
    for publisher in 0..2 {
        let more = scenario.event(publisher, state.done[publisher]).is_some();
        if more && !state.asked[publisher] {
            steps.push(Step::Publish(publisher));
        }
    }
    commit(scenario, state, steps);
    if may_feed(scenario, state) {
        steps.push(Step::Feed);
    }
    if state.up && state.on_the_wire() > 0 {
        steps.push(Step::Take);
    }
    if !state.answers.is_empty() {
        steps.push(Step::Hear);
    }
    if state.cursor.settled != state.settled {
        steps.push(Step::SaveCursor);
    }
    if let Some(position) = state.next_burial() {
        let buried = state.dead.has(state.event_at(position));
        let settled = state.settled.has(position);
        let hasty = scenario.makes(Mistake::SettledBeforeBuried);
        if !buried && (settled || !hasty) {
            steps.push(Step::Bury);
        }
        if !settled && (buried || hasty) {
            steps.push(Step::SettleBuried);
        }
    }
    match state.circuit {
        Circuit::Open if !scenario.makes(Mistake::OpenUntilTraffic) => steps.push(Step::TryAgain),
        Circuit::HalfOpen
            if state.up && state.in_flight.is_empty() && state.next_to_feed().is_none() =>
        {
            steps.push(Step::SignOfLife);
        }
        _ => {}
    }
    if !state.up {
        steps.push(Step::Return);
    }
    for ghost in 0..state.ghosts.len() {
        if state.up {
            steps.push(Step::GhostArrives(ghost));
        }
        steps.push(Step::GhostLost(ghost));
    }
}

/// What the committer does: a group at a time, and none while one that was refused is not done with.
fn commit(scenario: &Scenario, state: &State, steps: &mut Vec<Step>) {
    if state.burning > 0 {
        steps.push(Step::SaveRefusal);
    } else if state.written > 0 {
        steps.push(Step::Commit);
        let asked = state.askers(scenario, state.group()) != [false; 2];
        if asked && scenario.makes(Mistake::SafeBeforeSync) {
            steps.push(Step::AnswerEarly);
        }
    } else if !state.queue.is_empty() {
        steps.push(Step::Write);
    }
}

/// Everything that goes wrong.
pub(super) fn faults(state: &State, steps: &mut Vec<Step>) {
    let budget = state.budget;
    if budget.crashes > 0 {
        for records in 0..=state.queue.len() {
            for cursor in [false, true] {
                for removals in [false, true] {
                    let nothing_saved = cursor && state.cursor.settled == state.settled;
                    let nothing_removed = removals && state.removed == state.removed_durably;
                    if !nothing_saved && !nothing_removed {
                        steps.push(Step::Crash {
                            records,
                            cursor,
                            removals,
                        });
                    }
                }
            }
        }
    }
    if budget.outages > 0 && state.up {
        steps.push(Step::Vanish);
    }
    if !state.up && state.circuit != Circuit::Open && !state.in_flight.is_empty() {
        steps.push(Step::Stall);
    }
    if budget.cuts > 0 && state.sent > 0 {
        let takes = if state.up { state.on_the_wire() } else { 0 };
        steps.extend((0..=takes).map(Step::Cut));
    }
    if budget.rejects > 0 && state.up && state.on_the_wire() > 0 {
        steps.push(Step::Reject);
    }
    if budget.refusals > 0 && state.up && state.on_the_wire() > 0 {
        steps.push(Step::Refuse);
    }
    if budget.fatal > 0 && !state.buffer.is_empty() {
        steps.push(Step::Fatal);
    }
    if budget.failed_syncs > 0 && state.written > 0 {
        steps.push(Step::FailCommit);
    }
}

fn may_feed(scenario: &Scenario, state: &State) -> bool {
    let Some(next) = state.next_to_feed() else {
        return false;
    };
    let flow = match state.circuit {
        Circuit::Closed => true,
        Circuit::Open => false,
        Circuit::HalfOpen => state.in_flight.is_empty(),
    };
    let alone = state.suspects.has(next) || state.in_flight.iter().any(|p| state.suspects.has(p));
    let first = state.first != First::Acknowledged && !scenario.makes(Mistake::FollowedTheFirst);
    if alone || first {
        return flow && state.in_flight.is_empty();
    }
    flow && state.in_flight.len() < WINDOW
}

/// The state after a step that is possible.
pub(super) fn apply(scenario: &Scenario, state: &State, step: Step) -> State {
    let mut next = state.clone();
    next.take(scenario, step);
    next.forget_unaccepted();
    if next.up {
        // A request that is not on the wire yet and one that is lost on it come to the same.
        next.sent = next.buffer.len().min(REQUESTS);
    }
    next
}

impl State {
    fn take(&mut self, scenario: &Scenario, step: Step) {
        match step {
            Step::Publish(publisher) => self.publish(scenario, publisher),
            Step::Write => self.written = u8::try_from(self.queue.len()).expect("few"),
            Step::Commit => {
                self.answer_publishers(scenario);
                self.records
                    .extend(self.queue.drain(..usize::from(self.written)));
                self.written = 0;
                self.settled = self.settled.or(std::mem::take(&mut self.early));
            }
            Step::AnswerEarly => self.answer_publishers(scenario),
            Step::Feed => self.feed(scenario),
            Step::Take => {
                let answer = self.broker_takes(scenario, self.answers.len());
                self.answers.push(answer);
            }
            Step::Hear => self.hear(scenario),
            Step::SaveCursor => {
                self.save_cursor();
                self.remove_segments(self.cursor.settled);
            }
            Step::SaveRefusal => {
                self.use_up_positions();
                self.save_cursor();
                self.remove_segments(self.cursor.settled);
            }
            Step::Bury => {
                let position = self.next_burial().expect("one is condemned");
                self.dead.add(self.event_at(position));
                if self.settled.has(position) {
                    self.condemned.remove(position);
                }
            }
            Step::SettleBuried => {
                let position = self.next_burial().expect("one is condemned");
                self.settled.add(position);
                if self.dead.has(self.event_at(position)) {
                    self.condemned.remove(position);
                }
            }
            Step::TryAgain => self.circuit = Circuit::HalfOpen,
            Step::SignOfLife => self.circuit = Circuit::Closed,
            Step::Return => self.up = true,
            Step::GhostArrives(ghost) => {
                let event = self.ghosts[ghost].remove(0);
                if scenario.poison == Some(event) {
                    // And what is behind it has the wrong number.
                    self.ghosts[ghost].clear();
                } else {
                    self.arrive(event);
                }
                self.ghosts.retain(|ghost| !ghost.is_empty());
                self.ghosts.sort();
            }
            Step::GhostLost(ghost) => {
                self.ghosts.remove(ghost);
            }
            Step::Stall => self.circuit = Circuit::Open,
            Step::Crash {
                records,
                cursor,
                removals,
            } => {
                self.budget.crashes -= 1;
                self.crash(scenario, records, cursor, removals);
            }
            Step::Vanish => {
                self.budget.outages -= 1;
                self.up = false;
            }
            Step::Cut(taken) => {
                self.budget.cuts -= 1;
                let from = self.answers.len();
                for index in from..from + taken {
                    // The answer is lost with the connection.
                    let _answer = self.broker_takes(scenario, index);
                }
                self.answers.clear();
                self.sent = 0;
            }
            Step::Reject => {
                self.budget.rejects -= 1;
                self.reject(scenario);
            }
            Step::Refuse => {
                self.budget.refusals -= 1;
                self.answers.push(Answer::Later);
            }
            Step::Fatal => {
                self.budget.fatal -= 1;
                self.replace_producer(scenario, false);
            }
            Step::FailCommit => {
                self.budget.failed_syncs -= 1;
                self.refuse_group(scenario);
            }
        }
    }

    fn save_cursor(&mut self) {
        self.cursor = Cursor {
            settled: self.settled,
            next: self.end(),
        };
    }

    /// Removes the oldest segments that are full and hold nothing else than `settled`.
    fn remove_segments(&mut self, settled: Set) {
        let done = |end: u8| end <= self.end() && Set::below(end).without(settled).is_empty();
        let mut removed = self.removed;
        while done((removed + 1) * SEGMENT) {
            removed += 1;
        }
        self.removed = removed;
    }

    fn publish(&mut self, scenario: &Scenario, publisher: usize) {
        let event = scenario
            .event(publisher, self.done[publisher])
            .expect("it has one");
        self.asked[publisher] = true;
        self.queue.push(event);
        if scenario.makes(Mistake::OpenUntilTraffic) && self.circuit == Circuit::Open {
            self.circuit = Circuit::HalfOpen;
        }
    }

    /// Which publishers wait for an answer about one of these events.
    fn askers(&self, scenario: &Scenario, events: &[u8]) -> [bool; 2] {
        [0, 1].map(|publisher| {
            let event = scenario.event(publisher, self.done[publisher]);
            self.asked[publisher] && event.is_some_and(|event| events.contains(&event))
        })
    }

    /// Tells the publishers of the group that it is safe.
    fn answer_publishers(&mut self, scenario: &Scenario) {
        let askers = self.askers(scenario, self.group());
        for publisher in (0..2).filter(|publisher| askers[*publisher]) {
            let event = scenario.event(publisher, self.done[publisher]);
            self.safe.add(event.expect("it was asked for"));
            self.asked[publisher] = false;
            self.done[publisher] += 1;
        }
    }

    /// Tells the publishers of the group that it was not accepted. Its records may be on their way, and
    /// what is reported of them must mean no others.
    fn refuse_group(&mut self, scenario: &Scenario) {
        let askers = self.askers(scenario, self.group());
        for publisher in (0..2).filter(|publisher| askers[*publisher]) {
            self.asked[publisher] = false;
        }
        if scenario.makes(Mistake::ReusedPositions) {
            self.queue.drain(..usize::from(self.written));
            self.early = Set::default();
        } else {
            self.burning = self.written;
        }
        self.written = 0;
    }

    /// The positions of a refused group count as settled, whatever becomes of its records.
    fn use_up_positions(&mut self) {
        let used_up = Set::below(self.shown_end()).without(Set::below(self.end()));
        self.records
            .extend(self.queue.drain(..usize::from(self.burning)));
        self.burning = 0;
        self.refused = self.refused.or(used_up);
        for position in used_up.iter() {
            self.note_unaccepted(self.event_at(position), position);
        }
        self.settled = self.settled.or(used_up);
        self.suspects = self.suspects.without(used_up);
        self.condemned = self.condemned.without(used_up);
        self.early = Set::default();
    }

    fn feed(&mut self, scenario: &Scenario) {
        let position = self.next_to_feed().expect("there is one");
        self.in_flight.add(position);
        let event = self.event_at(position);
        self.buffer.push(Sent { position, event });
        if scenario.makes(Mistake::SettledBeforeAcknowledged) {
            self.settled.add(position);
        }
    }

    /// The broker deals with the request for the buffer's record `index`.
    fn broker_takes(&mut self, scenario: &Scenario, index: usize) -> Answer {
        let event = self.buffer[index].event;
        // It looks at the record before it looks at its number.
        if scenario.poison == Some(event) {
            return Answer::Refused;
        }
        if index > self.processed && self.first != First::Nothing {
            return Answer::OutOfOrder;
        }
        // Below what it expects it has it already, and says so.
        if index >= self.processed {
            self.arrive(event);
            self.processed = index + 1;
            if self.first == First::Nothing {
                self.first = First::Taken;
            }
        }
        Answer::Taken
    }

    fn hear(&mut self, scenario: &Scenario) {
        let answer = self.answers.remove(0);
        let position = self.buffer.remove(0).position;
        self.sent -= 1;
        self.in_flight.remove(position);
        // An answer is an answer: the cluster lives.
        self.circuit = Circuit::Closed;
        match answer {
            Answer::Taken => {
                self.processed -= 1;
                self.deliver(scenario, position);
                self.suspects.remove(position);
                self.first = First::Acknowledged;
                if scenario.makes(Mistake::RemovedBeforeCursor) {
                    self.remove_segments(self.settled);
                }
            }
            // Its group was refused before: there is nothing to try again or to bury.
            Answer::Refused | Answer::Later if self.settled.has(position) => {
                self.end_producer(scenario);
            }
            Answer::Refused if self.suspects.has(position) => {
                self.suspects.remove(position);
                self.condemned.add(position);
                self.end_producer(scenario);
            }
            Answer::Refused | Answer::Later => {
                self.suspects.add(position);
                self.end_producer(scenario);
            }
            Answer::OutOfOrder => self.replace_producer(scenario, false),
        }
    }

    /// Kafka has a record: it is settled, or will be when it is durable.
    fn deliver(&mut self, scenario: &Scenario, position: u8) {
        if position < self.end() || scenario.makes(Mistake::SettledAhead) {
            self.settled.add(position);
        } else if position < self.shown_end() {
            self.early.add(position);
        }
    }

    /// A record was refused: nothing behind it may arrive before it.
    fn end_producer(&mut self, scenario: &Scenario) {
        if scenario.makes(Mistake::WentOnAfterRefusal) {
            self.answers.clear();
            self.sent = 0;
        } else {
            self.replace_producer(scenario, true);
        }
    }

    fn reject(&mut self, scenario: &Scenario) {
        let at = self.answers.len();
        if scenario.makes(Mistake::NotIdempotent) {
            // The one behind it is taken, and it is sent again behind that.
            let record = self.buffer.remove(at);
            self.buffer.insert(self.sent - 1, record);
            self.sent -= 1;
        } else if self.first != First::Nothing || self.sent == at + 1 {
            // Whatever is behind it has a number the broker does not expect: all again, in order.
            self.sent = at;
        } else {
            // The broker expects no number: it takes what is behind, and the rejected one no more.
            for index in at + 1..self.sent {
                let _answer = self.broker_takes(scenario, index);
            }
            self.replace_producer(scenario, false);
        }
    }

    /// What of the present producer may still reach the broker when nobody listens any more.
    fn leave_ghost(&mut self, refused: bool) {
        let from = self.answers.len().max(self.processed);
        let wire: Vec<u8> = self.buffer[from.min(self.sent)..self.sent]
            .iter()
            .map(|sent| sent.event)
            .collect();
        // Behind one that was refused a broker that counts takes nothing.
        let unheard = |answer: &Answer| matches!(answer, Answer::Refused | Answer::Later);
        let gap = refused || self.answers.iter().any(unheard);
        if !wire.is_empty() && (!gap || self.first == First::Nothing) {
            self.ghosts.push(wire);
            // Which of them is older makes no difference.
            self.ghosts.sort();
        }
        self.first = First::Nothing;
        self.sent = 0;
        self.answers.clear();
        self.processed = 0;
    }

    fn replace_producer(&mut self, scenario: &Scenario, refused: bool) {
        let unsent = self.sent;
        self.leave_ghost(refused);
        if scenario.makes(Mistake::ResentInOrderOfReports) {
            // Reports of what waited in the queue come before those of what was under way.
            self.buffer.rotate_left(unsent);
        } else {
            self.buffer.clear();
            self.in_flight = Set::default();
        }
    }

    fn crash(&mut self, scenario: &Scenario, records: usize, cursor: bool, removals: bool) {
        self.leave_ghost(false);
        let handed_over = self.in_flight;
        let lost = self.queue.split_off(records);
        if cursor {
            // It was being saved before the group was being written, for all we know.
            self.save_cursor();
        }
        self.records.append(&mut self.queue);
        (self.written, self.burning) = (0, 0);
        self.early = Set::default();
        self.buffer.clear();
        self.asked = [false; 2];
        self.in_flight = Set::default();
        self.suspects = Set::default();
        self.condemned = Set::default();
        self.circuit = Circuit::Closed;
        if !removals {
            self.removed = self.removed_durably;
        }
        self.open(scenario, handed_over);
        for event in lost {
            self.note_unaccepted(event, self.end());
        }
    }

    /// What opening makes of the files.
    fn open(&mut self, scenario: &Scenario, handed_over: Set) {
        let gone = self.removed * SEGMENT;
        let missing = Set::below(gone.min(self.end())).without(self.cursor.settled);
        let found = if gone < self.end() { self.end() } else { 0 };
        let next = found.max(self.cursor.next);
        // Records that wait are gone, or positions that were given once are given again.
        self.alarm |= !missing.is_empty() || next < self.end();
        self.records.truncate(next.into());
        self.removed = self.removed.min(next / SEGMENT);
        self.removed_durably = self.removed;
        self.settled = self.cursor.settled;
        for position in gone..self.end() {
            // A burial that was cut short.
            if self.dead.has(self.event_at(position)) {
                self.settled.add(position);
            }
        }
        if scenario.makes(Mistake::ResumedBehindTheWindow) {
            self.settled = self.settled.or(handed_over);
        }
    }
}
