//! Topics at fault: their records are passed over while those of other topics go on.
//!
//! | state of a topic | its records |
//! |---|---|
//! | (not listed) | are fed |
//! | paused | are passed over |
//! | on trial | one is fed at a time; delivered: not listed any more; refused: paused for twice as long |
//!
//! What was passed over is found again because the backlog is then read from its start.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::retry::doubled;

#[derive(Debug)]
pub(super) struct Pauses {
    topics: HashMap<String, Pause>,
    min: Duration,
    max: Duration,
}

#[derive(Debug)]
struct Pause {
    faults: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    Paused { until: Instant },
    OnTrial,
}

/// What may be done with a record of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    Feed,
    FeedOne,
    PassOver,
}

impl Pauses {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        Self {
            topics: HashMap::new(),
            min,
            max,
        }
    }

    pub(super) fn leave(&self, topic: &str) -> Leave {
        match self.topics.get(topic).map(|pause| &pause.state) {
            None => Leave::Feed,
            Some(State::OnTrial) => Leave::FeedOne,
            Some(State::Paused { .. }) => Leave::PassOver,
        }
    }

    /// Books a fault of the topic. Faults of records fed before the pause do not prolong it.
    ///
    /// Answers whether the pause is new, with its length.
    pub(super) fn fault(&mut self, topic: &str, now: Instant) -> Option<Duration> {
        let faults = match self.topics.get(topic) {
            Some(Pause {
                state: State::Paused { .. },
                ..
            }) => return None,
            Some(Pause {
                faults,
                state: State::OnTrial,
            }) => *faults,
            None => 0,
        };
        let length = doubled(self.min, self.max, faults);
        let state = State::Paused {
            until: now + length,
        };
        self.topics.insert(
            topic.to_owned(),
            Pause {
                faults: faults.saturating_add(1),
                state,
            },
        );
        Some(length)
    }

    /// A record of the topic was delivered; answers whether that ended a trial.
    pub(super) fn delivered(&mut self, topic: &str) -> bool {
        match self.topics.get(topic) {
            Some(Pause {
                state: State::OnTrial,
                ..
            }) => self.topics.remove(topic).is_some(),
            _ => false,
        }
    }

    /// Puts topics whose pause is over on trial; answers whether there was one.
    ///
    /// `is_in_flight` holds a topic back whose earlier records are not all reported: they must not be
    /// overtaken.
    pub(super) fn end_due(&mut self, now: Instant, is_in_flight: impl Fn(&str) -> bool) -> bool {
        let mut ended = false;
        for (topic, pause) in &mut self.topics {
            if matches!(pause.state, State::Paused { until } if until <= now)
                && !is_in_flight(topic)
            {
                pause.state = State::OnTrial;
                ended = true;
            }
        }
        ended
    }

    /// When the next pause ends.
    pub(super) fn next_end(&self, now: Instant) -> Option<Instant> {
        self.topics
            .values()
            .filter_map(|pause| match pause.state {
                // One that is over waits for a report, not for the clock.
                State::Paused { until } if until > now => Some(until),
                _ => None,
            })
            .min()
    }

    pub(super) fn paused(&self) -> usize {
        self.topics.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_goes_through_pause_and_trial() {
        let (min, max) = (Duration::from_secs(1), Duration::from_secs(3));
        let mut pauses = Pauses::new(min, max);
        let start = Instant::now();
        assert_eq!(pauses.leave("t"), Leave::Feed);
        assert_eq!(pauses.fault("t", start), Some(min));
        assert_eq!(
            pauses.fault("t", start),
            None,
            "a fault of the same batch prolonged the pause"
        );
        assert_eq!(pauses.leave("t"), Leave::PassOver);
        assert_eq!(pauses.leave("other"), Leave::Feed);
        assert!(!pauses.end_due(start, |_| false));
        assert!(
            !pauses.end_due(start + min, |_| true),
            "records in flight were overtaken"
        );
        assert!(pauses.end_due(start + min, |_| false));
        assert_eq!(pauses.leave("t"), Leave::FeedOne);
        assert_eq!(pauses.fault("t", start + min), Some(min * 2));
        assert!(pauses.end_due(start + min * 3, |_| false));
        assert_eq!(pauses.fault("t", start + min * 3), Some(max));
        assert!(!pauses.delivered("t"), "a late delivery ended a pause");
        assert!(pauses.end_due(start + min * 6, |_| false));
        assert!(pauses.delivered("t"));
        assert_eq!(pauses.leave("t"), Leave::Feed);
        assert_eq!(
            pauses.fault("t", start),
            Some(min),
            "a delivery did not end the doubling"
        );
    }
}
