//! Integration tests of the File Service.

mod extraction;
mod gate;
mod intake;
mod platform;
