//! Which brokers and topics there are.

use kafka_protocol::{
    ResponseError,
    messages::{
        BrokerId, MetadataRequest, MetadataResponse,
        metadata_response::{
            MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
        },
    },
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
                    let leader = (!plan.no_brokers).then_some(NODE);
                    let all = (0..topic.partitions()).map(|index| partition(index, leader));
                    answer.with_partitions(all.collect())
                }
                Err(code) => answer.with_error_code(code.code()),
            });
        }
        let broker = MetadataResponseBroker::default()
            .with_node_id(NODE)
            .with_host(self.host())
            .with_port(self.port());
        let response = MetadataResponse::default()
            .with_brokers(if plan.no_brokers {
                vec![]
            } else {
                vec![broker]
            })
            .with_controller_id(NODE)
            .with_cluster_id(Some(text(self.identity.cluster())))
            .with_topics(topics);
        finish(&plan, call.encode(&response))
    }
}

fn partition(index: i32, leader: Option<BrokerId>) -> MetadataResponsePartition {
    let error = leader
        .is_none()
        .then(|| ResponseError::LeaderNotAvailable.code());
    MetadataResponsePartition::default()
        .with_error_code(error.unwrap_or_default())
        .with_partition_index(index)
        .with_leader_id(leader.unwrap_or(BrokerId(-1)))
        .with_leader_epoch(0)
        .with_replica_nodes(vec![NODE])
        .with_isr_nodes(vec![NODE])
}
