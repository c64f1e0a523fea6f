//! Producers and consumers that write down what they see.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, Message as _, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer},
};

/// Longer than anything here takes, on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// Waits until `state` holds.
pub(crate) fn eventually(what: &str, mut state: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !state() {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// What was acknowledged: number of the record, and where it is.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    pub(crate) acked: BTreeMap<usize, (i32, i64)>,
    pub(crate) failed: Vec<(usize, KafkaError)>,
}

#[derive(Clone, Default)]
pub(crate) struct Context {
    reports: Arc<(Mutex<Reports>, Condvar)>,
}

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, result: &DeliveryResult<'_>, number: Box<usize>) {
        let mut reports = self.reports.0.lock().unwrap();
        match result {
            Ok(message) => {
                let place = (message.partition(), message.offset());
                reports.acked.insert(*number, place);
            }
            Err((error, _)) => reports.failed.push((*number, error.clone())),
        }
        self.reports.1.notify_all();
    }
}

/// A producer that numbers its records.
pub(crate) struct Numbered {
    producer: ThreadedProducer<Context>,
    context: Context,
    next: usize,
}

impl Numbered {
    pub(crate) fn new(bootstrap: &str, settings: &[(&str, &str)]) -> Self {
        let context = Context::default();
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", "0")
            .set("linger.ms", "1")
            .set("retry.backoff.ms", "10")
            .set("reconnect.backoff.ms", "10")
            .set("reconnect.backoff.max.ms", "100");
        for (name, value) in settings {
            config.set(*name, *value);
        }
        Self {
            producer: config.create_with_context(context.clone()).unwrap(),
            context,
            next: 0,
        }
    }

    /// Sends the next record; it goes to partition `number % partitions`.
    pub(crate) fn send(&mut self, topic: &str, partitions: usize) {
        let payload = format!("{:08}", self.next);
        let partition = i32::try_from(self.next % partitions).unwrap();
        let mut record = BaseRecord::with_opaque_to(topic, Box::new(self.next))
            .key("k")
            .payload(payload.as_str())
            .partition(partition);
        let deadline = Instant::now() + LIMIT;
        while let Err((error, again)) = self.producer.send::<str, str>(record) {
            assert_eq!(
                error.rdkafka_error_code(),
                Some(RDKafkaErrorCode::QueueFull)
            );
            assert!(Instant::now() < deadline, "the queue stays full");
            thread::park_timeout(Duration::from_millis(1));
            record = again;
        }
        self.next += 1;
    }

    pub(crate) fn sent(&self) -> usize {
        self.next
    }

    pub(crate) fn reports<R>(&self, read: impl FnOnce(&Reports) -> R) -> R {
        read(&self.context.reports.0.lock().unwrap())
    }

    /// Waits until so many have been acknowledged in all.
    pub(crate) fn acked(&self, count: usize) {
        let (reports, news) = &*self.context.reports;
        let waiting = news.wait_timeout_while(reports.lock().unwrap(), LIMIT, |reports| {
            reports.acked.len() < count && reports.failed.is_empty()
        });
        let (reports, over) = waiting.unwrap();
        assert!(reports.failed.is_empty(), "{:?}", reports.failed[0]);
        assert!(!over.timed_out(), "{} of {count}", reports.acked.len());
    }

    /// Waits for all reports.
    pub(crate) fn finish(&self) {
        self.producer.flush(LIMIT).unwrap();
        let (acked, failed) = self.reports(|r| (r.acked.len(), r.failed.len()));
        assert_eq!((acked, failed), (self.next, 0));
    }
}

/// A consumer without a group of its own making.
pub(crate) fn reader(bootstrap: &str, group: &str) -> BaseConsumer<Context> {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "50")
        .set("check.crcs", "true")
        .set("reconnect.backoff.ms", "10")
        .set("reconnect.backoff.max.ms", "100")
        .create_with_context(Context::default())
        .unwrap()
}

impl rdkafka::consumer::ConsumerContext for Context {}

/// Everything in a topic: per partition, offsets and payloads.
pub(crate) fn read_all(
    bootstrap: &str,
    topic: &str,
    partitions: i32,
) -> BTreeMap<i32, Vec<(i64, String)>> {
    read_all_within(LIMIT, bootstrap, topic, partitions)
}

pub(crate) fn read_all_within(
    limit: Duration,
    bootstrap: &str,
    topic: &str,
    partitions: i32,
) -> BTreeMap<i32, Vec<(i64, String)>> {
    let consumer = reader(bootstrap, "read-all");
    let mut list = TopicPartitionList::new();
    let mut ends = BTreeMap::new();
    for partition in 0..partitions {
        let (low, high) = consumer.fetch_watermarks(topic, partition, LIMIT).unwrap();
        list.add_partition_offset(topic, partition, Offset::Offset(low))
            .unwrap();
        if high > low {
            ends.insert(partition, high);
        }
    }
    consumer.assign(&list).unwrap();
    let mut found: BTreeMap<i32, Vec<(i64, String)>> = BTreeMap::new();
    let deadline = Instant::now() + limit;
    while !ends.is_empty() {
        assert!(Instant::now() < deadline, "still missing up to {ends:?}");
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let message = message.unwrap();
        let payload = String::from_utf8(message.payload().unwrap().to_vec()).unwrap();
        let (partition, offset) = (message.partition(), message.offset());
        found.entry(partition).or_default().push((offset, payload));
        if ends.get(&partition).is_some_and(|end| offset + 1 >= *end) {
            ends.remove(&partition);
        }
    }
    found
}

/// Asserts that every number up to `count` is there once, and in order in its partition.
pub(crate) fn assert_once_in_order(
    found: &BTreeMap<i32, Vec<(i64, String)>>,
    count: usize,
    partitions: usize,
) {
    for partition in 0..partitions {
        let index = i32::try_from(partition).unwrap();
        let payloads: Vec<&str> = found
            .get(&index)
            .into_iter()
            .flatten()
            .map(|(_, payload)| payload.as_str())
            .collect();
        let numbers = (partition..count).step_by(partitions);
        let expected: Vec<String> = numbers.map(|number| format!("{number:08}")).collect();
        assert_eq!(payloads.len(), expected.len(), "partition {partition}");
        assert_eq!(payloads, expected, "partition {partition}");
    }
}

/// The broker as a process, to be told things and to be killed.
pub(crate) struct Process {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub(crate) bootstrap: String,
}

impl Process {
    pub(crate) fn start(listen: &str, data_dir: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_devbroker"))
            .args(["--listen", listen, "--data-dir"])
            .arg(data_dir)
            .args(["--topic", "t:2", "--fsync", "never"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut process = Self {
            commands: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
            bootstrap: String::new(),
        };
        process.bootstrap = process.line();
        process
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let bytes = self.answers.read_line(&mut line).unwrap();
        assert!(bytes > 0, "it says nothing more");
        line.trim().to_owned()
    }

    /// Gives a command, and returns its answer.
    pub(crate) fn tell(&mut self, command: &str) -> Vec<String> {
        writeln!(self.commands, "{command}").unwrap();
        let mut answer = Vec::new();
        loop {
            let line = self.line();
            let last = line == "ok" || line.starts_with("error:");
            answer.push(line);
            if last {
                return answer;
            }
        }
    }

    /// The most memory it has had, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kib = line.unwrap().split_whitespace().nth(1).unwrap();
        kib.parse::<u64>().unwrap() * 1024
    }

    /// What `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Killed already, or the test failed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
