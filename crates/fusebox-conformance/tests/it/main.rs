//! The suite on trial: right for Fusebox and for a sound toy, wrong for every toy with a flaw.

mod flawed;
mod fusebox_adapter;
mod fusebox_subject;
mod report;
mod toy;
