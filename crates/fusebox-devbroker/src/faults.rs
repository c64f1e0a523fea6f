//! Faults on demand: what a test wants the broker to do wrong.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kafka_protocol::{ResponseError, messages::ApiKey};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Faults that are set at once, at most.
const MAX_FAULTS: usize = 1000;

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// The request is done, but instead of its answer the connection is closed: the client does not
    /// know what became of it.
    DropAnswer,
    /// The request is not done; the connection is closed.
    Cut,
    /// The request is not done; it is answered with this error. With a topic, only that topic's part
    /// of the request; `ApiVersions` and requests that name no topic ignore one.
    Reject(ResponseError),
    /// The request is done after this time. Requests behind it on the same connection wait, too.
    Delay(Duration),
    /// A question for metadata is answered as by a cluster that has just taken all its brokers for dead: no
    /// broker, and no partition has a leader. No other request is touched.
    NoBrokers,
}

/// Which requests go wrong, of those that fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum When {
    /// Every one.
    Always,
    /// The next so many.
    Next(u64),
    /// The n-th from now, counted from 1, and no other.
    Nth(u64),
    /// Every n-th from now.
    Every(u64),
}

impl When {
    /// Whether the `count`-th request, counted from 1, is one.
    fn fires(self, count: u64) -> bool {
        match self {
            Self::Always => true,
            Self::Next(n) => count <= n,
            Self::Nth(n) => count == n,
            Self::Every(n) => n > 0 && count.is_multiple_of(n),
        }
    }
}

/// One thing that is to go wrong.
#[derive(Debug, Clone)]
pub struct Fault {
    api: ApiKey,
    topic: Option<String>,
    when: When,
    effect: Effect,
}

impl Fault {
    /// This happens to every request of this kind.
    pub fn new(api: ApiKey, effect: Effect) -> Self {
        Self {
            api,
            topic: None,
            when: When::Always,
            effect,
        }
    }

    /// Only to requests that name this topic.
    #[must_use]
    pub fn on_topic(mut self, topic: impl Into<String>) -> Self {
        self.topic = Some(topic.into());
        self
    }

    /// Only to some of them.
    #[must_use]
    pub fn when(mut self, when: When) -> Self {
        self.when = when;
        self
    }
}

/// A fault that is set. It stays set when this is dropped.
#[derive(Debug, Clone)]
pub struct SetFault {
    id: u64,
    fired: Arc<AtomicU64>,
}

impl SetFault {
    /// How often it has happened.
    pub fn fired(&self) -> u64 {
        self.fired.load(Ordering::Acquire)
    }
}

#[derive(Debug)]
struct Rule {
    id: u64,
    fault: Fault,
    seen: u64,
    fired: Arc<AtomicU64>,
}

/// The faults of a broker. Clones are the same.
#[derive(Debug, Clone)]
pub struct Faults {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    rules: Mutex<Rules>,
    frozen: watch::Sender<bool>,
    refusing: watch::Sender<bool>,
    /// Cancelled to cut all connections there are, and then replaced.
    connections: Mutex<CancellationToken>,
}

#[derive(Debug, Default)]
struct Rules {
    next_id: u64,
    rules: Vec<Rule>,
}

impl Faults {
    pub(crate) fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                rules: Mutex::default(),
                frozen: watch::Sender::new(false),
                refusing: watch::Sender::new(false),
                connections: Mutex::default(),
            }),
        }
    }

    /// Sets a fault. Several that fit one request all happen to it; of several errors the first set
    /// is answered. Of more than 1000 the oldest are forgotten.
    pub fn set(&self, fault: Fault) -> SetFault {
        let mut rules = self.rules();
        rules.next_id += 1;
        let set = SetFault {
            id: rules.next_id,
            fired: Arc::default(),
        };
        if rules.rules.len() >= MAX_FAULTS {
            rules.rules.remove(0);
        }
        rules.rules.push(Rule {
            id: set.id,
            fault,
            seen: 0,
            fired: Arc::clone(&set.fired),
        });
        set
    }

    /// Takes a fault back.
    pub fn unset(&self, fault: &SetFault) {
        self.rules().rules.retain(|rule| rule.id != fault.id);
    }

    /// Takes everything back: no faults, not frozen, connections taken.
    pub fn clear(&self) {
        self.rules().rules.clear();
        self.thaw();
        self.heal();
    }

    /// From now on nothing is read and nothing answered, but connections stay and new ones are
    /// taken: a broker that hangs.
    pub fn freeze(&self) {
        self.shared.frozen.send_replace(true);
    }

    /// Goes on where it was frozen.
    pub fn thaw(&self) {
        self.shared.frozen.send_replace(false);
    }

    /// Closes all connections there are.
    pub fn cut_connections(&self) {
        let mut connections = lock(&self.shared.connections);
        std::mem::take(&mut *connections).cancel();
    }

    /// Refuses new connections, as if nobody listened. Those there are stay.
    pub fn refuse_connections(&self) {
        self.shared.refusing.send_replace(true);
    }

    /// Refuses new connections and closes those there are: a broker that is away.
    pub fn outage(&self) {
        self.refuse_connections();
        self.cut_connections();
    }

    /// Takes connections again.
    pub fn heal(&self) {
        self.shared.refusing.send_replace(false);
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        lock(&self.shared.rules)
    }

    /// What happens to a request of this kind that names these topics.
    pub(crate) fn plan<'a>(
        &self,
        api: ApiKey,
        topics: &(impl Iterator<Item = &'a str> + Clone),
    ) -> Plan {
        let mut plan = Plan::default();
        for rule in &mut self.rules().rules {
            let Fault {
                api: of,
                topic,
                when,
                effect,
            } = &rule.fault;
            let fits = *of == api
                && topic
                    .as_deref()
                    .is_none_or(|wanted| topics.clone().any(|topic| topic == wanted));
            if !fits {
                continue;
            }
            rule.seen += 1;
            if !when.fires(rule.seen) {
                continue;
            }
            rule.fired.fetch_add(1, Ordering::AcqRel);
            match *effect {
                Effect::DropAnswer => plan.drop_answer = true,
                Effect::Cut => plan.cut = true,
                Effect::Reject(code) => plan.rejections.push((topic.clone(), code)),
                Effect::Delay(delay) => plan.delay = plan.delay.saturating_add(delay),
                Effect::NoBrokers => plan.no_brokers = true,
            }
        }
        plan
    }

    /// Returns at once unless frozen, then when no longer.
    pub(crate) async fn thawed(&self) {
        let mut frozen = self.shared.frozen.subscribe();
        // The sender is in `self`, so it is not closed while this waits.
        drop(frozen.wait_for(|frozen| !frozen).await);
    }

    /// Tells whether connections are refused, and of changes.
    pub(crate) fn refusing(&self) -> watch::Receiver<bool> {
        self.shared.refusing.subscribe()
    }

    /// Cancelled when the connection is to be cut.
    pub(crate) fn connection(&self) -> CancellationToken {
        lock(&self.shared.connections).child_token()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What happens to one request.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) delay: Duration,
    pub(crate) cut: bool,
    pub(crate) drop_answer: bool,
    pub(crate) no_brokers: bool,
    rejections: Vec<(Option<String>, ResponseError)>,
}

impl Plan {
    /// The error for the whole request.
    pub(crate) fn rejection(&self) -> Option<ResponseError> {
        let mut rejections = self.rejections.iter();
        rejections
            .find(|(topic, _)| topic.is_none())
            .map(|(_, code)| *code)
    }

    /// The error for a topic's part of the request.
    pub(crate) fn rejection_of(&self, name: &str) -> Option<ResponseError> {
        let mut rejections = self.rejections.iter();
        rejections
            .find(|(topic, _)| topic.as_deref().is_none_or(|topic| topic == name))
            .map(|(_, code)| *code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fires(when: When) -> Vec<u64> {
        (1..=7).filter(|count| when.fires(*count)).collect()
    }

    #[test]
    fn each_kind_of_when_fires_when_it_says() {
        assert_eq!(fires(When::Always), [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(fires(When::Next(2)), [1, 2]);
        assert_eq!(fires(When::Nth(3)), [3]);
        assert_eq!(fires(When::Every(3)), [3, 6]);
        assert!(fires(When::Every(0)).is_empty());
    }

    #[test]
    fn a_fault_counts_only_what_fits() {
        let faults = Faults::new();
        let code = ResponseError::InvalidRecord;
        let fault = Fault::new(ApiKey::Produce, Effect::Reject(code));
        let set = faults.set(fault.on_topic("a").when(When::Nth(2)));
        let plan = |api, topics: &[&str]| faults.plan(api, &topics.iter().copied());
        assert_eq!(plan(ApiKey::Produce, &["a", "b"]).rejection_of("a"), None);
        assert_eq!(plan(ApiKey::Fetch, &["a"]).rejection_of("a"), None);
        assert_eq!(plan(ApiKey::Produce, &["b"]).rejection_of("b"), None);
        let second = plan(ApiKey::Produce, &["a", "b"]);
        assert_eq!(second.rejection_of("a"), Some(code));
        assert_eq!(second.rejection_of("b"), None);
        assert_eq!(second.rejection(), None);
        assert_eq!(set.fired(), 1);
        faults.unset(&set);
        assert!(faults.rules().rules.is_empty());
    }

    #[test]
    fn several_faults_of_one_request_all_happen() {
        let faults = Faults::new();
        let ms = Duration::from_millis;
        for effect in [
            Effect::Delay(ms(1)),
            Effect::Delay(ms(2)),
            Effect::DropAnswer,
            Effect::Cut,
        ] {
            faults.set(Fault::new(ApiKey::Fetch, effect));
        }
        let plan = faults.plan(ApiKey::Fetch, &std::iter::empty());
        assert_eq!(plan.delay, ms(3));
        assert!(plan.drop_answer && plan.cut);
        faults.clear();
        assert!(!faults.plan(ApiKey::Fetch, &std::iter::empty()).cut);
    }
}
