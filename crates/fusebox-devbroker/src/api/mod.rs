//! What the broker can be asked: the table of requests and versions, and the way of one request.

mod commits;
mod describe;
mod fetch;
mod groups;
mod list_offsets;
mod metadata;
mod produce;
mod topics;

use std::{net::SocketAddr, sync::Arc};

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::{
    ResponseError,
    messages::{
        ApiKey, ApiVersionsRequest, ApiVersionsResponse, BrokerId, FindCoordinatorRequest,
        FindCoordinatorResponse, InitProducerIdRequest, InitProducerIdResponse, ProducerId,
        RequestHeader, ResponseHeader, TopicName, api_versions_response::ApiVersion,
    },
    protocol::{Decodable, Encodable, StrBytes},
};
use thiserror::Error;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    config::DevBrokerConfig,
    faults::{Faults, Plan},
    group::Groups,
    server::shape,
    store::identity::Identity,
    topics::Topics,
};

/// The only broker of its cluster.
const NODE: BrokerId = BrokerId(1);

/// Which versions of which requests are taken. All are of the time before compact encodings, which
/// every client still speaks; `ApiVersions` is the one all must be able to ask.
const VERSIONS: &[(ApiKey, i16, i16)] = &[
    (ApiKey::Produce, 3, 8),
    (ApiKey::Fetch, 4, 11),
    (ApiKey::ListOffsets, 1, 5),
    (ApiKey::Metadata, 0, 8),
    (ApiKey::OffsetCommit, 2, 6),
    (ApiKey::OffsetFetch, 1, 5),
    (ApiKey::FindCoordinator, 0, 2),
    (ApiKey::JoinGroup, 0, 4),
    (ApiKey::Heartbeat, 0, 2),
    (ApiKey::LeaveGroup, 0, 2),
    (ApiKey::SyncGroup, 0, 2),
    (ApiKey::DescribeGroups, 0, 4),
    (ApiKey::ListGroups, 0, 2),
    (ApiKey::ApiVersions, 0, 3),
    (ApiKey::CreateTopics, 2, 4),
    (ApiKey::DeleteTopics, 1, 3),
    (ApiKey::InitProducerId, 0, 1),
    (ApiKey::DescribeConfigs, 1, 3),
    (ApiKey::DeleteGroups, 0, 1),
];

/// Everything a request may need.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) config: DevBrokerConfig,
    pub(crate) address: SocketAddr,
    pub(crate) identity: Identity,
    pub(crate) topics: Topics,
    pub(crate) groups: Groups,
    pub(crate) faults: Faults,
    /// Rings when records were appended.
    pub(crate) appended: Notify,
}

/// Who asks.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// Cancelled when it has hung up: there is no use in waiting for it.
    pub(crate) gone: CancellationToken,
}

/// What goes back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// These bytes.
    Bytes(BytesMut),
    /// Nothing: the client wants no answer.
    None,
    /// The end of the connection.
    Close,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    /// Not the beginning of any request.
    #[error("a request without a header")]
    Header,
    /// A kind or version that is not in the table.
    #[error("request {api}, version {version}, is not supported")]
    Unsupported { api: i16, version: i16 },
    /// It is not what its header says.
    #[error("{api:?} request is malformed")]
    Malformed { api: ApiKey },
    /// An answer that cannot be expressed in its version: a mistake of ours.
    #[error("the answer to {api:?} cannot be encoded")]
    Encode { api: ApiKey },
}

/// A request on its way.
struct Call<'a> {
    api: ApiKey,
    version: i16,
    correlation: i32,
    client_id: String,
    peer: &'a Peer,
    body: Bytes,
}

impl Call<'_> {
    fn decode<T: Decodable>(&mut self) -> Result<T, Refusal> {
        let api = self.api;
        if !shape::is_honest(api, self.version, &self.body) {
            return Err(Refusal::Malformed { api });
        }
        T::decode(&mut self.body, self.version).map_err(|_| Refusal::Malformed { api })
    }

    fn encode(&self, response: &impl Encodable) -> Result<Answer, Refusal> {
        self.encode_as(response, self.version)
    }

    fn encode_as(&self, response: &impl Encodable, version: i16) -> Result<Answer, Refusal> {
        let mut bytes = BytesMut::new();
        bytes.put_i32(0);
        let header = ResponseHeader::default().with_correlation_id(self.correlation);
        let encoded = header
            .encode(&mut bytes, self.api.response_header_version(version))
            .and_then(|()| response.encode(&mut bytes, version));
        let length = i32::try_from(bytes.len() - 4);
        match (encoded, length, bytes.first_chunk_mut::<4>()) {
            (Ok(()), Ok(length), Some(prefix)) => *prefix = length.to_be_bytes(),
            _ => return Err(Refusal::Encode { api: self.api }),
        }
        Ok(Answer::Bytes(bytes))
    }
}

/// Reads the beginning of a frame.
fn open(peer: &Peer, mut frame: Bytes) -> Result<Call<'_>, Refusal> {
    let kind = frame.first_chunk::<4>().ok_or(Refusal::Header)?;
    let api = i16::from_be_bytes([kind[0], kind[1]]);
    let version = i16::from_be_bytes([kind[2], kind[3]]);
    let unsupported = Refusal::Unsupported { api, version };
    let Ok(api) = ApiKey::try_from(api) else {
        return Err(unsupported);
    };
    let row = VERSIONS.iter().find(|(of, _, _)| *of == api);
    let Some((_, min, max)) = row else {
        return Err(unsupported);
    };
    // A newer version of the question for versions is answered with those we have.
    let asks_versions = api == ApiKey::ApiVersions;
    if !asks_versions && !(*min..=*max).contains(&version) {
        return Err(unsupported);
    }
    let header_version = if asks_versions && version > *max {
        2
    } else {
        api.request_header_version(version)
    };
    let header = RequestHeader::decode(&mut frame, header_version).map_err(|_| Refusal::Header)?;
    Ok(Call {
        api,
        version,
        correlation: header.correlation_id,
        client_id: header
            .client_id
            .map(|id| id.to_string())
            .unwrap_or_default(),
        peer,
        body: frame,
    })
}

impl Broker {
    /// Answers one request.
    ///
    /// # Cancel safety
    /// What was appended or committed stays so when this is dropped; a member that waits to join is
    /// taken to have hung up.
    pub(crate) async fn answer(&self, peer: &Peer, frame: Bytes) -> Result<Answer, Refusal> {
        let call = open(peer, frame)?;
        tracing::trace!(api = ?call.api, version = call.version, "request");
        match call.api {
            ApiKey::Produce => self.produce(call).await,
            ApiKey::Fetch => self.fetch(call).await,
            ApiKey::ListOffsets => self.list_offsets(call).await,
            ApiKey::Metadata => self.metadata(call).await,
            ApiKey::OffsetCommit => self.offset_commit(call).await,
            ApiKey::OffsetFetch => self.offset_fetch(call).await,
            ApiKey::FindCoordinator => self.find_coordinator(call).await,
            ApiKey::JoinGroup => self.join_group(call).await,
            ApiKey::Heartbeat => self.heartbeat(call).await,
            ApiKey::LeaveGroup => self.leave_group(call).await,
            ApiKey::SyncGroup => self.sync_group(call).await,
            ApiKey::DescribeGroups => self.describe_groups(call).await,
            ApiKey::ListGroups => self.list_groups(call).await,
            ApiKey::ApiVersions => self.api_versions(call).await,
            ApiKey::CreateTopics => self.create_topics(call).await,
            ApiKey::DeleteTopics => self.delete_topics(call).await,
            ApiKey::InitProducerId => self.init_producer_id(call).await,
            ApiKey::DescribeConfigs => self.describe_configs(call).await,
            ApiKey::DeleteGroups => self.delete_groups(call).await,
            other => Err(Refusal::Unsupported {
                api: other as i16,
                version: call.version,
            }),
        }
    }

    /// Lets faults happen before a request is done. `None` closes the connection.
    async fn faulty<'a>(
        &self,
        call: &Call<'_>,
        topics: impl Iterator<Item = &'a str> + Clone,
    ) -> Option<Plan> {
        let plan = self.faults.plan(call.api, &topics);
        if !plan.delay.is_zero() {
            tokio::time::sleep(plan.delay).await;
        }
        (!plan.cut).then_some(plan)
    }

    async fn faulty_without_topics(&self, call: &Call<'_>) -> Option<Plan> {
        self.faulty(call, std::iter::empty()).await
    }

    async fn api_versions(&self, mut call: Call<'_>) -> Result<Answer, Refusal> {
        let Some(plan) = self.faulty_without_topics(&call).await else {
            return Ok(Answer::Close);
        };
        let newest = 3;
        let known = call.version <= newest && call.version >= 0;
        if known {
            call.decode::<ApiVersionsRequest>()?;
        }
        let code = if known {
            0
        } else {
            ResponseError::UnsupportedVersion.code()
        };
        let row = |(api, min, max): &(ApiKey, i16, i16)| {
            // librdkafka compresses only when it sees the oldest version of this one, which nobody
            // has spoken for years; other brokers claim it for the same reason.
            let min = if *api == ApiKey::Produce { 0 } else { *min };
            ApiVersion::default()
                .with_api_key(*api as i16)
                .with_min_version(min)
                .with_max_version(*max)
        };
        let response = ApiVersionsResponse::default()
            .with_error_code(code)
            .with_api_keys(VERSIONS.iter().map(row).collect());
        let version = if known { call.version } else { 0 };
        finish(&plan, call.encode_as(&response, version))
    }

    async fn find_coordinator(&self, mut call: Call<'_>) -> Result<Answer, Refusal> {
        let request: FindCoordinatorRequest = call.decode()?;
        let Some(plan) = self.faulty_without_topics(&call).await else {
            return Ok(Answer::Close);
        };
        let transactions = request.key_type != 0;
        let code = plan
            .rejection()
            .or(transactions.then_some(ResponseError::TransactionalIdAuthorizationFailed));
        let response = match code {
            Some(code) => FindCoordinatorResponse::default()
                .with_error_code(code.code())
                .with_node_id(BrokerId(-1))
                .with_port(-1),
            None => FindCoordinatorResponse::default()
                .with_node_id(NODE)
                .with_host(self.host())
                .with_port(self.port()),
        };
        finish(&plan, call.encode(&response))
    }

    async fn init_producer_id(&self, mut call: Call<'_>) -> Result<Answer, Refusal> {
        let request: InitProducerIdRequest = call.decode()?;
        let Some(plan) = self.faulty_without_topics(&call).await else {
            return Ok(Answer::Close);
        };
        let given = match (plan.rejection(), request.transactional_id) {
            (Some(code), _) => Err(code),
            (None, Some(_)) => Err(ResponseError::TransactionalIdAuthorizationFailed),
            (None, None) => self
                .identity
                .next_producer_id()
                .map_err(|_| ResponseError::KafkaStorageError),
        };
        let response = match given {
            Ok(id) => InitProducerIdResponse::default()
                .with_producer_id(ProducerId(id))
                .with_producer_epoch(0),
            Err(code) => InitProducerIdResponse::default()
                .with_error_code(code.code())
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1),
        };
        finish(&plan, call.encode(&response))
    }

    fn host(&self) -> StrBytes {
        text(self.address.ip().to_string())
    }

    fn port(&self) -> i32 {
        i32::from(self.address.port())
    }
}

/// The answer, or what a fault makes of it.
fn finish(plan: &Plan, answer: Result<Answer, Refusal>) -> Result<Answer, Refusal> {
    if plan.drop_answer {
        Ok(Answer::Close)
    } else {
        answer
    }
}

fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

fn topic_name(name: impl Into<String>) -> TopicName {
    TopicName(text(name))
}

/// The code of an error, 0 for none.
fn code<T>(result: &Result<T, ResponseError>) -> i16 {
    result.as_ref().err().map_or(0, ResponseError::code)
}

impl Broker {
    /// A topic, made when asking for it makes it.
    fn topic_or_new(
        &self,
        name: &str,
        may_create: bool,
    ) -> Result<Arc<crate::topics::Topic>, ResponseError> {
        use crate::{config::NewTopic, error::TopicError, topics::TopicSettings};
        if let Some(topic) = self.topics.get(name) {
            return Ok(topic);
        }
        if !may_create || !self.config.auto_create_topics {
            return Err(ResponseError::UnknownTopicOrPartition);
        }
        let new = NewTopic::new(name, self.config.default_partitions);
        match self.topics.create(&[(new, TopicSettings::default())]) {
            // Someone else was faster.
            Ok(()) | Err(TopicError::Exists(_)) => self
                .topics
                .get(name)
                .ok_or(ResponseError::UnknownTopicOrPartition),
            Err(error) => Err(topics::topic_code(&error)),
        }
    }
}

#[cfg(test)]
mod tests;
