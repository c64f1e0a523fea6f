//! Committed offsets of consumer groups.

use kafka_protocol::{
    ResponseError,
    messages::{
        OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
        offset_fetch_response::{OffsetFetchResponsePartition, OffsetFetchResponseTopic},
    },
};

use super::{Answer, Broker, Call, Refusal, finish, text, topic_name};
use crate::{
    config::FsyncPolicy,
    store::offsets::{Committed, MAX_METADATA},
};

impl Broker {
    pub(super) async fn offset_commit(&self, mut call: Call<'_>) -> Result<Answer, Refusal> {
        let request: OffsetCommitRequest = call.decode()?;
        let names = request.topics.iter().map(|topic| topic.name.as_str());
        let Some(plan) = self.faulty(&call, names).await else {
            return Ok(Answer::Close);
        };
        let refused = self.may_commit(&request).err();
        let mut commits = Vec::new();
        let mut results = Vec::new();
        for topic in &request.topics {
            let known = self.topics.get(&topic.name);
            for partition in &topic.partitions {
                let index = partition.partition_index;
                let there = known
                    .as_ref()
                    .is_some_and(|topic| (0..topic.partitions()).contains(&index));
                let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
                let wrong = if !there {
                    Some(ResponseError::UnknownTopicOrPartition)
                } else if metadata.len() > MAX_METADATA {
                    Some(ResponseError::OffsetMetadataTooLarge)
                } else {
                    None
                };
                let code = plan.rejection_of(&topic.name).or(refused).or(wrong);
                results.push(code);
                if code.is_none() {
                    let committed = Committed {
                        offset: partition.committed_offset,
                        leader_epoch: partition.committed_leader_epoch,
                        metadata: metadata.to_owned(),
                    };
                    commits.push((topic.name.to_string(), index, committed));
                }
            }
        }
        let stored = if commits.is_empty() {
            Ok(())
        } else {
            self.store_commits(&request.group_id, commits)
        };
        let mut results = results.into_iter();
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let code = results.next().flatten().or(stored.err());
                OffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(code.map_or(0, |code| code.code()))
            });
            OffsetCommitResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        let response = OffsetCommitResponse::default().with_topics(topics.collect());
        finish(&plan, call.encode(&response))
    }

    fn may_commit(&self, request: &OffsetCommitRequest) -> Result<(), ResponseError> {
        if request.group_id.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        let generation = request.generation_id_or_member_epoch;
        let by_group = self.groups.with(&request.group_id, |group, now| {
            group.may_commit(now, &request.member_id, generation)
        });
        match by_group {
            Some(verdict) => verdict,
            // A group without members takes commits of those who are none.
            None if generation < 0 => Ok(()),
            None => Err(ResponseError::UnknownMemberId),
        }
    }

    fn store_commits(
        &self,
        group: &str,
        commits: Vec<(String, i32, Committed)>,
    ) -> Result<(), ResponseError> {
        let store = || {
            let mut offsets = self.groups.offsets();
            offsets.commit(group, commits)?;
            if self.config.fsync == FsyncPolicy::Always {
                offsets
                    .sync()
                    .map_err(crate::error::StoreError::at("offsets"))?;
            }
            Ok::<(), crate::error::StoreError>(())
        };
        let stored = if self.config.fsync == FsyncPolicy::Always {
            tokio::task::block_in_place(store)
        } else {
            store()
        };
        stored.map_err(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                group,
                "commit not stored"
            );
            ResponseError::CoordinatorNotAvailable
        })
    }

    pub(super) async fn offset_fetch(&self, mut call: Call<'_>) -> Result<Answer, Refusal> {
        let request: OffsetFetchRequest = call.decode()?;
        let asked = request.topics.as_deref().unwrap_or_default();
        let names = asked.iter().map(|topic| topic.name.as_str());
        let Some(plan) = self.faulty(&call, names).await else {
            return Ok(Answer::Close);
        };
        let group = request.group_id.as_str();
        if let Some(code) = plan.rejection() {
            let response = refusal(&request, code, call.version);
            return finish(&plan, call.encode(&response));
        }
        let offsets = self.groups.offsets();
        let topics = if let Some(topics) = &request.topics {
            topics
                .iter()
                .map(|topic| {
                    let partitions = topic.partition_indexes.iter().map(|index| {
                        let rejected = plan.rejection_of(&topic.name);
                        let committed = offsets.get(group, &topic.name, *index);
                        let code = rejected.map_or(0, |code| code.code());
                        partition(*index, committed.filter(|_| code == 0)).with_error_code(code)
                    });
                    OffsetFetchResponseTopic::default()
                        .with_name(topic.name.clone())
                        .with_partitions(partitions.collect())
                })
                .collect()
        } else {
            let mut topics: Vec<OffsetFetchResponseTopic> = Vec::new();
            for ((name, index), committed) in offsets.of_group(group) {
                if topics
                    .last()
                    .is_none_or(|topic| topic.name.as_str() != name)
                {
                    let topic = OffsetFetchResponseTopic::default();
                    topics.push(topic.with_name(topic_name(name.clone())));
                }
                if let Some(topic) = topics.last_mut() {
                    topic.partitions.push(partition(*index, Some(committed)));
                }
            }
            topics
        };
        drop(offsets);
        let response = OffsetFetchResponse::default().with_topics(topics);
        finish(&plan, call.encode(&response))
    }
}

fn partition(index: i32, committed: Option<&Committed>) -> OffsetFetchResponsePartition {
    let response = OffsetFetchResponsePartition::default().with_partition_index(index);
    match committed {
        Some(committed) => response
            .with_committed_offset(committed.offset)
            .with_committed_leader_epoch(committed.leader_epoch)
            .with_metadata(Some(text(committed.metadata.clone()))),
        None => response
            .with_committed_offset(-1)
            .with_committed_leader_epoch(-1)
            .with_metadata(Some(text(""))),
    }
}

/// The same error for everything that was asked; since version 2 once for all, too.
fn refusal(request: &OffsetFetchRequest, code: ResponseError, version: i16) -> OffsetFetchResponse {
    let topics = request.topics.iter().flatten().map(|topic| {
        let partitions = topic.partition_indexes.iter();
        let answers = partitions.map(|index| partition(*index, None).with_error_code(code.code()));
        OffsetFetchResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(answers.collect())
    });
    let response = OffsetFetchResponse::default().with_topics(topics.collect());
    if version >= 2 {
        response.with_error_code(code.code())
    } else {
        response
    }
}
