//! One request: how it is put together, sent under the circuit, and judged.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use fusebox::Outcome;
use fusebox_resilient::{CallResult, CallSpan, Context};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt as _;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument as _;
use url::Url;

use crate::client::HttpClient;
use crate::error::{HttpError, HttpErrorKind};
use crate::judge::{judge_error, judge_response};
use crate::path::join;
use crate::response::Response;

/// A request in the making; nothing happens until [`send`](Self::send).
///
/// What is wrong with a part (a header's name, a body that does not serialise) is reported by `send`.
#[must_use = "a request does nothing until it is sent"]
pub struct RequestBuilder {
    client: HttpClient,
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Body,
    timeout: Duration,
    idempotent: bool,
    operation: &'static str,
    fault: Option<Fault>,
}

enum Body {
    None,
    Bytes(Bytes),
    Stream(reqwest::Body),
}

struct Fault {
    what: &'static str,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl RequestBuilder {
    pub(crate) fn new(client: HttpClient, method: Method, path: &str) -> Self {
        let timeout = client.inner.timeout;
        let idempotent = method.is_idempotent();
        Self {
            client,
            operation: word(&method),
            method,
            path: path.to_owned(),
            query: String::new(),
            headers: HeaderMap::new(),
            body: Body::None,
            timeout,
            idempotent,
            fault: None,
        }
    }

    /// Adds parameters to the query. May be used repeatedly.
    pub fn query(mut self, parameters: &(impl Serialize + ?Sized)) -> Self {
        match serde_urlencoded::to_string(parameters) {
            Ok(text) if text.is_empty() => {}
            Ok(text) => {
                if !self.query.is_empty() {
                    self.query.push('&');
                }
                self.query.push_str(&text);
            }
            Err(source) => self.spoil("its query does not serialise", source),
        }
        self
    }

    /// Sets a header, in place of an earlier one of that name.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        match (
            HeaderName::try_from(name.as_ref()),
            HeaderValue::try_from(value.as_ref()),
        ) {
            (Ok(name), Ok(value)) => {
                self.headers.insert(name, value);
            }
            (Err(source), _) => self.spoil("a header's name is not valid", source),
            (_, Err(source)) => self.spoil("a header's value is not valid", source),
        }
        self
    }

    /// Sets several headers, each in place of earlier ones of its name.
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        replace(&mut self.headers, headers);
        self
    }

    /// Sends a value as JSON.
    pub fn json(mut self, value: &(impl Serialize + ?Sized)) -> Self {
        match serde_json::to_vec(value) {
            Ok(text) => {
                self.headers
                    .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                self.body = Body::Bytes(Bytes::from(text));
            }
            Err(source) => self.spoil("its body does not serialise", source),
        }
        self
    }

    /// Sends bytes as they are.
    pub fn body(mut self, body: impl Into<Bytes>, content_type: impl AsRef<str>) -> Self {
        self.body = Body::Bytes(body.into());
        self.header(CONTENT_TYPE, content_type)
    }

    /// Sends a stream; the content type is set with [`header`](Self::header).
    ///
    /// A stream can be read once, so such a request is never tried a second time.
    pub fn stream(mut self, body: reqwest::Body) -> Self {
        self.body = Body::Stream(body);
        self
    }

    /// Time for this call, in place of the client's.
    pub fn timeout(mut self, total: Duration) -> Self {
        self.timeout = total;
        self
    }

    /// Declares whether doing it twice is as good as doing it once.
    ///
    /// By default what HTTP says of the method. A POST with an idempotency key may be declared so.
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = idempotent;
        self
    }

    /// Names what is done, for the call's span and its errors; default the method's name. A word from
    /// the code, never a path or an id.
    pub fn operation(mut self, name: &'static str) -> Self {
        self.operation = name;
        self
    }

    /// Sends the request under the circuit and reads the answer to its end.
    ///
    /// Any status is an `Ok` here; see [`Response::error_for_status`].
    ///
    /// # Errors
    /// [`HttpError`] when the circuit refused, nothing came, or what came could not be read.
    ///
    /// # Cancel safety
    /// Dropping the future gives the call up; that is neutral for the circuit. The dependency may
    /// have received the request.
    pub async fn send(self) -> Result<Response, HttpError> {
        let call = Call {
            client: self.client.clone(),
            operation: self.operation,
            attempts: 0,
        };
        let prepared = match self.prepare() {
            Ok(prepared) => prepared,
            Err(fault) => return Err(call.failed(fault)),
        };
        let inner = &call.client.inner;
        let span = CallSpan::begin(&inner.breaker, call.operation, || (inner.ids)());
        let within = span.span().clone();
        prepared.drive(call, span).instrument(within).await
    }

    fn prepare(mut self) -> Result<Prepared, HttpErrorKind> {
        let fault = |method: &Method, path: &str, fault: Fault| HttpErrorKind::Build {
            target: format!("{method} {path}"),
            what: fault.what,
            source: fault.source,
        };
        if let Some(found) = self.fault.take() {
            return Err(fault(&self.method, &self.path, found));
        }
        let Some(mut url) = join(&self.client.inner.base, &self.path) else {
            let what = "its path holds a segment that climbs";
            return Err(fault(
                &self.method,
                &self.path,
                Fault { what, source: None },
            ));
        };
        if !self.query.is_empty() {
            let query = match url.query() {
                Some(first) if !first.is_empty() => format!("{first}&{}", self.query),
                _ => std::mem::take(&mut self.query),
            };
            url.set_query(Some(&query));
        }
        let mut shown = url.clone();
        shown.set_query(None);
        Ok(Prepared {
            target: format!("{} {shown}", self.method),
            client: self.client,
            method: self.method,
            url,
            headers: self.headers,
            body: self.body,
            timeout: self.timeout,
            repeats_left: u32::from(self.idempotent),
        })
    }

    fn spoil(
        &mut self,
        what: &'static str,
        source: impl std::error::Error + Send + Sync + 'static,
    ) {
        self.fault.get_or_insert(Fault {
            what,
            source: Some(Box::new(source)),
        });
    }
}

impl fmt::Debug for RequestBuilder {
    /// Shows no header and no query: both may carry secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBuilder")
            .field("method", &self.method)
            .field("path", &self.path.split('?').next())
            .field("idempotent", &self.idempotent)
            .finish_non_exhaustive()
    }
}

/// A request whose parts are known to be valid.
struct Prepared {
    client: HttpClient,
    target: String,
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Body,
    timeout: Duration,
    repeats_left: u32,
}

impl Prepared {
    async fn drive(mut self, mut call: Call, mut span: CallSpan) -> Result<Response, HttpError> {
        let inner = Arc::clone(&call.client.inner);
        let deadline = Instant::now() + self.timeout;
        loop {
            let permit = match inner.breaker.try_acquire() {
                Ok(permit) => permit,
                Err(refusal) => {
                    span.finish(CallResult::Blocked);
                    return Err(call.failed(refusal.into()));
                }
            };
            span.count_attempt();
            call.attempts += 1;
            let attempt = self.attempt();
            let result = match timeout_at(deadline, attempt.run(inner.max_body)).await {
                Ok(result) => result,
                Err(_) => Err(HttpErrorKind::Timeout {
                    target: self.target.clone(),
                    after: self.timeout,
                }),
            };
            let (outcome, hint) = match &result {
                Ok(answer) => judge_response(answer.status, &answer.headers, SystemTime::now()),
                Err(error) => (judge_error(error), None),
            };
            permit.record_with_hint(outcome, hint);
            if outcome == Outcome::Failure {
                tracing::debug!(
                    circuit = inner.breaker.name(),
                    target = self.target,
                    status = result.as_ref().ok().map(|answer| answer.status.as_u16()),
                    error = result.as_ref().err().map(tracing::field::display),
                    "HTTP call failed"
                );
            }
            if matches!(result, Err(HttpErrorKind::Connect { .. })) && self.may_repeat() {
                self.repeats_left -= 1;
                continue;
            }
            span.finish(CallResult::of(outcome));
            return match result {
                Ok(Answer {
                    status,
                    headers,
                    body,
                }) => Ok(Response {
                    target: self.target,
                    status,
                    headers,
                    body,
                    call,
                }),
                Err(kind) => Err(call.failed(kind)),
            };
        }
    }

    /// Only what can be sent again word for word may be repeated.
    fn may_repeat(&self) -> bool {
        self.repeats_left > 0 && matches!(self.body, Body::None | Body::Bytes(_))
    }

    fn attempt(&mut self) -> Attempt {
        let mut headers = self.headers.clone();
        for decorate in &self.client.inner.decorate {
            decorate(&mut headers);
        }
        let mut request = self
            .client
            .inner
            .http
            .request(self.method.clone(), self.url.clone())
            .headers(headers);
        let body_failed = Arc::new(AtomicBool::new(false));
        match &mut self.body {
            Body::None => {}
            Body::Bytes(bytes) => request = request.body(bytes.clone()),
            Body::Stream(stream) => {
                let flag = Arc::clone(&body_failed);
                let stream = std::mem::take(stream).map_err(move |error| {
                    flag.store(true, Ordering::Release);
                    error
                });
                request = request.body(reqwest::Body::wrap(stream));
            }
        }
        Attempt {
            target: self.target.clone(),
            request,
            body_failed,
        }
    }
}

/// Which call an answer or an error belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    client: HttpClient,
    operation: &'static str,
    attempts: u32,
}

impl Call {
    /// The error of this call, with its context.
    pub(crate) fn failed(&self, kind: HttpErrorKind) -> HttpError {
        let inner = &self.client.inner;
        let ids = (inner.ids)();
        let context = Context::of(&inner.breaker, self.operation, ids, self.attempts);
        HttpError::new(kind, context)
    }
}

/// What came back, read to its end.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// One try on the wire.
struct Attempt {
    target: String,
    request: reqwest::RequestBuilder,
    /// Set when the stream of the request's body failed: then the lost connection is our doing.
    body_failed: Arc<AtomicBool>,
}

impl Attempt {
    async fn run(self, max_body: usize) -> Result<Answer, HttpErrorKind> {
        let Self {
            target,
            request,
            body_failed,
        } = self;
        let mut answer = match request.send().await {
            Ok(answer) => answer,
            Err(source) => {
                let source = source.without_url();
                return Err(if body_failed.load(Ordering::Acquire) {
                    HttpErrorKind::RequestBody { target, source }
                } else if source.is_connect() {
                    HttpErrorKind::Connect { target, source }
                } else if source.is_builder() {
                    let what = "the HTTP engine refused it";
                    HttpErrorKind::Build {
                        target,
                        what,
                        source: Some(Box::new(source)),
                    }
                } else {
                    HttpErrorKind::Transport { target, source }
                });
            }
        };
        let status = answer.status();
        let announced = answer.content_length().unwrap_or(0);
        if usize::try_from(announced).map_or(true, |bytes| bytes > max_body) {
            return Err(HttpErrorKind::BodyTooLarge {
                target,
                status,
                limit: max_body,
            });
        }
        let mut body = BytesMut::new();
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > max_body => {
                    return Err(HttpErrorKind::BodyTooLarge {
                        target,
                        status,
                        limit: max_body,
                    });
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(source) => {
                    return Err(HttpErrorKind::Transport {
                        target,
                        source: source.without_url(),
                    });
                }
            }
        }
        Ok(Answer {
            status,
            headers: std::mem::take(answer.headers_mut()),
            body: body.freeze(),
        })
    }
}

/// A method as the name of an operation; one that nobody knows would make names without bound.
fn word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        Method::HEAD => "head",
        Method::OPTIONS => "options",
        _ => "request",
    }
}

fn replace(into: &mut HeaderMap, from: HeaderMap) {
    let mut last = None;
    for (name, value) in from {
        if let Some(name) = name {
            into.insert(name.clone(), value);
            last = Some(name);
        } else if let Some(name) = &last {
            into.append(name.clone(), value);
        }
    }
}
