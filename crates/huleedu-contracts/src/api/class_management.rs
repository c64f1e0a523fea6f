//! Class Management: classes, students and who wrote what.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bounds::Fraction;
use crate::domain::{CourseCode, PersonName};
use crate::ids::{BatchId, ClassId, EssayId, StudentId, UserId};
use crate::macros::{read_strictly, text_type, wire_enum};

text_type! {
    /// The name of a class.
    pub struct ClassName(max = 100);
}

/// Body of POST `/v1/classes/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateClassRequest {
    /// The name.
    pub name: ClassName,
    /// The courses, at least one. A text, so that an unknown course can be refused by name.
    pub course_codes: Vec<String>,
}

/// Answer to POST `/v1/classes/` (201).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateClassResponse {
    /// The class.
    pub id: ClassId,
    /// Its name.
    pub name: ClassName,
}

/// Body of PUT `/v1/classes/{id}`; what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateClassRequest {
    /// The new name.
    pub name: Option<ClassName>,
    /// The new courses.
    pub course_codes: Option<Vec<String>>,
}

/// Answer to GET `/v1/classes/{id}` and PUT `/v1/classes/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassResponse {
    /// The class.
    pub id: ClassId,
    /// Its name.
    pub name: ClassName,
    /// Its course.
    pub course_code: CourseCode,
    /// How many students it has.
    pub student_count: u32,
    /// The students.
    pub students: Vec<StudentResponse>,
}

/// Answer to GET `/v1/classes/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassListResponse {
    /// The classes.
    pub classes: Vec<ClassSummary>,
    /// Which part of the list this is.
    pub pagination: ClassPagination,
}

/// One class in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassSummary {
    /// The class.
    pub id: ClassId,
    /// Its name.
    pub name: ClassName,
    /// Its course.
    pub course_code: CourseCode,
    /// How many students it has.
    pub student_count: u32,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Which part of the list of classes an answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassPagination {
    /// The greatest number of entries asked for.
    pub limit: u32,
    /// How many entries come before the first one.
    pub offset: u32,
    /// How many entries this part has.
    pub returned: u32,
}

/// Answer to GET `/v1/classes/{id}/roster`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterResponse {
    /// The students.
    pub students: Vec<RosterEntry>,
}

/// One student of a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterEntry {
    /// The student.
    pub student_id: StudentId,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// The full name in law.
    pub full_legal_name: String,
    /// E-mail address.
    pub email: Option<String>,
}

/// Body of POST `/v1/classes/students`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateStudentRequest {
    /// The name.
    pub person_name: PersonName,
    /// E-mail address.
    pub email: Option<String>,
    /// The classes to join.
    pub class_ids: Option<Vec<ClassId>>,
}

/// Answer to POST `/v1/classes/students` (201).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateStudentResponse {
    /// The student.
    pub id: StudentId,
    /// The name to show.
    pub full_name: String,
}

/// Body of PUT `/v1/classes/students/{id}`; what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateStudentRequest {
    /// The new name.
    pub person_name: Option<PersonName>,
    /// The new e-mail address.
    pub email: Option<String>,
    /// Classes to join.
    pub add_class_ids: Option<Vec<ClassId>>,
    /// Classes to leave.
    pub remove_class_ids: Option<Vec<ClassId>>,
}

/// Answer to GET `/v1/classes/students/{id}` and PUT `/v1/classes/students/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StudentResponse {
    /// The student.
    pub id: StudentId,
    /// The name.
    pub person_name: PersonName,
    /// E-mail address.
    pub email: Option<String>,
    /// The classes.
    pub class_ids: Vec<ClassId>,
}

/// Answer to GET `/v1/batches/{id}/student-associations`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssociationsResponse {
    /// The suggestions.
    pub associations: Vec<AssociationSuggestion>,
}

/// Who may have written one essay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssociationSuggestion {
    /// The essay.
    pub essay_id: EssayId,
    /// The student, when there is a suggestion.
    pub student_id: Option<StudentId>,
    /// The student's name.
    pub student_name: Option<String>,
    /// How sure the suggestion is.
    pub confidence_score: Fraction,
}

/// Body of POST `/v1/batches/{id}/student-associations/confirm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmAssociationsRequest {
    /// The teacher's word on each essay.
    pub associations: Vec<AssociationDecision>,
    /// Who says so; must be the caller that the gateway vouches for.
    pub user_id: Option<UserId>,
}

/// The teacher's word on one essay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssociationDecision {
    /// The essay.
    pub essay_id: EssayId,
    /// The student.
    pub student_id: StudentId,
    /// Whether this student wrote it.
    pub confirmed: bool,
}

/// Answer to POST `/v1/batches/{id}/student-associations/confirm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmAssociationsResponse {
    /// What happened.
    pub status: Confirmed,
    /// How many were confirmed.
    pub associations_confirmed: u32,
    /// How many were rejected.
    pub associations_rejected: u32,
}

wire_enum! {
    /// The one way in which a confirmation succeeds.
    pub enum Confirmed {
        /// It is settled.
        Confirmed = "confirmed",
    }
}
read_strictly!(Confirmed);

/// Answer to GET `/internal/v1/batches/{id}/student-names`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StudentNamesResponse {
    /// The batch.
    pub batch_id: BatchId,
    /// Essays with the names of their authors.
    pub items: Vec<EssayAuthor>,
}

/// One essay with its author.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EssayAuthor {
    /// The essay.
    pub essay_id: EssayId,
    /// The author.
    pub student_id: StudentId,
    /// The author's name.
    pub student_person_name: PersonName,
}
