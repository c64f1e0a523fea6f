//! The broker is killed while it works.

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer as _},
};

use crate::support::{LIMIT, Numbered, Process, assert_once_in_order, read_all, reader};

#[test]
fn twenty_kills_under_load_lose_double_and_reorder_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Process::start("127.0.0.1:0", folder.path());
    // The port the system gave it stays its own.
    let bootstrap = broker.bootstrap.clone();
    let settings = [("batch.num.messages", "20"), ("linger.ms", "0")];
    let mut producer = Numbered::new(&bootstrap, &settings);
    let mut unanswered = 0;
    for kill in 1..=20 {
        // Many are under way when it dies.
        for _ in 0..500 {
            producer.send("t", 2);
        }
        producer.acked(producer.sent() - 400);
        let committed = commit(&bootstrap, kill);
        // Those are taken while it is killed.
        for _ in 0..200 {
            producer.send("t", 2);
        }
        broker.kill();
        unanswered += usize::from(producer.reports(|r| r.acked.len()) < producer.sent());
        for _ in 0..100 {
            producer.send("t", 2);
        }
        broker = Process::start(&bootstrap, folder.path());
        assert_eq!(broker.bootstrap, bootstrap);
        assert_eq!(read_commit(&bootstrap), committed);
    }
    // A kill of an idle broker would prove little.
    assert!(unanswered >= 15, "only {unanswered} kills under load");
    producer.finish();
    let found = read_all(&bootstrap, "t", 2);
    assert_once_in_order(&found, producer.sent(), 2);
    producer.reports(|reports| {
        for (number, (partition, offset)) in &reports.acked {
            let at = usize::try_from(*offset).unwrap();
            assert_eq!(found[partition][at].1, format!("{number:08}"));
        }
    });
    broker.kill();
}

fn list(offset: Offset) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("t", 0, offset).unwrap();
    list
}

pub(crate) fn commit(bootstrap: &str, offset: i64) -> i64 {
    let consumer = reader(bootstrap, "g");
    consumer
        .commit(&list(Offset::Offset(offset)), CommitMode::Sync)
        .unwrap();
    offset
}

pub(crate) fn read_commit(bootstrap: &str) -> i64 {
    let consumer = reader(bootstrap, "g");
    let committed = consumer
        .committed_offsets(list(Offset::Invalid), LIMIT)
        .unwrap();
    committed.elements()[0].offset().to_raw().unwrap()
}
