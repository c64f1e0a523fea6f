//! A broker that is away, hangs, or cuts: as a plain socket sees it.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use fusebox_devbroker::{DevBroker, DevBrokerConfig};

use crate::support::{LIMIT, Numbered, assert_once_in_order, eventually, read_all};

/// The oldest question for versions, whose answer begins with its length and the number 7.
const QUESTION: &[u8] = b"\0\0\0\x0a\0\x12\0\0\0\0\0\x07\xff\xff";

fn connect(broker: &DevBroker) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(broker.address())?;
    stream.set_read_timeout(Some(LIMIT))?;
    Ok(stream)
}

/// Reads one whole answer.
fn answer(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

fn ask(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    stream.write_all(QUESTION)?;
    answer(stream)
}

#[test]
fn refusing_leaves_connections_alone_and_an_outage_does_not() {
    let broker = DevBroker::start(DevBrokerConfig::temporary()).unwrap();
    let faults = broker.faults();
    let mut stream = connect(&broker).unwrap();
    assert_eq!(ask(&mut stream).unwrap()[..4], [0, 0, 0, 7]);
    faults.refuse_connections();
    let refused = || connect(&broker).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused);
    eventually("connections are refused", refused);
    ask(&mut stream).unwrap();
    faults.outage();
    eventually("the connection is cut", || ask(&mut stream).is_err());
    assert!(refused());
    faults.heal();
    eventually("connections are taken", || {
        connect(&broker).is_ok_and(|mut stream| ask(&mut stream).is_ok())
    });
}

#[test]
fn a_frozen_broker_takes_connections_and_says_nothing_until_it_goes_on() {
    let broker = DevBroker::start(DevBrokerConfig::temporary()).unwrap();
    let mut old = connect(&broker).unwrap();
    ask(&mut old).unwrap();
    broker.faults().freeze();
    let mut new = connect(&broker).unwrap();
    for stream in [&mut old, &mut new] {
        stream.write_all(QUESTION).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let silence = answer(stream).unwrap_err();
        assert_eq!(silence.kind(), ErrorKind::WouldBlock);
        stream.set_read_timeout(Some(LIMIT)).unwrap();
    }
    broker.faults().thaw();
    for stream in [&mut old, &mut new] {
        assert_eq!(answer(stream).unwrap()[..4], [0, 0, 0, 7]);
    }
}

#[test]
fn questions_on_one_connection_are_answered_in_order() {
    let broker = DevBroker::start(DevBrokerConfig::temporary()).unwrap();
    let mut stream = connect(&broker).unwrap();
    for number in 0..50 {
        let mut question = QUESTION.to_vec();
        question[11] = number;
        stream.write_all(&question).unwrap();
    }
    for number in 0..50 {
        assert_eq!(answer(&mut stream).unwrap()[..4], [0, 0, 0, number]);
    }
}

#[test]
fn what_is_no_request_closes_its_connection_and_no_other() {
    let broker = DevBroker::start(DevBrokerConfig::temporary()).unwrap();
    let mut good = connect(&broker).unwrap();
    for nonsense in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x7f\xff\xff\xff\0\0",
        b"\0\0\0\x0a\0\x12\0\0\0\0\0\x07\x00\x7f",
        b"\0\0\0\x0a\x03\xe7\0\0\0\0\0\x07\xff\xff",
        b"\0\0\0\x0e\0\x03\0\x01\0\0\0\x07\xff\xff\x7f\xff\xff\xff",
    ] {
        let mut bad = connect(&broker).unwrap();
        bad.write_all(nonsense).unwrap();
        // It is closed, politely or not.
        let closed = answer(&mut bad).unwrap_err().kind();
        let kinds = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset];
        assert!(kinds.contains(&closed), "{closed}");
        ask(&mut good).unwrap();
    }
}

#[test]
fn a_producer_lives_through_outages() {
    let broker = DevBroker::start(DevBrokerConfig::temporary().with_topics([("t", 2)])).unwrap();
    let faults = broker.faults();
    let mut producer = Numbered::new(&broker.bootstrap_servers(), &[]);
    for round in 0..5 {
        for _ in 0..200 {
            producer.send("t", 2);
        }
        producer.acked(round * 200 + 50);
        faults.outage();
        for _ in 0..50 {
            producer.send("t", 2);
        }
        faults.heal();
    }
    producer.finish();
    let found = read_all(&broker.bootstrap_servers(), "t", 2);
    assert_once_in_order(&found, producer.sent(), 2);
}
