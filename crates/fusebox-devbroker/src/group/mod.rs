//! All consumer groups: their members in memory, their offsets on disk.
//!
//! Members are not kept: after a restart they are told that nobody knows them, and join again.

pub(crate) mod state;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kafka_protocol::ResponseError;
use tokio::sync::Notify;

use self::state::Group;
use crate::store::offsets::Offsets;

/// Groups with members.
const MAX_GROUPS: usize = 10_000;

/// All groups.
#[derive(Debug)]
pub(crate) struct Groups {
    members: Mutex<BTreeMap<String, Group>>,
    offsets: Mutex<Offsets>,
    initial_delay: Duration,
    /// Rings when a deadline may have come nearer.
    changed: Notify,
}

impl Groups {
    /// Groups with these offsets.
    pub(crate) fn new(offsets: Offsets, initial_delay: Duration) -> Self {
        Self {
            members: Mutex::default(),
            offsets: Mutex::new(offsets),
            initial_delay,
            changed: Notify::new(),
        }
    }

    /// Asks something of a group that need not exist yet.
    pub(crate) fn with_new<R>(
        &self,
        id: &str,
        ask: impl FnOnce(&mut Group, Instant) -> R,
    ) -> Result<R, ResponseError> {
        let mut groups = self.lock();
        if groups.len() >= MAX_GROUPS && !groups.contains_key(id) {
            return Err(ResponseError::PolicyViolation);
        }
        let group = groups
            .entry(id.to_owned())
            .or_insert_with(|| Group::new(self.initial_delay));
        let answer = ask(group, Instant::now());
        Self::forget_unused(&mut groups, id);
        drop(groups);
        self.changed.notify_one();
        Ok(answer)
    }

    /// Asks something of a group, if it has members.
    pub(crate) fn with<R>(
        &self,
        id: &str,
        ask: impl FnOnce(&mut Group, Instant) -> R,
    ) -> Option<R> {
        let mut groups = self.lock();
        let answer = ask(groups.get_mut(id)?, Instant::now());
        Self::forget_unused(&mut groups, id);
        drop(groups);
        self.changed.notify_one();
        Some(answer)
    }

    fn forget_unused(groups: &mut BTreeMap<String, Group>, id: &str) {
        if groups.get(id).is_some_and(Group::is_unused) {
            groups.remove(id);
        }
    }

    /// The committed offsets.
    pub(crate) fn offsets(&self) -> MutexGuard<'_, Offsets> {
        self.offsets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Group>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names of all groups, with their kinds and states.
    pub(crate) fn list(&self) -> Vec<(String, String, &'static str)> {
        let mut names: BTreeSet<String> = self.offsets().groups().map(str::to_owned).collect();
        let groups = self.lock();
        names.extend(groups.keys().cloned());
        let describe = |name: String| match groups.get(&name) {
            Some(group) => (name, group.protocol_type().to_owned(), group.state_name()),
            None => (name, "consumer".to_owned(), "Empty"),
        };
        names.into_iter().map(describe).collect()
    }

    /// Forgets a group that has no members.
    pub(crate) fn delete(&self, id: &str) -> Result<(), ResponseError> {
        if self.lock().contains_key(id) {
            return Err(ResponseError::NonEmptyGroup);
        }
        let mut offsets = self.offsets();
        if !offsets.groups().any(|group| group == id) {
            return Err(ResponseError::GroupIdNotFound);
        }
        offsets
            .forget_group(id)
            .map_err(|_| ResponseError::KafkaStorageError)
    }

    /// Lets time pass for the groups; never ends.
    pub(crate) async fn run(&self) {
        loop {
            let next = self.tick();
            let changed = self.changed.notified();
            match next {
                Some(next) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(next.into()) => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    /// Does what is due, and says when to come again.
    fn tick(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut groups = self.lock();
        for group in groups.values_mut() {
            if group
                .next_deadline()
                .is_some_and(|deadline| deadline <= now)
            {
                group.tick(now);
            }
        }
        groups.retain(|_, group| !group.is_unused());
        groups.values().filter_map(Group::next_deadline).min()
    }
}
