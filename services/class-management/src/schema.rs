//! The tables of this service.

use huleedu_kit::store::Migration;

/// Its migrations.
pub(crate) const MIGRATIONS: &[Migration] = &[Migration {
    version: 100,
    name: "classes and students",
    sql: "
CREATE TABLE classes (
    position {serial},
    class_id TEXT NOT NULL UNIQUE,
    owner_id TEXT NOT NULL,
    name TEXT NOT NULL,
    course_code TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX classes_owner ON classes (owner_id, position);
CREATE TABLE students (
    position {serial},
    student_id TEXT NOT NULL UNIQUE,
    owner_id TEXT NOT NULL,
    first_name TEXT NOT NULL,
    last_name TEXT NOT NULL,
    legal_full_name TEXT,
    email TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE TABLE class_students (
    class_id TEXT NOT NULL REFERENCES classes (class_id) ON DELETE CASCADE,
    student_id TEXT NOT NULL REFERENCES students (student_id) ON DELETE CASCADE,
    PRIMARY KEY (class_id, student_id)
);
CREATE INDEX class_students_student ON class_students (student_id);",
}];
