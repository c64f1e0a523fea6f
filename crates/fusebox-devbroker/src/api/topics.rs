//! Making and deleting topics.

use kafka_protocol::{
    ResponseError,
    messages::{
        CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
        create_topics_request::CreatableTopic, create_topics_response::CreatableTopicResult,
        delete_topics_response::DeletableTopicResult,
    },
};

use super::{Answer, Broker, Call, Refusal, finish, text};
use crate::{config::NewTopic, error::TopicError, topics::TopicSettings};

/// What a client is told and shown when a topic is not made.
struct Refused {
    code: ResponseError,
    message: String,
}

impl From<TopicError> for Refused {
    fn from(error: TopicError) -> Self {
        Self {
            code: topic_code(&error),
            message: error.to_string(),
        }
    }
}

/// The code that stands for an error of topics.
pub(super) fn topic_code(error: &TopicError) -> ResponseError {
    match error {
        TopicError::Exists(_) => ResponseError::TopicAlreadyExists,
        TopicError::Unknown(_) => ResponseError::UnknownTopicOrPartition,
        TopicError::Name(_) => ResponseError::InvalidTopicException,
        TopicError::Partitions(_) => ResponseError::InvalidPartitions,
        TopicError::Setting { .. } => ResponseError::InvalidConfig,
        TopicError::Store(_) => ResponseError::KafkaStorageError,
    }
}

impl Broker {
    pub(super) async fn create_topics(&self, mut call: Call<'_>) -> Result<Answer, Refusal> {
        let request: CreateTopicsRequest = call.decode()?;
        let names = request.topics.iter().map(|topic| topic.name.as_str());
        let Some(plan) = self.faulty(&call, names).await else {
            return Ok(Answer::Close);
        };
        let topics = request.topics.into_iter().map(|asked| {
            let made = match plan.rejection_of(&asked.name) {
                Some(code) => Err(Refused {
                    code,
                    message: code.to_string(),
                }),
                None => self.create_one(&asked, request.validate_only),
            };
            let response = CreatableTopicResult::default().with_name(asked.name);
            match made {
                Ok(()) => response,
                Err(refused) => response
                    .with_error_code(refused.code.code())
                    .with_error_message(Some(text(refused.message))),
            }
        });
        let response = CreateTopicsResponse::default().with_topics(topics.collect());
        finish(&plan, call.encode(&response))
    }

    fn create_one(&self, asked: &CreatableTopic, validate_only: bool) -> Result<(), Refused> {
        if ![-1, 1].contains(&asked.replication_factor) && asked.assignments.is_empty() {
            return Err(Refused {
                code: ResponseError::InvalidReplicationFactor,
                message: "there is one broker; the replication factor must be 1".to_owned(),
            });
        }
        let partitions = match (asked.num_partitions, asked.assignments.len()) {
            (-1, 0) => self.config.default_partitions,
            (-1, assigned) => i32::try_from(assigned).unwrap_or(i32::MAX),
            (number, _) => number,
        };
        let mut settings = TopicSettings::default();
        for setting in &asked.configs {
            if let Some(value) = &setting.value {
                settings.set(&setting.name, value)?;
            }
        }
        let new = NewTopic::new(asked.name.as_str(), partitions);
        if validate_only {
            self.topics.check(&new)?;
        } else {
            self.topics.create(&[(new, settings)])?;
        }
        Ok(())
    }

    pub(super) async fn delete_topics(&self, mut call: Call<'_>) -> Result<Answer, Refusal> {
        let request: DeleteTopicsRequest = call.decode()?;
        let names = request.topic_names.iter().map(|name| name.as_str());
        let Some(plan) = self.faulty(&call, names).await else {
            return Ok(Answer::Close);
        };
        let responses = request.topic_names.into_iter().map(|name| {
            let deleted = match plan.rejection_of(&name) {
                Some(code) => Err(code),
                None => self.delete_topic(&name).map_err(|error| topic_code(&error)),
            };
            DeletableTopicResult::default()
                .with_error_code(super::code(&deleted))
                .with_name(Some(name))
        });
        let response = DeleteTopicsResponse::default().with_responses(responses.collect());
        finish(&plan, call.encode(&response))
    }

    /// Deletes a topic and what was committed for it.
    pub(crate) fn delete_topic(&self, name: &str) -> Result<(), TopicError> {
        self.topics.delete(name)?;
        self.groups.offsets().forget_topic(name)?;
        // Those who wait for its records are told.
        self.appended.notify_waiters();
        Ok(())
    }
}
