//! A client that forgets its cluster.
//!
//! A cluster that has just come back may answer that it has no broker: all of them count as dead until they
//! have said that they live. librdkafka drops every broker that is not in the answer, and may then have nobody
//! left to ask, for ever (its issue 5301). Real are the publisher, its journal, librdkafka and our broker.

use std::collections::HashSet;

use fusebox::State;
use fusebox_devbroker::{ApiKey, Effect, Fault, When};
use fusebox_proof::history::{EventName, Ledger};
use fusebox_proof::publishing::{Options, Publishing};

use crate::support::cluster::broker_in;
use crate::support::topics::{PARTITIONS, create, fresh, read_all};
use crate::support::until_of;

/// Many, so that the client is long at the answer.
const TOPICS: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_whose_cluster_had_no_brokers_for_a_moment_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker_in(folder.path()).await;
    let bootstrap = broker.bootstrap_servers();
    let topics: Vec<_> = (0..TOPICS).map(|_| fresh("forgotten")).collect();
    create(&bootstrap, 1, topics.iter().map(String::as_str)).await;
    let mut options = Options::new(&bootstrap);
    // It asks often who there is.
    let often = ("topic.metadata.refresh.interval.ms", "100");
    options
        .producer
        .extra
        .push((often.0.to_owned(), often.1.to_owned()));
    let publishing = Publishing::start(&folder.path().join("journal"), options).unwrap();
    let journal = publishing.bus.journal().unwrap().clone();
    let mut ledger = Ledger::default();
    // Whether it loses its brokers hangs on which of its threads is first.
    for number in 0.. {
        let event = EventName { lane: 0, number };
        for topic in &topics {
            publishing.publish(topic, event).await.unwrap();
        }
        ledger.safe(event);
        until_of(&publishing, "drained", || journal.stats().waiting == 0).await;
        if publishing.bus.drainer().stats().lost_cluster > 0 {
            println!("lost by answer {number}, and replaced");
            break;
        }
        assert!(number < 50, "it was never lost");
        let none = Fault::new(ApiKey::Metadata, Effect::NoBrokers).when(When::Next(1));
        let none = broker.faults().set(none);
        until_of(&publishing, "it has heard of no brokers", || {
            none.fired() == 1
        })
        .await;
    }
    until_of(&publishing, "the circuit closes", || {
        publishing.breaker.state() == State::Closed
    })
    .await;
    publishing.stop().await;
    // Reading takes longer than all the rest.
    for topic in topics.into_iter().step_by(10) {
        let bootstrap = bootstrap.clone();
        let found = tokio::task::spawn_blocking(move || read_all(&bootstrap, &topic, PARTITIONS));
        let verdict = ledger.judge(found.await.unwrap().values(), &HashSet::new());
        // What the first one held, and Kafka may have had, was sent again and says so.
        verdict.assert_complete_and_in_order();
        assert_eq!(verdict.unmarked, 0, "{verdict}");
    }
}
