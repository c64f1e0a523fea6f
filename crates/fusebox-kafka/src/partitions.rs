//! Where a key lies, and what the brokers know of this producer there.
//!
//! A broker refuses a batch whose number is not the next one, so nothing behind a refused record is
//! appended: that is what keeps the order of a partition. But a broker that knows nothing of a producer
//! takes any number from it. So the first record with a key that this producer sends to a partition goes
//! alone: what comes behind it there waits until it is acknowledged, and from then on the broker counts.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::producer::Partitioner;

/// How long a broker surely remembers a producer that sends it nothing. Kafka's own setting
/// (`producer.id.expiration.ms`) is a day.
const REMEMBERED: Duration = Duration::from_mins(30);

/// What one producer knows of the partitions it sends to; its partitioner, too.
#[derive(Debug, Default)]
pub(crate) struct Partitions {
    topics: Mutex<HashMap<String, Topic>>,
    /// Where the next record without a key goes, if the library asks.
    next: AtomicUsize,
}

#[derive(Debug, Default)]
struct Topic {
    /// 0 until the library has said how many there are.
    count: i32,
    /// A first record is under way to a partition that could not be told yet.
    one_somewhere: bool,
    /// First records under way.
    first: HashSet<i32>,
    /// When a record was acknowledged last.
    acknowledged: HashMap<i32, Instant>,
}

/// A record that is the first one of its partition; tell [`Partitions`] how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    To(i32),
    Somewhere,
}

impl Partitions {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Topic>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a record with this key may be sent now: `Err` while the first one of its partition is
    /// under way; otherwise whether it is such a first one itself.
    pub(crate) fn admit(&self, topic: &str, key: &str, now: Instant) -> Result<Option<First>, ()> {
        let mut topics = self.lock();
        if !topics.contains_key(topic) {
            topics.insert(topic.to_owned(), Topic::default());
        }
        let Some(topic) = topics.get_mut(topic) else {
            return Err(());
        };
        if topic.one_somewhere {
            return Err(());
        }
        if topic.count == 0 {
            topic.one_somewhere = true;
            return Ok(Some(First::Somewhere));
        }
        let partition = partition_of(key.as_bytes(), topic.count);
        let acknowledged = topic.acknowledged.get(&partition);
        if acknowledged.is_some_and(|at| now.saturating_duration_since(*at) < REMEMBERED) {
            return Ok(None);
        }
        if topic.first.insert(partition) {
            Ok(Some(First::To(partition)))
        } else {
            Err(())
        }
    }

    /// A record was acknowledged.
    pub(crate) fn acknowledged(&self, topic: &str, partition: i32, now: Instant) {
        if let Some(topic) = self.lock().get_mut(topic) {
            topic.acknowledged.insert(partition, now);
        }
    }

    /// A first record has ended, one way or the other.
    pub(crate) fn ended(&self, topic: &str, first: First) {
        if let Some(topic) = self.lock().get_mut(topic) {
            match first {
                First::Somewhere => topic.one_somewhere = false,
                First::To(partition) => {
                    topic.first.remove(&partition);
                }
            }
        }
    }
}

impl Partitioner for Partitions {
    fn partition(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        count: i32,
        is_available: impl Fn(i32) -> bool,
    ) -> i32 {
        if let Some(topic) = self.lock().get_mut(topic) {
            topic.count = count;
        }
        if let Some(key) = key {
            return partition_of(key, count);
        }
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let turn = i32::try_from(start % usize::try_from(count).unwrap_or(1).max(1)).unwrap_or(0);
        let mut all = (turn..count).chain(0..turn);
        all.find(|partition| is_available(*partition))
            .unwrap_or(turn)
    }
}

/// Where the Java client puts a key.
fn partition_of(key: &[u8], count: i32) -> i32 {
    let hash = murmur2(key) & 0x7fff_ffff;
    i32::try_from(hash).unwrap_or(0) % count.max(1)
}

/// Austin Appleby's `MurmurHash2`, 32 bits, with the seed of Kafka's Java client.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let mix = |k: u32| {
        let k = k.wrapping_mul(M);
        (k ^ (k >> 24)).wrapping_mul(M)
    };
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let (words, rest) = data.as_chunks::<4>();
    let mut hash = words.iter().fold(SEED ^ length, |hash, word| {
        hash.wrapping_mul(M) ^ mix(u32::from_le_bytes(*word))
    });
    if !rest.is_empty() {
        let last = rest
            .iter()
            .rev()
            .fold(0, |last, byte| last << 8 | u32::from(*byte));
        hash = (hash ^ last).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the tests of Kafka's Java client: a key must lie where every other client looks for it.
    #[test]
    fn keys_are_hashed_as_kafkas_own_client_hashes_them() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    fn learn(partitions: &Partitions, topic: &str, count: i32) {
        let at = partitions.partition(topic, Some(b"any"), count, |_| true);
        assert!((0..count).contains(&at));
    }

    #[test]
    fn the_first_of_a_partition_goes_alone_and_is_followed_when_it_is_acknowledged() {
        let (partitions, now) = (Partitions::default(), Instant::now());
        // Nothing is known of the topic: one record, whatever its key.
        assert_eq!(partitions.admit("t", "a", now), Ok(Some(First::Somewhere)));
        assert_eq!(partitions.admit("t", "d", now), Err(()));
        assert_eq!(partitions.admit("u", "d", now), Ok(Some(First::Somewhere)));
        // The library has learnt of the partitions; the one under way may lie in any of them.
        learn(&partitions, "t", 2);
        assert_eq!(partitions.admit("t", "d", now), Err(()));
        let (a, b) = (partition_of(b"a", 2), partition_of(b"d", 2));
        assert_ne!(a, b, "choose other keys");
        partitions.acknowledged("t", a, now);
        partitions.ended("t", First::Somewhere);
        assert_eq!(partitions.admit("t", "a", now), Ok(None));
        assert_eq!(partitions.admit("t", "d", now), Ok(Some(First::To(b))));
        assert_eq!(partitions.admit("t", "d", now), Err(()));
        assert_eq!(partitions.admit("t", "a", now), Ok(None));
        // It did not arrive: the next one is a first one again.
        partitions.ended("t", First::To(b));
        assert_eq!(partitions.admit("t", "d", now), Ok(Some(First::To(b))));
        partitions.acknowledged("t", b, now);
        partitions.ended("t", First::To(b));
        assert_eq!(partitions.admit("t", "d", now), Ok(None));
        assert_eq!(
            partitions.admit("t", "d", now + REMEMBERED),
            Ok(Some(First::To(b))),
            "a broker was believed to remember for ever"
        );
    }

    #[test]
    fn records_without_a_key_go_round_the_partitions_that_have_a_leader() {
        let partitions = Partitions::default();
        let places: Vec<_> = (0..6)
            .map(|_| partitions.partition("t", None, 3, |partition| partition != 1))
            .collect();
        assert_eq!(places, [0, 2, 2, 0, 2, 2]);
        assert_eq!(partitions.partition("t", None, 3, |_| false), 0);
    }
}
