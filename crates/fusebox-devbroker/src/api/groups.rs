//! Membership of consumer groups.

use std::time::Duration;

use kafka_protocol::{
    ResponseError,
    messages::{
        HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse,
        LeaveGroupRequest, LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
        join_group_response::JoinGroupResponseMember,
    },
};
use tokio::sync::oneshot;

use super::{Answer, Broker, Call, Refusal, code, finish, text};
use crate::group::state::{Join, JoinRefused, Joined};

/// Sessions longer than this are not taken.
const MAX_SESSION: Duration = Duration::from_mins(30);
/// Since this version a new member is named before it is let in.
const NAMES_FIRST: i16 = 4;
/// How an answer ends that nobody gives any more: the broker stops, or the member asked twice.
const ABANDONED: ResponseError = ResponseError::CoordinatorNotAvailable;

impl Broker {
    pub(super) async fn join_group(&self, mut call: Call<'_>) -> Result<Answer, Refusal> {
        let request: JoinGroupRequest = call.decode()?;
        let Some(plan) = self.faulty_without_topics(&call).await else {
            return Ok(Answer::Close);
        };
        let member_id = request.member_id.to_string();
        let joined = match plan.rejection() {
            Some(code) => Err(JoinRefused { code, member_id }),
            None => match self.join(&call, request).await {
                Some(joined) => joined,
                None => return Ok(Answer::Close),
            },
        };
        let response = match joined {
            Ok(joined) => {
                let members = joined.members.into_iter().map(|(id, metadata)| {
                    JoinGroupResponseMember::default()
                        .with_member_id(text(id))
                        .with_metadata(metadata)
                });
                JoinGroupResponse::default()
                    .with_generation_id(joined.generation)
                    .with_protocol_name(Some(text(joined.protocol)))
                    .with_leader(text(joined.leader))
                    .with_member_id(text(joined.member_id))
                    .with_members(members.collect())
            }
            Err(refused) => JoinGroupResponse::default()
                .with_error_code(refused.code.code())
                .with_generation_id(-1)
                .with_protocol_name(Some(text("")))
                .with_member_id(text(refused.member_id)),
        };
        finish(&plan, call.encode(&response))
    }

    /// `None` when the client has hung up meanwhile.
    async fn join(
        &self,
        call: &Call<'_>,
        request: JoinGroupRequest,
    ) -> Option<Result<Joined, JoinRefused>> {
        let member_id = request.member_id.to_string();
        let refused = |code| {
            Some(Err(JoinRefused {
                code,
                member_id: member_id.clone(),
            }))
        };
        if request.group_id.is_empty() {
            return refused(ResponseError::InvalidGroupId);
        }
        let session_timeout = millis(request.session_timeout_ms);
        if session_timeout.is_zero() || session_timeout > MAX_SESSION {
            return refused(ResponseError::InvalidSessionTimeout);
        }
        // Before version 1 the one stood for the other.
        let rebalance_timeout = match request.rebalance_timeout_ms {
            ms if ms > 0 => millis(ms).min(MAX_SESSION),
            _ => session_timeout,
        };
        let protocols = request.protocols.into_iter();
        let join = Join {
            member_id: member_id.clone(),
            session_timeout,
            rebalance_timeout,
            protocol_type: request.protocol_type.to_string(),
            protocols: protocols
                .map(|protocol| (protocol.name.to_string(), protocol.metadata))
                .collect(),
            client_id: call.client_id.clone(),
            client_host: format!("/{}", call.peer.address.ip()),
            names_first: call.version >= NAMES_FIRST,
        };
        let (reply, answer) = oneshot::channel();
        let asked = self
            .groups
            .with_new(&request.group_id, |group, now| group.join(now, join, reply));
        if let Err(code) = asked {
            return refused(code);
        }
        tokio::select! {
            answer = answer => match answer {
                Ok(answer) => Some(answer),
                Err(_) => refused(ABANDONED),
            },
            () = call.peer.gone.cancelled() => None,
        }
    }

    pub(super) async fn sync_group(&self, mut call: Call<'_>) -> Result<Answer, Refusal> {
        let request: SyncGroupRequest = call.decode()?;
        let Some(plan) = self.faulty_without_topics(&call).await else {
            return Ok(Answer::Close);
        };
        let synced = if let Some(code) = plan.rejection() {
            Err(code)
        } else {
            let assignments = request.assignments.into_iter();
            let parts = assignments
                .map(|part| (part.member_id.to_string(), part.assignment))
                .collect();
            let (reply, answer) = oneshot::channel();
            let asked = self.groups.with(&request.group_id, |group, now| {
                group.sync(now, &request.member_id, request.generation_id, parts, reply);
            });
            if asked.is_none() {
                Err(ResponseError::UnknownMemberId)
            } else {
                tokio::select! {
                    answer = answer => answer.unwrap_or(Err(ABANDONED)),
                    () = call.peer.gone.cancelled() => return Ok(Answer::Close),
                }
            }
        };
        let response = SyncGroupResponse::default()
            .with_error_code(code(&synced))
            .with_assignment(synced.unwrap_or_default());
        finish(&plan, call.encode(&response))
    }

    pub(super) async fn heartbeat(&self, mut call: Call<'_>) -> Result<Answer, Refusal> {
        let request: HeartbeatRequest = call.decode()?;
        let Some(plan) = self.faulty_without_topics(&call).await else {
            return Ok(Answer::Close);
        };
        let alive = match plan.rejection() {
            Some(code) => Err(code),
            None => self
                .groups
                .with(&request.group_id, |group, now| {
                    group.heartbeat(now, &request.member_id, request.generation_id)
                })
                .unwrap_or(Err(ResponseError::UnknownMemberId)),
        };
        let response = HeartbeatResponse::default().with_error_code(code(&alive));
        finish(&plan, call.encode(&response))
    }

    pub(super) async fn leave_group(&self, mut call: Call<'_>) -> Result<Answer, Refusal> {
        let request: LeaveGroupRequest = call.decode()?;
        let Some(plan) = self.faulty_without_topics(&call).await else {
            return Ok(Answer::Close);
        };
        let left = match plan.rejection() {
            Some(code) => Err(code),
            None => self
                .groups
                .with(&request.group_id, |group, now| {
                    group.leave(now, &request.member_id)
                })
                .unwrap_or(Err(ResponseError::UnknownMemberId)),
        };
        let response = LeaveGroupResponse::default().with_error_code(code(&left));
        finish(&plan, call.encode(&response))
    }
}

fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
