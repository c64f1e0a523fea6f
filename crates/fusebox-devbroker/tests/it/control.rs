//! The program is told what to do on its standard input.

use crate::support::{Numbered, Process, assert_once_in_order, eventually, read_all};

#[test]
fn a_producer_lives_through_everything_that_the_program_can_be_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Process::start("127.0.0.1:0", folder.path());
    let bootstrap = broker.bootstrap.clone();
    let settings = [("batch.num.messages", "10"), ("socket.timeout.ms", "2000")];
    let mut producer = Numbered::new(&bootstrap, &settings);
    for command in [
        "fault produce drop-answer every 5",
        "fault produce reject NOT_LEADER_OR_FOLLOWER nth 3 on t",
        "fault produce delay 20ms next 4",
        "freeze 200ms",
        "outage 200ms",
        "refuse 100ms",
        "cut",
        "freeze",
        "thaw",
        "outage",
        "heal",
        "clear",
    ] {
        assert_eq!(broker.tell(command), ["ok"], "{command}");
        for _ in 0..50 {
            producer.send("t", 2);
        }
        if !["freeze", "outage"].contains(&command) {
            producer.acked(producer.sent());
        }
    }
    producer.finish();
    let found = read_all(&bootstrap, "t", 2);
    assert_once_in_order(&found, producer.sent(), 2);
    let half = producer.sent() / 2;
    let topics = [
        format!("t 0 0 {half}"),
        format!("t 1 0 {half}"),
        "ok".to_owned(),
    ];
    assert_eq!(broker.tell("topics"), topics);
}

#[test]
fn a_command_that_makes_no_sense_is_answered_and_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Process::start("127.0.0.1:0", folder.path());
    let answer = broker.tell("fault produce explode").concat();
    assert!(answer.starts_with("error:") && answer.contains("explode"));
    assert!(broker.tell("help").len() > 10);
    let mut producer = Numbered::new(&broker.bootstrap, &[]);
    producer.send("t", 2);
    producer.finish();
    eventually("the record is there", || {
        broker.tell("topics").contains(&"t 0 0 1".to_owned())
    });
}
