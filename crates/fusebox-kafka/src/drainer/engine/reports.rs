//! Reports: what becomes of a record that was delivered or refused, and of the producer.

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::Instant;

use super::{Engine, Report};
use crate::backlog::DeadReason;
use crate::broker::{Delivered, ErrorClass, SendError};
use crate::classify::{asks_for_new_producer, is_known};
use crate::drainer::retry::Retry;
use crate::drainer::window::Trial;
use crate::record::{Parked, Position};

impl Engine {
    /// Takes a report and all others that are there already.
    pub(super) fn take_reports(&mut self, first: Report) {
        let now = Instant::now();
        let mut next = Some(first);
        while let Some((position, result)) = next {
            match result {
                Ok(delivered) => self.take_delivery(position, delivered, now),
                Err(error) => self.take_failure(position, error, now),
            }
            next = self.reports.next().now_or_never().flatten();
        }
    }

    pub(super) fn take_delivery(&mut self, position: Position, delivered: Delivered, now: Instant) {
        self.gate.delivered(now);
        self.full_until = None;
        self.refeed.succeeded();
        self.rebuild.succeeded();
        let Some(record) = self.window.record(position) else {
            return;
        };
        self.shared.delivered(record, delivered);
        let trial_ended = self.pauses.delivered(&record.topic);
        self.window.mark_delivered(position);
        if trial_ended {
            self.reader.start_over();
        }
        if self.settle_at.is_none() {
            self.settle_at = Some(now + self.config.settle_every);
        }
    }

    pub(super) fn take_failure(&mut self, position: Position, error: SendError, now: Instant) {
        self.note_retried(1);
        self.tries.failed(position, error.may_be_persisted());
        match error.class {
            ErrorClass::Message => {
                self.gate.refused(now);
                self.suspect(position, error, now);
            }
            ErrorClass::Retriable | ErrorClass::BackPressure => {
                self.gate.refused(now);
                self.try_later(position, &error, now);
            }
            ErrorClass::Topic => {
                self.gate.refused(now);
                if let Some(parked) = self.window.remove(position) {
                    self.pause(&parked.record.topic, &error, now);
                }
            }
            ErrorClass::Unavailable | ErrorClass::Configuration => {
                self.window.remove(position);
                self.begin_again_after(&error, now);
            }
            ErrorClass::Fatal => {
                self.window.remove(position);
                self.lose_producer(&error, now);
            }
        }
    }

    /// Refused for its own sake: once more, alone, because a whole batch shares the error; then dead.
    pub(super) fn suspect(&mut self, position: Position, error: SendError, now: Instant) {
        match self.window.trial(position) {
            // Only a second refusal of this kind is a verdict; the first may have been of another.
            Some(trial) if trial.first.class == ErrorClass::Message => {
                self.condemn(position, &error, &trial, now);
            }
            earlier => {
                let attempts = earlier.map_or(1, |trial| trial.attempts);
                let trial = Trial {
                    first: error,
                    attempts,
                    retry: Retry::default(),
                };
                self.window.mark_suspect(position, trial);
            }
        }
    }

    /// Not to be held against anybody: alone, later, and for as long as the error is a known one.
    pub(super) fn try_later(&mut self, position: Position, error: &SendError, now: Instant) {
        let trial = self.window.trial(position);
        let mut trial = trial.unwrap_or(Trial {
            first: error.clone(),
            attempts: 1,
            retry: Retry::default(),
        });
        if !is_known(&error.code) && trial.attempts > self.config.unknown_error_tries {
            self.condemn(position, error, &trial, now);
            return;
        }
        if asks_for_new_producer(&error.code) && trial.attempts > 1 {
            self.window.remove(position);
            self.lose_producer(error, now);
            return;
        }
        tracing::debug!(%position, code = error.code, attempts = trial.attempts, "record tried later");
        trial
            .retry
            .failed(now, self.config.retry_min, self.config.retry_max);
        self.window.mark_suspect(position, trial);
    }

    fn condemn(&mut self, position: Position, error: &SendError, trial: &Trial, now: Instant) {
        let first = format!("{}: {}", trial.first.code, trial.first.text);
        let reason = DeadReason {
            code: error.code.clone(),
            text: error.text.clone(),
            first: (trial.first != *error).then_some(first),
            attempts: trial.attempts,
        };
        if let Some(record) = self.window.record(position) {
            tracing::error!(
                %position,
                event_id = %record.event_id,
                topic = record.topic,
                code = error.code,
                "Kafka refused the record for good"
            );
        }
        let held = self.window.parked(position).cloned();
        if held.is_some_and(|parked| self.block(&parked, &reason, now)) {
            self.window.remove(position);
        } else {
            self.window.mark_burying(position, reason);
        }
    }

    /// Holds up what is behind a refused record, if the policy of its topic says so.
    pub(super) fn block(&mut self, parked: &Parked, reason: &DeadReason, now: Instant) -> bool {
        let record = &parked.record;
        let policy = self.config.poison_of(&record.topic);
        let blocked = self.blocks.block(policy, parked, reason, now);
        if blocked {
            tracing::error!(
                position = %parked.position,
                topic = record.topic,
                key = record.key,
                "lane held up until an operator decides"
            );
            self.shared.set_blocked(self.blocks.list());
        }
        blocked
    }

    pub(super) fn pause(&mut self, topic: &str, error: &SendError, now: Instant) {
        if let Some(length) = self.pauses.fault(topic, now) {
            tracing::warn!(topic, code = error.code, text = error.text, pause = ?length, "topic paused");
        }
    }

    pub(super) fn begin_again_after(&mut self, error: &SendError, now: Instant) {
        self.gate.failed(error, now);
        if !self.begin_again {
            tracing::warn!(
                code = error.code,
                text = error.text,
                "Kafka did not take records"
            );
            self.begin_again = true;
            self.refeed
                .failed(now, self.config.retry_min, self.config.retry_max);
        }
    }

    pub(super) fn take_trouble(&mut self, error: &SendError) {
        let now = Instant::now();
        if error.class == ErrorClass::Fatal {
            self.lose_producer(error, now);
        } else {
            self.gate.failed(error, now);
        }
    }

    pub(super) fn lose_producer(&mut self, error: &SendError, now: Instant) {
        self.gate.failed(error, now);
        if !self.producer_lost {
            tracing::error!(code = error.code, text = error.text, "Kafka producer lost");
            self.producer_lost = true;
        }
    }

    /// Makes a new producer and begins again with the oldest record that is not settled.
    pub(super) fn replace_producer(&mut self, now: Instant) {
        if !self.rebuild.is_due(now) {
            return;
        }
        // What has been delivered is known; nothing else of the old producer is heard any more.
        while let Some(Some((position, result))) = self.reports.next().now_or_never() {
            if let Ok(delivered) = result {
                self.take_delivery(position, delivered, now);
            }
        }
        self.reports = FuturesUnordered::new();
        let gone = self.window.remove_in_flight();
        let unknown = gone.len();
        for position in gone {
            self.tries.failed(position, true);
        }
        self.note_retried(unknown);
        self.rebuild
            .failed(now, self.config.retry_min, self.config.retry_max);
        match self.broker.rebuild() {
            Ok(()) => {
                tracing::warn!(unknown, "Kafka producer replaced");
                self.producer_lost = false;
                self.begin_again = false;
                // What the old one had to tell is dealt with.
                while self.troubles.try_recv().is_ok() {}
                self.shared.update(|stats| stats.rebuilt += 1);
                self.reader.start_over();
            }
            Err(error) => {
                tracing::error!(
                    code = error.code,
                    text = error.text,
                    "Kafka producer not replaced"
                );
                self.gate.failed(&error, now);
            }
        }
    }

    fn note_retried(&self, records: usize) {
        self.shared.update(|stats| stats.retried += records as u64);
    }
}
