//! Notes to a teacher.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::event;
use crate::ids::{BatchId, ClassId, CorrelationId, UserId};
use crate::macros::{read_strictly, wire_enum};

wire_enum! {
    /// What a note is about.
    pub enum NotificationCategory {
        /// The progress of a batch.
        BatchProgress = "batch_progress",
        /// Results of a service.
        ProcessingResults = "processing_results",
        /// Files that came or went.
        FileOperations = "file_operations",
        /// Classes and students.
        ClassManagement = "class_management",
        /// Who wrote what.
        StudentWorkflow = "student_workflow",
        /// Something went wrong.
        SystemAlerts = "system_alerts",
    }
}
read_strictly!(NotificationCategory);

wire_enum! {
    /// How urgent a note is.
    pub enum NotificationPriority {
        /// A deadline is near.
        Critical = "critical",
        /// Should be seen soon.
        Immediate = "immediate",
        /// Important.
        High = "high",
        /// As usual.
        Standard = "standard",
        /// For information.
        Low = "low",
    }
}
read_strictly!(NotificationPriority);

/// A teacher should hear of something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TeacherNotificationRequestedV1 {
    /// The teacher.
    pub teacher_id: UserId,
    /// What kind of note, for example `batch_assessment_completed`.
    pub notification_type: String,
    /// What it is about.
    pub category: NotificationCategory,
    /// How urgent it is.
    pub priority: NotificationPriority,
    /// What it says.
    pub payload: BTreeMap<String, Value>,
    /// Whether the teacher has to do something.
    #[serde(default)]
    pub action_required: bool,
    /// Until when.
    pub deadline_timestamp: Option<Timestamp>,
    /// The request it happened for.
    pub correlation_id: CorrelationId,
    /// The batch, when it is about one.
    pub batch_id: Option<BatchId>,
    /// The class, when it is about one.
    pub class_id: Option<ClassId>,
    /// When it was asked for.
    pub timestamp: Timestamp,
}
event!(
    TeacherNotificationRequestedV1,
    TeacherNotificationRequested,
    "teacher.notification.requested",
    |it| it
        .batch_id
        .as_ref()
        .map_or_else(|| it.teacher_id.to_string(), ToString::to_string)
);
