//! The development broker's request parser and everything behind it, over a real connection.
//!
//! The input is one frame without its length. What must hold: nothing panics, on any thread, and the broker
//! goes on to answer others.

#![no_main]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::LazyLock;
use std::time::Duration;

use fusebox_devbroker::{DevBroker, DevBrokerConfig};
use libfuzzer_sys::fuzz_target;

static BROKER: LazyLock<DevBroker> = LazyLock::new(|| {
    let config = DevBrokerConfig::temporary().with_topics([("orders", 2)]);
    DevBroker::start(config).expect("it starts")
});

/// `ApiVersions`, version 0, correlation id 7, no client id.
const PING: [u8; 10] = [0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];

fn send(frame: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(BROKER.bootstrap_servers())?;
    // A member that joins a group is answered later; nobody waits for that here.
    stream.set_read_timeout(Some(Duration::from_millis(20)))?;
    let length = u32::try_from(frame.len()).expect("inputs are short");
    let mut request = length.to_be_bytes().to_vec();
    request.extend_from_slice(frame);
    stream.write_all(&request)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    if answer.is_empty() {
        read.map(|_| answer)
    } else {
        Ok(answer)
    }
}

fuzz_target!(|data: &[u8]| {
    // Whatever becomes of this one.
    drop(send(data));
    if data.first().is_some_and(|first| first % 16 == 0) {
        let mut answered = false;
        for _ in 0..100 {
            answered |= send(&PING).is_ok_and(|answer| answer.get(4..8) == Some(&[0, 0, 0, 7]));
            if answered {
                break;
            }
        }
        assert!(answered, "the broker answers nobody any more");
    }
});
