//! Appending records.

use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{
        ProduceRequest, ProduceResponse,
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    },
};

use super::{Answer, Broker, Call, Refusal, finish};
use crate::{config::FsyncPolicy, topics::Topic};

impl Broker {
    pub(super) async fn produce(&self, mut call: Call<'_>) -> Result<Answer, Refusal> {
        let request: ProduceRequest = call.decode()?;
        let names = request.topic_data.iter().map(|topic| topic.name.as_str());
        let Some(plan) = self.faulty(&call, names).await else {
            return Ok(Answer::Close);
        };
        let refused = if request.transactional_id.is_some() {
            Some(ResponseError::TransactionalIdAuthorizationFailed)
        } else if ![-1, 0, 1].contains(&request.acks) {
            Some(ResponseError::InvalidRequiredAcks)
        } else {
            None
        };
        let append_all = || {
            let mut topics = Vec::with_capacity(request.topic_data.len());
            for data in request.topic_data {
                let refused = refused.or_else(|| plan.rejection_of(&data.name));
                let topic = self.topics.get(&data.name);
                let partitions = data.partition_data.into_iter().map(|partition| {
                    let result = match (refused, &topic) {
                        (Some(code), _) => Err(code),
                        (None, None) => Err(ResponseError::UnknownTopicOrPartition),
                        (None, Some(topic)) => {
                            append(topic, &data.name, partition.index, partition.records)
                        }
                    };
                    answer(partition.index, &result)
                });
                let partitions: Vec<_> = partitions.collect();
                topics.push(
                    TopicProduceResponse::default()
                        .with_name(data.name)
                        .with_partition_responses(partitions),
                );
            }
            topics
        };
        let topics = if self.config.fsync == FsyncPolicy::Always {
            // Waits for the disk: others go on meanwhile.
            tokio::task::block_in_place(append_all)
        } else {
            append_all()
        };
        self.appended.notify_waiters();
        if request.acks == 0 {
            // The only way to say no to someone who wants no answer.
            let failed = topics
                .iter()
                .flat_map(|topic| &topic.partition_responses)
                .any(|partition| partition.error_code != 0);
            let close = failed || plan.drop_answer;
            return Ok(if close { Answer::Close } else { Answer::None });
        }
        let response = ProduceResponse::default().with_responses(topics);
        finish(&plan, call.encode(&response))
    }
}

fn append(
    topic: &Topic,
    name: &str,
    partition: i32,
    records: Option<Bytes>,
) -> Result<(i64, i64), ResponseError> {
    let mut log = topic
        .log(partition)
        .ok_or(ResponseError::UnknownTopicOrPartition)?;
    let records = records.unwrap_or_default();
    match log.append(&records) {
        Ok(appended) => {
            if appended.duplicate {
                tracing::debug!(topic = name, partition, "batch was there already");
            }
            Ok((appended.base_offset, log.start()))
        }
        Err(error) => {
            let code = error.code();
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                topic = name,
                partition,
                %code,
                "batch refused"
            );
            Err(code)
        }
    }
}

fn answer(partition: i32, result: &Result<(i64, i64), ResponseError>) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default()
        .with_index(partition)
        .with_log_append_time_ms(-1);
    match result {
        Ok((base_offset, start)) => response
            .with_base_offset(*base_offset)
            .with_log_start_offset(*start),
        Err(code) => response
            .with_error_code(code.code())
            .with_base_offset(-1)
            .with_log_start_offset(-1),
    }
}
