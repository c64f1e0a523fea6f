//! Several processes of one service on one PostgreSQL database.

use std::{
    io::{BufRead as _, BufReader},
    process::Command,
    thread,
    time::Duration,
};

use huleedu_contracts::topics::Topic;
use huleedu_kit::{
    ServiceId,
    testing::{TopicReader, embedded_broker, eventually, service_env},
};
use serde_json::Value;

use crate::run::{Running, huleedu, make_class, output};

const LIMIT: Duration = Duration::from_mins(1);
const SERVICE: ServiceId = ServiceId::ClassManagement;

/// A process of the service.
struct Process {
    running: Running,
    address: String,
}

/// A command in the environment of the service.
fn command(arguments: &[&str], kafka: &str, database: &str) -> Command {
    let mut command = huleedu(arguments);
    command
        .env("HTTP_PORT", "0")
        .env("KAFKA_BOOTSTRAP_SERVERS", kafka)
        .env("DATABASE_URL", database);
    command
}

impl Process {
    fn start(kafka: &str, database: &str) -> Self {
        let arguments = ["run", SERVICE.slug(), "--log-format", "json"];
        let mut running = Running::start(command(&arguments, kafka, database));
        let mut lines = BufReader::new(running.0.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("ended early").unwrap();
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["message"] == "service started" {
                break event["address"].as_str().unwrap().to_owned();
            }
        };
        // A pipe that nobody reads fills up.
        thread::spawn(move || lines.for_each(drop));
        Self { running, address }
    }

    fn name(&self) -> String {
        format!("process {} on ", self.running.0.id())
    }
}

/// O6, with processes that are killed, and an operator's drain among them: by the lease in the database
/// one sends at any time, whoever asks sees which, and everything arrives once.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/test-postgres"]
async fn of_several_processes_and_a_drain_one_sends_at_any_time() {
    assert!(
        std::env::var_os("TEST_POSTGRES_URL").is_some(),
        "TEST_POSTGRES_URL names no server; scripts/test-postgres starts one"
    );
    let folder = tempfile::tempdir().unwrap();
    let broker = embedded_broker().unwrap();
    let kafka = broker.bootstrap_servers().to_owned();
    let env = service_env(SERVICE, &kafka, folder.path());
    let database = env.get("DATABASE_URL").unwrap().to_owned();
    let stats = || {
        let arguments = ["journal", "stats", "--service", SERVICE.slug(), "--json"];
        let (code, stdout, stderr) = output(command(&arguments, &kafka, &database));
        assert_eq!(code, 0, "{stderr}");
        serde_json::from_str::<Value>(&stdout).unwrap()[0].clone()
    };
    let sender = || stats()["sender"].as_str().unwrap_or_default().to_owned();
    let all_sent = async || {
        eventually("nothing waits", LIMIT, async || {
            (stats()["waiting"] == 0).then_some(())
        })
        .await
        .unwrap();
    };
    let drain = || {
        let arguments = ["journal", "drain", "--service", SERVICE.slug()];
        output(command(&arguments, &kafka, &database))
    };

    let (a, b) = (
        Process::start(&kafka, &database),
        Process::start(&kafka, &database),
    );
    for n in 0..5 {
        make_class(&a.address, &format!("a{n}")).await;
        make_class(&b.address, &format!("b{n}")).await;
    }
    all_sent().await;
    // A drain sees that somebody sends, waits to see whether it is gone, and sends nothing.
    let (code, stdout, stderr) = drain();
    let (sends, other) = if sender().starts_with(&a.name()) {
        (a, b)
    } else {
        (b, a)
    };
    assert!(sender().starts_with(&sends.name()), "{}", sender());
    let runs = format!("class-management runs: {}", sends.name());
    assert!(code == 1 && stderr.contains(&runs), "{stdout}{stderr}");

    // The one that sends is killed, and the other takes over.
    sends.running.signal("KILL");
    make_class(&other.address, "c").await;
    all_sent().await;
    assert!(sender().starts_with(&other.name()), "{}", sender());

    // Both are gone with events that wait: the drain waits for the lease to pass, and sends them.
    broker.outage().unwrap();
    for n in 0..3 {
        make_class(&other.address, &format!("d{n}")).await;
    }
    other.running.signal("KILL");
    broker.heal().unwrap();
    let (code, stdout, stderr) = drain();
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert_eq!(stdout.trim(), "class-management: 3 sent, 0 wait");
    assert!(stderr.contains(other.name().trim()), "{stderr}");
    // It has given the outbox back, so that a service begins at once.
    assert_eq!(sender(), "");

    let reader = TopicReader::new(&kafka, &[Topic::ClassCreated]).unwrap();
    let mut names = Vec::new();
    while names.len() < 14 {
        let (_, event) = reader.next(LIMIT).await.unwrap();
        names.push(event["data"]["class_designation"].to_string());
    }
    let twice = reader.next(Duration::from_secs(1)).await;
    assert!(twice.is_err(), "{twice:?}");
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 14, "{names:?}");
}
