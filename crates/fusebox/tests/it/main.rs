//! The breaker as its users meet it: only the public interface, and virtual time but for the clocks.

mod calls;
#[cfg(target_os = "linux")]
mod clocks;
mod events;
mod flaws;
mod guide;
mod health;
mod keyed;
mod matrix;
mod model;
mod modes;
mod policies;
mod random;
mod registry;
mod settings;
mod slow;
mod stress;
mod support;
mod table;
mod windows;
