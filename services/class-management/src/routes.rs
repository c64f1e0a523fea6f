//! The HTTP routes: classes and students of the teacher that the gateway vouches for.

use std::sync::Arc;

use axum::{Json, Router, extract::State, response::NoContent, routing::get};
use http::StatusCode;
use huleedu_contracts::{
    api::class_management::{
        ClassListResponse, ClassPagination, ClassResponse, CreateClassRequest, CreateClassResponse,
        CreateStudentRequest, CreateStudentResponse, RosterResponse, StudentResponse,
        UpdateClassRequest, UpdateStudentRequest,
    },
    ids::{ClassId, StudentId},
};
use huleedu_kit::{
    http::{ApiJson, ApiPath, ApiQuery, ApiResult, Caller},
    store::Store,
};

use crate::{
    classes,
    rules::{self, Page},
    settings::Settings,
    students::{self, NewStudent, StudentChange},
};

#[derive(Clone)]
struct Shared {
    store: Store,
    settings: Arc<Settings>,
}

/// The routes of the service.
pub(crate) fn routes(store: Store, settings: Arc<Settings>) -> Router {
    let classes = || get(list_classes).post(create_class);
    Router::new()
        .route("/v1/classes", classes())
        .route("/v1/classes/", classes())
        .route(
            "/v1/classes/{class_id}",
            get(get_class).put(update_class).delete(delete_class),
        )
        .route("/v1/classes/{class_id}/roster", get(roster))
        .route("/v1/classes/students", axum::routing::post(create_student))
        .route(
            "/v1/classes/students/{student_id}",
            get(get_student).put(update_student).delete(delete_student),
        )
        .with_state(Shared { store, settings })
}

async fn list_classes(
    State(shared): State<Shared>,
    Caller(user): Caller,
    ApiQuery(page): ApiQuery<Page>,
) -> ApiResult<Json<ClassListResponse>> {
    let page = page.check()?;
    let classes = classes::list(&shared.store, &user, page).await?;
    let returned = u32::try_from(classes.len()).unwrap_or(u32::MAX);
    let pagination = ClassPagination {
        limit: page.limit,
        offset: page.offset,
        returned,
    };
    Ok(Json(ClassListResponse {
        classes,
        pagination,
    }))
}

async fn create_class(
    State(shared): State<Shared>,
    Caller(user): Caller,
    ApiJson(body): ApiJson<CreateClassRequest>,
) -> ApiResult<(StatusCode, Json<CreateClassResponse>)> {
    let course = rules::course(&body.course_codes)?;
    let id = classes::create(&shared.store, &user, &body.name, course).await?;
    Ok((
        StatusCode::CREATED,
        Json(CreateClassResponse {
            id,
            name: body.name,
        }),
    ))
}

async fn get_class(
    State(shared): State<Shared>,
    Caller(user): Caller,
    ApiPath(id): ApiPath<String>,
) -> ApiResult<Json<ClassResponse>> {
    let id: ClassId = rules::id("class_id", &id)?;
    Ok(Json(classes::get(&shared.store, &user, &id).await?))
}

async fn update_class(
    State(shared): State<Shared>,
    Caller(user): Caller,
    ApiPath(id): ApiPath<String>,
    ApiJson(body): ApiJson<UpdateClassRequest>,
) -> ApiResult<Json<ClassResponse>> {
    let id: ClassId = rules::id("class_id", &id)?;
    let course = body
        .course_codes
        .as_deref()
        .map(rules::course)
        .transpose()?;
    Ok(Json(
        classes::update(&shared.store, &user, &id, body.name, course).await?,
    ))
}

async fn delete_class(
    State(shared): State<Shared>,
    Caller(user): Caller,
    ApiPath(id): ApiPath<String>,
) -> ApiResult<NoContent> {
    let id: ClassId = rules::id("class_id", &id)?;
    classes::delete(&shared.store, &user, &id).await?;
    Ok(NoContent)
}

/// For other services of the platform; the gateway does not lead here.
async fn roster(
    State(shared): State<Shared>,
    ApiPath(id): ApiPath<String>,
) -> ApiResult<Json<RosterResponse>> {
    let id: ClassId = rules::id("class_id", &id)?;
    Ok(Json(RosterResponse {
        students: classes::roster(&shared.store, &id).await?,
    }))
}

async fn create_student(
    State(shared): State<Shared>,
    Caller(user): Caller,
    ApiJson(body): ApiJson<CreateStudentRequest>,
) -> ApiResult<(StatusCode, Json<CreateStudentResponse>)> {
    let student = NewStudent {
        name: rules::person_name(&body.person_name)?,
        email: body.email.as_deref().map(rules::email).transpose()?,
        classes: rules::ids("class_ids", body.class_ids.as_deref().unwrap_or_default())?,
    };
    let limit = shared.settings.max_students_per_class;
    let student = students::create(&shared.store, &user, student, limit).await?;
    let full_name = student.person_name.full_name();
    Ok((
        StatusCode::CREATED,
        Json(CreateStudentResponse {
            id: student.id,
            full_name,
        }),
    ))
}

async fn get_student(
    State(shared): State<Shared>,
    Caller(user): Caller,
    ApiPath(id): ApiPath<String>,
) -> ApiResult<Json<StudentResponse>> {
    let id: StudentId = rules::id("student_id", &id)?;
    Ok(Json(students::get(&shared.store, &user, &id).await?))
}

async fn update_student(
    State(shared): State<Shared>,
    Caller(user): Caller,
    ApiPath(id): ApiPath<String>,
    ApiJson(body): ApiJson<UpdateStudentRequest>,
) -> ApiResult<Json<StudentResponse>> {
    let id: StudentId = rules::id("student_id", &id)?;
    let change = StudentChange {
        name: body
            .person_name
            .as_ref()
            .map(rules::person_name)
            .transpose()?,
        email: body.email.as_deref().map(rules::email).transpose()?,
        join: rules::ids(
            "add_class_ids",
            body.add_class_ids.as_deref().unwrap_or_default(),
        )?,
        leave: rules::ids(
            "remove_class_ids",
            body.remove_class_ids.as_deref().unwrap_or_default(),
        )?,
    };
    let limit = shared.settings.max_students_per_class;
    Ok(Json(
        students::update(&shared.store, &user, &id, change, limit).await?,
    ))
}

async fn delete_student(
    State(shared): State<Shared>,
    Caller(user): Caller,
    ApiPath(id): ApiPath<String>,
) -> ApiResult<NoContent> {
    let id: StudentId = rules::id("student_id", &id)?;
    students::delete(&shared.store, &user, &id).await?;
    Ok(NoContent)
}
