//! Essay Lifecycle over the embedded broker and real HTTP; the tests play the services around it.

mod events;
mod intake;
mod phases;
mod platform;
mod resilience;
