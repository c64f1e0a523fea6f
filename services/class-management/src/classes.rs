//! Classes in the database, each change with its event.

use huleedu_contracts::{
    api::class_management::{ClassName, ClassResponse, ClassSummary, RosterEntry},
    domain::CourseCode,
    error::ErrorCode,
    events::{
        EventName,
        class::{ClassCreatedV1, ClassUpdatedV1},
    },
    ids::{ClassId, UserId},
};
use huleedu_kit::{
    CallContext,
    http::{ApiError, ApiResult},
    store::{Store, StoreError, now_ms},
};
use jiff::Timestamp;
use sqlx::{AnyConnection, Row as _, any::AnyRow};

use crate::{rules::Page, students};

/// Makes a class.
pub(crate) async fn create(
    store: &Store,
    owner: &UserId,
    name: &ClassName,
    course: CourseCode,
) -> ApiResult<ClassId> {
    let id = ClassId::random();
    let mut tx = store.begin().await?;
    sqlx::query(
        "INSERT INTO classes (class_id, owner_id, name, course_code, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $5)",
    )
    .bind(id.as_str())
    .bind(owner.as_str())
    .bind(name.as_str())
    .bind(course.as_str())
    .bind(now_ms())
    .execute(tx.conn())
    .await?;
    tx.publish(ClassCreatedV1 {
        event: EventName::new(),
        class_id: id.clone(),
        class_designation: name.to_string(),
        course_codes: vec![course],
        user_id: owner.clone(),
        correlation_id: CallContext::current().correlation_id,
        timestamp: Timestamp::now(),
    })
    .await?;
    tx.commit().await?;
    Ok(id)
}

/// Changes a class; what is `None` stays. No event when nothing changes.
pub(crate) async fn update(
    store: &Store,
    owner: &UserId,
    id: &ClassId,
    name: Option<ClassName>,
    course: Option<CourseCode>,
) -> ApiResult<ClassResponse> {
    let mut tx = store.begin().await?;
    let old = own(tx.conn(), owner, id).await?;
    let name = name.filter(|name| *name != old.name);
    let course = course.filter(|course| *course != old.course_code);
    if name.is_some() || course.is_some() {
        sqlx::query(
            "UPDATE classes SET name = $1, course_code = $2, updated_at = $3 WHERE class_id = $4",
        )
        .bind(name.as_ref().unwrap_or(&old.name).as_str())
        .bind(course.unwrap_or(old.course_code).as_str())
        .bind(now_ms())
        .bind(id.as_str())
        .execute(tx.conn())
        .await?;
        tx.publish(ClassUpdatedV1 {
            event: EventName::new(),
            class_id: id.clone(),
            class_designation: name.map(|name| name.to_string()),
            course_codes: course.map(|course| vec![course]),
            user_id: owner.clone(),
            correlation_id: CallContext::current().correlation_id,
            timestamp: Timestamp::now(),
        })
        .await?;
    }
    let class = with_students(tx.conn(), owner, id).await?;
    tx.commit().await?;
    Ok(class)
}

/// Deletes a class; its students stay.
pub(crate) async fn delete(store: &Store, owner: &UserId, id: &ClassId) -> ApiResult<()> {
    let mut tx = store.begin().await?;
    own(tx.conn(), owner, id).await?;
    sqlx::query("DELETE FROM classes WHERE class_id = $1")
        .bind(id.as_str())
        .execute(tx.conn())
        .await?;
    Ok(tx.commit().await?)
}

/// One class with its students.
pub(crate) async fn get(store: &Store, owner: &UserId, id: &ClassId) -> ApiResult<ClassResponse> {
    let mut conn = store.pool().acquire().await?;
    with_students(&mut conn, owner, id).await
}

/// The classes of a teacher, the newest first.
pub(crate) async fn list(
    store: &Store,
    owner: &UserId,
    page: Page,
) -> ApiResult<Vec<ClassSummary>> {
    let rows = sqlx::query(
        "SELECT class_id, owner_id, name, course_code, created_at, \
         (SELECT COUNT(*) FROM class_students s WHERE s.class_id = c.class_id) AS student_count \
         FROM classes c WHERE owner_id = $1 ORDER BY position DESC LIMIT $2 OFFSET $3",
    )
    .bind(owner.as_str())
    .bind(i64::from(page.limit))
    .bind(i64::from(page.offset))
    .fetch_all(store.pool())
    .await?;
    Ok(rows.iter().map(summary).collect::<Result<_, _>>()?)
}

/// The students of a class, for other services of the platform; no owner is asked for.
pub(crate) async fn roster(store: &Store, id: &ClassId) -> ApiResult<Vec<RosterEntry>> {
    let mut conn = store.pool().acquire().await?;
    find(&mut conn, id).await?;
    let students = students::of_class(&mut conn, id).await?;
    Ok(students
        .into_iter()
        .map(|student| RosterEntry {
            student_id: student.id,
            full_legal_name: student.person_name.full_name(),
            first_name: student.person_name.first_name,
            last_name: student.person_name.last_name,
            email: student.email,
        })
        .collect())
}

/// A class that must be this teacher's.
///
/// # Errors
/// 404 when there is none, 403 when it is another's.
pub(crate) async fn own(
    conn: &mut AnyConnection,
    owner: &UserId,
    id: &ClassId,
) -> ApiResult<ClassSummary> {
    let (holder, class) = find(conn, id).await?;
    if holder == *owner {
        Ok(class)
    } else {
        Err(ApiError::forbidden(format!(
            "class {id} belongs to another user"
        )))
    }
}

async fn with_students(
    conn: &mut AnyConnection,
    owner: &UserId,
    id: &ClassId,
) -> ApiResult<ClassResponse> {
    let class = own(conn, owner, id).await?;
    let students = students::of_class(conn, id).await?;
    Ok(ClassResponse {
        id: class.id,
        name: class.name,
        course_code: class.course_code,
        student_count: u32::try_from(students.len()).unwrap_or(u32::MAX),
        students,
    })
}

async fn find(conn: &mut AnyConnection, id: &ClassId) -> ApiResult<(UserId, ClassSummary)> {
    let row = sqlx::query(
        "SELECT class_id, owner_id, name, course_code, created_at, \
         (SELECT COUNT(*) FROM class_students s WHERE s.class_id = c.class_id) AS student_count \
         FROM classes c WHERE class_id = $1",
    )
    .bind(id.as_str())
    .fetch_optional(conn)
    .await?;
    let row = row.ok_or_else(|| {
        ApiError::new(
            ErrorCode::ClassNotFound,
            format!("class {id} does not exist"),
        )
    })?;
    Ok((students::read(&row, "owner_id")?, summary(&row)?))
}

fn summary(row: &AnyRow) -> Result<ClassSummary, StoreError> {
    let corrupt = |what: &str| StoreError::Corrupt(format!("{what} of a class"));
    Ok(ClassSummary {
        id: students::read(row, "class_id")?,
        name: students::read(row, "name")?,
        course_code: students::read(row, "course_code")?,
        student_count: u32::try_from(row.try_get::<i64, _>("student_count")?)
            .map_err(|_| corrupt("student_count"))?,
        created_at: Timestamp::from_millisecond(row.try_get::<i64, _>("created_at")?)
            .map_err(|_| corrupt("created_at"))?,
    })
}
