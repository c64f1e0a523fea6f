//! Reading records, waiting for them when there are none yet.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{
        BrokerId, FetchRequest, FetchResponse,
        fetch_request::FetchPartition,
        fetch_response::{FetchableTopicResponse, PartitionData},
    },
};
use tokio::time::Instant;

use super::{Answer, Broker, Call, Refusal, finish};

/// Bytes of one answer, whatever is asked for.
const MAX_BYTES: usize = 64 << 20;
/// Longest wait, whatever is asked for.
const MAX_WAIT: Duration = Duration::from_mins(1);

impl Broker {
    pub(super) async fn fetch(&self, mut call: Call<'_>) -> Result<Answer, Refusal> {
        let request: FetchRequest = call.decode()?;
        let names = request.topics.iter().map(|topic| topic.topic.as_str());
        let Some(plan) = self.faulty(&call, names).await else {
            return Ok(Answer::Close);
        };
        // Sessions are not kept: a client that is given none asks for everything each time.
        let refused = plan
            .rejection()
            .or((request.session_id != 0).then_some(ResponseError::FetchSessionIdNotFound));
        if let Some(code) = refused {
            let response = refusal(&request, code, call.version);
            return finish(&plan, call.encode(&response));
        }
        let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
        let deadline = Instant::now() + wait.min(MAX_WAIT);
        let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
        let response = loop {
            let appended = self.appended.notified();
            tokio::pin!(appended);
            // From here on an append is not missed.
            appended.as_mut().enable();
            let over = Instant::now() >= deadline || call.peer.gone.is_cancelled();
            if over || min_bytes == 0 || self.has_news(&request) {
                let (response, bytes, failed) =
                    self.read_all(&request, |topic| plan.rejection_of(topic));
                if over || failed || bytes >= min_bytes {
                    break response;
                }
            }
            tokio::select! {
                () = appended => {}
                () = tokio::time::sleep_until(deadline) => {}
                () = call.peer.gone.cancelled() => {}
            }
        };
        finish(&plan, call.encode(&response))
    }

    /// Whether reading is worth the while: there is something, or something is wrong.
    fn has_news(&self, request: &FetchRequest) -> bool {
        request.topics.iter().any(|asked| {
            let topic = self.topics.get(&asked.topic);
            asked.partitions.iter().any(|partition| {
                let log = topic
                    .as_ref()
                    .and_then(|topic| topic.log(partition.partition));
                log.is_none_or(|log| {
                    let offset = partition.fetch_offset;
                    offset != log.end() || offset < log.start()
                })
            })
        })
    }

    fn read_all(
        &self,
        request: &FetchRequest,
        rejected: impl Fn(&str) -> Option<ResponseError>,
    ) -> (FetchResponse, usize, bool) {
        let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0);
        let mut left = max_bytes.min(MAX_BYTES);
        let (mut total, mut failed) = (0, false);
        let mut responses = Vec::with_capacity(request.topics.len());
        for asked in &request.topics {
            let mut partitions = Vec::with_capacity(asked.partitions.len());
            for partition in &asked.partitions {
                let read = match rejected(&asked.topic) {
                    Some(code) => Err(code),
                    // Whoever asks gets one batch at least, or would never get a long one.
                    None => self.read_one(&asked.topic, partition, left, total == 0),
                };
                let bytes = read.as_ref().map_or(0, |read| read.records.len());
                failed |= read.is_err();
                total += bytes;
                left = left.saturating_sub(bytes);
                partitions.push(answer(partition.partition, read));
            }
            responses.push(
                FetchableTopicResponse::default()
                    .with_topic(asked.topic.clone())
                    .with_partitions(partitions),
            );
        }
        let response = FetchResponse::default().with_responses(responses);
        (response, total, failed)
    }

    fn read_one(
        &self,
        topic: &str,
        asked: &FetchPartition,
        left: usize,
        at_least_one: bool,
    ) -> Result<Read, ResponseError> {
        let unknown = ResponseError::UnknownTopicOrPartition;
        let topic = self.topics.get(topic).ok_or(unknown)?;
        let mut log = topic.log(asked.partition).ok_or(unknown)?;
        let max_bytes = usize::try_from(asked.partition_max_bytes).unwrap_or(0);
        let records = log
            .read(asked.fetch_offset, max_bytes.min(left), at_least_one)
            .map_err(|error| error.code())?;
        Ok(Read {
            records,
            start: log.start(),
            end: log.end(),
        })
    }
}

struct Read {
    records: Bytes,
    start: i64,
    end: i64,
}

fn answer(partition: i32, read: Result<Read, ResponseError>) -> PartitionData {
    let response = PartitionData::default()
        .with_partition_index(partition)
        .with_preferred_read_replica(BrokerId(-1))
        .with_aborted_transactions(Some(Vec::new()));
    match read {
        Ok(read) => response
            .with_high_watermark(read.end)
            .with_last_stable_offset(read.end)
            .with_log_start_offset(read.start)
            .with_records(Some(read.records)),
        Err(code) => response
            .with_error_code(code.code())
            .with_high_watermark(-1)
            .with_last_stable_offset(-1)
            .with_log_start_offset(-1)
            .with_records(Some(Bytes::new())),
    }
}

/// The same error for everything that was asked; since version 7 once for all.
fn refusal(request: &FetchRequest, code: ResponseError, version: i16) -> FetchResponse {
    if version >= 7 {
        return FetchResponse::default().with_error_code(code.code());
    }
    let topics = request.topics.iter().map(|asked| {
        let partitions = asked.partitions.iter();
        FetchableTopicResponse::default()
            .with_topic(asked.topic.clone())
            .with_partitions(partitions.map(|p| answer(p.partition, Err(code))).collect())
    });
    FetchResponse::default().with_responses(topics.collect())
}
