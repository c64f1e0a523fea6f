//! One consumer group: who is in it, and how it comes to an agreement. Pure: time comes in, answers
//! go out through channels.
//!
//! | state | a member joins | the leader's plan comes | a member leaves or is silent |
//! |---|---|---|---|
//! | empty | preparing, others are waited for briefly | – | – |
//! | preparing | completing when all have joined | refused: rejoin | completing when all others have joined |
//! | completing | a new one: preparing | stable, everyone gets its part | preparing |
//! | stable | a new one, or another subscription: preparing | each gets its part again | preparing |

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::oneshot;

/// Members of one group.
const MAX_MEMBERS: usize = 1000;
/// How long someone who was given a name may take to come back with it.
const NAMED_FOR: Duration = Duration::from_secs(3);

/// What a member says when it joins.
#[derive(Debug, Clone)]
pub(crate) struct Join {
    /// Empty when it is new.
    pub(crate) member_id: String,
    /// Silence after which it is taken for dead.
    pub(crate) session_timeout: Duration,
    /// How long it may take to rejoin.
    pub(crate) rebalance_timeout: Duration,
    /// `consumer` for consumers.
    pub(crate) protocol_type: String,
    /// Ways of dividing that it knows, best first, each with its subscription.
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// For the operator.
    pub(crate) client_id: String,
    /// For the operator.
    pub(crate) client_host: String,
    /// Whether a new member is first given a name and has to come back with it.
    pub(crate) names_first: bool,
}

/// What a member is told when everyone has joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) generation: i32,
    pub(crate) protocol: String,
    pub(crate) leader: String,
    pub(crate) member_id: String,
    /// For the leader: everyone and their subscriptions.
    pub(crate) members: Vec<(String, Bytes)>,
}

/// A member was not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinRefused {
    pub(crate) code: ResponseError,
    pub(crate) member_id: String,
}

pub(crate) type JoinReply = oneshot::Sender<Result<Joined, JoinRefused>>;
pub(crate) type SyncReply = oneshot::Sender<Result<Bytes, ResponseError>>;

#[derive(Debug)]
enum State {
    /// Nobody is in it.
    Empty,
    /// Waiting for everyone to join: not before `earliest`, not after `deadline`.
    Preparing {
        earliest: Instant,
        deadline: Instant,
    },
    /// Waiting for the leader's plan.
    Completing { deadline: Instant },
    /// Everyone has its part.
    Stable,
}

#[derive(Debug)]
struct Member {
    join: Join,
    /// Order of arrival.
    arrival: u64,
    assignment: Bytes,
    /// When it is taken for dead, unless it waits for an answer.
    alive_until: Instant,
    joining: Option<JoinReply>,
    syncing: Option<SyncReply>,
}

/// A member, for the operator.
#[derive(Debug)]
pub(crate) struct MemberView {
    pub(crate) id: String,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) metadata: Bytes,
    pub(crate) assignment: Bytes,
}

/// A consumer group.
#[derive(Debug)]
pub(crate) struct Group {
    state: State,
    generation: i32,
    protocol: String,
    leader: String,
    members: BTreeMap<String, Member>,
    /// Names given to those who have not come back yet, and until when they are kept.
    named: BTreeMap<String, Instant>,
    arrivals: u64,
    initial_delay: Duration,
}

impl Group {
    /// A group that waits so long for others when the first member comes.
    pub(crate) fn new(initial_delay: Duration) -> Self {
        Self {
            state: State::Empty,
            generation: 0,
            protocol: String::new(),
            leader: String::new(),
            members: BTreeMap::new(),
            named: BTreeMap::new(),
            arrivals: 0,
            initial_delay,
        }
    }

    /// Someone joins. The answer comes when everyone has.
    pub(crate) fn join(&mut self, now: Instant, join: Join, reply: JoinReply) {
        let refuse = |reply: JoinReply, code, member_id: &str| {
            let member_id = member_id.to_owned();
            drop(reply.send(Err(JoinRefused { code, member_id })));
        };
        let known = self.members.contains_key(&join.member_id);
        let was_named = self.named.contains_key(&join.member_id);
        if !join.member_id.is_empty() && !known && !was_named {
            return refuse(reply, ResponseError::UnknownMemberId, &join.member_id);
        }
        if !self.agrees(&join) {
            let code = ResponseError::InconsistentGroupProtocol;
            return refuse(reply, code, &join.member_id);
        }
        if known {
            return self.rejoin(now, join, reply);
        }
        if !was_named {
            if self.members.len() + self.named.len() >= MAX_MEMBERS {
                return refuse(reply, ResponseError::GroupMaxSizeReached, "");
            }
            let id = format!("{}-{}", join.client_id, uuid::Uuid::new_v4());
            if join.names_first {
                let until = now + NAMED_FOR.min(join.session_timeout);
                self.named.insert(id.clone(), until);
                return refuse(reply, ResponseError::MemberIdRequired, &id);
            }
            return self.admit(now, id, join, reply);
        }
        self.named.remove(&join.member_id);
        self.admit(now, join.member_id.clone(), join, reply);
    }

    fn admit(&mut self, now: Instant, id: String, join: Join, reply: JoinReply) {
        self.arrivals += 1;
        let member = Member {
            alive_until: now + join.session_timeout,
            join,
            arrival: self.arrivals,
            assignment: Bytes::new(),
            joining: Some(reply),
            syncing: None,
        };
        self.members.insert(id, member);
        self.rebalance(now);
    }

    fn rejoin(&mut self, now: Instant, join: Join, reply: JoinReply) {
        let id = join.member_id.clone();
        let leads = self.leader == id;
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let changed = member.join.protocols != join.protocols;
        member.join = join;
        member.alive_until = now + member.join.session_timeout;
        match self.state {
            // Its earlier answer may have got lost: it is told the same again.
            State::Completing { .. } if !changed => {
                drop(reply.send(Ok(self.joined(&id))));
            }
            State::Stable if !changed && !leads => {
                drop(reply.send(Ok(self.joined(&id))));
            }
            _ => {
                member.joining = Some(reply);
                self.rebalance(now);
            }
        }
    }

    /// Whether there is a way of dividing that everyone knows, `join` included.
    fn agrees(&self, join: &Join) -> bool {
        !join.protocol_type.is_empty()
            && !join.protocols.is_empty()
            && join.protocols.iter().any(|(name, _)| {
                self.members
                    .iter()
                    .filter(|(id, _)| **id != join.member_id)
                    .all(|(_, other)| {
                        other.join.protocol_type == join.protocol_type && other.knows(name)
                    })
            })
    }

    /// Asks everyone to join again, or looks whether they have.
    fn rebalance(&mut self, now: Instant) {
        if !matches!(self.state, State::Preparing { .. }) {
            let first = matches!(self.state, State::Empty);
            let delay = if first {
                self.initial_delay
            } else {
                Duration::ZERO
            };
            for member in self.members.values_mut() {
                member.assignment = Bytes::new();
                if let Some(reply) = member.syncing.take() {
                    drop(reply.send(Err(ResponseError::RebalanceInProgress)));
                }
            }
            self.state = State::Preparing {
                earliest: now + delay,
                deadline: now + self.longest_rebalance().max(delay),
            };
        }
        self.complete_if_due(now);
    }

    fn longest_rebalance(&self) -> Duration {
        let timeouts = self.members.values().map(|m| m.join.rebalance_timeout);
        timeouts.max().unwrap_or_default()
    }

    fn complete_if_due(&mut self, now: Instant) {
        let State::Preparing { earliest, deadline } = self.state else {
            return;
        };
        let all = self.named.is_empty() && self.members.values().all(|m| m.joining.is_some());
        if now >= deadline || now >= earliest && all || self.members.is_empty() {
            self.complete(now);
        }
    }

    /// Goes on with those who have joined.
    fn complete(&mut self, now: Instant) {
        // Who has hung up meanwhile would only be waited for.
        self.members
            .retain(|_, m| m.joining.as_ref().is_some_and(|reply| !reply.is_closed()));
        self.generation = self.generation.wrapping_add(1) & i32::MAX;
        let first = self.members.iter().min_by_key(|(_, m)| m.arrival);
        let Some((first, _)) = first else {
            self.state = State::Empty;
            self.leader.clear();
            self.protocol.clear();
            return;
        };
        if !self.members.contains_key(&self.leader) {
            self.leader = first.clone();
        }
        self.protocol = self.vote();
        self.state = State::Completing {
            deadline: now + self.longest_rebalance(),
        };
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let joined = self.joined(&id);
            if let Some(member) = self.members.get_mut(&id) {
                member.alive_until = now + member.join.session_timeout;
                if let Some(reply) = member.joining.take() {
                    drop(reply.send(Ok(joined)));
                }
            }
        }
    }

    /// Of the ways everyone knows, the one that most like best.
    fn vote(&self) -> String {
        let known_to_all = |name: &str| self.members.values().all(|member| member.knows(name));
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let best = member
                .join
                .protocols
                .iter()
                .find(|(name, _)| known_to_all(name));
            if let Some((name, _)) = best {
                *votes.entry(name).or_default() += 1;
            }
        }
        let winner = votes.into_iter().max_by_key(|(_, votes)| *votes);
        winner.map_or_else(String::new, |(name, _)| name.to_owned())
    }

    fn joined(&self, id: &str) -> Joined {
        let members = if self.leader == id {
            let subscription =
                |(id, m): (&String, &Member)| (id.clone(), m.metadata(&self.protocol));
            self.members.iter().map(subscription).collect()
        } else {
            Vec::new()
        };
        Joined {
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            member_id: id.to_owned(),
            members,
        }
    }

    /// A member asks for its part; the leader brings everyone's.
    pub(crate) fn sync(
        &mut self,
        now: Instant,
        id: &str,
        generation: i32,
        plan: Vec<(String, Bytes)>,
        reply: SyncReply,
    ) {
        if let Err(code) = self.check(id, generation) {
            drop(reply.send(Err(code)));
            return;
        }
        let leads = self.leader == id;
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        member.alive_until = now + member.join.session_timeout;
        match self.state {
            State::Empty => drop(reply.send(Err(ResponseError::UnknownMemberId))),
            State::Preparing { .. } => {
                drop(reply.send(Err(ResponseError::RebalanceInProgress)));
            }
            State::Stable => drop(reply.send(Ok(member.assignment.clone()))),
            State::Completing { .. } => {
                member.syncing = Some(reply);
                if leads {
                    self.hand_out(now, plan);
                }
            }
        }
    }

    fn hand_out(&mut self, now: Instant, plan: Vec<(String, Bytes)>) {
        for (id, assignment) in plan {
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = assignment;
            }
        }
        for member in self.members.values_mut() {
            if let Some(reply) = member.syncing.take() {
                member.alive_until = now + member.join.session_timeout;
                drop(reply.send(Ok(member.assignment.clone())));
            }
        }
        self.state = State::Stable;
    }

    /// A member is alive.
    pub(crate) fn heartbeat(
        &mut self,
        now: Instant,
        id: &str,
        generation: i32,
    ) -> Result<(), ResponseError> {
        self.check(id, generation)?;
        if let Some(member) = self.members.get_mut(id) {
            member.alive_until = now + member.join.session_timeout;
        }
        match self.state {
            State::Preparing { .. } => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// A member goes.
    pub(crate) fn leave(&mut self, now: Instant, id: &str) -> Result<(), ResponseError> {
        if self.named.remove(id).is_some() {
            self.complete_if_due(now);
            return Ok(());
        }
        if self.members.remove(id).is_none() {
            return Err(ResponseError::UnknownMemberId);
        }
        self.rebalance(now);
        Ok(())
    }

    /// Whether a member of this generation may commit; -1 is someone who is no member.
    pub(crate) fn may_commit(
        &mut self,
        now: Instant,
        id: &str,
        generation: i32,
    ) -> Result<(), ResponseError> {
        if generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        self.check(id, generation)?;
        if let Some(member) = self.members.get_mut(id) {
            member.alive_until = now + member.join.session_timeout;
        }
        match self.state {
            State::Completing { .. } => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    fn check(&self, id: &str, generation: i32) -> Result<(), ResponseError> {
        if !self.members.contains_key(id) {
            Err(ResponseError::UnknownMemberId)
        } else if generation == self.generation {
            Ok(())
        } else {
            Err(ResponseError::IllegalGeneration)
        }
    }

    /// Does what time has brought: the silent are removed, waiting ends.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.named.retain(|_, until| *until > now);
        let before = self.members.len();
        let late = matches!(self.state, State::Completing { deadline } if deadline <= now);
        self.members.retain(|_, member| {
            let waits = member.joining.is_some() || member.syncing.is_some();
            // The leader owes the plan, the others their question.
            waits || !late && member.alive_until > now
        });
        if late || self.members.len() < before {
            self.rebalance(now);
        } else {
            self.complete_if_due(now);
        }
    }

    /// When [`tick`](Self::tick) has something to do next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let waiting_for_all = match self.state {
            State::Preparing { earliest, deadline } => {
                let all = self.members.values().all(|m| m.joining.is_some());
                Some(if all && self.named.is_empty() {
                    earliest
                } else {
                    deadline
                })
            }
            State::Completing { deadline } => Some(deadline),
            State::Empty | State::Stable => None,
        };
        let silent = self
            .members
            .values()
            .filter(|m| m.joining.is_none() && m.syncing.is_none())
            .map(|m| m.alive_until);
        let named = self.named.values().copied();
        silent.chain(named).chain(waiting_for_all).min()
    }

    /// Whether nobody is in it, nor about to be.
    pub(crate) fn is_unused(&self) -> bool {
        self.members.is_empty() && self.named.is_empty()
    }

    /// Its state, in Kafka's words.
    pub(crate) fn state_name(&self) -> &'static str {
        match self.state {
            State::Empty => "Empty",
            State::Preparing { .. } => "PreparingRebalance",
            State::Completing { .. } => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }

    /// Kind of its members.
    pub(crate) fn protocol_type(&self) -> &str {
        let member = self.members.values().next();
        member.map_or("", |member| &member.join.protocol_type)
    }

    /// Way of dividing that was agreed on.
    pub(crate) fn protocol(&self) -> &str {
        &self.protocol
    }

    /// Its members.
    pub(crate) fn members(&self) -> Vec<MemberView> {
        let view = |(id, member): (&String, &Member)| MemberView {
            id: id.clone(),
            client_id: member.join.client_id.clone(),
            client_host: member.join.client_host.clone(),
            metadata: member.metadata(&self.protocol),
            assignment: member.assignment.clone(),
        };
        self.members.iter().map(view).collect()
    }
}

impl Member {
    fn knows(&self, protocol: &str) -> bool {
        self.join.protocols.iter().any(|(name, _)| name == protocol)
    }

    fn metadata(&self, protocol: &str) -> Bytes {
        let mut protocols = self.join.protocols.iter();
        let chosen = protocols.find(|(name, _)| name == protocol);
        chosen.map_or_else(Bytes::new, |(_, metadata)| metadata.clone())
    }
}

#[cfg(test)]
mod tests;
