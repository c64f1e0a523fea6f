//! Handles one received file: bytes to the Content Service, text out of them, rules, text to the
//! Content Service, and the verdict into the database together with its event.
//!
//! Every step may be done again: storing by hash twice is storing once, and a file is settled by
//! one guarded update. So a crash anywhere costs a repetition and nothing else.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use bytes::Bytes;
use huleedu_contracts::{error::ErrorCode, ids::StorageId};
use huleedu_kit::{
    clients::{ContentClient, ContentError},
    store::{Store, StoreError},
};
use md5::{Digest as _, Md5};
use thiserror::Error;

use crate::{
    extract::{ExtractError, ExtractedText, Format, extract},
    settings::Settings,
    store::{Failure, Provisioned, Upload, Uploads},
};

/// A failure that passes by itself; the file is tried again.
#[derive(Debug, Error)]
pub(crate) enum Passing {
    /// The Content Service is away.
    #[error("the Content Service is not available")]
    Content(#[source] ContentError),
    /// The database is busy or the outbox is full.
    #[error("the store is not available")]
    Store(#[from] StoreError),
}

impl Passing {
    /// When to try again, where the other side says so.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Content(error) => error.retry_after(),
            Self::Store(_) => None,
        }
    }
}

/// The way of a file from received to settled.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    uploads: Uploads,
    content: Arc<dyn ContentClient>,
    settings: Arc<Settings>,
}

impl Intake {
    /// An intake into this store and Content Service.
    pub(crate) fn new(
        store: Store,
        content: Arc<dyn ContentClient>,
        settings: Arc<Settings>,
    ) -> Self {
        Self {
            uploads: Uploads::new(store),
            content,
            settings,
        }
    }

    /// Handles one file to its end.
    ///
    /// # Errors
    /// Only what passes by itself. A fault of the file settles it as failed and is `Ok`.
    pub(crate) async fn handle(&self, upload: &Upload) -> Result<(), Passing> {
        let raw_bytes = Bytes::from(self.uploads.raw_bytes(&upload.id).await?);
        if raw_bytes.is_empty() {
            // The Content Service stores nothing empty, and there is nothing to store.
            let error = ExtractError::Empty { what: "file" };
            return Ok(self.uploads.fail(upload, &failure_of(&error, None)).await?);
        }
        let extracted = self.extract(upload, raw_bytes.clone()).await;
        let content_type = extracted
            .as_ref()
            .map_or("application/octet-stream", media_type);
        let raw = match self.content.store(raw_bytes, content_type).await {
            Ok(id) => id,
            Err(error) => {
                let code = ErrorCode::RawStorageFailed;
                return self
                    .refused(upload, code, "store raw bytes", None, error)
                    .await;
            }
        };
        let extracted = match extracted
            .and_then(|text| self.settings.rules.check(&text).map(|()| text))
        {
            Ok(extracted) => extracted,
            Err(error) => {
                tracing::info!(file_upload_id = %upload.id, error = %error, "a file cannot be assessed");
                let failure = failure_of(&error, Some(raw));
                return Ok(self.uploads.fail(upload, &failure).await?);
            }
        };
        let text = match self.content.store_text(&extracted.text).await {
            Ok(id) => id,
            Err(error) => {
                let code = ErrorCode::ContentServiceError;
                return self
                    .refused(upload, code, "store text", Some(raw), error)
                    .await;
            }
        };
        let done = Provisioned {
            raw,
            text,
            text_md5: md5_hex(extracted.text.as_bytes()),
        };
        Ok(self.uploads.provision(upload, &done).await?)
    }

    /// The Content Service did not take something: a passing failure, or one for good, which must
    /// settle the file too, or its slot would never be filled.
    async fn refused(
        &self,
        upload: &Upload,
        code: ErrorCode,
        operation: &'static str,
        raw: Option<StorageId>,
        error: ContentError,
    ) -> Result<(), Passing> {
        if error.is_transient() {
            return Err(Passing::Content(error));
        }
        tracing::error!(
            file_upload_id = %upload.id,
            operation,
            error = &error as &dyn std::error::Error,
            "the Content Service refuses a file"
        );
        let message = format!("the Content Service refuses the file: {error}");
        let failure = Failure {
            code,
            message,
            operation,
            raw,
        };
        Ok(self.uploads.fail(upload, &failure).await?)
    }

    /// Extracts on a thread of its own, within the time limit.
    async fn extract(&self, upload: &Upload, bytes: Bytes) -> Result<ExtractedText, ExtractError> {
        let name = upload.filename.clone();
        let work = tokio::task::spawn_blocking(move || extract(&name, &bytes));
        match tokio::time::timeout(self.settings.extraction_timeout, work).await {
            Ok(Ok(result)) => result,
            // The reader's panics are caught inside, so this is a thread that was never run.
            Ok(Err(_)) => Err(ExtractError::Unreadable {
                what: "its reading was broken off",
            }),
            Err(_) => Err(ExtractError::Unreadable {
                what: "reading it takes too long",
            }),
        }
    }
}

fn failure_of(error: &ExtractError, raw: Option<StorageId>) -> Failure {
    Failure {
        code: code_of(error),
        message: error.to_string(),
        operation: "extract text",
        raw,
    }
}

fn code_of(error: &ExtractError) -> ErrorCode {
    match error {
        ExtractError::Empty { .. } => ErrorCode::EmptyContent,
        ExtractError::TooShort { .. } => ErrorCode::ContentTooShort,
        ExtractError::TooLong { .. } => ErrorCode::ContentTooLong,
        ExtractError::Encrypted { .. } => ErrorCode::EncryptedFileUnsupported,
        ExtractError::Unsupported { .. } => ErrorCode::UnsupportedFileType,
        ExtractError::NotText { .. }
        | ExtractError::Damaged { .. }
        | ExtractError::Unreadable { .. } => ErrorCode::TextExtractionFailed,
    }
}

fn media_type(text: &ExtractedText) -> &'static str {
    match text.format {
        Format::PlainText => "text/plain",
        Format::Docx => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        Format::Pdf => "application/pdf",
    }
}

/// The digest that older readers of the event look at; nothing here relies on it.
fn md5_hex(bytes: &[u8]) -> String {
    Md5::digest(bytes)
        .iter()
        .fold(String::with_capacity(32), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("writing to a String cannot fail");
            hex
        })
}
