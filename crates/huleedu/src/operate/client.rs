//! The admin socket of a running process.

use std::{fmt, fs::File, path::Path, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use huleedu_contracts::error::ErrorBody;
use huleedu_kit::admin::short_path;
use reqwest::{Client as Http, Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};

/// What was asked for is not there, or not any more.
#[derive(Debug)]
pub(crate) struct Gone(pub(crate) String);

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Gone {}

/// A client of one process.
#[derive(Debug)]
pub(crate) struct Client {
    http: Http,
    owner: String,
    /// Keeps a long path to the socket short.
    _folder: Option<File>,
}

impl Client {
    /// A client of the owner that answers on this socket.
    pub(crate) fn new(socket: &Path, owner: String) -> anyhow::Result<Self> {
        let (path, folder) =
            short_path(socket).with_context(|| format!("cannot use {}", socket.display()))?;
        let http = Http::builder()
            .unix_socket(path)
            .timeout(Duration::from_secs(30))
            .build()
            .context("no HTTP client")?;
        Ok(Self {
            http,
            owner,
            _folder: folder,
        })
    }

    /// Who answers.
    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    /// Asks; a refusal of the process is an error with its words.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &(impl Serialize + ?Sized),
    ) -> anyhow::Result<T> {
        let mut url = reqwest::Url::parse(&format!("http://admin/admin/v1/{path}"))
            .context("not a path of the admin socket")?;
        let query = serde_json::to_value(query).context("the question is not JSON")?;
        for (name, value) in query.as_object().into_iter().flatten() {
            match value {
                serde_json::Value::Null => {}
                serde_json::Value::String(text) => {
                    url.query_pairs_mut().append_pair(name, text);
                }
                other => {
                    url.query_pairs_mut().append_pair(name, &other.to_string());
                }
            }
        }
        let answer = self.http.request(method, url).send().await.map_err(|e| {
            anyhow!(e).context(format!(
                "{} owns the store and does not answer; when it is busy with its end or with a drain, try \
                 again afterwards",
                self.owner
            ))
        })?;
        let status = answer.status();
        let text = answer.text().await.context("the answer broke off")?;
        if !status.is_success() {
            let message = serde_json::from_str::<ErrorBody>(&text)
                .map_or_else(|_| format!("{status}: {text}"), |b| b.error.message);
            if status == StatusCode::NOT_FOUND {
                bail!(Gone(message));
            }
            bail!("{message}");
        }
        serde_json::from_str(&text).with_context(|| {
            format!(
                "the answer of {} is not readable: is it of another version?",
                self.owner
            )
        })
    }
}
