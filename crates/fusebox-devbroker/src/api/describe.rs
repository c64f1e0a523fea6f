//! Questions of operators: settings and groups.

use kafka_protocol::{
    ResponseError,
    messages::{
        DeleteGroupsRequest, DeleteGroupsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
        DescribeGroupsRequest, DescribeGroupsResponse, GroupId, ListGroupsRequest,
        ListGroupsResponse,
        delete_groups_response::DeletableGroupResult,
        describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult},
        describe_groups_response::{DescribedGroup, DescribedGroupMember},
        list_groups_response::ListedGroup,
    },
};

use super::{Answer, Broker, Call, NODE, Refusal, code, finish, text};

/// Kinds of things that have settings.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
/// Where a setting comes from.
const FROM_TOPIC: i8 = 1;
const FROM_BROKER: i8 = 4;

/// A setting: name, value, where it comes from.
type Setting = (&'static str, String, i8);

impl Broker {
    pub(super) async fn describe_configs(&self, mut call: Call<'_>) -> Result<Answer, Refusal> {
        let request: DescribeConfigsRequest = call.decode()?;
        let names = request.resources.iter().map(|r| r.resource_name.as_str());
        let Some(plan) = self.faulty(&call, names).await else {
            return Ok(Answer::Close);
        };
        let results = request.resources.into_iter().map(|asked| {
            let settings = match plan.rejection_of(&asked.resource_name) {
                Some(code) => Err(code),
                None => self.settings_of(asked.resource_type, &asked.resource_name),
            };
            let wanted = |name: &str| {
                let keys = asked.configuration_keys.as_ref();
                // No key is all keys, in either way of saying it.
                keys.is_none_or(|keys| {
                    keys.is_empty() || keys.iter().any(|key| key.as_str() == name)
                })
            };
            let error_code = code(&settings);
            let configs = settings.unwrap_or_default().into_iter();
            let configs = configs.filter(|(name, _, _)| wanted(name)).map(setting);
            DescribeConfigsResult::default()
                .with_error_code(error_code)
                .with_resource_type(asked.resource_type)
                .with_configs(configs.collect())
                .with_resource_name(asked.resource_name)
        });
        let response = DescribeConfigsResponse::default().with_results(results.collect());
        finish(&plan, call.encode(&response))
    }

    fn settings_of(&self, kind: i8, name: &str) -> Result<Vec<Setting>, ResponseError> {
        let no_limit = "-1".to_owned();
        let retention_ms = self.config.retention.map(|retention| retention.as_millis());
        let broker_ms = retention_ms.map_or(no_limit.clone(), |ms| ms.to_string());
        let broker_bytes = self
            .config
            .retention_bytes
            .map_or(no_limit, |bytes| bytes.to_string());
        match kind {
            TOPIC => {
                let topic = self
                    .topics
                    .get(name)
                    .ok_or(ResponseError::UnknownTopicOrPartition)?;
                let or_own = |own: Option<i64>, broker: String| match own {
                    Some(own) => (own.to_string(), FROM_TOPIC),
                    None => (broker, FROM_BROKER),
                };
                let ms = or_own(topic.settings.retention_ms, broker_ms);
                let bytes = or_own(topic.settings.retention_bytes, broker_bytes);
                let longest = self.config.max_batch_bytes.to_string();
                Ok(vec![
                    ("cleanup.policy", "delete".to_owned(), FROM_BROKER),
                    ("max.message.bytes", longest, FROM_BROKER),
                    ("retention.bytes", bytes.0, bytes.1),
                    ("retention.ms", ms.0, ms.1),
                ])
            }
            BROKER if name == NODE.to_string() || name.is_empty() => {
                let partitions = self.config.default_partitions.to_string();
                let auto_create = self.config.auto_create_topics.to_string();
                Ok(vec![
                    ("auto.create.topics.enable", auto_create, FROM_BROKER),
                    ("log.retention.bytes", broker_bytes, FROM_BROKER),
                    ("log.retention.ms", broker_ms, FROM_BROKER),
                    ("num.partitions", partitions, FROM_BROKER),
                ])
            }
            _ => Err(ResponseError::InvalidRequest),
        }
    }

    pub(super) async fn list_groups(&self, mut call: Call<'_>) -> Result<Answer, Refusal> {
        let _request: ListGroupsRequest = call.decode()?;
        let Some(plan) = self.faulty_without_topics(&call).await else {
            return Ok(Answer::Close);
        };
        let groups = self.groups.list().into_iter().map(|(id, kind, _)| {
            ListedGroup::default()
                .with_group_id(GroupId(text(id)))
                .with_protocol_type(text(kind))
        });
        let response = match plan.rejection() {
            Some(code) => ListGroupsResponse::default().with_error_code(code.code()),
            None => ListGroupsResponse::default().with_groups(groups.collect()),
        };
        finish(&plan, call.encode(&response))
    }

    pub(super) async fn describe_groups(&self, mut call: Call<'_>) -> Result<Answer, Refusal> {
        let request: DescribeGroupsRequest = call.decode()?;
        let Some(plan) = self.faulty_without_topics(&call).await else {
            return Ok(Answer::Close);
        };
        let all = self.groups.list();
        let groups = request.groups.into_iter().map(|id| {
            let rejected = plan.rejection().map_or(0, |code| code.code());
            let listed = all.iter().find(|(name, _, _)| *name == id.as_str());
            let described = DescribedGroup::default().with_error_code(rejected);
            let described = match listed {
                Some((_, kind, state)) => described
                    .with_group_state(text(*state))
                    .with_protocol_type(text(kind.clone())),
                None => described.with_group_state(text("Dead")),
            };
            let seen = self.groups.with(&id, |group, _| {
                (group.protocol().to_owned(), group.members())
            });
            let (protocol, members) = seen.unwrap_or_default();
            let members = members.into_iter().map(|member| {
                DescribedGroupMember::default()
                    .with_member_id(text(member.id))
                    .with_client_id(text(member.client_id))
                    .with_client_host(text(member.client_host))
                    .with_member_metadata(member.metadata)
                    .with_member_assignment(member.assignment)
            });
            described
                .with_group_id(id)
                .with_protocol_data(text(protocol))
                .with_members(members.collect())
        });
        let response = DescribeGroupsResponse::default().with_groups(groups.collect());
        finish(&plan, call.encode(&response))
    }

    pub(super) async fn delete_groups(&self, mut call: Call<'_>) -> Result<Answer, Refusal> {
        let request: DeleteGroupsRequest = call.decode()?;
        let Some(plan) = self.faulty_without_topics(&call).await else {
            return Ok(Answer::Close);
        };
        let results = request.groups_names.into_iter().map(|id| {
            let deleted = match plan.rejection() {
                Some(code) => Err(code),
                None => self.groups.delete(&id),
            };
            DeletableGroupResult::default()
                .with_error_code(code(&deleted))
                .with_group_id(id)
        });
        let response = DeleteGroupsResponse::default().with_results(results.collect());
        finish(&plan, call.encode(&response))
    }
}

fn setting((name, value, source): Setting) -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult::default()
        .with_name(text(name))
        .with_value(Some(text(value)))
        .with_read_only(true)
        .with_config_source(source)
}
