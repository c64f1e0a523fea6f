//! A small Kafka cluster inside the process, for laptops and tests.
//!
//! It is librdkafka's mock cluster: real listeners on the loopback address, consumer groups, offsets.
//! What it is not:
//!
//! - **Nothing lasts.** All of it is in memory and gone with the process.
//! - **A partition keeps 5 MiB** (or 100,000 batches); older batches vanish without a word. Consume
//!   while you produce, or spread over many partitions.
//! - **It does not de-duplicate** for an idempotent producer without transactions: after a lost
//!   connection a record may be there twice, which a real cluster would have prevented.
//! - It creates topics on first use, and it knows no `CreateTopics`.
//! - A new consumer group takes about three seconds to form.

use std::fmt;
use std::sync::mpsc;
use std::time::Duration;

use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::broker::{ErrorClass, SendError};
use crate::classify::TABLE;

type Cluster = MockCluster<'static, DefaultProducerContext>;
type Command = Box<dyn FnOnce(&Cluster) + Send>;

/// A running cluster of one broker; it stops when it is dropped.
pub struct EmbeddedBroker {
    bootstrap_servers: String,
    /// The cluster is not `Send`, so it lives on a thread of its own, which ends with this sender.
    commands: mpsc::Sender<Command>,
}

impl EmbeddedBroker {
    /// Starts a cluster with these topics and numbers of partitions, on free ports.
    ///
    /// Blocks for a few milliseconds.
    ///
    /// # Errors
    /// When the cluster does not start, or a topic's name or number is not valid.
    pub fn start(topics: &[(&str, i32)]) -> Result<Self, SendError> {
        let (commands, inbox) = mpsc::channel::<Command>();
        let (started, start) = mpsc::channel();
        std::thread::Builder::new()
            .name("embedded-kafka".to_owned())
            .spawn(move || match Cluster::new(1) {
                Ok(cluster) => {
                    if started.send(Ok(cluster.bootstrap_servers())).is_ok() {
                        for command in inbox {
                            command(&cluster);
                        }
                    }
                }
                Err(error) => drop(started.send(Err(error))),
            })
            .map_err(|error| failed("start its thread", error))?;
        let bootstrap_servers = start
            .recv()
            .map_err(|error| failed("start", error))?
            .map_err(|error| failed("start", error))?;
        let broker = Self {
            bootstrap_servers,
            commands,
        };
        for &(topic, partitions) in topics {
            broker.create_topic(topic, partitions)?;
        }
        Ok(broker)
    }

    /// Address for `bootstrap.servers`.
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// When it exists already, or its name or number is not valid.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), SendError> {
        let topic = topic.to_owned();
        self.ask("create a topic", move |cluster| {
            cluster.create_topic(&topic, partitions, 1)
        })
    }

    /// Cuts every connection and refuses new ones until [`heal`](Self::heal).
    ///
    /// # Errors
    /// When the cluster refuses.
    pub fn outage(&self) -> Result<(), SendError> {
        self.ask("go down", |cluster| cluster.broker_down(-1))
    }

    /// Takes connections again.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub fn heal(&self) -> Result<(), SendError> {
        self.ask("come up", |cluster| cluster.broker_up(-1))
    }

    /// Delays every answer.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub fn delay(&self, round_trip: Duration) -> Result<(), SendError> {
        self.ask("delay", move |cluster| {
            cluster.broker_round_trip_time(-1, round_trip)
        })
    }

    /// Answers the next requests to produce with these errors of Kafka (`INVALID_RECORD`), in turn.
    ///
    /// # Errors
    /// When a name is not one of a broker's errors that this crate knows.
    pub fn refuse_produce(&self, codes: &[&str]) -> Result<(), SendError> {
        let mut errors = Vec::with_capacity(codes.len());
        for code in codes {
            let row = TABLE.iter().find(|row| row.name == *code);
            let error = row.and_then(|row| RDKafkaRespErr::try_from(row.code as i32).ok());
            let Some(error) = error else {
                return Err(failed(
                    "refuse",
                    format_args!("{code} is not an error of a broker"),
                ));
            };
            errors.push(error);
        }
        self.ask("refuse", move |cluster| {
            cluster.request_errors(RDKafkaApiKey::Produce, &errors);
            Ok(())
        })
    }

    fn ask(
        &self,
        what: &'static str,
        command: impl FnOnce(&Cluster) -> Result<(), KafkaError> + Send + 'static,
    ) -> Result<(), SendError> {
        let (reply, answer) = mpsc::channel();
        let command: Command = Box::new(move |cluster| drop(reply.send(command(cluster))));
        self.commands
            .send(command)
            .map_err(|error| failed(what, error))?;
        answer
            .recv()
            .map_err(|error| failed(what, error))?
            .map_err(|error| failed(what, error))
    }
}

impl fmt::Debug for EmbeddedBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedBroker")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .finish_non_exhaustive()
    }
}

/// The error of a cluster that did not do as it was told.
fn failed(what: &str, cause: impl fmt::Display) -> SendError {
    SendError {
        class: ErrorClass::Configuration,
        code: "_EMBEDDED_BROKER".to_owned(),
        text: format!("the embedded broker could not {what}: {cause}"),
    }
}
