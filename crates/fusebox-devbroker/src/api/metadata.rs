//! Which brokers and topics there are.

use kafka_protocol::messages::{
    MetadataRequest, MetadataResponse,
    metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
};

use super::{Answer, Broker, Call, NODE, Refusal, finish, text, topic_name};

impl Broker {
    pub(super) async fn metadata(&self, mut call: Call<'_>) -> Result<Answer, Refusal> {
        let request: MetadataRequest = call.decode()?;
        let asked: Option<Vec<String>> = request.topics.map(|topics| {
            let names = topics.into_iter().filter_map(|topic| topic.name);
            names.map(|name| name.to_string()).collect()
        });
        let mentioned = asked.iter().flatten().map(String::as_str);
        let Some(plan) = self.faulty(&call, mentioned).await else {
            return Ok(Answer::Close);
        };
        // Before version 1 an empty list meant all.
        let names = match asked {
            Some(names) if call.version > 0 || !names.is_empty() => names,
            _ => self
                .topics
                .all()
                .into_iter()
                .map(|(name, _)| name)
                .collect(),
        };
        let mut topics = Vec::with_capacity(names.len());
        for name in names {
            let topic = match plan.rejection_of(&name) {
                Some(code) => Err(code),
                None => self.topic_or_new(&name, request.allow_auto_topic_creation),
            };
            let answer = MetadataResponseTopic::default().with_name(Some(topic_name(name)));
            topics.push(match topic {
                Ok(topic) => {
                    answer.with_partitions((0..topic.partitions()).map(partition).collect())
                }
                Err(code) => answer.with_error_code(code.code()),
            });
        }
        let broker = MetadataResponseBroker::default()
            .with_node_id(NODE)
            .with_host(self.host())
            .with_port(self.port());
        let response = MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_controller_id(NODE)
            .with_cluster_id(Some(text(self.identity.cluster())))
            .with_topics(topics);
        finish(&plan, call.encode(&response))
    }
}

fn partition(index: i32) -> MetadataResponsePartition {
    MetadataResponsePartition::default()
        .with_partition_index(index)
        .with_leader_id(NODE)
        .with_leader_epoch(0)
        .with_replica_nodes(vec![NODE])
        .with_isr_nodes(vec![NODE])
}
