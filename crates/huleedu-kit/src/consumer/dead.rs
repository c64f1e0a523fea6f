//! Dead letters: received events that are given up.
//!
//! One transaction writes the row in `dead_events`, which is what an operator works with, and the copy
//! for the topic's `.DLQ` into the outbox. The offset is committed only after it, so an event is in
//! the log before its offset or in the store behind it, never in neither.

use std::{collections::BTreeMap, convert::Infallible, time::Duration};

use bytes::Bytes;
use fusebox_kafka::{ATTEMPT_HEADER, MAYBE_DUPLICATE_HEADER, Record};
use huleedu_contracts::{headers, topics::Topic};
use uuid::Uuid;

use super::{
    Incoming,
    incoming::Taken,
    worker::{Cause, Shared, chain},
};
use crate::{
    metrics::ConsumerMetrics,
    store::{DeadEvent, Store, StoreError, now_ms},
};

/// Longest text of an error in a header; the row has all of it.
const TEXT_LIMIT: usize = 1024;

/// Keeps one dead letter. Done again for the same message it changes nothing.
pub(super) async fn keep(
    shared: &Shared,
    message: &Taken,
    event: Option<&Incoming>,
    cause: &Cause,
) -> Result<(), StoreError> {
    let dead = DeadEvent {
        event_id: event.map(|e| e.event_id),
        correlation_id: event.map(|e| e.context.correlation_id),
        topic: &message.topic,
        partition: message.partition,
        offset: message.offset,
        sent_at: message.sent_at,
        key: message.key.as_deref(),
        headers: &message.headers,
        payload: &message.payload,
        code: cause.code,
        reason: &cause.text,
        attempts: cause.attempts,
    };
    let copy = shared
        .dead_letter_topics
        .then(|| copy(&shared.group, message, event, cause));
    shared.store.bury(&dead, copy.as_ref()).await
}

/// The record for the dead-letter topic: the same bytes under the same key with the same headers,
/// and why they are there.
fn copy(group: &str, message: &Taken, event: Option<&Incoming>, cause: &Cause) -> Record {
    let mut all = text_headers(&message.headers);
    all.retain(|(name, _)| !is_of_delivery(name));
    let mut set = |name: &str, value: String| {
        all.retain(|(n, _)| n != name);
        all.push((name.to_owned(), value));
    };
    if let Some(event) = event {
        set(headers::EVENT_ID, event.event_id.to_string());
        set(
            headers::CORRELATION_ID,
            event.context.correlation_id.to_string(),
        );
    }
    set(headers::DLQ_GROUP, group.to_owned());
    set(headers::DLQ_TOPIC, message.topic.clone());
    set(headers::DLQ_PARTITION, message.partition.to_string());
    set(headers::DLQ_OFFSET, message.offset.to_string());
    if let Some(sent_at) = message.sent_at {
        set(headers::DLQ_TIMESTAMP, sent_at.to_string());
    }
    set(headers::DLQ_ERROR_CODE, cause.code.to_owned());
    set(headers::DLQ_ERROR_TEXT, shorten(&cause.text).to_owned());
    set(headers::DLQ_ATTEMPTS, cause.attempts.to_string());
    set(headers::DLQ_FAILED_AT, now_ms().to_string());
    let key = message.key.as_deref().map(std::str::from_utf8);
    if let (Some(Err(_)), Some(bytes)) = (&key, &message.key) {
        set(headers::DLQ_KEY_HEX, hex(bytes));
    }
    Record {
        // Its own: the event's is in its header, and may be in this service's outbox already.
        event_id: Uuid::now_v7(),
        topic: format!("{}.DLQ", message.topic),
        key: key.and_then(Result::ok).map(str::to_owned),
        payload: Bytes::copy_from_slice(&message.payload),
        headers: all,
    }
}

/// Whether the producer that sends a record writes this header: what an earlier one wrote says nothing
/// about the next delivery.
pub(crate) fn is_of_delivery(name: &str) -> bool {
    [ATTEMPT_HEADER, MAYBE_DUPLICATE_HEADER].contains(&name)
}

/// Headers as text. One that is not text gets `.hex` behind its name, so that nothing is lost.
pub(crate) fn text_headers(all: &[(String, Vec<u8>)]) -> Vec<(String, String)> {
    all.iter()
        .map(|(name, value)| match std::str::from_utf8(value) {
            Ok(text) => (name.clone(), text.to_owned()),
            Err(_) => (format!("{name}.hex"), hex(value)),
        })
        .collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

fn shorten(text: &str) -> &str {
    let end = text.floor_char_boundary(TEXT_LIMIT);
    text.get(..end).unwrap_or(text)
}

/// Shows how many dead letters there are, again and again.
pub(super) async fn count(
    store: &Store,
    metrics: &ConsumerMetrics,
    topics: &[Topic],
    every: Duration,
) -> Infallible {
    loop {
        match store.count_dead_events().await {
            Ok(counts) => show(metrics, topics, &counts),
            Err(error) => tracing::debug!(error = chain(&error), "dead events not counted"),
        }
        tokio::time::sleep(every).await;
    }
}

/// A topic that this service does not listen to any more is `other`, so that labels stay bounded.
fn show(metrics: &ConsumerMetrics, topics: &[Topic], counts: &BTreeMap<String, u64>) {
    let mut other = counts.values().sum::<u64>();
    for topic in topics {
        let count = counts.get(topic.as_str()).copied().unwrap_or(0);
        metrics.dead(topic.as_str(), count);
        other -= count;
    }
    metrics.dead("other", other);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Taken {
        Taken {
            topic: Topic::BatchFileAdded.as_str().to_owned(),
            partition: 2,
            offset: 41,
            sent_at: Some(7),
            key: Some(b"batch".to_vec()),
            headers: vec![
                ("event_id".to_owned(), b"a header's word".to_vec()),
                ("odd".to_owned(), vec![0xff, 0x00]),
                (headers::DLQ_ATTEMPTS.to_owned(), b"99".to_vec()),
                (ATTEMPT_HEADER.to_owned(), b"4".to_vec()),
            ],
            payload: b"\xffnot json".to_vec(),
        }
    }

    fn cause(text: &str) -> Cause {
        Cause {
            code: "UNREADABLE",
            text: text.to_owned(),
            attempts: 1,
        }
    }

    #[test]
    fn the_copy_has_the_same_bytes_and_says_where_they_were_and_why() {
        let record = copy("group", &message(), None, &cause("why"));
        assert_eq!(record.payload.as_ref(), b"\xffnot json");
        assert_eq!(record.key.as_deref(), Some("batch"));
        assert_eq!(record.topic, "huleedu.file.batch.file.added.v1.DLQ");
        let of = |name: &str| {
            let all = record.headers.iter().filter(|(n, _)| n == name);
            all.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
        };
        for (name, value) in [
            ("event_id", "a header's word"),
            ("odd.hex", "ff00"),
            (headers::DLQ_TOPIC, "huleedu.file.batch.file.added.v1"),
            (headers::DLQ_PARTITION, "2"),
            (headers::DLQ_OFFSET, "41"),
            (headers::DLQ_TIMESTAMP, "7"),
            (headers::DLQ_ERROR_CODE, "UNREADABLE"),
            (headers::DLQ_ERROR_TEXT, "why"),
            (headers::DLQ_ATTEMPTS, "1"),
            (headers::DLQ_GROUP, "group"),
        ] {
            assert_eq!(of(name), [value], "{name}");
        }
        assert!(
            of(ATTEMPT_HEADER).is_empty(),
            "the next producer counts anew"
        );
    }

    #[test]
    fn a_key_that_is_no_text_and_an_error_that_is_a_book_are_kept_in_bounds() {
        let mut message = message();
        message.key = Some(vec![0xfe]);
        let record = copy("group", &message, None, &cause(&"ö".repeat(2000)));
        assert_eq!(record.key, None);
        let of = |name: &str| record.headers.iter().find(|(n, _)| n == name).unwrap();
        assert_eq!(of(headers::DLQ_KEY_HEX).1, "fe");
        assert_eq!(of(headers::DLQ_ERROR_TEXT).1.len(), TEXT_LIMIT);
    }
}
