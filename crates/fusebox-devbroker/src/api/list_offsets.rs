//! Where a log begins and ends, and where a moment is in it.

use kafka_protocol::{
    ResponseError,
    messages::{
        ListOffsetsRequest, ListOffsetsResponse,
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
    },
};

use super::{Answer, Broker, Call, Refusal, finish};

/// "The next record."
const LATEST: i64 = -1;
/// "The oldest record there is."
const EARLIEST: i64 = -2;

impl Broker {
    pub(super) async fn list_offsets(&self, mut call: Call<'_>) -> Result<Answer, Refusal> {
        let request: ListOffsetsRequest = call.decode()?;
        let names = request.topics.iter().map(|topic| topic.name.as_str());
        let Some(plan) = self.faulty(&call, names).await else {
            return Ok(Answer::Close);
        };
        let topics = request.topics.into_iter().map(|asked| {
            let partitions = asked.partitions.iter().map(|partition| {
                let found = match plan.rejection_of(&asked.name) {
                    Some(code) => Err(code),
                    None => {
                        self.offset_at(&asked.name, partition.partition_index, partition.timestamp)
                    }
                };
                let response = ListOffsetsPartitionResponse::default()
                    .with_partition_index(partition.partition_index);
                match found {
                    Ok((offset, timestamp)) => response
                        .with_offset(offset)
                        .with_timestamp(timestamp)
                        .with_leader_epoch(if call.version >= 4 { 0 } else { -1 }),
                    Err(code) => response
                        .with_error_code(code.code())
                        .with_offset(-1)
                        .with_timestamp(-1),
                }
            });
            ListOffsetsTopicResponse::default()
                .with_partitions(partitions.collect())
                .with_name(asked.name)
        });
        let response = ListOffsetsResponse::default().with_topics(topics.collect());
        finish(&plan, call.encode(&response))
    }

    /// Offset and time; a moment is answered with the batch that holds it.
    fn offset_at(
        &self,
        topic: &str,
        partition: i32,
        time: i64,
    ) -> Result<(i64, i64), ResponseError> {
        let unknown = ResponseError::UnknownTopicOrPartition;
        let topic = self.topics.get(topic).ok_or(unknown)?;
        let mut log = topic.log(partition).ok_or(unknown)?;
        match time {
            LATEST => Ok((log.end(), -1)),
            EARLIEST => Ok((log.start(), -1)),
            time if time >= 0 => {
                let found = log.at_time(time).map_err(|error| error.code())?;
                Ok(found.unwrap_or((-1, -1)))
            }
            _ => Err(ResponseError::UnsupportedVersion),
        }
    }
}
