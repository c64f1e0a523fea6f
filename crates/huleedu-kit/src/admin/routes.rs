//! The desk over the socket: `/admin/v1/…`.

use axum::{
    Json, Router,
    extract::State,
    routing::{get, post},
};
use fusebox_kafka::DrainerHandle;
use huleedu_contracts::error::ErrorCode;

use super::{
    AdminError, DeadDetail, DeadId, DeadQuery, DeadSummary, Desk, EventDetail, EventQuery,
    EventSummary, QueueStats, Requeued,
};
use crate::{
    http::{ApiError, ApiPath, ApiQuery, ApiResult},
    providers,
    service::ServiceId,
    store::StoreError,
};

/// What the routes work on.
#[derive(Clone)]
pub(crate) struct Live {
    pub(crate) service: ServiceId,
    pub(crate) desk: Desk,
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
        }
    }
}

pub(crate) fn routes(live: Live) -> Router {
    Router::new()
        .route("/admin/v1/stats", get(stats))
        .route("/admin/v1/journal", get(events))
        .route("/admin/v1/journal/{position}", get(event))
        .route("/admin/v1/dead", get(dead))
        .route("/admin/v1/dead/{id}", get(dead_letter).delete(discard))
        .route("/admin/v1/dead/{id}/requeue", post(requeue))
        .with_state(live)
}

async fn stats(State(live): State<Live>) -> ApiResult<Json<QueueStats>> {
    let mut stats = live.desk.stats().await?;
    let circuit = providers::kafka_circuit_name(live.service);
    let mut snapshots = live.breakers.snapshots().into_iter();
    stats.process = Some(std::process::id());
    stats.limit = live.limit;
    stats.circuit = snapshots
        .find(|s| *s.circuit_name == *circuit)
        .map(|s| s.state.to_string());
    stats.delivered = live.drainer.map(|drainer| drainer.stats().delivered);
    Ok(Json(stats))
}

async fn events(
    State(live): State<Live>,
    ApiQuery(query): ApiQuery<EventQuery>,
) -> ApiResult<Json<Vec<EventSummary>>> {
    Ok(Json(live.desk.events(&query).await?))
}

async fn event(
    State(live): State<Live>,
    ApiPath(position): ApiPath<i64>,
) -> ApiResult<Json<EventDetail>> {
    Ok(Json(live.desk.event(position).await?))
}

async fn dead(
    State(live): State<Live>,
    ApiQuery(query): ApiQuery<DeadQuery>,
) -> ApiResult<Json<Vec<DeadSummary>>> {
    Ok(Json(live.desk.dead(&query).await?))
}

async fn dead_letter(
    State(live): State<Live>,
    ApiPath(id): ApiPath<DeadId>,
) -> ApiResult<Json<DeadDetail>> {
    Ok(Json(live.desk.dead_letter(id).await?))
}

async fn requeue(
    State(live): State<Live>,
    ApiPath(id): ApiPath<DeadId>,
) -> ApiResult<Json<Requeued>> {
    Ok(Json(live.desk.requeue(id).await?))
}

async fn discard(State(live): State<Live>, ApiPath(id): ApiPath<DeadId>) -> ApiResult<Json<()>> {
    Ok(Json(live.desk.discard(id).await?))
}
