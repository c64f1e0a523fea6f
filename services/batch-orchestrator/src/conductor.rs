//! Asks the Batch Conductor which phases a pipeline means for a batch.

use fusebox_http::{HttpClient, HttpError, Response};
use http::StatusCode;
use huleedu_contracts::{
    api::conductor::{DefinePipelineRequest, DefinePipelineResponse},
    error::ErrorBody,
    status::PhaseName,
};

/// The client, behind the circuit it was built with.
#[derive(Debug, Clone)]
pub(crate) struct ConductorClient {
    http: HttpClient,
    endpoint: String,
}

/// What the conductor says. Anything else (no answer, an answer that cannot be read, a fault on its
/// side) is an error and may be otherwise later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// These phases are to run, in order.
    Run(Vec<PhaseName>),
    /// The request itself is at fault, in the conductor's words.
    Refused(String),
}

impl ConductorClient {
    pub(crate) fn new(http: HttpClient, endpoint: String) -> Self {
        Self { http, endpoint }
    }

    /// Resolves a pipeline.
    pub(crate) async fn define(
        &self,
        request: &DefinePipelineRequest,
    ) -> Result<Verdict, HttpError> {
        let answer = self
            .http
            .post(&self.endpoint)
            .operation("define_pipeline")
            .json(request)
            // Asking twice is asking once.
            .idempotent(true)
            .send()
            .await?;
        match answer.error_for_status() {
            Ok(answer) => read(&answer),
            Err(error) if is_verdict(&error) => Ok(Verdict::Refused(words(&error))),
            Err(error) => Err(error),
        }
    }
}

fn read(answer: &Response) -> Result<Verdict, HttpError> {
    let defined: DefinePipelineResponse = answer.json()?;
    Ok(Verdict::Run(defined.final_pipeline))
}

/// Whether an error judges the request. 401, 403, 404, 405 and 407 are about the way to the
/// conductor: a wrong base URL must not end every batch that is started meanwhile.
fn is_verdict(error: &HttpError) -> bool {
    let way = [
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::NOT_FOUND,
        StatusCode::METHOD_NOT_ALLOWED,
        StatusCode::PROXY_AUTHENTICATION_REQUIRED,
    ];
    !error.is_transient()
        && error
            .status()
            .is_some_and(|status| status.is_client_error() && !way.contains(&status))
}

/// The message of the error body, or what the client says of the answer.
fn words(error: &HttpError) -> String {
    let body = error
        .body()
        .and_then(|body| serde_json::from_slice::<ErrorBody>(body).ok());
    body.map_or_else(|| error.to_string(), |body| body.error.message)
}
