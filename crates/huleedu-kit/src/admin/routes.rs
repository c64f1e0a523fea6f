//! The desk over the socket: `/admin/v1/…`.

use axum::{
    Json, Router,
    extract::State,
    routing::{get, post},
};
use std::time::Duration;

use fusebox_kafka::{Blocked, DrainerHandle, NotAcknowledged, Position, Resolution};
use huleedu_contracts::error::ErrorCode;
use serde::Deserialize;
use tokio::time::Instant;

use super::{
    AdminError, BlockedLane, DeadDetail, DeadId, DeadQuery, DeadSummary, Desk, EventDetail,
    EventQuery, EventSummary, QueueStats, Requeued, Resolved,
};
use crate::{
    consumer::chain,
    http::{ApiError, ApiPath, ApiQuery, ApiResult},
    providers,
    service::ServiceId,
    store::StoreError,
};

/// How long a decision is watched for what comes of it.
const WATCH: Duration = Duration::from_secs(10);
/// How often.
const LOOK: Duration = Duration::from_millis(50);

/// What the routes work on.
#[derive(Clone)]
pub(crate) struct Live {
    pub(crate) service: ServiceId,
    /// None when nothing is kept on disk: events go through memory, or straight to Kafka.
    pub(crate) desk: Option<Desk>,
    pub(crate) drainer: Option<DrainerHandle>,
    pub(crate) breakers: fusebox::Registry,
    pub(crate) limit: Option<u64>,
}

impl From<AdminError> for ApiError {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::NotFound(_) => Self::not_found(error.to_string()),
            AdminError::Conflict(_) => Self::new(ErrorCode::Conflict, error.to_string()),
            AdminError::Store(StoreError::OutboxFull { waiting, limit }) => Self::new(
                ErrorCode::Conflict,
                format!(
                    "{waiting} events wait for Kafka and {limit} are allowed; try again when there are fewer"
                ),
            ),
            AdminError::Store(error) => error.into(),
            AdminError::Journal(_) => Self::new(ErrorCode::ProcessingError, chain(&error)),
        }
    }
}

impl Live {
    fn desk(&self) -> Result<&Desk, ApiError> {
        self.desk.as_ref().ok_or_else(|| {
            ApiError::not_found(format!(
                "{} keeps no events on disk: KAFKA_PUBLISH_MODE=memory, or CIRCUIT_BREAKER_ENABLED=false",
                self.service
            ))
        })
    }

    fn blocked(&self) -> Vec<Blocked> {
        self.drainer
            .as_ref()
            .map_or_else(Vec::new, DrainerHandle::blocked)
    }
}

pub(crate) fn routes(live: Live) -> Router {
    Router::new()
        .route("/admin/v1/stats", get(stats))
        .route("/admin/v1/journal", get(events))
        .route("/admin/v1/journal/{position}", get(event))
        .route("/admin/v1/blocked", get(blocked))
        .route("/admin/v1/blocked/{position}/{decision}", post(resolve))
        .route("/admin/v1/dead", get(dead))
        .route("/admin/v1/dead/{id}", get(dead_letter).delete(discard))
        .route("/admin/v1/dead/{id}/requeue", post(requeue))
        .with_state(live)
}

async fn stats(State(live): State<Live>) -> ApiResult<Json<QueueStats>> {
    let mut stats = match &live.desk {
        Some(desk) => desk.stats().await?,
        None => QueueStats::of_memory(live.service, live.drainer.as_ref()),
    };
    let circuit = providers::kafka_circuit_name(live.service);
    let mut snapshots = live.breakers.snapshots().into_iter();
    stats.process = Some(std::process::id());
    stats.limit = live.limit;
    stats.circuit = snapshots
        .find(|s| *s.circuit_name == *circuit)
        .map(|s| s.state.to_string());
    let drained = live.drainer.map(|drainer| drainer.stats());
    stats.delivered = drained.map(|stats| stats.delivered);
    stats.blocked = drained.map(|stats| stats.blocked);
    Ok(Json(stats))
}

async fn events(
    State(live): State<Live>,
    ApiQuery(query): ApiQuery<EventQuery>,
) -> ApiResult<Json<Vec<EventSummary>>> {
    Ok(Json(live.desk()?.events(&query).await?))
}

async fn event(
    State(live): State<Live>,
    ApiPath(position): ApiPath<i64>,
) -> ApiResult<Json<EventDetail>> {
    Ok(Json(live.desk()?.event(position).await?))
}

async fn blocked(State(live): State<Live>) -> ApiResult<Json<Vec<BlockedLane>>> {
    let mut lanes = Vec::new();
    for lane in live.blocked() {
        let (position, key) = (lane.position.0, lane.key.as_deref());
        let behind = match &live.desk {
            Some(desk) => desk.behind(position, &lane.topic, key).await?,
            None => 0,
        };
        lanes.push(BlockedLane {
            position,
            event_id: lane.event_id.to_string(),
            behind,
            topic: lane.topic,
            key: lane.key,
            code: lane.reason.code,
            reason: lane.reason.text,
            attempts: lane.reason.attempts.into(),
            admitted_at_ms: lane.admitted_at_ms,
            held_ms: u64::try_from(lane.since.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
    }
    Ok(Json(lanes))
}

/// What may be decided.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Decision {
    Retry,
    Bury,
}

async fn resolve(
    State(live): State<Live>,
    ApiPath((position, decision)): ApiPath<(i64, Decision)>,
) -> ApiResult<Json<Resolved>> {
    let position = Position(position);
    let found = live.blocked().into_iter().find(|b| b.position == position);
    let (Some(drainer), Some(lane)) = (&live.drainer, found) else {
        return Err(ApiError::not_found(format!(
            "event {position} holds nothing up (any more)"
        )));
    };
    let mut end = drainer.expect(lane.event_id);
    let resolution = match decision {
        Decision::Retry => Resolution::Retry,
        Decision::Bury => Resolution::Bury,
    };
    let decided = Instant::now();
    tracing::warn!(%position, event_id = %lane.event_id, ?resolution, "lane resolved by an operator");
    drainer.resolve(position, resolution);
    let again = async {
        loop {
            let again = drainer.blocked().into_iter();
            let mut again = again.filter(|b| b.event_id == lane.event_id && b.since >= decided);
            if let Some(again) = again.next() {
                return again;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let outcome = tokio::select! {
        end = end.wait() => match end {
            Ok(delivered) => Resolved::Sent {
                partition: delivered.partition,
                offset: delivered.offset,
            },
            Err(NotAcknowledged::Dead(_)) => Resolved::Buried,
            Err(_) => Resolved::Undecided,
        },
        again = again => Resolved::HeldAgain {
            code: again.reason.code,
            reason: again.reason.text,
        },
        () = tokio::time::sleep(WATCH) => Resolved::Undecided,
    };
    Ok(Json(outcome))
}

async fn dead(
    State(live): State<Live>,
    ApiQuery(query): ApiQuery<DeadQuery>,
) -> ApiResult<Json<Vec<DeadSummary>>> {
    Ok(Json(live.desk()?.dead(&query).await?))
}

async fn dead_letter(
    State(live): State<Live>,
    ApiPath(id): ApiPath<DeadId>,
) -> ApiResult<Json<DeadDetail>> {
    Ok(Json(live.desk()?.dead_letter(id).await?))
}

async fn requeue(
    State(live): State<Live>,
    ApiPath(id): ApiPath<DeadId>,
) -> ApiResult<Json<Requeued>> {
    Ok(Json(live.desk()?.requeue(id).await?))
}

async fn discard(State(live): State<Live>, ApiPath(id): ApiPath<DeadId>) -> ApiResult<Json<()>> {
    Ok(Json(live.desk()?.discard(id).await?))
}
