//! Starting: what is refused, how long it takes, what is there again.

use std::time::{Duration, Instant};

use fusebox_devbroker::{DevBroker, DevBrokerConfig, StartError, TopicError};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    consumer::Consumer as _,
};

use crate::support::{LIMIT, reader};

#[test]
fn one_folder_is_one_brokers() {
    let folder = tempfile::tempdir().unwrap();
    let config = || DevBrokerConfig::in_dir(folder.path());
    let first = DevBroker::start(config()).unwrap();
    let second = DevBroker::start(config()).unwrap_err();
    assert!(matches!(second, StartError::InUse(_)), "{second}");
    drop(first);
    DevBroker::start(config()).unwrap().shutdown().unwrap();
}

#[test]
fn it_does_not_listen_to_other_machines_nor_where_another_listens() {
    let mut config = DevBrokerConfig::temporary();
    config.listen = "0.0.0.0:0".parse().unwrap();
    let error = DevBroker::start(config).unwrap_err();
    assert!(matches!(error, StartError::NotLoopback(_)), "{error}");
    let first = DevBroker::start(DevBrokerConfig::temporary()).unwrap();
    let mut config = DevBrokerConfig::temporary();
    config.listen = first.address();
    let error = DevBroker::start(config).unwrap_err();
    assert!(matches!(error, StartError::Listen { .. }), "{error}");
    let mut config = DevBrokerConfig::temporary();
    config.default_partitions = 0;
    let error = DevBroker::start(config).unwrap_err().to_string();
    assert_eq!(error, "default_partitions is 0; allowed is 1 to 1000");
}

#[test]
fn forty_topics_are_there_at_once_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..40).map(|number| format!("topic-{number:02}")).collect();
    for _ in 0..2 {
        let topics = names.iter().map(|name| (name.as_str(), 3));
        let config = DevBrokerConfig::in_dir(folder.path()).with_topics(topics);
        let before = Instant::now();
        let broker = DevBroker::start(config).unwrap();
        // A few milliseconds; the rest is for a busy machine.
        assert!(before.elapsed() < Duration::from_secs(2));
        let client = reader(&broker.bootstrap_servers(), "g");
        let metadata = client.fetch_metadata(None, LIMIT).unwrap();
        let mut found: Vec<(String, usize)> = metadata
            .topics()
            .iter()
            .map(|topic| (topic.name().to_owned(), topic.partitions().len()))
            .collect();
        found.sort();
        let expected: Vec<_> = names.iter().map(|name| (name.clone(), 3)).collect();
        assert_eq!(found, expected);
        broker.shutdown().unwrap();
    }
}

#[tokio::test]
async fn a_client_makes_describes_and_deletes_topics() {
    let broker = DevBroker::start(DevBrokerConfig::temporary()).unwrap();
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap_servers())
        .create()
        .unwrap();
    let options = AdminOptions::new();
    let topic = |name, partitions, replicas| {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas));
        topic.set("retention.ms", "60000")
    };
    let asked = [topic("a", 4, 1), topic("b", 1, 3), topic("no/name", 1, 1)];
    let made = admin.create_topics(&asked, &options).await.unwrap();
    assert_eq!(made[0], Ok("a".to_owned()));
    assert!(made[1].is_err() && made[2].is_err());
    assert_eq!(broker.topics(), [("a".to_owned(), 4)]);
    let resources = [ResourceSpecifier::Topic("a")];
    let described = admin.describe_configs(&resources, &options).await.unwrap();
    let settings = described[0].as_ref().unwrap().entry_map();
    assert_eq!(settings["retention.ms"].value.as_deref(), Some("60000"));
    let deleted = admin.delete_topics(&["a", "b"], &options).await.unwrap();
    assert!(deleted[0].is_ok() && deleted[1].is_err());
    assert!(broker.topics().is_empty());
    let error = broker.delete_topic("a").unwrap_err();
    assert!(matches!(error, TopicError::Unknown(_)));
}

#[test]
fn a_topic_that_is_asked_for_is_made_unless_that_is_off() {
    let mut config = DevBrokerConfig::temporary();
    config.default_partitions = 5;
    let broker = DevBroker::start(config).unwrap();
    let mut producer = crate::support::Numbered::new(&broker.bootstrap_servers(), &[]);
    producer.send("new", 5);
    producer.finish();
    assert_eq!(broker.topics(), [("new".to_owned(), 5)]);
    let mut config = DevBrokerConfig::temporary();
    config.auto_create_topics = false;
    let broker = DevBroker::start(config).unwrap();
    let client = reader(&broker.bootstrap_servers(), "g");
    let metadata = client.fetch_metadata(Some("new"), LIMIT).unwrap();
    assert!(metadata.topics()[0].error().is_some());
    assert!(broker.topics().is_empty());
}
