//! Which circuit a request belongs to: always the same, or one for each key.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use fusebox::{BreakerConfig, CircuitBreaker, NotPermitted, Permit, Registry, RegistryError};

thread_local! {
    /// Room for one circuit's name, so that a call with a known key allocates nothing.
    static NAME: Cell<String> = const { Cell::new(String::new()) };
}

/// The circuits behind a [`crate::BreakerLayer`].
pub trait Circuits<Req> {
    /// The circuit of `request`, to name it.
    fn circuit(&self, request: &Req) -> CircuitBreaker;

    /// The circuit of what belongs to no request, as a readiness that has failed.
    fn unkeyed(&self) -> CircuitBreaker;

    /// Asks the circuit of `request` for leave to make the call.
    ///
    /// # Errors
    /// The circuit refuses.
    fn try_acquire(&self, request: &Req) -> Result<Permit, NotPermitted> {
        self.circuit(request).try_acquire()
    }
}

/// One circuit for all requests.
impl<Req> Circuits<Req> for CircuitBreaker {
    fn circuit(&self, _: &Req) -> CircuitBreaker {
        self.clone()
    }

    fn unkeyed(&self) -> CircuitBreaker {
        self.clone()
    }

    fn try_acquire(&self, _: &Req) -> Result<Permit, NotPermitted> {
        CircuitBreaker::try_acquire(self)
    }
}

/// One circuit for each key, made when the key is first seen. Clones share their circuits.
///
/// The circuits are keyed circuits of a registry, named `name/key`, and live by its rules: its
/// capacity bounds them, the one that has been idle the longest goes when room is needed, an open
/// one never does ([`Registry::get_or_register`]), and settings by pattern (`name/*`) hold for them.
/// While the registry is full of circuits that must stay, new keys share the circuit `name/other`,
/// so that no call goes unprotected. Keys that must not crowd others out get a registry of their own.
pub struct Keyed<K> {
    key: Arc<K>,
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    name: String,
    config: Arc<BreakerConfig>,
    other: CircuitBreaker,
}

impl<K> Keyed<K> {
    /// Circuits of `registry` with these settings, named `name/key`, by `key` of the request.
    ///
    /// # Errors
    /// The settings make no sense, `registry` is full, or it has a circuit `name/other` already.
    pub fn new<Req>(
        registry: &Registry,
        name: impl Into<String>,
        config: BreakerConfig,
        key: K,
    ) -> Result<Self, RegistryError>
    where
        K: Fn(&Req) -> Cow<'_, str>,
    {
        let name = name.into();
        let other = registry.register(format!("{name}/other"), config.clone())?;
        Ok(Self {
            key: Arc::new(key),
            inner: Arc::new(Inner {
                registry: registry.clone(),
                name,
                config: Arc::new(config),
                other,
            }),
        })
    }

    /// The circuit of `key`, made if there is room for it. Ask again for each call: one that is kept
    /// may be removed from the registry meanwhile, and is then seen by nobody.
    pub fn circuit_of(&self, key: &str) -> CircuitBreaker {
        self.inner.circuit(key)
    }
}

impl Inner {
    fn circuit(&self, key: &str) -> CircuitBreaker {
        // Taken, not borrowed: to make a circuit may run observers, which may come back here.
        let mut name = NAME.take();
        name.clear();
        name.push_str(&self.name);
        name.push('/');
        name.push_str(key);
        // The settings were accepted for `other`, so what is refused is refused for want of room.
        let found = self.registry.get_or_register_with(&name, &self.config);
        NAME.set(name);
        found.unwrap_or_else(|_| self.other.clone())
    }
}

impl<K, Req> Circuits<Req> for Keyed<K>
where
    K: Fn(&Req) -> Cow<'_, str>,
{
    fn circuit(&self, request: &Req) -> CircuitBreaker {
        self.inner.circuit(&(self.key)(request))
    }

    fn unkeyed(&self) -> CircuitBreaker {
        self.inner.other.clone()
    }
}

// By hand: the derive would ask the same of `K`.
impl<K> Clone for Keyed<K> {
    fn clone(&self) -> Self {
        Self {
            key: Arc::clone(&self.key),
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<K> fmt::Debug for Keyed<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed")
            .field("name", &self.inner.name)
            .finish_non_exhaustive()
    }
}
