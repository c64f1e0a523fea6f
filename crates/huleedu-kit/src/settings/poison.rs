//! What happens behind an event that Kafka refuses for good.

use std::collections::BTreeMap;

use fusebox_kafka::{DrainerConfig, PoisonPolicy};
use huleedu_contracts::topics::Topic;

use super::{reader::SettingsReader, value::SettingValue};

/// The policy for all topics, and for single ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoisonSettings {
    /// Where a topic has none of its own.
    pub policy: PoisonPolicy,
    /// By topic.
    pub by_topic: PolicyByTopic,
}

/// Policies of single topics: `TOPIC=POLICY`, with commas between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyByTopic(BTreeMap<String, PoisonPolicy>);

impl PoisonSettings {
    pub(super) fn load(r: &mut SettingsReader<'_>) -> Self {
        Self {
            policy: r.get(
                "KAFKA_POISON_POLICY",
                PoisonPolicy::Skip,
                "behind an event that Kafka refuses for good: skip (a dead letter, the next ones go on), \
                 block-key or block-topic (it and those behind it wait for `huleedu blocked`)",
            ),
            by_topic: r.get(
                "KAFKA_POISON_POLICY_BY_TOPIC",
                PolicyByTopic::default(),
                "the same for single topics, as TOPIC=POLICY with commas between",
            ),
        }
    }

    /// Lets a drainer act by it.
    pub fn apply_to(&self, config: &mut DrainerConfig) {
        config.poison = self.policy;
        config.poison_by_topic = self
            .by_topic
            .0
            .iter()
            .map(|(topic, policy)| (topic.clone(), *policy))
            .collect();
    }
}

impl SettingValue for PoisonPolicy {
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "skip" => Ok(Self::Skip),
            "block-key" => Ok(Self::BlockKey),
            "block-topic" => Ok(Self::BlockTopic),
            _ => Err("skip, block-key or block-topic".to_owned()),
        }
    }
    fn show(&self) -> String {
        match self {
            Self::Skip => "skip",
            Self::BlockKey => "block-key",
            Self::BlockTopic => "block-topic",
        }
        .to_owned()
    }
}

impl SettingValue for PolicyByTopic {
    fn parse(text: &str) -> Result<Self, String> {
        let mut all = BTreeMap::new();
        for pair in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (topic, policy) = pair.split_once('=').ok_or(
                "TOPIC=POLICY, with commas between; the policy is skip, block-key or block-topic",
            )?;
            let (topic, policy) = (topic.trim(), policy.trim());
            // A misspelt one would silently hold nothing up.
            if topic
                .strip_suffix(".DLQ")
                .unwrap_or(topic)
                .parse::<Topic>()
                .is_err()
            {
                return Err(format!(
                    "topics of the platform, also with .DLQ; `{topic}` is none"
                ));
            }
            let policy = PoisonPolicy::parse(policy)
                .map_err(|allowed| format!("for {topic}: {allowed}; not `{policy}`"))?;
            if all.insert(topic.to_owned(), policy).is_some() {
                return Err(format!("each topic once; {topic} is there twice"));
            }
        }
        Ok(Self(all))
    }
    fn show(&self) -> String {
        if self.0.is_empty() {
            return "(none)".to_owned();
        }
        let pairs = self.0.iter();
        let pairs = pairs.map(|(topic, policy)| format!("{topic}={}", policy.show()));
        pairs.collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        service::ServiceId,
        settings::{Env, SettingsError},
    };

    fn load(env: &Env) -> Result<DrainerConfig, SettingsError> {
        let mut reader = SettingsReader::new(ServiceId::File, env);
        let settings = PoisonSettings::load(&mut reader);
        reader.finish()?;
        let mut config = DrainerConfig::default();
        settings.apply_to(&mut config);
        Ok(config)
    }

    #[test]
    fn a_policy_holds_for_all_topics_and_another_one_for_those_that_are_named() {
        let config = load(&Env::empty()).unwrap();
        assert_eq!(config.poison, PoisonPolicy::Skip);
        assert!(config.poison_by_topic.is_empty());
        let (class, file) = (Topic::ClassCreated, Topic::BatchFileAdded);
        let env = Env::empty().with("KAFKA_POISON_POLICY", "Block-Key").with(
            "FILE_SERVICE_KAFKA_POISON_POLICY_BY_TOPIC",
            format!(" {class}=block-topic , {file}.DLQ=skip,"),
        );
        let config = load(&env).unwrap();
        assert_eq!(config.poison, PoisonPolicy::BlockKey);
        let of = |topic: String| config.poison_by_topic.get(&topic).copied();
        assert_eq!(of(class.to_string()), Some(PoisonPolicy::BlockTopic));
        assert_eq!(of(format!("{file}.DLQ")), Some(PoisonPolicy::Skip));
        assert_eq!(config.poison_by_topic.len(), 2);
    }

    #[test]
    fn what_would_hold_nothing_up_is_refused() {
        let class = Topic::ClassCreated;
        for (text, part) in [
            ("block-key".to_owned(), "TOPIC=POLICY"),
            (format!("{class}x=skip"), "is none"),
            (format!("{class}=stop"), "not `stop`"),
            (format!("{class}=skip,{class}=block-key"), "there twice"),
        ] {
            let env = Env::empty().with("KAFKA_POISON_POLICY_BY_TOPIC", &text);
            let error = load(&env).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        let env = Env::empty().with("KAFKA_POISON_POLICY", "block");
        let error = load(&env).unwrap_err().to_string();
        assert!(
            error.contains(
                "KAFKA_POISON_POLICY is `block`; allowed: skip, block-key or block-topic"
            ),
            "{error}"
        );
    }
}
