//! The topics: which there are, their settings, and their partitions.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use bytes::{Buf as _, BufMut as _};

use crate::{
    config::{DevBrokerConfig, NewTopic},
    error::{StoreError, TopicError},
    log::{LogOptions, PartitionLog, RecoveryReport},
    store::{Magic, put_text, read_sealed, replace, seal, take_text},
};

const MAGIC: Magic = *b"FBXTOPIC";
/// Partitions of one topic.
const MAX_PARTITIONS: i32 = 1000;
/// Partitions of all topics.
const MAX_PARTITIONS_IN_ALL: usize = 10_000;
/// Longest name, as Kafka has it.
const MAX_NAME: usize = 249;

/// Settings of a topic that differ from the broker's. -1 means no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TopicSettings {
    /// `retention.ms`
    pub(crate) retention_ms: Option<i64>,
    /// `retention.bytes`
    pub(crate) retention_bytes: Option<i64>,
}

impl TopicSettings {
    /// Takes a setting by its name in Kafka.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), TopicError> {
        let number = value.parse::<i64>().ok().filter(|number| *number >= -1);
        match (name, number) {
            ("retention.ms", Some(number)) => self.retention_ms = Some(number),
            ("retention.bytes", Some(number)) => self.retention_bytes = Some(number),
            ("cleanup.policy", _) if value == "delete" => {}
            _ => {
                return Err(TopicError::Setting {
                    name: name.to_owned(),
                    value: value.to_owned(),
                });
            }
        }
        Ok(())
    }
}

/// A topic.
#[derive(Debug)]
pub(crate) struct Topic {
    /// Number of its folder: one that is made again after it was deleted has another.
    number: u64,
    /// What differs from the broker's settings.
    pub(crate) settings: TopicSettings,
    partitions: Vec<Mutex<PartitionLog>>,
}

impl Topic {
    /// Number of partitions.
    pub(crate) fn partitions(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }

    /// The log of a partition, if there is such a partition.
    pub(crate) fn log(&self, partition: i32) -> Option<MutexGuard<'_, PartitionLog>> {
        let partition = self.partitions.get(usize::try_from(partition).ok()?)?;
        Some(lock(partition))
    }

    fn logs(&self) -> impl Iterator<Item = MutexGuard<'_, PartitionLog>> {
        self.partitions.iter().map(lock)
    }
}

fn lock(log: &Mutex<PartitionLog>) -> MutexGuard<'_, PartitionLog> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All topics.
#[derive(Debug)]
pub(crate) struct Topics {
    folder: PathBuf,
    options: LogOptions,
    retention_bytes: Option<u64>,
    retention: Option<Duration>,
    map: RwLock<BTreeMap<String, Arc<Topic>>>,
    /// Number of the next folder. Whoever holds it may change the list.
    next_number: Mutex<u64>,
}

impl Topics {
    /// Opens the topics in `folder` and checks their logs.
    pub(crate) fn open(
        folder: &Path,
        config: &DevBrokerConfig,
    ) -> Result<(Self, RecoveryReport), StoreError> {
        let options = LogOptions {
            segment_bytes: config.segment_bytes,
            max_batch_bytes: config.max_batch_bytes,
            fsync: config.fsync,
        };
        let logs = folder.join("logs");
        let list = folder.join("topics");
        let (next_number, listed) = match read_sealed(&list, MAGIC)? {
            Some(body) => parse(&body).ok_or(StoreError::Damaged {
                path: list,
                reason: "an entry makes no sense",
            })?,
            None if logs.exists() => {
                // Without the list, every log would look deleted.
                return Err(StoreError::Damaged {
                    path: list,
                    reason: "it is missing",
                });
            }
            None => (0, Vec::new()),
        };
        let mut topics = Self {
            folder: folder.to_owned(),
            options,
            retention_bytes: config.retention_bytes,
            retention: config.retention,
            map: RwLock::default(),
            next_number: Mutex::new(next_number),
        };
        let mut report = RecoveryReport::default();
        let mut map = BTreeMap::new();
        for listed in listed {
            let (topic, recovered) = topics.open_topic(&listed)?;
            report.add(recovered);
            map.insert(listed.name, Arc::new(topic));
        }
        *topics.map.get_mut().unwrap_or_else(PoisonError::into_inner) = map;
        topics.write_list(next_number)?;
        fs::create_dir_all(&logs).map_err(StoreError::at(&logs))?;
        topics.remove_leftovers()?;
        Ok((topics, report))
    }

    fn open_topic(&self, listed: &Listed) -> Result<(Topic, RecoveryReport), StoreError> {
        let mut report = RecoveryReport::default();
        let mut partitions = Vec::new();
        for partition in 0..listed.partitions {
            let folder = self
                .topic_folder(&listed.name, listed.number)
                .join(partition.to_string());
            let (log, recovered) =
                PartitionLog::open(folder.clone(), self.options).map_err(StoreError::at(folder))?;
            report.add(recovered);
            partitions.push(Mutex::new(log));
        }
        let topic = Topic {
            number: listed.number,
            settings: listed.settings,
            partitions,
        };
        Ok((topic, report))
    }

    fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// No topic can have a `~` in its name.
    fn topic_folder(&self, name: &str, number: u64) -> PathBuf {
        self.logs().join(format!("{name}~{number}"))
    }

    /// A topic.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.read().get(name).cloned()
    }

    /// All topics, by name.
    pub(crate) fn all(&self) -> Vec<(String, Arc<Topic>)> {
        self.read()
            .iter()
            .map(|(name, topic)| (name.clone(), Arc::clone(topic)))
            .collect()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Arc<Topic>>> {
        self.map.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a topic like this could be made.
    pub(crate) fn check(&self, new: &NewTopic) -> Result<(), TopicError> {
        let name = new.name.as_str();
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty()
            || name.len() > MAX_NAME
            || [".", ".."].contains(&name)
            || !name.chars().all(legal)
        {
            return Err(TopicError::Name(name.to_owned()));
        }
        let map = self.read();
        if map.contains_key(name) {
            return Err(TopicError::Exists(name.to_owned()));
        }
        let there: usize = map.values().map(|topic| topic.partitions.len()).sum();
        let asked = usize::try_from(new.partitions).unwrap_or(0);
        if !(1..=MAX_PARTITIONS).contains(&new.partitions) || there + asked > MAX_PARTITIONS_IN_ALL
        {
            return Err(TopicError::Partitions(new.partitions));
        }
        Ok(())
    }

    /// Makes topics, all of them or none.
    pub(crate) fn create(&self, new: &[(NewTopic, TopicSettings)]) -> Result<(), TopicError> {
        let mut next_number = self
            .next_number
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut numbered = *next_number;
        let mut made = Vec::new();
        for (new, settings) in new {
            self.check(new)?;
            let listed = Listed {
                name: new.name.clone(),
                number: numbered,
                partitions: new.partitions,
                settings: *settings,
            };
            let (topic, _) = self.open_topic(&listed)?;
            numbered += 1;
            made.push((listed.name, Arc::new(topic)));
        }
        let names: Vec<String> = made.iter().map(|(name, _)| name.clone()).collect();
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        map.extend(made);
        let written = write_list(&self.folder, numbered, &map);
        match written {
            Ok(()) => *next_number = numbered,
            Err(error) => {
                map.retain(|name, _| !names.contains(name));
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Deletes a topic and its records.
    pub(crate) fn delete(&self, name: &str) -> Result<(), TopicError> {
        let next_number = self
            .next_number
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let Some(topic) = map.remove(name) else {
            return Err(TopicError::Unknown(name.to_owned()));
        };
        if let Err(error) = write_list(&self.folder, *next_number, &map) {
            map.insert(name.to_owned(), topic);
            return Err(error.into());
        }
        drop(map);
        for mut log in topic.logs() {
            log.close_for_deletion();
        }
        let folder = self.topic_folder(name, topic.number);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                // The list is what counts; the rest is removed at the next start.
                tracing::warn!(%error, ?folder, "deleted topic's folder not removed");
            }
            _ => {}
        }
        Ok(())
    }

    fn write_list(&self, next_number: u64) -> Result<(), StoreError> {
        write_list(&self.folder, next_number, &self.read())
    }

    /// Removes folders of topics that were deleted just before a crash.
    fn remove_leftovers(&self) -> Result<(), StoreError> {
        let logs = self.logs();
        let expected: Vec<PathBuf> = self
            .read()
            .iter()
            .map(|(name, topic)| self.topic_folder(name, topic.number))
            .collect();
        let remove = || {
            for entry in fs::read_dir(&logs)? {
                let path = entry?.path();
                if !expected.contains(&path) {
                    fs::remove_dir_all(path)?;
                }
            }
            Ok(())
        };
        remove().map_err(StoreError::at(&logs))
    }

    /// Deletes old segments of all topics.
    pub(crate) fn retain(&self, now_ms: i64) {
        for (name, topic) in self.all() {
            let bytes = limit(topic.settings.retention_bytes, self.retention_bytes);
            let default_ms = self
                .retention
                .map(|retention| u64::try_from(retention.as_millis()).unwrap_or(u64::MAX));
            let oldest = limit(topic.settings.retention_ms, default_ms)
                .map(|ms| now_ms.saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX)));
            for (partition, mut log) in topic.logs().enumerate() {
                match log.retain(bytes, oldest) {
                    Ok(0) => {}
                    Ok(segments) => {
                        tracing::debug!(topic = name, partition, segments, "old segments deleted");
                    }
                    Err(error) => {
                        tracing::warn!(%error, topic = name, partition, "retention failed");
                    }
                }
            }
        }
    }

    /// Makes all that was written survive a loss of power.
    pub(crate) fn sync(&self) -> io::Result<()> {
        for (_, topic) in self.all() {
            for mut log in topic.logs() {
                log.sync()?;
            }
        }
        Ok(())
    }

    /// The highest producer id in any log.
    pub(crate) fn highest_producer_id(&self) -> Option<i64> {
        let all = self.all();
        let ids = all
            .iter()
            .flat_map(|(_, topic)| topic.logs().filter_map(|log| log.highest_producer_id()));
        ids.max()
    }
}

/// The topic's limit or the broker's; -1 is none.
pub(crate) fn limit(topic: Option<i64>, broker: Option<u64>) -> Option<u64> {
    match topic {
        Some(own) => u64::try_from(own).ok(),
        None => broker,
    }
}

#[derive(Debug)]
struct Listed {
    name: String,
    number: u64,
    partitions: i32,
    settings: TopicSettings,
}

fn write_list(
    folder: &Path,
    next_number: u64,
    topics: &BTreeMap<String, Arc<Topic>>,
) -> Result<(), StoreError> {
    let listed = topics.iter().map(|(name, topic)| Listed {
        name: name.clone(),
        number: topic.number,
        partitions: topic.partitions(),
        settings: topic.settings,
    });
    let body = render(next_number, listed);
    replace(&folder.join("topics"), &seal(MAGIC, &body))
}

/// What stands for "as the broker has it": no setting can have this value.
const UNSET: i64 = i64::MIN;

fn render(next_number: u64, topics: impl Iterator<Item = Listed>) -> Vec<u8> {
    let mut body = Vec::new();
    body.put_u64_le(next_number);
    for topic in topics {
        put_text(&mut body, &topic.name);
        body.put_u64_le(topic.number);
        body.put_i32_le(topic.partitions);
        body.put_i64_le(topic.settings.retention_ms.unwrap_or(UNSET));
        body.put_i64_le(topic.settings.retention_bytes.unwrap_or(UNSET));
    }
    body
}

fn parse(mut body: &[u8]) -> Option<(u64, Vec<Listed>)> {
    let body = &mut body;
    let next_number = body.try_get_u64_le().ok()?;
    let mut topics = Vec::new();
    let set = |value| (value != UNSET).then_some(value);
    while !body.is_empty() {
        topics.push(Listed {
            name: take_text(body)?,
            number: body.try_get_u64_le().ok()?,
            partitions: body.try_get_i32_le().ok()?,
            settings: TopicSettings {
                retention_ms: set(body.try_get_i64_le().ok()?),
                retention_bytes: set(body.try_get_i64_le().ok()?),
            },
        });
    }
    Some((next_number, topics))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::batch::tests::batch;

    fn open(folder: &Path) -> Topics {
        Topics::open(folder, &DevBrokerConfig::temporary())
            .unwrap()
            .0
    }

    fn create(topics: &Topics, name: &str, partitions: i32) -> Result<(), TopicError> {
        topics.create(&[(NewTopic::new(name, partitions), TopicSettings::default())])
    }

    fn names(topics: &Topics) -> Vec<(String, i32)> {
        let all = topics.all().into_iter();
        all.map(|(name, topic)| (name, topic.partitions()))
            .collect()
    }

    #[test]
    fn topics_and_their_settings_are_there_again() {
        let dir = tempfile::tempdir().unwrap();
        let topics = open(dir.path());
        let mut settings = TopicSettings::default();
        settings.set("retention.ms", "60000").unwrap();
        settings.set("retention.bytes", "-1").unwrap();
        settings.set("cleanup.policy", "delete").unwrap();
        topics.create(&[(NewTopic::new("a", 2), settings)]).unwrap();
        create(&topics, "b", 1).unwrap();
        drop(topics);
        let topics = open(dir.path());
        assert_eq!(names(&topics), [("a".to_owned(), 2), ("b".to_owned(), 1)]);
        assert_eq!(topics.get("a").unwrap().settings, settings);
        assert_eq!(topics.get("b").unwrap().settings, TopicSettings::default());
    }

    #[test]
    fn a_topic_made_again_is_empty_and_what_deletion_left_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let topics = open(dir.path());
        create(&topics, "t", 1).unwrap();
        let old = topics.get("t").unwrap();
        old.log(0)
            .unwrap()
            .append(&batch(&["v"], -1, -1, -1))
            .unwrap();
        topics.delete("t").unwrap();
        assert!(matches!(topics.delete("t"), Err(TopicError::Unknown(_))));
        // Whoever still holds it can do no harm.
        old.log(0)
            .unwrap()
            .append(&batch(&["v"], -1, -1, -1))
            .unwrap_err();
        create(&topics, "t", 1).unwrap();
        assert_eq!(topics.get("t").unwrap().log(0).unwrap().end(), 0);
        drop(topics);
        let left = dir.path().join("logs").join("t~0").join("0");
        fs::create_dir_all(&left).unwrap();
        let topics = open(dir.path());
        assert!(!left.exists());
        assert_eq!(names(&topics), [("t".to_owned(), 1)]);
    }

    #[test]
    fn what_cannot_be_made_is_refused_and_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let topics = open(dir.path());
        for name in ["", ".", "..", "a/b", "a~1", "é", &"x".repeat(250)] {
            assert!(
                matches!(create(&topics, name, 1), Err(TopicError::Name(_))),
                "{name}"
            );
        }
        for partitions in [0, -1, 1001] {
            let refused = create(&topics, "t", partitions);
            assert!(matches!(refused, Err(TopicError::Partitions(_))));
        }
        let twice = ["x", "../y"].map(|n| (NewTopic::new(n, 1), TopicSettings::default()));
        topics.create(&twice).unwrap_err();
        assert!(names(&topics).is_empty());
        let mut settings = TopicSettings::default();
        for (name, value) in [
            ("cleanup.policy", "compact"),
            ("retention.ms", "x"),
            ("y", "1"),
        ] {
            settings.set(name, value).unwrap_err();
        }
    }

    #[test]
    fn without_its_list_a_store_is_not_taken_for_empty() {
        let dir = tempfile::tempdir().unwrap();
        create(&open(dir.path()), "t", 1).unwrap();
        fs::remove_file(dir.path().join("topics")).unwrap();
        let error = Topics::open(dir.path(), &DevBrokerConfig::temporary()).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }));
    }

    #[test]
    fn the_list_looks_like_this() {
        let listed = Listed {
            name: "t".to_owned(),
            number: 7,
            partitions: 3,
            settings: TopicSettings {
                retention_ms: Some(1),
                retention_bytes: None,
            },
        };
        let golden = b"\x08\0\0\0\0\0\0\0\x01\0t\x07\0\0\0\0\0\0\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x80";
        assert_eq!(render(8, std::iter::once(listed)), golden);
    }
}
