//! Protected calls.

mod ambient;
mod budget;
mod bulkhead;
mod context;
mod deadline;
mod error;
mod method;
mod policy;
mod resilience;
mod settings;
mod stream;
mod verdict;

pub use ambient::Scope;
pub use budget::RetryBudget;
pub use context::{CarryContext, Context, Ids};
pub use deadline::Deadline;
pub use error::{CallError, Reason, Rejected};
pub use method::MethodMeta;
pub use policy::Policy;
pub use resilience::{PolicyError, Resilience, ResilienceBuilder};
pub use settings::{Settings, SettingsError};
pub use stream::{GuardedStream, ItemGuard};
pub use verdict::{Fallible, Judge, Verdict};

