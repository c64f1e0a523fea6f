//! Feeding: which record is handed over next, and what happens when the producer does not take it.

use futures_util::FutureExt as _;
use tokio::time::Instant;

use super::{BACK_PRESSURE_WAIT, Engine};
use crate::backlog::DeadReason;
use crate::broker::{Attempt, ErrorClass, SendError};
use crate::classify::is_full;
use crate::drainer::blocks::{PoisonPolicy, Verdict};
use crate::drainer::gate::Flow;
use crate::drainer::pace::Cut;
use crate::drainer::pauses::Leave;
use crate::drainer::span::TrySpan;
use crate::record::{Parked, Record};

impl Engine {
    pub(super) fn feed(&mut self, flow: Flow, now: Instant) {
        let blocked = self.lost.is_some() || self.begin_again || flow == Flow::Nothing;
        if blocked || self.full_until.is_some_and(|until| until > now) {
            return;
        }
        self.full_until = None;
        self.pace_until = None;
        self.alone_at = None;
        while flow.allows(self.window.in_flight()) && !self.window.is_isolating() {
            let Some(parked) = self.reader.take() else {
                return;
            };
            if let Some(trial) = self.tries.trial(parked.position)
                && (self.window.in_flight() > 0 || !trial.retry.is_due(now))
            {
                self.alone_at = trial.retry.not_before();
                self.reader.put_back(parked);
                return;
            }
            if let Err(at) = self.pace.ready(now) {
                self.pace_until = Some(at);
                self.reader.put_back(parked);
                return;
            }
            let size = parked.record.wire_size();
            if !self
                .window
                .has_room(size, self.config.max_records.max(1), self.config.max_bytes)
            {
                self.reader.put_back(parked);
                return;
            }
            if !self.feed_one(parked, size, now) {
                return;
            }
        }
    }

    /// Hands one record over; answers whether feeding may go on.
    fn feed_one(&mut self, parked: Parked, size: usize, now: Instant) -> bool {
        let position = parked.position;
        match self.blocks.verdict(&parked) {
            Verdict::Feed => {}
            Verdict::PassOver => return true,
            Verdict::Bury(reason) => {
                self.window.insert_burying(parked, reason);
                return true;
            }
        }
        if size > self.config.max_record_bytes {
            let reason = DeadReason {
                code: "MSG_SIZE_TOO_LARGE".to_owned(),
                text: format!(
                    "{size} bytes, at most {} are sent",
                    self.config.max_record_bytes
                ),
                first: None,
                attempts: 0,
            };
            if !self.block(&parked, &reason, now) {
                self.window.insert_burying(parked, reason);
            }
            return true;
        }
        let topic = parked.record.topic.as_str();
        if self.must_wait(&parked.record) {
            self.reader.put_back(parked);
            return false;
        }
        match self.pauses.leave(topic) {
            Leave::Feed => {}
            Leave::FeedOne if !self.window.is_topic_in_flight(topic) => {}
            Leave::FeedOne | Leave::PassOver => return true,
        }
        let attempt = self.tries.next(&parked);
        let alone = self.tries.trial(position).is_some();
        let mut span = TrySpan::begin(self.gate.breaker(), &parked.record, attempt);
        match self.broker.enqueue(&parked.record, attempt) {
            Ok(delivery) => {
                self.note_attempt(attempt);
                self.pace.spent(size, now);
                span.taken();
                self.window.insert_in_flight(parked, alone, now, span);
                self.reports
                    .push(delivery.map(move |result| (position, result)).boxed());
                true
            }
            Err(error) => {
                span.failed(&error);
                self.not_taken(parked, &error, now)
            }
        }
    }

    /// The producer did not take a record; answers whether feeding may go on.
    fn not_taken(&mut self, parked: Parked, error: &SendError, now: Instant) -> bool {
        match error.class {
            ErrorClass::BackPressure => {
                self.full_until = Some(now + BACK_PRESSURE_WAIT);
                // A first record that must be waited for is no trouble.
                if is_full(&error.code) {
                    self.pace.trouble(Cut::Full, now, now);
                }
                self.reader.put_back(parked);
                false
            }
            ErrorClass::Topic => {
                self.pause(&parked.record.topic, error, now);
                true
            }
            // It was not handed over, so all that is under way comes before it.
            ErrorClass::Message | ErrorClass::Retriable => {
                if let Some(parked) = self.refused(parked, error, now) {
                    self.reader.put_back(parked);
                }
                false
            }
            ErrorClass::Fatal => {
                self.lose_producer(error, now);
                false
            }
            ErrorClass::Unavailable | ErrorClass::Configuration => {
                self.pace.trouble(Cut::Refused, now, now);
                self.begin_again_after(error, now);
                false
            }
        }
    }

    /// Whether an earlier record must be acknowledged first. Within a partition a refusal stops what is
    /// behind it; where it is to stop a whole topic, nothing may be under way in the others.
    fn must_wait(&self, record: &Record) -> bool {
        self.config.poison_of(&record.topic) == PoisonPolicy::BlockTopic
            && self.window.is_topic_in_flight(&record.topic)
    }

    fn note_attempt(&self, attempt: Attempt) {
        if attempt.maybe_duplicate {
            self.shared.update(|stats| stats.maybe_duplicates += 1);
        }
    }

    /// Whether all that the backlog has shown is fed, passed over, or done with.
    pub(super) fn has_nothing_to_feed(&self) -> bool {
        let pending = self.begin_again || self.lost.is_some() || self.window.is_isolating();
        self.reader.is_exhausted() && !pending
    }
}
