//! The client of one dependency: where it is, which circuit guards it, and its limits.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fusebox::CircuitBreaker;
use fusebox_resilient::Ids;
use http::{HeaderMap, Method};
use url::Url;

use crate::request::RequestBuilder;

/// Adds headers to each attempt of each request, such as a correlation id or a trace context.
pub type Decorator = Arc<dyn Fn(&mut HeaderMap) + Send + Sync>;

/// Tells the ids of the work under way, for spans and errors.
pub(crate) type IdSource = Arc<dyn Fn() -> Ids + Send + Sync>;

/// A client of one HTTP dependency behind one circuit.
///
/// Clones are cheap and share the connection pool and the circuit.
#[derive(Clone)]
pub struct HttpClient {
    pub(crate) inner: Arc<Inner>,
}

/// Settings of an [`HttpClient`]; made by [`HttpClient::builder`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct HttpClientBuilder {
    base_url: String,
    breaker: CircuitBreaker,
    timeout: Duration,
    connect_timeout: Duration,
    max_body: usize,
    decorate: Vec<Decorator>,
    ids: IdSource,
}

/// A client that could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The base is not an absolute `http` or `https` URL, or it carries a query or a fragment.
    #[error("base URL {url:?} is not usable: {why}")]
    BaseUrl {
        /// The base URL as it was given.
        url: String,
        /// What is allowed.
        why: &'static str,
    },
    /// A limit is zero.
    #[error("{setting} must be greater than zero")]
    Zero {
        /// The setting's name.
        setting: &'static str,
    },
    /// The HTTP engine refused its settings.
    #[error("the HTTP engine could not be set up")]
    Engine(#[source] reqwest::Error),
}

pub(crate) struct Inner {
    pub(crate) base: Url,
    pub(crate) http: reqwest::Client,
    pub(crate) breaker: CircuitBreaker,
    pub(crate) timeout: Duration,
    pub(crate) max_body: usize,
    pub(crate) decorate: Vec<Decorator>,
    pub(crate) ids: IdSource,
}

impl HttpClient {
    /// Starts a client for the dependency at `base_url`, guarded by `breaker`.
    ///
    /// A path in the base URL stays in front of every request's path.
    pub fn builder(base_url: impl Into<String>, breaker: CircuitBreaker) -> HttpClientBuilder {
        HttpClientBuilder {
            base_url: base_url.into(),
            breaker,
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            max_body: 16 * 1024 * 1024,
            decorate: Vec::new(),
            ids: Arc::new(Ids::current),
        }
    }

    /// The circuit that guards this dependency.
    pub fn breaker(&self) -> &CircuitBreaker {
        &self.inner.breaker
    }

    /// The dependency's base URL.
    pub fn base_url(&self) -> &Url {
        &self.inner.base
    }

    /// Starts a GET request.
    pub fn get(&self, path: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    /// Starts a POST request; tried once unless it is declared idempotent.
    pub fn post(&self, path: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    /// Starts a PUT request.
    pub fn put(&self, path: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::PUT, path)
    }

    /// Starts a PATCH request; tried once unless it is declared idempotent.
    pub fn patch(&self, path: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::PATCH, path)
    }

    /// Starts a DELETE request.
    pub fn delete(&self, path: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::DELETE, path)
    }

    /// Starts a request. `path` is joined to the base URL, with or without a leading slash.
    ///
    /// The path may be any text: what a URL cannot carry is percent-encoded, and what is already
    /// encoded stays. It may end in a query. Segments `.` and `..` are refused when it is sent; use
    /// [`encode_segment`](crate::encode_segment) for a segment that comes from outside.
    pub fn request(&self, method: Method, path: impl AsRef<str>) -> RequestBuilder {
        RequestBuilder::new(self.clone(), method, path.as_ref())
    }
}

impl HttpClientBuilder {
    /// Time for one call, its second attempt and reading its body included. Default 30 s.
    pub fn timeout(mut self, total: Duration) -> Self {
        self.timeout = total;
        self
    }

    /// Time to open a connection. Default 5 s.
    pub fn connect_timeout(mut self, connect: Duration) -> Self {
        self.connect_timeout = connect;
        self
    }

    /// Most bytes of a response body. Default 16 MiB.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Adds a function that is called for every attempt and may add headers. May be used repeatedly.
    pub fn decorate(mut self, decorator: Decorator) -> Self {
        self.decorate.push(decorator);
        self
    }

    /// Says where the ids of the work under way come from, which spans and errors carry; default
    /// [`Ids::current`]. Asked only for a call that fails or whose span somebody listens to.
    pub fn ids(mut self, source: impl Fn() -> Ids + Send + Sync + 'static) -> Self {
        self.ids = Arc::new(source);
        self
    }

    /// Makes the client. No connection is opened.
    ///
    /// Installs the `ring` provider for TLS when the process has none yet.
    ///
    /// # Errors
    /// When the base URL or a limit is not usable.
    pub fn build(self) -> Result<HttpClient, BuildError> {
        let base = parse_base(&self.base_url)?;
        for (setting, zero) in [
            ("timeout", self.timeout.is_zero()),
            ("connect_timeout", self.connect_timeout.is_zero()),
            ("max_body", self.max_body == 0),
        ] {
            if zero {
                return Err(BuildError::Zero { setting });
            }
        }
        install_tls_provider();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(self.connect_timeout)
            .build()
            .map_err(BuildError::Engine)?;
        Ok(HttpClient {
            inner: Arc::new(Inner {
                base,
                http,
                breaker: self.breaker,
                timeout: self.timeout,
                max_body: self.max_body,
                decorate: self.decorate,
                ids: self.ids,
            }),
        })
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient")
            .field("base", &self.inner.base.as_str())
            .field("breaker", &self.inner.breaker.name())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for HttpClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClientBuilder")
            .field("base_url", &self.base_url)
            .field("breaker", &self.breaker.name())
            .finish_non_exhaustive()
    }
}

fn parse_base(text: &str) -> Result<Url, BuildError> {
    let refuse = |why| BuildError::BaseUrl {
        url: text.to_owned(),
        why,
    };
    let url = Url::parse(text).map_err(|_| refuse("an absolute URL is needed"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refuse("the scheme must be http or https"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("a query or a fragment is not allowed"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("credentials are not allowed; send them in a header"));
    }
    Ok(url)
}

/// The HTTP engine panics when it is built without a TLS provider, even for plain `http`.
fn install_tls_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none()
        && rustls::crypto::ring::default_provider()
            .install_default()
            .is_err()
    {
        tracing::debug!("another thread installed the TLS provider first");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_that_would_mislead_are_refused() {
        for bad in [
            "",
            "content:8001",
            "/v1",
            "ftp://h/",
            "http://h/?a=1",
            "http://h/#x",
            "http://u:p@h/",
        ] {
            assert!(parse_base(bad).is_err(), "{bad} was accepted");
        }
        for good in [
            "http://127.0.0.1:8001",
            "https://h/prefix/",
            "http://[::1]:80",
        ] {
            assert!(parse_base(good).is_ok(), "{good} was refused");
        }
    }
}
