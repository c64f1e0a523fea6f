//! Reports: what becomes of a record that was delivered or refused, and of the producer.

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::Instant;

use super::{Engine, Lost, Report};
use crate::backlog::DeadReason;
use crate::broker::{Delivered, ErrorClass, SendError};
use crate::classify::{ended_by_refusal, is_given_up, is_known};
use crate::drainer::pace::Cut;
use crate::drainer::retry::Retry;
use crate::drainer::tries::Trial;
use crate::record::{Parked, Position};

impl Engine {
    /// Takes a report and all others that are there already.
    pub(super) fn take_reports(&mut self, first: Report) {
        let now = Instant::now();
        let mut next = Some(first);
        while let Some((position, result)) = next {
            match result {
                Ok(delivered) => self.take_delivery(position, delivered, now),
                Err(error) => self.take_failure(position, &error, now),
            }
            next = self.reports.next().now_or_never().flatten();
        }
    }

    pub(super) fn take_delivery(&mut self, position: Position, delivered: Delivered, now: Instant) {
        self.window.take_span(position).delivered();
        self.gate.delivered(now);
        self.full_until = None;
        self.refeed.succeeded();
        self.rebuild.succeeded();
        let Some(record) = self.window.record(position) else {
            return;
        };
        self.shared.delivered(record, delivered);
        let trial_ended = self.pauses.delivered(&record.topic);
        if let Some(fed) = self.window.fed_at(position) {
            self.pace.acknowledged(fed, now);
        }
        self.window.mark_delivered(position);
        if trial_ended {
            self.reader.start_over();
        }
        if self.settle_at.is_none() {
            self.settle_at = Some(now + self.config.settle_every);
        }
    }

    pub(super) fn take_failure(&mut self, position: Position, error: &SendError, now: Instant) {
        self.note_retried(1);
        self.tries.failed(position, error.may_be_persisted());
        let fed = self.window.fed_at(position).unwrap_or(now);
        self.window.take_span(position).failed(error);
        let Some(parked) = self.window.remove(position) else {
            return;
        };
        if speaks_of_load(error) {
            self.pace.trouble(Cut::Refused, fed, now);
        }
        match error.class {
            ErrorClass::Message | ErrorClass::Retriable | ErrorClass::BackPressure => {
                self.gate.refused(now);
                // It is read again in its place.
                let _in_its_place = self.refused(parked, error, now);
                self.producer_ends(now, true);
            }
            ErrorClass::Topic => {
                self.gate.refused(now);
                self.pause(&parked.record.topic, error, now);
            }
            ErrorClass::Unavailable if is_given_up(&error.code) => self.producer_ends(now, false),
            // What a producer that has ended says of the rest is no news.
            ErrorClass::Unavailable | ErrorClass::Configuration => {
                if self.lost.is_none() {
                    self.begin_again_after(error, now);
                }
            }
            ErrorClass::Fatal => self.lose_producer(error, now),
        }
    }

    /// Refused: gives the record back when it is to be tried again, alone. A refusal for its own sake
    /// counts when it is the second one, because a whole batch shares the error; another one ends in a
    /// dead letter only when nobody knows it and it does not end.
    pub(super) fn refused(
        &mut self,
        parked: Parked,
        error: &SendError,
        now: Instant,
    ) -> Option<Parked> {
        let position = parked.position;
        let earlier = self.tries.trial(position).cloned();
        let mut trial = match earlier {
            // Only two refusals of this kind are a verdict.
            Some(trial) if error.class == ErrorClass::Message => {
                if trial.first.class == ErrorClass::Message {
                    self.condemn(parked, error, &trial, now);
                    return None;
                }
                Trial {
                    first: error.clone(),
                    ..trial
                }
            }
            Some(trial) => trial,
            None => Trial {
                first: error.clone(),
                attempts: 0,
                retry: Retry::default(),
            },
        };
        if error.class != ErrorClass::Message {
            if !is_known(&error.code) && trial.attempts >= self.config.unknown_error_tries {
                self.condemn(parked, error, &trial, now);
                return None;
            }
            let (min, max) = (self.config.retry_min, self.config.retry_max);
            trial.retry.failed(now, min, max);
        }
        trial.attempts += 1;
        tracing::debug!(%position, code = error.code, attempts = trial.attempts, "record tried alone");
        self.tries.set_trial(position, Some(trial));
        Some(parked)
    }

    fn condemn(&mut self, parked: Parked, error: &SendError, trial: &Trial, now: Instant) {
        let first = format!("{}: {}", trial.first.code, trial.first.text);
        let reason = DeadReason {
            code: error.code.clone(),
            text: error.text.clone(),
            first: (trial.first != *error).then_some(first),
            attempts: trial.attempts + 1,
        };
        tracing::error!(
            position = %parked.position,
            event_id = %parked.record.event_id,
            topic = parked.record.topic,
            code = error.code,
            "Kafka refused the record for good"
        );
        if self.block(&parked, &reason, now) {
            self.tries.set_trial(parked.position, None);
        } else {
            self.window.insert_burying(parked, reason);
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

    /// The producer is finished, and that is a failure, unless it only ended because of a refusal.
    pub(super) fn lose_producer(&mut self, error: &SendError, now: Instant) {
        let refused = ended_by_refusal(&error.code);
        if !refused && self.lost.as_ref().is_none_or(|lost| !lost.refused) {
            self.gate.failed(error, now);
            if self.lost.is_none() {
                tracing::error!(code = error.code, text = error.text, "Kafka producer lost");
            }
        }
        self.producer_ends(now, refused);
    }

    /// The producer takes nothing any more: when all its reports are in, it is replaced.
    fn producer_ends(&mut self, now: Instant, refused: bool) {
        let lost = self.lost.get_or_insert(Lost {
            by: now + self.config.probe_timeout,
            refused,
        });
        lost.refused |= refused;
    }

    /// Makes a new producer and begins again with the oldest record that is not settled.
    pub(super) fn replace_producer(&mut self, now: Instant) {
        let wait = self.lost.as_ref().is_some_and(|lost| now < lost.by);
        if !self.rebuild.is_due(now) || (wait && self.window.in_flight() > 0) {
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
                self.lost = None;
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

/// Whether the cluster may have had too much: it refused for now, or was not there. A record's own
/// fault, a topic's or a setting's says nothing of the kind, and neither does a producer that was given
/// up.
fn speaks_of_load(error: &SendError) -> bool {
    match error.class {
        ErrorClass::Retriable => true,
        ErrorClass::Unavailable => !is_given_up(&error.code),
        _ => false,
    }
}
