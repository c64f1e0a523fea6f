//! Which circuit a request belongs to: always the same, or one for each key.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use fusebox::{BreakerConfig, CircuitBreaker, NotPermitted, Permit, Registry, RegistryError};

/// The circuits behind a [`crate::BreakerLayer`].
pub trait Circuits<Req> {
    /// Asks the circuit of `request` for leave to make the call.
    ///
    /// # Errors
    /// The circuit refuses.
    fn try_acquire(&self, request: &Req) -> Result<Permit, NotPermitted>;
}

/// One circuit for all requests.
impl<Req> Circuits<Req> for CircuitBreaker {
    fn try_acquire(&self, _: &Req) -> Result<Permit, NotPermitted> {
        CircuitBreaker::try_acquire(self)
    }
}

/// One circuit for each key, made when the key is first seen. Clones share their circuits.
///
/// The circuits are registered as `name/key`. Their number is bounded, because each is a set of
/// metric series and keys come with requests: all keys beyond the bound share the circuit
/// `name/other`, so that no call goes unprotected.
pub struct Keyed<K> {
    key: Arc<K>,
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    name: String,
    config: BreakerConfig,
    most: usize,
    other: CircuitBreaker,
    known: RwLock<HashMap<String, CircuitBreaker>>,
    /// A short cut past the lock that writers take; what decides is the length under that lock.
    full: AtomicBool,
}

impl<K> Keyed<K> {
    /// At most `most` circuits with keys of their own, named `name/key`, by `key` of the request.
    ///
    /// # Errors
    /// The settings make no sense, `registry` is full, or it has a circuit `name/other` already.
    pub fn new<Req>(
        registry: &Registry,
        name: impl Into<String>,
        config: BreakerConfig,
        most: usize,
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
                config,
                most,
                other,
                known: RwLock::default(),
                full: AtomicBool::new(false),
            }),
        })
    }

    /// The circuit of `key`, made if there is room for it.
    pub fn circuit(&self, key: &str) -> CircuitBreaker {
        self.inner.circuit(key)
    }
}

impl Inner {
    fn circuit(&self, key: &str) -> CircuitBreaker {
        // Nothing that can panic runs between two changes under the lock.
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(breaker) = known.get(key) {
            return breaker.clone();
        }
        drop(known);
        if self.full.load(Ordering::Relaxed) {
            return self.other.clone();
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(breaker) = known.get(key) {
            return breaker.clone();
        }
        if known.len() >= self.most {
            self.full.store(true, Ordering::Relaxed);
            return self.other.clone();
        }
        let name = format!("{}/{key}", self.name);
        let made = match self.registry.register(name.as_str(), self.config.clone()) {
            Ok(breaker) => Some(breaker),
            // Another layer has made it; the same name is the same circuit.
            Err(RegistryError::NameTaken { .. }) => self.registry.get(&name),
            // The registry is full. The settings were accepted for `other`.
            Err(_) => None,
        };
        match made {
            Some(breaker) => {
                known.insert(key.to_owned(), breaker.clone());
                breaker
            }
            None => self.other.clone(),
        }
    }
}

impl<K, Req> Circuits<Req> for Keyed<K>
where
    K: Fn(&Req) -> Cow<'_, str>,
{
    fn try_acquire(&self, request: &Req) -> Result<Permit, NotPermitted> {
        self.circuit(&(self.key)(request)).try_acquire()
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
            .field("most", &self.inner.most)
            .finish_non_exhaustive()
    }
}
