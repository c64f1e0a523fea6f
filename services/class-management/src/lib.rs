//! Classes and their students.
