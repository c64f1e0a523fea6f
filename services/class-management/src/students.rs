//! Students in the database, each change with its event.

use std::collections::HashMap;

use huleedu_contracts::{
    api::class_management::StudentResponse,
    domain::PersonName,
    error::ErrorCode,
    events::{
        EventName,
        class::{StudentCreatedV1, StudentUpdatedV1},
    },
    ids::{ClassId, StudentId, UserId},
};
use huleedu_kit::{
    CallContext,
    http::{ApiError, ApiResult},
    store::{Store, StoreError, Tx, now_ms},
};
use jiff::Timestamp;
use sqlx::{AnyConnection, Row as _, any::AnyRow};

use crate::classes;

/// What is known of a new student, checked.
#[derive(Debug)]
pub(crate) struct NewStudent {
    pub(crate) name: PersonName,
    pub(crate) email: Option<String>,
    pub(crate) classes: Vec<ClassId>,
}

/// What changes of a student, checked; what is `None` or empty stays.
#[derive(Debug, Default)]
pub(crate) struct StudentChange {
    pub(crate) name: Option<PersonName>,
    pub(crate) email: Option<String>,
    pub(crate) join: Vec<ClassId>,
    pub(crate) leave: Vec<ClassId>,
}

/// Enters a student.
///
/// # Errors
/// 404 and 403 for the classes, 409 for a full one.
pub(crate) async fn create(
    store: &Store,
    owner: &UserId,
    student: NewStudent,
    max_per_class: u32,
) -> ApiResult<StudentResponse> {
    let id = StudentId::random();
    let mut tx = store.begin().await?;
    sqlx::query(
        "INSERT INTO students (student_id, owner_id, first_name, last_name, legal_full_name, \
         email, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $7)",
    )
    .bind(id.as_str())
    .bind(owner.as_str())
    .bind(student.name.first_name.as_str())
    .bind(student.name.last_name.as_str())
    .bind(student.name.legal_full_name.as_deref())
    .bind(student.email.as_deref())
    .bind(now_ms())
    .execute(tx.conn())
    .await?;
    join(&mut tx, owner, &id, &student.classes, max_per_class).await?;
    tx.publish(StudentCreatedV1 {
        event: EventName::new(),
        student_id: id.clone(),
        first_name: student.name.first_name.clone(),
        last_name: student.name.last_name.clone(),
        student_email: student.email.clone(),
        class_ids: student.classes,
        created_by_user_id: owner.clone(),
        correlation_id: CallContext::current().correlation_id,
        timestamp: Timestamp::now(),
    })
    .await?;
    let (_, entered) = find(tx.conn(), &id).await?;
    tx.commit().await?;
    Ok(entered)
}

/// Changes a student. No event when nothing changes.
///
/// # Errors
/// 404 and 403 for the student and the classes, 409 for a full class.
pub(crate) async fn update(
    store: &Store,
    owner: &UserId,
    id: &StudentId,
    change: StudentChange,
    max_per_class: u32,
) -> ApiResult<StudentResponse> {
    let mut tx = store.begin().await?;
    let old = own(tx.conn(), owner, id).await?;
    let name = change.name.filter(|name| *name != old.person_name);
    let email = change
        .email
        .filter(|email| old.email.as_ref() != Some(email));
    if name.is_some() || email.is_some() {
        let new = name.as_ref().unwrap_or(&old.person_name);
        sqlx::query(
            "UPDATE students SET first_name = $1, last_name = $2, legal_full_name = $3, \
             email = $4, updated_at = $5 WHERE student_id = $6",
        )
        .bind(new.first_name.as_str())
        .bind(new.last_name.as_str())
        .bind(new.legal_full_name.as_deref())
        .bind(email.as_deref().or(old.email.as_deref()))
        .bind(now_ms())
        .bind(id.as_str())
        .execute(tx.conn())
        .await?;
    }
    let left = leave(&mut tx, owner, id, &change.leave).await?;
    let joined = join(&mut tx, owner, id, &change.join, max_per_class).await?;
    if name.is_some() || email.is_some() || !joined.is_empty() || !left.is_empty() {
        tx.publish(StudentUpdatedV1 {
            event: EventName::new(),
            student_id: id.clone(),
            first_name: name.as_ref().map(|name| name.first_name.clone()),
            last_name: name.as_ref().map(|name| name.last_name.clone()),
            student_email: email,
            add_class_ids: (!joined.is_empty()).then_some(joined),
            remove_class_ids: (!left.is_empty()).then_some(left),
            updated_by_user_id: owner.clone(),
            correlation_id: CallContext::current().correlation_id,
            timestamp: Timestamp::now(),
        })
        .await?;
    }
    let (_, new) = find(tx.conn(), id).await?;
    tx.commit().await?;
    Ok(new)
}

/// Deletes a student, also out of every class.
///
/// # Errors
/// 404 when there is none, 403 when it is another teacher's.
pub(crate) async fn delete(store: &Store, owner: &UserId, id: &StudentId) -> ApiResult<()> {
    let mut tx = store.begin().await?;
    own(tx.conn(), owner, id).await?;
    sqlx::query("DELETE FROM students WHERE student_id = $1")
        .bind(id.as_str())
        .execute(tx.conn())
        .await?;
    Ok(tx.commit().await?)
}

/// One student.
///
/// # Errors
/// 404 when there is none, 403 when it is another teacher's.
pub(crate) async fn get(
    store: &Store,
    owner: &UserId,
    id: &StudentId,
) -> ApiResult<StudentResponse> {
    let mut conn = store.pool().acquire().await?;
    own(&mut conn, owner, id).await
}

/// The students of a class by name.
pub(crate) async fn of_class(
    conn: &mut AnyConnection,
    class: &ClassId,
) -> Result<Vec<StudentResponse>, StoreError> {
    let rows = sqlx::query(
        "SELECT s.student_id, s.owner_id, s.first_name, s.last_name, s.legal_full_name, s.email \
         FROM students s JOIN class_students m ON m.student_id = s.student_id \
         WHERE m.class_id = $1 ORDER BY s.last_name, s.first_name, s.position",
    )
    .bind(class.as_str())
    .fetch_all(&mut *conn)
    .await?;
    let mut students: Vec<StudentResponse> = rows.iter().map(student).collect::<Result<_, _>>()?;
    // All their classes at once: one query per student would be one too many in a large class.
    let links = sqlx::query(
        "SELECT m.student_id, m.class_id FROM class_students m \
         JOIN classes c ON c.class_id = m.class_id \
         WHERE m.student_id IN (SELECT student_id FROM class_students WHERE class_id = $1) \
         ORDER BY c.position",
    )
    .bind(class.as_str())
    .fetch_all(conn)
    .await?;
    let mut classes: HashMap<StudentId, Vec<ClassId>> = HashMap::new();
    for link in &links {
        classes
            .entry(read(link, "student_id")?)
            .or_default()
            .push(read(link, "class_id")?);
    }
    for student in &mut students {
        student.class_ids = classes.remove(&student.id).unwrap_or_default();
    }
    Ok(students)
}

/// Puts a student into classes of the teacher; answers which are new.
async fn join(
    tx: &mut Tx,
    owner: &UserId,
    student: &StudentId,
    wanted: &[ClassId],
    max_per_class: u32,
) -> ApiResult<Vec<ClassId>> {
    let mut joined = Vec::new();
    for id in wanted {
        let class = classes::own(tx.conn(), owner, id).await?;
        let done = sqlx::query(
            "INSERT INTO class_students (class_id, student_id) VALUES ($1, $2) \
             ON CONFLICT (class_id, student_id) DO NOTHING",
        )
        .bind(id.as_str())
        .bind(student.as_str())
        .execute(tx.conn())
        .await?;
        if done.rows_affected() == 0 {
            continue;
        }
        if class.student_count >= max_per_class {
            return Err(ApiError::new(
                ErrorCode::Conflict,
                format!("class {id} is full: it may have {max_per_class} students"),
            ));
        }
        joined.push(id.clone());
    }
    Ok(joined)
}

/// Takes a student out of classes of the teacher; answers which it was in.
async fn leave(
    tx: &mut Tx,
    owner: &UserId,
    student: &StudentId,
    unwanted: &[ClassId],
) -> ApiResult<Vec<ClassId>> {
    let mut left = Vec::new();
    for id in unwanted {
        classes::own(tx.conn(), owner, id).await?;
        let done =
            sqlx::query("DELETE FROM class_students WHERE class_id = $1 AND student_id = $2")
                .bind(id.as_str())
                .bind(student.as_str())
                .execute(tx.conn())
                .await?;
        if done.rows_affected() > 0 {
            left.push(id.clone());
        }
    }
    Ok(left)
}

async fn own(
    conn: &mut AnyConnection,
    owner: &UserId,
    id: &StudentId,
) -> ApiResult<StudentResponse> {
    let (holder, student) = find(conn, id).await?;
    if holder == *owner {
        Ok(student)
    } else {
        Err(ApiError::forbidden(format!(
            "student {id} belongs to another user"
        )))
    }
}

async fn find(conn: &mut AnyConnection, id: &StudentId) -> ApiResult<(UserId, StudentResponse)> {
    let row = sqlx::query(
        "SELECT student_id, owner_id, first_name, last_name, legal_full_name, email \
         FROM students WHERE student_id = $1",
    )
    .bind(id.as_str())
    .fetch_optional(&mut *conn)
    .await?;
    let row = row.ok_or_else(|| {
        ApiError::new(
            ErrorCode::StudentNotFound,
            format!("student {id} does not exist"),
        )
    })?;
    let mut student = student(&row)?;
    let links = sqlx::query(
        "SELECT m.class_id FROM class_students m JOIN classes c ON c.class_id = m.class_id \
         WHERE m.student_id = $1 ORDER BY c.position",
    )
    .bind(id.as_str())
    .fetch_all(conn)
    .await?;
    student.class_ids = links
        .iter()
        .map(|link| read(link, "class_id"))
        .collect::<Result<_, _>>()?;
    Ok((read(&row, "owner_id")?, student))
}

fn student(row: &AnyRow) -> Result<StudentResponse, StoreError> {
    Ok(StudentResponse {
        id: read(row, "student_id")?,
        person_name: PersonName {
            first_name: row.try_get("first_name")?,
            last_name: row.try_get("last_name")?,
            legal_full_name: row.try_get("legal_full_name")?,
        },
        email: row.try_get("email")?,
        class_ids: Vec::new(),
    })
}

/// A checked value out of a text column.
pub(crate) fn read<T: std::str::FromStr>(row: &AnyRow, column: &str) -> Result<T, StoreError> {
    let text: String = row.try_get(column)?;
    text.parse()
        .map_err(|_| StoreError::Corrupt(format!("column {column}")))
}
