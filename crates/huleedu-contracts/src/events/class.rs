//! What Class Management says about classes, students and authors.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{EventName, event};
use crate::bounds::Fraction;
use crate::domain::CourseCode;
use crate::ids::{BatchId, ClassId, CorrelationId, EssayId, StudentId, UserId};
use crate::macros::{read_strictly, wire_enum};

/// A class exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCreatedV1 {
    /// The event's name.
    #[serde(default)]
    pub event: EventName<Self>,
    /// The class.
    pub class_id: ClassId,
    /// Its name.
    pub class_designation: String,
    /// Its courses.
    pub course_codes: Vec<CourseCode>,
    /// The teacher.
    pub user_id: UserId,
    /// The request it happened for.
    pub correlation_id: CorrelationId,
    /// When it was made.
    pub timestamp: Timestamp,
}
event!(ClassCreatedV1, ClassCreated, "class.created", |it| it
    .class_id
    .to_string());

/// A class has changed; what is absent stayed as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassUpdatedV1 {
    /// The event's name.
    #[serde(default)]
    pub event: EventName<Self>,
    /// The class.
    pub class_id: ClassId,
    /// Its new name.
    pub class_designation: Option<String>,
    /// Its new courses.
    pub course_codes: Option<Vec<CourseCode>>,
    /// The teacher.
    pub user_id: UserId,
    /// The request it happened for.
    pub correlation_id: CorrelationId,
    /// When it was changed.
    pub timestamp: Timestamp,
}
event!(ClassUpdatedV1, ClassUpdated, "class.updated", |it| it
    .class_id
    .to_string());

/// A student exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StudentCreatedV1 {
    /// The event's name.
    #[serde(default)]
    pub event: EventName<Self>,
    /// The student.
    pub student_id: StudentId,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// E-mail address.
    pub student_email: Option<String>,
    /// The classes.
    pub class_ids: Vec<ClassId>,
    /// Who entered the student.
    pub created_by_user_id: UserId,
    /// The request it happened for.
    pub correlation_id: CorrelationId,
    /// When the student was entered.
    pub timestamp: Timestamp,
}
event!(StudentCreatedV1, StudentCreated, "student.created", |it| it
    .student_id
    .to_string());

/// A student has changed; what is absent stayed as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StudentUpdatedV1 {
    /// The event's name.
    #[serde(default)]
    pub event: EventName<Self>,
    /// The student.
    pub student_id: StudentId,
    /// New first name.
    pub first_name: Option<String>,
    /// New last name.
    pub last_name: Option<String>,
    /// New e-mail address.
    pub student_email: Option<String>,
    /// Classes that were joined.
    pub add_class_ids: Option<Vec<ClassId>>,
    /// Classes that were left.
    pub remove_class_ids: Option<Vec<ClassId>>,
    /// Who changed the student.
    pub updated_by_user_id: UserId,
    /// The request it happened for.
    pub correlation_id: CorrelationId,
    /// When the student was changed.
    pub timestamp: Timestamp,
}
event!(StudentUpdatedV1, StudentUpdated, "student.updated", |it| it
    .student_id
    .to_string());

/// One essay got or lost its author.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EssayStudentAssociationUpdatedV1 {
    /// The event's name.
    #[serde(default)]
    pub event: EventName<Self>,
    /// The batch.
    pub batch_id: BatchId,
    /// The essay.
    pub essay_id: EssayId,
    /// Its author; none, when it lost one.
    pub student_id: Option<StudentId>,
    /// The author's first name.
    pub first_name: Option<String>,
    /// The author's last name.
    pub last_name: Option<String>,
    /// The author's e-mail address.
    pub student_email: Option<String>,
    /// How it was found out.
    pub association_method: String,
    /// How sure it is.
    pub confidence_score: Option<Fraction>,
    /// Who said so.
    pub created_by_user_id: UserId,
    /// The request it happened for.
    pub correlation_id: CorrelationId,
    /// When it was said.
    pub timestamp: Timestamp,
}
event!(
    EssayStudentAssociationUpdatedV1,
    EssayStudentAssociationUpdated,
    "essay.student.association.updated",
    |it| it.batch_id.to_string()
);

wire_enum! {
    /// How it was settled who wrote an essay.
    pub enum AssociationValidationMethod {
        /// The teacher said so.
        Human = "human",
        /// Nobody answered in time; the best guess stands.
        Timeout = "timeout",
        /// The match was beyond doubt.
        Auto = "auto",
    }
}
read_strictly!(AssociationValidationMethod);

/// Who wrote what in a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudentAssociationsConfirmedV1 {
    /// The event's name.
    #[serde(default)]
    pub event_name: EventName<Self>,
    /// The batch.
    pub entity_id: Option<BatchId>,
    /// What the id names: [`ENTITY_BATCH`](crate::metadata::ENTITY_BATCH).
    pub entity_type: Option<String>,
    /// Unused for batches.
    pub parent_id: Option<String>,
    /// When it was settled.
    pub timestamp: Timestamp,
    /// The batch.
    pub batch_id: BatchId,
    /// The class.
    pub class_id: ClassId,
    /// The course.
    pub course_code: CourseCode,
    /// The essays with their authors.
    pub associations: Vec<StudentAssociationConfirmation>,
    /// Whether it was settled by the clock.
    #[serde(default)]
    pub timeout_triggered: bool,
    /// How many were settled in which way.
    pub validation_summary: BTreeMap<String, u32>,
}
event!(
    StudentAssociationsConfirmedV1,
    StudentAssociationsConfirmed,
    "student.associations.confirmed",
    |it| it.batch_id.to_string()
);

/// One essay with its author.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudentAssociationConfirmation {
    /// The essay.
    pub essay_id: EssayId,
    /// Its author, when known.
    pub student_id: Option<StudentId>,
    /// How sure it is.
    pub confidence_score: Fraction,
    /// How it was settled.
    pub validation_method: AssociationValidationMethod,
    /// Who settled it.
    pub validated_by: Option<UserId>,
    /// When it was settled.
    pub validated_at: Timestamp,
}

/// Nobody confirmed the authors of a batch in time; the best guesses stand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationTimeoutProcessedV1 {
    /// The event's name.
    #[serde(default)]
    pub event_name: EventName<Self>,
    /// The batch.
    pub entity_id: Option<BatchId>,
    /// What the id names: [`ENTITY_BATCH`](crate::metadata::ENTITY_BATCH).
    pub entity_type: Option<String>,
    /// Unused for batches.
    pub parent_id: Option<String>,
    /// When it was published.
    pub timestamp: Timestamp,
    /// The batch.
    pub batch_id: BatchId,
    /// The owner of the batch.
    pub user_id: UserId,
    /// How long was waited, in hours.
    pub timeout_hours: u32,
    /// The guesses that stand.
    pub auto_confirmed_associations: Vec<StudentAssociation>,
    /// Essays that stay without an author.
    pub guest_essays: Vec<EssayId>,
    /// Whether a class was made for them.
    pub guest_class_created: bool,
    /// That class.
    pub guest_class_id: Option<ClassId>,
    /// When the clock ran out.
    pub processing_timestamp: Timestamp,
}
event!(
    ValidationTimeoutProcessedV1,
    ValidationTimeoutProcessed,
    "validation.timeout.processed",
    |it| it.batch_id.to_string()
);

/// One essay with the author it is thought to have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudentAssociation {
    /// The essay.
    pub essay_id: EssayId,
    /// The author's first name.
    pub student_first_name: String,
    /// The author's last name.
    pub student_last_name: String,
    /// The author's e-mail address.
    pub student_email: Option<String>,
    /// How sure it is.
    pub confidence_score: Fraction,
    /// Whether it was confirmed.
    pub is_confirmed: bool,
}
