//! Content Service: what storing answers. The content itself travels as plain bytes.

use serde::{Deserialize, Serialize};

use crate::ids::{CorrelationId, StorageId};

/// Answer to POST `/v1/content` (201).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreContentResponse {
    /// Where the content is stored.
    pub storage_id: StorageId,
    /// The request's correlation id.
    pub correlation_id: CorrelationId,
}
