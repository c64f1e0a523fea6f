//! The wire format of HuleEdu: envelope, topics, ids, events, error model, HTTP bodies.
