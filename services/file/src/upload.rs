//! Reads an upload request: its fields in any order, one file in memory at a time, each staged in
//! the database before the next is read.

use axum::extract::{Multipart, multipart::Field};
use http::{StatusCode, header};
use huleedu_contracts::{
    api::file::fields,
    error::ErrorCode,
    ids::{AssignmentId, BatchId, UserId},
};
use huleedu_kit::http::{ApiError, ApiResult};
use percent_encoding::percent_decode_str;

use crate::{
    gate::Gate,
    settings::Settings,
    store::{RequestId, StagedFile, Uploads},
};

/// Longest file name that is kept, in characters.
const MAX_NAME_CHARS: usize = 255;
/// Longest plain field in bytes.
const MAX_FIELD_BYTES: usize = 1024;

/// What a request brought, all of it staged.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) batch_id: BatchId,
    pub(crate) assignment_id: Option<AssignmentId>,
}

/// Who asks, for what, within which bounds.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) uploads: &'a Uploads,
    pub(crate) gate: &'a Gate,
    pub(crate) settings: &'a Settings,
    pub(crate) user: &'a UserId,
    pub(crate) request: RequestId,
}

impl Reader<'_> {
    /// Reads the whole request. `batch` is the batch where the route names it.
    ///
    /// The gate is asked as soon as the batch is known, so that a refused upload ends early when
    /// the batch comes first.
    ///
    /// # Errors
    /// 400 for missing or odd fields, 413 beyond the limits of a request, and the gate's refusals.
    pub(crate) async fn read(
        &self,
        mut form: Multipart,
        batch: Option<BatchId>,
    ) -> ApiResult<Received> {
        let from_route = batch.is_some();
        let mut batch_id = batch;
        if let Some(batch) = &batch_id {
            self.gate.pass(batch, self.user).await?;
        }
        let mut assignment_id = None;
        let mut files = 0;
        while let Some(mut field) = form.next_field().await.map_err(refused)? {
            match field.name().unwrap_or_default() {
                fields::BATCH_ID if from_route => drain(&mut field).await?,
                fields::BATCH_ID => {
                    let batch: BatchId = text(&mut field, fields::BATCH_ID).await?;
                    if batch_id.as_ref().is_some_and(|known| *known != batch) {
                        return Err(ApiError::invalid("the field batch_id is given twice"));
                    }
                    self.gate.pass(&batch, self.user).await?;
                    batch_id = Some(batch);
                }
                fields::ASSIGNMENT_ID => {
                    assignment_id = Some(text(&mut field, fields::ASSIGNMENT_ID).await?);
                }
                fields::FILES => {
                    let Some(file) = self.file(field).await? else {
                        continue;
                    };
                    files += 1;
                    if files > self.settings.max_files {
                        return Err(too_large(format!(
                            "a request may bring at most {} files",
                            self.settings.max_files
                        )));
                    }
                    self.uploads.stage(self.request, self.user, &file).await?;
                }
                _ => drain(&mut field).await?,
            }
        }
        let missing = |what: &str| {
            ApiError::new(
                ErrorCode::MissingRequiredField,
                format!("the field {what} is missing"),
            )
        };
        let batch_id = batch_id.ok_or_else(|| missing(fields::BATCH_ID))?;
        if files == 0 {
            return Err(missing(fields::FILES));
        }
        Ok(Received {
            batch_id,
            assignment_id,
        })
    }

    /// Reads one file, of which no more than the limit is kept; `None` for the empty part that a
    /// browser sends when nothing was chosen.
    async fn file(&self, mut field: Field<'_>) -> ApiResult<Option<StagedFile>> {
        let name = file_name(&field);
        let limit = self.settings.max_file_bytes;
        let mut bytes = Vec::new();
        let mut size = 0_usize;
        while let Some(chunk) = field.chunk().await.map_err(refused)? {
            size = size.saturating_add(chunk.len());
            if size <= limit {
                bytes.extend_from_slice(&chunk);
            } else {
                bytes = Vec::new();
            }
        }
        if name.is_none() && size == 0 {
            return Ok(None);
        }
        Ok(Some(StagedFile {
            filename: name.unwrap_or_else(|| "unnamed".to_owned()),
            size,
            bytes: (size <= limit).then_some(bytes),
        }))
    }
}

async fn text<T>(field: &mut Field<'_>, name: &str) -> ApiResult<T>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(refused)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX_FIELD_BYTES {
            return Err(ApiError::invalid(format!("the field {name} is too long")));
        }
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| ApiError::invalid(format!("the field {name} is not UTF-8")))?;
    text.parse()
        .map_err(|error| ApiError::invalid(format!("the field {name} is not usable: {error}")))
}

async fn drain(field: &mut Field<'_>) -> ApiResult<()> {
    while field.chunk().await.map_err(refused)?.is_some() {}
    Ok(())
}

/// The name a client gave: its last part, without control characters, bounded.
fn file_name(field: &Field<'_>) -> Option<String> {
    let given = field
        .headers()
        .get(header::CONTENT_DISPOSITION)
        .and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
        .and_then(extended_name)
        .or_else(|| field.file_name().map(str::to_owned))?;
    clean_name(&given)
}

/// The parameter `filename*=utf-8''…`, which some clients send for names beyond ASCII.
fn extended_name(disposition: &str) -> Option<String> {
    let (_, rest) = disposition.split_once("filename*=")?;
    let value = rest.split(';').next()?.trim().trim_matches('"');
    let (charset, rest) = value.split_once('\'')?;
    let (_language, encoded) = rest.split_once('\'')?;
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    percent_decode_str(encoded)
        .decode_utf8()
        .ok()
        .map(std::borrow::Cow::into_owned)
}

fn clean_name(given: &str) -> Option<String> {
    let last = given.rsplit(['/', '\\']).next().unwrap_or(given);
    let name: String = last
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_NAME_CHARS)
        .collect();
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

fn too_large(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::PayloadTooLarge, message)
}

fn refused(error: axum::extract::multipart::MultipartError) -> ApiError {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return too_large("the request is larger than allowed").with_cause(error);
    }
    ApiError::new(ErrorCode::InvalidRequest, "the form data could not be read").with_cause(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_script_and_lose_their_folders() {
        let clean = |given: &str| clean_name(given);
        assert_eq!(clean("Åsa Öberg.txt").as_deref(), Some("Åsa Öberg.txt"));
        assert_eq!(clean("C:\\essays\\学校.docx").as_deref(), Some("学校.docx"));
        assert_eq!(clean("../../etc/passwd").as_deref(), Some("passwd"));
        assert_eq!(clean(" \u{0}\u{7} "), None);
        assert_eq!(
            clean(&"ö".repeat(300)).map(|name| name.chars().count()),
            Some(255)
        );
    }

    #[test]
    fn the_extended_form_of_a_name_is_understood() {
        let name = "form-data; name=\"files\"; filename=\"x\"; filename*=UTF-8''%C3%85sa%20O.txt";
        assert_eq!(extended_name(name).as_deref(), Some("Åsa O.txt"));
        assert_eq!(
            extended_name("form-data; name=\"files\"; filename=\"x.txt\""),
            None
        );
        assert_eq!(extended_name("form-data; filename*=latin1''%E5.txt"), None);
    }
}
