//! Integration tests of the file service.

mod extraction;
