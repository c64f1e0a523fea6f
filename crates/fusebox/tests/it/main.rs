//! The breaker as its users meet it: only the public interface, only virtual time.

mod calls;
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
