//! The attribute `#[resilient]`: a typed wrapper with a policy per method around any client behind a trait.
//!
//! Use it through the crate `fusebox-resilient`, whose types the generated code names and whose
//! front page shows it at work. This page is the reference of its options.
//!
//! On the trait, all optional:
//!
//! | option | meaning | default |
//! |---|---|---|
//! | `name = "content"` | the client's name in operations (`content.fetch`) and its circuit | the trait's name in snake case |
//! | `breaker = "…"` | the circuit of all methods, when it is not the name | the name |
//! | `wrapper = Guarded` | the wrapper's name | `Resilient` and the trait's name |
//! | `classify = path` | `fn(&E) -> impl Into<Verdict>` for all methods | see below |
//! | `crate = path` | where `fusebox_resilient` is found | `::fusebox_resilient` |
//! | `?Send` | futures need not be `Send` | they are |
//!
//! On a method, all optional:
//!
//! | option | meaning |
//! |---|---|
//! | `skip` | forwarded without protection |
//! | `idempotent` | may be tried again; its arguments are cloned for every attempt |
//! | `attempts = 3` | most attempts, with `idempotent` |
//! | `hedge`, `hedge = "80ms"` | with `idempotent`: a second copy when the first takes this long |
//! | `attempt_timeout = "2s"`, `total_timeout = "8s"` | as in `Settings`, which can overrule them by operation |
//! | `breaker = "…"` | another circuit |
//! | `classify = path` | as on the trait, for this method |
//! | `stream` | the answer is `Result<impl Stream<Item = Result<T, E>>, E>`, guarded to its end |
//! | `first_item = "8s"`, `idle = "15s"` | with `stream`: the longest silences |
//! | `last = path` | with `stream`: `fn(&T) -> bool`, true for the item without which it was truncated |
//!
//! Without `classify` an error is judged by its `fusebox::Classify`; without that, a refusal by an
//! inner circuit in its chain of causes is neutral and anything else a failure.
//!
//! Methods that are not async, associated types, constants and functions are forwarded. Async
//! methods of supertraits are not part of the trait and stay as they are. Below `#[resilient]` the
//! attributes of `async_trait`, `mockall`, `auto_impl` and `dynosaur` work as without it.

mod expand;
mod method;
mod options;

use proc_macro::TokenStream;

/// Makes a wrapper that protects every async method of a trait; the options are on the
/// [crate's page](crate).
///
/// For a trait `Content` it generates `ResilientContent<T>`, which implements `Content` for every
/// `T: Content`, and, unless the trait is generic, a method `.resilient(&resilience)` on every
/// implementation.
#[proc_macro_attribute]
pub fn resilient(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::resilient(options.into(), &item.into()).into()
}
