//! Routes and middleware that every service has: `/healthz`, `/metrics`, context from the headers,
//! one span and one metric per request, and a limit on the body.

use std::{sync::Arc, time::Instant};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use huleedu_contracts::{error::ErrorCode, ids::CorrelationId};
use serde_json::json;
use tracing::{Instrument as _, info_span};

use super::ApiError;
use crate::{
    context::{CORRELATION_HEADER, CallContext, TRACEPARENT_HEADER},
    metrics::Metrics,
    service::ServiceId,
    store::Store,
};

tokio::task_local! {
    static SERVICE: ServiceId;
}

/// The service whose request is being answered, for error bodies.
pub(super) fn current_service() -> &'static str {
    SERVICE.try_with(|id| id.name()).unwrap_or("huleedu")
}

/// What `/healthz` looks at. An open circuit is reported but never makes a service unhealthy:
/// otherwise one sick dependency would take every caller out of the load balancer.
#[derive(Clone)]
pub struct Health {
    pub(crate) service: ServiceId,
    /// None for a service without state.
    pub(crate) store: Option<Store>,
    pub(crate) breakers: fusebox::Registry,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

async fn healthz(State(health): State<Health>) -> Response {
    let mut dependencies = serde_json::Map::new();
    let mut well = true;
    if let Some(store) = &health.store {
        well = store.ping().await.is_ok();
        let word = if well { "healthy" } else { "unhealthy" };
        dependencies.insert("database".to_owned(), word.into());
    }
    let circuits: serde_json::Map<_, _> = health
        .breakers
        .snapshots()
        .into_iter()
        .map(|s| (s.circuit_name, s.state.to_string().into()))
        .collect();
    let (status, word) = if well {
        (StatusCode::OK, "healthy")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "unhealthy")
    };
    let body = json!({
        "service": health.service.name(),
        "status": word,
        "version": env!("CARGO_PKG_VERSION"),
        "dependencies": dependencies,
        "circuits": circuits,
    });
    (status, Json(body)).into_response()
}

async fn scrape(State(metrics): State<Metrics>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    let (content_type, text) = metrics.encode(accept);
    (
        [(header::CONTENT_TYPE, HeaderValue::from_static(content_type))],
        text,
    )
        .into_response()
}

/// `/healthz` and `/metrics`.
pub fn standard_routes(health: Health, metrics: Metrics) -> Router {
    Router::new()
        .route("/healthz", get(healthz).with_state(health))
        .route("/metrics", get(scrape).with_state(metrics))
}

/// Wraps a service's routes with what all of them share.
pub fn with_middleware(
    routes: Router,
    service: ServiceId,
    metrics: Metrics,
    max_body: usize,
) -> Router {
    routes
        .fallback(|| async { ApiError::not_found("there is no such route") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(
                ErrorCode::InvalidRequest,
                "this route does not answer to this method",
            )
            .into_response_with(StatusCode::METHOD_NOT_ALLOWED)
        })
        .layer(DefaultBodyLimit::max(max_body))
        .layer(middleware::from_fn_with_state(
            Arc::new((service, metrics)),
            observe,
        ))
}

impl ApiError {
    /// For the few statuses that no error code maps to.
    fn into_response_with(self, status: StatusCode) -> Response {
        let mut response = self.into_response();
        *response.status_mut() = status;
        response
    }
}

fn context_of(headers: &HeaderMap) -> CallContext {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let correlation = text(CORRELATION_HEADER).map(CorrelationId::from_header);
    CallContext::from_parts(correlation, text(TRACEPARENT_HEADER))
}

async fn observe(
    State(shared): State<Arc<(ServiceId, Metrics)>>,
    mut request: Request,
    next: Next,
) -> Response {
    let (service, metrics) = (shared.0, &shared.1);
    let context = context_of(request.headers());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let method = request.method().clone();
    let span = info_span!(
        "request",
        service = service.name(),
        method = %method,
        route,
        correlation_id = %context.correlation_id,
        trace_id = %context.trace.trace_id(),
        span_id = %context.trace.span_id(),
    );
    request.extensions_mut().insert(context);
    let started = Instant::now();
    let work = context.scope(next.run(request));
    let mut response = SERVICE.scope(service, work).instrument(span).await;
    metrics.http().answered(
        &method,
        &route,
        response.status().as_u16(),
        started.elapsed(),
    );
    let answers = [
        (CORRELATION_HEADER, context.correlation_id.to_string()),
        ("x-trace-id", context.trace.trace_id()),
        ("x-span-id", context.trace.span_id()),
    ];
    for (name, value) in answers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
