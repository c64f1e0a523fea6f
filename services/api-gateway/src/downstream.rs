//! The services behind the gateway: a client with a circuit of its own for each, and the rules for
//! passing an answer on.

use axum::{body::Body, response::Response as Answer};
use fusebox::Registry;
use fusebox_http::{HttpClient, RequestBuilder, Response};
use http::{HeaderName, header};
use huleedu_contracts::headers::{X_ORG_ID, X_USER_ID};
use huleedu_kit::{
    http::{ApiError, ApiResult},
    providers::{WiringError, provide_http_client},
};

use crate::{SERVICE, Settings, auth::User};

/// One client each, so that one sick service cuts off nothing but itself.
#[derive(Debug, Clone)]
pub(crate) struct Downstream {
    pub(crate) orchestrator: HttpClient,
    pub(crate) lifecycle: HttpClient,
    pub(crate) cj: HttpClient,
    pub(crate) file: HttpClient,
    pub(crate) classes: HttpClient,
}

impl Downstream {
    pub(crate) fn connect(registry: &Registry, settings: &Settings) -> Result<Self, WiringError> {
        let client = |what, url| {
            provide_http_client(
                registry,
                SERVICE,
                what,
                settings.circuit.clone(),
                url,
                settings.timeout,
            )
        };
        Ok(Self {
            orchestrator: client("batch_orchestrator_client", &settings.batch_orchestrator)?,
            lifecycle: client("essay_lifecycle_client", &settings.essay_lifecycle)?,
            cj: client("cj_assessment_client", &settings.cj_assessment)?,
            file: client("file_client", &settings.file)?,
            classes: client("class_management_client", &settings.class_management)?,
        })
    }
}

/// Says on whose behalf the request is made. A caller's own headers never get here.
pub(crate) fn on_behalf(request: RequestBuilder, user: &User) -> RequestBuilder {
    let request = request.header(X_USER_ID, &user.id);
    match &user.org {
        Some(org) => request.header(X_ORG_ID, org),
        None => request,
    }
}

/// Headers of an answer that mean something to a client.
const PASSED: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    header::RETRY_AFTER,
    header::LOCATION,
    header::CACHE_CONTROL,
];

/// Passes an answer on as it is: status, body and the headers that mean something to a client.
pub(crate) fn pass_on(response: &Response) -> Answer {
    let mut answer = Answer::new(Body::from(response.bytes()));
    *answer.status_mut() = response.status();
    for name in PASSED {
        if let Some(value) = response.headers().get(&name) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    answer
}

/// A downstream error is passed on; success is left to the caller.
pub(crate) fn success(response: Response) -> Result<Response, Box<Answer>> {
    if response.status().is_success() {
        Ok(response)
    } else {
        Err(Box::new(pass_on(&response)))
    }
}

/// Sends and passes whatever comes back.
pub(crate) async fn relay(request: RequestBuilder) -> ApiResult<Answer> {
    let response = request.send().await.map_err(ApiError::from)?;
    Ok(pass_on(&response))
}
