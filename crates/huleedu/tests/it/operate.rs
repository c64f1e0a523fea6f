//! `huleedu journal` and `huleedu dead` with the real binary, beside a running service and on what a
//! killed one left behind.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    sync::Arc,
    time::Duration,
};

use fusebox_journal::{Burial, Journal, JournalConfig, Position as JournalPosition};
use fusebox_kafka::{
    EventBus as _, KafkaProducerConfig, PublisherConfig, RdKafkaBroker, Record, ResilientPublisher,
};
use huleedu_contracts::topics::Topic;
use huleedu_kit::{
    ServiceId,
    store::now_ms,
    testing::{TopicReader, embedded_broker, eventually, http_client},
};
use rdkafka::{
    ClientConfig,
    producer::{FutureProducer, FutureRecord},
};
use serde_json::Value;

use crate::run::{Running, huleedu, make_class, output, root};

const LIMIT: Duration = Duration::from_mins(1);

/// A service of its own process, as `huleedu run` starts it.
struct Service {
    running: Running,
    address: String,
}

impl Service {
    fn start(service: ServiceId, folder: &Path, kafka: &str) -> Self {
        Self::start_with(service, folder, kafka, &[])
    }

    fn start_with(
        service: ServiceId,
        folder: &Path,
        kafka: &str,
        settings: &[(&str, &str)],
    ) -> Self {
        let mut command = huleedu(&["run", service.slug(), "--log-format", "json"]);
        command
            .env("HTTP_PORT", "0")
            .env("KAFKA_BOOTSTRAP_SERVERS", kafka)
            .envs(settings.iter().copied());
        // The gateway needs no database.
        if service == ServiceId::ApiGateway {
            command
                .env("KAFKA_JOURNAL_DIR", folder.join("api-gateway.journal"))
                .env("JWT_SECRET", "correct horse battery staple, and more");
        } else {
            let file = folder.join(format!("{}.db", service.slug()));
            command.env("DATABASE_URL", format!("sqlite://{}", file.display()));
        }
        let mut running = Running::start(command);
        let mut lines = BufReader::new(running.0.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("ended early").unwrap();
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["message"] == "service started" {
                break event["address"].as_str().unwrap().to_owned();
            }
        };
        // A pipe that nobody reads fills up.
        std::thread::spawn(move || lines.for_each(drop));
        Self { running, address }
    }

    fn process(&self) -> String {
        format!("process {}", self.running.0.id())
    }
}

/// The binary's answer; it must succeed.
fn ask(arguments: &[&str], folder: &Path) -> String {
    let (code, stdout, stderr) = try_ask(arguments, folder);
    assert_eq!(code, 0, "{arguments:?}: {stdout}{stderr}");
    stdout
}

fn try_ask(arguments: &[&str], folder: &Path) -> (i32, String, String) {
    let mut all = arguments.to_vec();
    all.extend(["--data-dir", folder.to_str().unwrap()]);
    output(huleedu(&all))
}

fn json(arguments: &[&str], folder: &Path) -> Value {
    let mut all = arguments.to_vec();
    all.push("--json");
    serde_json::from_str(&ask(&all, folder)).unwrap()
}

fn texts(list: &Value, field: &str) -> Vec<String> {
    let list = list.as_array().unwrap().iter();
    list.map(|one| one[field].as_str().unwrap().to_owned())
        .collect()
}

fn names(folder: &Path) -> Vec<std::ffi::OsString> {
    let all = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name());
    let mut all: Vec<_> = all.collect();
    all.sort();
    all
}

/// Puts something on a topic that no reader can read, as of `at` in Unix milliseconds.
async fn send_nonsense(bootstrap: &str, topic: &str, at: i64) {
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .create()
        .unwrap();
    let record = FutureRecord::to(topic)
        .key("batch")
        .timestamp(at)
        .payload("no JSON at all");
    producer.send(record, LIMIT).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_seen_live_and_dead_and_a_drain_sends_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Nobody listens there.
    let service = Service::start(ServiceId::ClassManagement, folder, "127.0.0.1:1");
    for name in ["a", "b", "c"] {
        make_class(&service.address, name).await;
    }
    let table = ask(&["journal", "stats"], folder);
    let row = table.lines().nth(1).unwrap();
    assert!(
        row.contains("class-management") && row.contains(&service.process()),
        "{table}"
    );
    let stats = json(&["journal", "stats"], folder);
    assert_eq!(
        (&stats[0]["waiting"], &stats[0]["limit"]),
        (&3.into(), &1000.into())
    );
    let live_list = json(&["journal", "list"], folder);
    assert_eq!(
        texts(&live_list, "id"),
        [
            "class-management/1",
            "class-management/2",
            "class-management/3"
        ]
    );
    let (code, _, stderr) = try_ask(&["journal", "drain", "--kafka", "127.0.0.1:1"], folder);
    assert_eq!(code, 1);
    for part in [
        "class-management is in use by",
        &service.process(),
        "stop it first",
    ] {
        assert!(stderr.contains(part), "{part} in {stderr}");
    }

    service.running.signal("KILL");
    drop(service);
    let file = folder.join("class-management.db");
    let before = fs::read(&file).unwrap();
    let names_before = names(folder);
    assert_eq!(json(&["journal", "list"], folder), live_list);
    assert!(ask(&["journal", "stats"], folder).contains("nobody (stopped)"));
    let shown = ask(&["journal", "show", "class-management/2"], folder);
    assert!(
        shown.contains("sent      not yet") && shown.contains("\"data\""),
        "{shown}"
    );
    let event: Value = json(&["journal", "show", "2"], folder);
    assert_eq!(event["id"], "class-management/2");
    assert!(
        event["payload"]["text"]
            .as_str()
            .unwrap()
            .contains(r#""b""#),
        "{event}"
    );
    assert!(ask(&["journal", "verify"], folder).contains("3 rows read, sound"));
    let exported = ask(&["journal", "export"], folder);
    assert_eq!(exported.lines().count(), 3);
    assert!(ask(&["journal", "list", "--topic", "other"], folder).contains("nothing waits"));
    let (code, _, stderr) = try_ask(&["journal", "show", "class-management/9"], folder);
    assert!(
        code == 1 && stderr.contains("event 9 does not exist"),
        "{stderr}"
    );
    assert!(
        fs::read(&file).unwrap() == before,
        "looking has changed the file"
    );
    assert_eq!(names(folder), names_before);
    drain_sends_all(folder, &live_list).await;
}

/// Against a Kafka that is away, then against one that is there.
async fn drain_sends_all(folder: &Path, waiting: &Value) {
    let patience = [
        "journal",
        "drain",
        "--kafka",
        "127.0.0.1:1",
        "--patience",
        "1",
    ];
    let (code, stdout, stderr) = try_ask(&patience, folder);
    assert_eq!(code, 1, "{stdout}{stderr}");
    assert!(
        stdout.contains("0 sent, 3 wait") && stderr.contains("took nothing for 1 s"),
        "{stdout}{stderr}"
    );

    let broker = embedded_broker().unwrap();
    let bootstrap = broker.bootstrap_servers().to_owned();
    let names_before = names(folder);
    assert!(ask(&["journal", "list", "--limit", "1"], folder).contains("class-management/1"));
    assert_eq!(names(folder), names_before, "after an orderly end");
    let drained = ask(&["journal", "drain", "--kafka", &bootstrap], folder);
    assert_eq!(drained.trim(), "class-management: 3 sent, 0 wait");
    let reader = TopicReader::new(&bootstrap, &[Topic::ClassCreated]).unwrap();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let (_, event) = reader.next(LIMIT).await.unwrap();
        ids.push(event["event_id"].as_str().unwrap().to_owned());
    }
    ids.sort();
    let mut expected = texts(waiting, "event_id");
    expected.sort();
    assert_eq!(ids, expected);
    assert!(ask(&["journal", "list"], folder).contains("nothing waits"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_is_stopped_by_ctrl_c_and_keeps_the_service_out_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let service = Service::start(ServiceId::ClassManagement, folder, "127.0.0.1:1");
    make_class(&service.address, "a").await;
    service.running.signal("KILL");
    drop(service);
    let mut command = huleedu(&["journal", "drain", "--kafka", "127.0.0.1:1"]);
    command.arg("--data-dir").arg(folder);
    let mut drain = Running::start(command);
    let mut lines = BufReader::new(drain.0.stderr.take().unwrap()).lines();
    // It says how far it is as soon as it owns the store.
    assert_eq!(lines.next().unwrap().unwrap(), "drain: 0/1");
    let (code, _, stderr) = try_ask(&["journal", "drain", "--kafka", "127.0.0.1:1"], folder);
    assert!(
        code == 1 && stderr.contains("huleedu journal drain"),
        "{stderr}"
    );
    let file = folder.join("class-management.db");
    let mut start = huleedu(&["run", "class-management"]);
    start
        .env("HTTP_PORT", "0")
        .env("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
        .env("DATABASE_URL", format!("sqlite://{}", file.display()));
    let (code, _, stderr) = output(start);
    assert!(
        code == 1 && stderr.contains("is in use by process"),
        "{stderr}"
    );
    drain.signal("INT");
    assert_eq!(drain.0.wait().unwrap().code(), Some(130));
    let rest: Vec<_> = lines.map(Result::unwrap).collect();
    assert!(
        rest.iter()
            .any(|l| l.contains("interrupted: what Kafka acknowledged")),
        "{rest:?}"
    );
    assert_eq!(json(&["journal", "stats"], folder)[0]["waiting"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_shown_requeued_and_discarded_live_and_dead() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let broker = embedded_broker().unwrap();
    let bootstrap = broker.bootstrap_servers().to_owned();
    let topic = Topic::ElsBatchPhaseOutcome.as_str();
    send_nonsense(&bootstrap, topic, now_ms()).await;
    let service = Service::start(ServiceId::BatchConductor, folder, &bootstrap);
    let dead = async |count: usize| {
        eventually("dead letters", LIMIT, async || {
            let list = json(&["dead", "list"], folder);
            (list.as_array().unwrap().len() == count).then_some(list)
        })
        .await
        .unwrap()
    };
    let list = dead(1).await;
    assert_eq!(texts(&list, "id"), ["batch-conductor/received-1"]);
    assert_eq!(texts(&list, "code"), ["UNREADABLE"]);
    assert!(ask(&["dead", "list", "--code", "PERMANENT"], folder).contains("no dead letters"));
    let shown = ask(&["dead", "show", "batch-conductor/received-1"], folder);
    for part in [
        "UNREADABLE",
        topic,
        "key             batch",
        "offset 0",
        "no JSON at all",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }

    // Its cause is still there, so through Kafka it becomes the next dead letter.
    let (code, stdout, stderr) = try_ask(&["dead", "requeue", "received-1"], folder);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.contains("batch-conductor/received-1 requeued"),
        "{stdout}"
    );
    assert!(stderr.contains("the old order is not restored"), "{stderr}");
    let list = eventually("the next one", LIMIT, async || {
        let list = json(&["dead", "list"], folder);
        (texts(&list, "id") == ["batch-conductor/received-2"]).then_some(list)
    })
    .await
    .unwrap();
    assert_eq!(texts(&list, "topic"), [topic]);

    for _ in 0..2 {
        send_nonsense(&bootstrap, topic, now_ms()).await;
    }
    dead(3).await;
    service.running.signal("KILL");
    drop(service);
    let (code, _, stderr) = try_ask(&["dead", "discard", "--all"], folder);
    assert!(code == 2 && stderr.contains("--yes"), "{stderr}");
    let (code, _, stderr) = try_ask(&["dead", "requeue", "received-1"], folder);
    assert!(
        code == 1 && stderr.contains("dead letter received-1 does not exist"),
        "{stderr}"
    );
    let (_, stdout, stderr) = try_ask(&["dead", "requeue", "received-3"], folder);
    assert!(stdout.contains("received-3 requeued"), "{stdout}{stderr}");
    assert!(
        stderr.contains("does not run: what was requeued waits"),
        "{stderr}"
    );
    assert_eq!(
        ask(&["journal", "export", "--dead"], folder)
            .lines()
            .count(),
        2
    );
    let discarded = ask(
        &["dead", "discard", "--all", "--kind", "received", "--yes"],
        folder,
    );
    assert_eq!(discarded.lines().count(), 2, "{discarded}");
    assert!(ask(&["dead", "list"], folder).contains("no dead letters"));
    let waiting = json(&["journal", "list", "--topic", topic], folder);
    assert_eq!(waiting.as_array().unwrap().len(), 1);
    let drained = ask(&["journal", "drain", "--kafka", &bootstrap], folder);
    assert!(drained.contains(", 0 wait"), "{drained}");
}

/// A journal with three events of one key, as a publisher leaves it.
async fn three_events(dir: &Path) -> Journal {
    let journal = Journal::open(dir, JournalConfig::default()).unwrap();
    let broker = RdKafkaBroker::new(KafkaProducerConfig::new("127.0.0.1:1", "test")).unwrap();
    let circuits = fusebox::Registry::new("test");
    let circuit = circuits
        .register("test.kafka_producer", fusebox::BreakerConfig::default())
        .unwrap();
    let config = PublisherConfig::default();
    let (publisher, _never_run) =
        ResilientPublisher::journal_first(journal.clone(), Arc::new(broker), circuit, config);
    for n in 1..=3 {
        let record = Record {
            event_id: uuid::Uuid::from_u128(n),
            topic: Topic::ClassCreated.as_str().to_owned(),
            key: Some("class".to_owned()),
            payload: format!(r#"{{"n":{n}}}"#).into(),
            headers: vec![("event_id".to_owned(), uuid::Uuid::from_u128(n).to_string())],
        };
        publisher.publish(record).await.unwrap();
    }
    journal
}

/// The same; the second one is a dead letter.
async fn journal(dir: &Path) -> Journal {
    let journal = three_events(dir).await;
    let burial = Burial {
        code: "MSG_SIZE_TOO_LARGE".to_owned(),
        reason: "too large".to_owned(),
        attempts: 2,
        buried_at_ms: 1,
        ..Burial::default()
    };
    let second = JournalPosition(2);
    let owner = journal.clone();
    tokio::task::spawn_blocking(move || owner.bury(second, &burial))
        .await
        .unwrap()
        .unwrap();
    journal
}

fn close(journal: Journal) {
    journal.close().unwrap();
    drop(journal);
}

/// What Kafka has of these events, in order.
async fn numbers(bootstrap: &str, count: usize) -> Vec<i64> {
    let reader = TopicReader::new(bootstrap, &[Topic::ClassCreated]).unwrap();
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let (_, event) = reader.next(LIMIT).await.unwrap();
        numbers.push(event["n"].as_i64().unwrap());
    }
    numbers
}

/// The gateway keeps its events in a journal and nothing else: the same commands, through the process
/// while it runs, and directly when it was killed.
#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_journal_is_seen_and_changed_live_and_drained_when_it_is_dead() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    close(journal(&folder.join("api-gateway.journal")).await);
    let gateway = Service::start(ServiceId::ApiGateway, folder, "127.0.0.1:1");
    let stats = json(&["journal", "stats"], folder);
    assert_eq!(stats.as_array().unwrap().len(), 1, "{stats}");
    for (field, value) in [
        ("service", Value::from("api-gateway")),
        ("process", gateway.running.0.id().into()),
        ("waiting", 2.into()),
        ("limit", 1000.into()),
        ("dead_sent", 1.into()),
        ("blocked", 0.into()),
    ] {
        assert_eq!(stats[0][field], value, "{field} in {stats}");
    }
    assert_eq!(
        stats[0]["waiting_by_topic"][Topic::ClassCreated.as_str()],
        2
    );
    assert!(stats[0]["circuit"].is_string(), "{stats}");
    let table = ask(&["journal", "stats"], folder);
    assert!(table.contains(&gateway.process()), "{table}");
    let list = json(&["journal", "list", "--key", "class"], folder);
    assert_eq!(texts(&list, "id"), ["api-gateway/1", "api-gateway/3"]);
    assert!(ask(&["journal", "show", "api-gateway/3"], folder).contains(r#"{"n":3}"#));
    let (code, _, stderr) = try_ask(&["journal", "show", "api-gateway/2"], folder);
    assert!(
        code == 1 && stderr.contains("event 2 that waits"),
        "{stderr}"
    );
    assert!(ask(&["journal", "verify"], folder).contains("sound"));
    assert_eq!(ask(&["journal", "export"], folder).lines().count(), 2);
    let (code, _, stderr) = try_ask(&["journal", "drain", "--kafka", "127.0.0.1:1"], folder);
    for part in [
        "api-gateway is in use by",
        &gateway.process(),
        "stop it first",
    ] {
        assert!(code == 1 && stderr.contains(part), "{part} in {stderr}");
    }

    let dead = json(&["dead", "list"], folder);
    assert_eq!(texts(&dead, "id"), ["api-gateway/sent-1"]);
    assert_eq!(
        (&dead[0]["reason"], &dead[0]["attempts"]),
        (&"too large".into(), &2.into())
    );
    assert!(ask(&["dead", "show", "api-gateway/sent-1"], folder).contains(r#"{"n":2}"#));
    for id in ["api-gateway/sent-7", "api-gateway/received-1"] {
        let (code, _, stderr) = try_ask(&["dead", "discard", id], folder);
        assert!(code == 1 && stderr.contains("does not exist"), "{stderr}");
    }
    let requeued = ask(&["dead", "requeue", "api-gateway/sent-1"], folder);
    assert!(requeued.contains("waits at position 4"), "{requeued}");
    assert!(ask(&["dead", "list"], folder).contains("no dead letters"));
    let shown = ask(&["journal", "show", "api-gateway/4"], folder);
    for part in [r#"{"n":2}"#, "replayed_from: api-gateway/sent-1"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(ask(&["blocked", "list"], folder).contains("nothing is held up"));

    gateway.running.signal("KILL");
    drop(gateway);
    let table = ask(&["journal", "stats"], folder);
    assert!(table.contains("nobody (stopped)"), "{table}");
    let list = json(&["journal", "list"], folder);
    let all = ["api-gateway/1", "api-gateway/3", "api-gateway/4"];
    assert_eq!(texts(&list, "id"), all);
    let (code, _, stderr) = try_ask(&["blocked", "retry", "api-gateway/1"], folder);
    assert!(code == 1 && stderr.contains("does not run"), "{stderr}");
    let broker = embedded_broker().unwrap();
    let bootstrap = broker.bootstrap_servers().to_owned();
    let drained = ask(&["journal", "drain", "--kafka", &bootstrap], folder);
    assert_eq!(drained.trim(), "api-gateway: 3 sent, 0 wait");
    assert_eq!(numbers(&bootstrap, 3).await, [1, 3, 2]);
}

/// The lock is beside the file whatever the socket is: with another socket, or none, the owner of a store
/// used not to be seen from its data directory, and a drain beside it sent everything twice.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_is_seen_from_its_data_directory_wherever_its_socket_is() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = folder.path().join("elsewhere.sock");
    let folder = folder.path();
    for socket in ["off", elsewhere.to_str().unwrap()] {
        let settings = [("ADMIN_SOCKET", socket)];
        let class = ServiceId::ClassManagement;
        let service = Service::start_with(class, folder, "127.0.0.1:1", &settings);
        make_class(&service.address, socket).await;
        let stats = json(&["journal", "stats"], folder);
        let answered = stats[0]["process"] == service.running.0.id();
        assert_eq!(answered, socket != "off", "{stats}");
        assert_ne!(stats[0]["waiting"], 0, "{stats}");
        assert!(ask(&["journal", "stats"], folder).contains(&service.process()));
        let (code, _, stderr) = try_ask(&["journal", "drain", "--kafka", "127.0.0.1:1"], folder);
        let own = format!("is in use by {}", service.process());
        assert!(code == 1 && stderr.contains(&own), "{stderr}");
        let (code, _, stderr) = try_ask(&["dead", "discard", "sent-1"], folder);
        let why = if socket == "off" {
            "has no admin socket"
        } else {
            "does not exist"
        };
        assert!(code == 1 && stderr.contains(why), "{stderr}");
        let mut second = huleedu(&["run", "class-management"]);
        let file = folder.join("class-management.db");
        second
            .env("HTTP_PORT", "0")
            .env("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
            .env("DATABASE_URL", format!("sqlite://{}", file.display()));
        let (code, _, stderr) = output(second);
        assert!(code == 1 && stderr.contains(&own), "{stderr}");
        service.running.signal("KILL");
    }
}

/// A gateway that keeps its events in memory is asked like the others, and hides nothing of theirs.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_a_journal_is_left_out_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let class = Service::start(ServiceId::ClassManagement, folder, "127.0.0.1:1");
    make_class(&class.address, "a").await;
    let memory = [("KAFKA_PUBLISH_MODE", "memory")];
    let gateway = Service::start_with(ServiceId::ApiGateway, folder, "127.0.0.1:1", &memory);
    let stats = json(&["journal", "stats"], folder);
    assert_eq!(
        texts(&stats, "service"),
        ["class-management", "api-gateway"]
    );
    assert_eq!(stats[1]["process"], gateway.running.0.id());
    for (command, part) in [
        (["journal", "list"].as_slice(), "class-management/1"),
        (&["journal", "export"], "class-management/1"),
        (
            &["journal", "verify"],
            "class-management: 1 rows read, sound",
        ),
        (&["dead", "list"], "no dead letters"),
        (&["blocked", "list"], "nothing is held up"),
    ] {
        let (code, stdout, stderr) = try_ask(command, folder);
        assert!(
            code == 0 && stdout.contains(part),
            "{command:?}: {stdout}{stderr}"
        );
        let said = stderr.contains("api-gateway: left out");
        assert_eq!(said, command[0] != "blocked", "{command:?}: {stderr}");
    }
}

/// Under block-key a refused event holds up its key; the operator sees it, tries it again in its place, or
/// gives it up.
#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_is_held_up_is_seen_tried_again_and_given_up() {
    const REFUSED: [&str; 2] = ["POLICY_VIOLATION", "POLICY_VIOLATION"];
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    close(three_events(&folder.join("api-gateway.journal")).await);
    let broker = embedded_broker().unwrap();
    let bootstrap = broker.bootstrap_servers().to_owned();
    broker.refuse_produce(&[REFUSED, REFUSED].concat()).unwrap();
    let policy = [("KAFKA_POISON_POLICY", "block-key")];
    let gateway = Service::start_with(ServiceId::ApiGateway, folder, &bootstrap, &policy);
    let held = async || {
        eventually("a lane is held up", LIMIT, async || {
            let list = json(&["blocked", "list"], folder);
            (!list.as_array().unwrap().is_empty()).then_some(list)
        })
        .await
        .unwrap()
    };
    let list = held().await;
    for (field, value) in [
        ("id", "api-gateway/1"),
        ("topic", Topic::ClassCreated.as_str()),
        ("key", "class"),
        ("code", "POLICY_VIOLATION"),
    ] {
        assert_eq!(list[0][field], value, "{list}");
    }
    assert_eq!(list[0]["behind"], 2);
    let table = ask(&["blocked", "list"], folder);
    assert!(
        table.contains("api-gateway/1") && table.contains("held up"),
        "{table}"
    );
    assert_eq!(json(&["journal", "stats"], folder)[0]["blocked"], 1);
    let scrape = http_client()
        .get(format!("http://{}/metrics", gateway.address))
        .send()
        .await;
    let scrape = scrape.unwrap().text().await.unwrap();
    let metric = scrape
        .lines()
        .find(|l| l.starts_with("kafka_publish_blocked{"))
        .unwrap();
    assert!(metric.ends_with(" 1"), "{metric}");

    // The cause is still there; then it is gone.
    let retry = ["blocked", "retry", "api-gateway/1"];
    let (code, stdout, _) = try_ask(&retry, folder);
    assert!(code == 1 && stdout.contains("refused again"), "{stdout}");
    held().await;
    let sent = ask(&retry, folder);
    assert!(sent.contains("api-gateway/1 is in Kafka"), "{sent}");
    assert_eq!(numbers(&bootstrap, 3).await, [1, 2, 3], "in its place");
    let (code, _, stderr) = try_ask(&retry, folder);
    assert!(code == 1 && stderr.contains("holds nothing up"), "{stderr}");
    gateway.running.signal("KILL");
    drop(gateway);

    // Without its service: the drain keeps to the policy of its environment, and says what is in the way.
    fs::remove_dir_all(folder.join("api-gateway.journal")).unwrap();
    close(three_events(&folder.join("api-gateway.journal")).await);
    let broker = embedded_broker().unwrap();
    let bootstrap = broker.bootstrap_servers().to_owned();
    broker.refuse_produce(&REFUSED).unwrap();
    let mut drain = huleedu(&["journal", "drain", "--kafka", &bootstrap]);
    drain.arg("--data-dir").arg(folder).envs(policy);
    let (code, stdout, stderr) = output(drain);
    assert!(
        code == 1 && stdout.contains("0 sent, 3 wait"),
        "{stdout}{stderr}"
    );
    for part in [
        "api-gateway/1 holds up",
        "key class",
        "KAFKA_POISON_POLICY=skip",
    ] {
        assert!(stderr.contains(part), "{part} in {stderr}");
    }

    broker.refuse_produce(&REFUSED).unwrap();
    let gateway = Service::start_with(ServiceId::ApiGateway, folder, &bootstrap, &policy);
    held().await;
    let (code, stdout, stderr) = try_ask(&["blocked", "bury", "api-gateway/1"], folder);
    assert!(
        code == 0 && stdout.contains("is a dead letter now"),
        "{stdout}{stderr}"
    );
    assert!(stderr.contains("go on without it"), "{stderr}");
    assert_eq!(numbers(&bootstrap, 2).await, [2, 3]);
    assert_eq!(
        texts(&json(&["dead", "list"], folder), "id"),
        ["api-gateway/sent-1"]
    );
    ask(&["dead", "requeue", "api-gateway/sent-1"], folder);
    assert_eq!(numbers(&bootstrap, 3).await, [2, 3, 1], "behind the others");
    drop(gateway);
}

/// Its readers may have forgotten that they applied it, so it is not sent again by accident.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_is_older_than_the_readers_memory_is_requeued_only_on_demand() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let broker = embedded_broker().unwrap();
    let bootstrap = broker.bootstrap_servers().to_owned();
    let topic = Topic::ElsBatchPhaseOutcome.as_str();
    send_nonsense(&bootstrap, topic, now_ms() - 31 * 86_400_000).await;
    let _service = Service::start(ServiceId::BatchConductor, folder, &bootstrap);
    eventually("a dead letter", LIMIT, async || {
        ask(&["dead", "list"], folder)
            .contains("received-1")
            .then_some(())
    })
    .await
    .unwrap();
    let (code, _, stderr) = try_ask(&["dead", "requeue", "received-1"], folder);
    for part in ["31d", "30d", "INBOX_RETENTION_SECONDS", "--old"] {
        assert!(code == 1 && stderr.contains(part), "{part} in {stderr}");
    }
    let requeued = ask(&["dead", "requeue", "received-1", "--old"], folder);
    assert!(requeued.contains("received-1 requeued"), "{requeued}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_is_seen_beside_its_owner_and_drained_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let owned = journal(&folder.path().join("events")).await;
    let folder = folder.path();
    let stats = json(&["journal", "stats"], folder);
    assert_eq!(
        (&stats[0]["waiting"], &stats[0]["dead_sent"]),
        (&2.into(), &1.into())
    );
    let own = format!("process {}", std::process::id());
    assert!(ask(&["journal", "stats"], folder).contains(&own));
    let list = json(&["journal", "list", "--key", "class"], folder);
    assert_eq!(texts(&list, "id"), ["events/1", "events/3"]);
    assert!(ask(&["journal", "show", "events/3"], folder).contains(r#"{"n":3}"#));
    assert!(ask(&["journal", "verify"], folder).contains("sound"));
    for command in [
        ["journal", "drain", "--kafka", "127.0.0.1:1"].as_slice(),
        &["dead", "requeue", "events/sent-1"],
        &["dead", "discard", "events/sent-1"],
    ] {
        let (code, _, stderr) = try_ask(command, folder);
        assert!(code == 1 && stderr.contains(&own), "{command:?}: {stderr}");
    }

    owned.close().unwrap();
    drop(owned);
    let dead = json(&["dead", "list"], folder);
    assert_eq!(texts(&dead, "id"), ["events/sent-1"]);
    assert!(ask(&["dead", "show", "events/sent-1"], folder).contains("too large"));
    assert!(ask(&["dead", "requeue", "events/sent-1"], folder).contains("waits at position 4"));
    let broker = embedded_broker().unwrap();
    let bootstrap = broker.bootstrap_servers().to_owned();
    let drained = ask(&["journal", "drain", "--kafka", &bootstrap], folder);
    assert_eq!(drained.trim(), "events: 3 sent, 0 wait");
    let reader = TopicReader::new(&bootstrap, &[Topic::ClassCreated]).unwrap();
    for n in [1, 3, 2] {
        let (_, event) = reader.next(LIMIT).await.unwrap();
        assert_eq!(event["n"], n, "in order, the requeued one last");
    }
    // Bytes that change on the disk are found, with their place.
    let segment = fs::read_dir(folder.join("events"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|path| fs::metadata(path).unwrap().len() > (1 << 20))
        .unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let place = bytes.windows(7).position(|w| w == br#"{"n":3}"#).unwrap();
    bytes[place] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let (code, stdout, _) = try_ask(&["journal", "verify"], folder);
    assert!(code == 1 && stdout.contains("damaged"), "{stdout}");
}

/// Whoever reads them at night must not be told of commands and metrics that do not exist.
#[test]
fn runbooks_name_only_commands_and_metrics_that_exist() {
    let read = |page: &str| fs::read_to_string(root().join(page)).unwrap();
    let mut pages = vec!["docs/guide/dead-letters.md".to_owned()];
    for entry in fs::read_dir(root().join("docs/runbooks")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        pages.push(format!("docs/runbooks/{name}"));
    }
    let metrics = read("docs/metrics.md");
    let settings = read("docs/configuration.md");
    let (mut commands, mut names) = (0, 0);
    for page in pages {
        let text = read(&page);
        for group in ["journal", "dead", "blocked"] {
            for rest in text.split(&format!("huleedu {group} ")).skip(1) {
                let word = rest.split(|c: char| !c.is_ascii_lowercase()).next();
                let word = word.unwrap();
                let (code, _, _) = output(huleedu(&[group, word, "--help"]));
                assert_eq!(code, 0, "{page}: huleedu {group} {word}");
                commands += 1;
            }
        }
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        for word in words {
            let metric = ["kafka_", "outbox_", "circuit_breaker_"]
                .iter()
                .any(|begin| word.starts_with(begin));
            let setting = ["KAFKA_", "EVENT_", "DEAD_LETTER_", "ADMIN_"]
                .iter()
                .any(|begin| word.starts_with(begin));
            if metric {
                assert!(metrics.contains(&format!("`{word}`")), "{page}: {word}");
            } else if setting {
                assert!(settings.contains(&format!("`{word}`")), "{page}: {word}");
            }
            names += usize::from(metric || setting);
        }
    }
    assert!(
        commands > 15 && names > 15,
        "{commands} commands, {names} names"
    );
}

#[test]
fn mistakes_are_answered_with_what_to_do_and_help_has_examples() {
    let folder = tempfile::tempdir().unwrap();
    for (command, look) in [("journal", "stats"), ("dead", "list"), ("blocked", "list")] {
        let (code, _, stderr) = output(huleedu(&[command, look]));
        assert!(code == 1 && stderr.contains("--data-dir DIR"), "{stderr}");
    }
    let (code, _, stderr) = try_ask(&["journal", "stats"], folder.path());
    assert!(
        code == 1 && stderr.contains("--data-dir is the directory that"),
        "{stderr}"
    );
    let (code, _, stderr) = output(huleedu(&["dead", "list", "--service", "file"]));
    assert!(
        code == 1 && stderr.contains("FILE_SERVICE_DATABASE_URL"),
        "{stderr}"
    );
    let mut command = huleedu(&["journal", "stats", "--service", "file"]);
    command.env(
        "DATABASE_URL",
        format!("sqlite://{}/none.db", folder.path().display()),
    );
    let (code, _, stderr) = output(command);
    assert!(
        code == 1 && stderr.contains("is not there or does not answer"),
        "{stderr}"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    for command in [
        ["journal", "stats"],
        ["journal", "list"],
        ["journal", "show"],
        ["journal", "verify"],
        ["journal", "export"],
        ["journal", "drain"],
        ["dead", "list"],
        ["dead", "show"],
        ["dead", "requeue"],
        ["dead", "discard"],
        ["blocked", "list"],
        ["blocked", "retry"],
        ["blocked", "bury"],
    ] {
        let (code, stdout, _) = output(huleedu(&[command[0], command[1], "--help"]));
        assert_eq!(code, 0);
        let example = format!("huleedu {} {}", command[0], command[1]);
        assert!(
            stdout.contains("Example") && stdout.contains(&example),
            "{stdout}"
        );
    }
    let (_, help, _) = output(huleedu(&["dead", "requeue", "--help"]));
    assert!(help.contains("order is NOT restored"), "{help}");
    let (_, help, _) = output(huleedu(&["blocked", "bury", "--help"]));
    assert!(help.contains("order is NOT kept"), "{help}");
}
