//! HuleEdu in one binary.
fn main() {}
