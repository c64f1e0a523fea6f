//! The broker is killed while it works.

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer as _},
};

use crate::support::{LIMIT, Numbered, Process, assert_once_in_order, read_all, reader};

#[test]
fn ten_kills_lose_double_and_reorder_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Process::start("127.0.0.1:0", folder.path());
    // The port the system gave it stays its own.
    let bootstrap = broker.bootstrap.clone();
    let settings = [("batch.num.messages", "20"), ("linger.ms", "0")];
    let mut producer = Numbered::new(&bootstrap, &settings);
    for kill in 1..=10 {
        // Many are under way when it dies.
        for _ in 0..500 {
            producer.send("t", 2);
        }
        producer.acked(producer.sent() - 400);
        let committed = commit(&bootstrap, kill);
        broker.kill();
        for _ in 0..100 {
            producer.send("t", 2);
        }
        broker = Process::start(&bootstrap, folder.path());
        assert_eq!(broker.bootstrap, bootstrap);
        assert_eq!(read_commit(&bootstrap), committed);
    }
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

fn commit(bootstrap: &str, offset: i64) -> i64 {
    let consumer = reader(bootstrap, "g");
    consumer
        .commit(&list(Offset::Offset(offset)), CommitMode::Sync)
        .unwrap();
    offset
}

fn read_commit(bootstrap: &str) -> i64 {
    let consumer = reader(bootstrap, "g");
    let committed = consumer
        .committed_offsets(list(Offset::Invalid), LIMIT)
        .unwrap();
    committed.elements()[0].offset().to_raw().unwrap()
}
