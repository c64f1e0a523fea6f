//! One essay from its stored text to its stored corrected text, and which errors are the essay's
//! end and which only a matter of waiting.

use std::sync::Arc;

use huleedu_contracts::{
    error::ErrorCode,
    ids::{LanguageTag, StorageId},
};
use huleedu_kit::{
    clients::{ContentClient, ContentError},
    consumer::HandlerError,
};
use tokio::sync::Semaphore;

use crate::{
    engine::{self, Correction, EngineError, Language},
    settings::Settings,
};

/// A corrected essay.
#[derive(Debug)]
pub(crate) struct Checked {
    /// What was changed.
    pub(crate) correction: Correction,
    /// Where the corrected text is stored.
    pub(crate) corrected_text: StorageId,
}

/// Why an essay can never be corrected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Rejected {
    /// No dictionary for its language.
    #[error("the language of the essay is not supported")]
    Language(#[source] EngineError),
    /// Its text is gone, is no text, or the Content Service refuses it for good.
    #[error("the text of the essay cannot be had or stored")]
    Content(#[source] ContentError),
    /// There is nothing in it.
    #[error("the text of the essay is empty")]
    Empty,
    /// It is too large.
    #[error("the text of the essay has {bytes} bytes, {limit} are allowed")]
    TooLong {
        /// Its size.
        bytes: usize,
        /// The largest size allowed (`MAX_TEXT_BYTES`).
        limit: usize,
    },
    /// The engine failed; the same text would make it fail again.
    #[error("the text of the essay could not be corrected")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Rejected {
    /// The code under which the failure is told.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Language(_) => ErrorCode::ValidationError,
            Self::Content(ContentError::NotFound(_)) => ErrorCode::ResourceNotFound,
            Self::Content(ContentError::NotText(_)) => ErrorCode::ParsingError,
            Self::Content(_) => ErrorCode::ContentServiceError,
            Self::Empty => ErrorCode::EmptyContent,
            Self::TooLong { .. } => ErrorCode::ContentTooLong,
            Self::Engine(_) => ErrorCode::SpellcheckServiceError,
        }
    }

    /// What went wrong, with its causes, for a reader.
    pub(crate) fn message(&self) -> String {
        let mut message = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        message
    }
}

/// Corrects stored texts.
#[derive(Debug)]
pub(crate) struct Checker {
    content: Arc<dyn ContentClient>,
    max_text_bytes: usize,
    room: Arc<Semaphore>,
}

impl Checker {
    pub(crate) fn new(content: Arc<dyn ContentClient>, settings: &Settings) -> Self {
        Self {
            content,
            max_text_bytes: settings.max_text_bytes,
            room: Arc::new(Semaphore::new(settings.max_concurrent)),
        }
    }

    /// Fetches a text, corrects it and stores the result. Storing is by hash, so doing it again
    /// changes nothing.
    ///
    /// # Errors
    /// When the Content Service is away or its circuit is open: to be tried again.
    ///
    /// # Cancel safety
    /// May be dropped at any await; a correction under way then ends unseen.
    pub(crate) async fn check(
        &self,
        text_id: &StorageId,
        language: &LanguageTag,
    ) -> Result<Result<Checked, Rejected>, HandlerError> {
        let language = match language.as_str().parse::<Language>() {
            Ok(language) => language,
            Err(error) => return Ok(Err(Rejected::Language(error))),
        };
        let text = match self.content.fetch_text(text_id).await {
            Ok(text) => text,
            Err(error) => return ended_or_waiting(error),
        };
        if text.is_empty() {
            return Ok(Err(Rejected::Empty));
        }
        if text.len() > self.max_text_bytes {
            return Ok(Err(Rejected::TooLong {
                bytes: text.len(),
                limit: self.max_text_bytes,
            }));
        }
        let correction = match self.correct(text, language).await? {
            Ok(correction) => correction,
            Err(rejected) => return Ok(Err(rejected)),
        };
        match self.content.store_text(&correction.corrected).await {
            Ok(corrected_text) => Ok(Ok(Checked {
                correction,
                corrected_text,
            })),
            Err(error) => ended_or_waiting(error),
        }
    }

    /// Runs the engine where blocking is allowed, a bounded number of times at once.
    async fn correct(
        &self,
        text: String,
        language: Language,
    ) -> Result<Result<Correction, Rejected>, HandlerError> {
        let room = Arc::clone(&self.room)
            .acquire_owned()
            .await
            .map_err(HandlerError::retry)?;
        let work = tokio::task::spawn_blocking(move || {
            // Held until the work ends, even when nobody waits for it any more.
            let _room = room;
            engine::engine_for(&text, language).map(|engine| engine.correct(&text))
        });
        match work.await {
            Ok(Ok(correction)) => Ok(Ok(correction)),
            Ok(Err(error)) => Ok(Err(Rejected::Engine(error.into()))),
            // The runtime is shutting down.
            Err(error) if error.is_cancelled() => Err(HandlerError::retry(error)),
            Err(error) => Ok(Err(Rejected::Engine(error.into()))),
        }
    }
}

fn ended_or_waiting<T>(error: ContentError) -> Result<Result<T, Rejected>, HandlerError> {
    if error.is_transient() {
        Err(error.into())
    } else {
        Ok(Err(Rejected::Content(error)))
    }
}
