//! The circuits of one service, by name.
//!
//! Two kinds live here. A circuit that is *registered* has a name of its own and stays. A *keyed*
//! one is made from a template when its key is first asked for, as one circuit for each tenant or
//! host; it may be removed when the registry is full or nobody asks for it any more, but never while
//! its state or its mode says something: see [`Registry::get_or_register`].

mod builder;
mod error;
mod pattern;
mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

pub use builder::RegistryBuilder;
pub use error::RegistryError;
pub use pattern::{Pattern, PatternError};

use crate::breaker::CircuitBreaker;
use crate::clock::TimeSource;
use crate::config::{BreakerConfig, ConfigError};
use crate::event::Event;
use crate::settings::{CircuitSettings, Problem, SettingsError};
use crate::snapshot::Snapshot;
use crate::state::{Mode, ModeChange, State};
use table::Table;

/// After a full round that found nothing to remove, nobody looks again for so long: a flood of new
/// keys must not make every one of them walk over all circuits.
const ROUND_PAUSE: Duration = Duration::from_millis(100);

type Observer = Arc<dyn Fn(&Event) + Send + Sync>;

/// The circuits of one service, by name. Clones are handles to the same registry.
///
/// ```
/// use fusebox::{BreakerConfig, CircuitSettings, Overrides, Registry};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::builder("api_gateway").capacity(10_000).build()?;
/// registry.register("file", BreakerConfig::default())?;
/// // One circuit for each tenant, made when it is first seen and removed when it is long idle.
/// registry.get_or_register("tenant/42")?.try_acquire()?.success();
///
/// // Other settings while it runs: states, counters and observers stay.
/// let mut stricter = Overrides::new();
/// stricter.failure_threshold = Some(3);
/// registry.apply_settings(CircuitSettings::new().with_circuits("tenant/*", stricter)?)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    service: Arc<str>,
    enabled: bool,
    clock: TimeSource,
    capacity: usize,
    template: BreakerConfig,
    entries: RwLock<Entries>,
    /// The settings of the latest circuit made.
    last_config: Mutex<Arc<BreakerConfig>>,
    /// Held by whoever puts settings in force, so that two do not mix theirs.
    applying: Mutex<()>,
    /// When a full registry may next be searched for something to remove, in clock milliseconds.
    next_round: AtomicU64,
    evicted: AtomicU64,
    refused: AtomicU64,
}

/// One circuit's part in a change of settings.
struct Change {
    breaker: CircuitBreaker,
    old: BreakerConfig,
    new: BreakerConfig,
}

struct Entries {
    table: Table,
    settings: Arc<CircuitSettings>,
    observers: Vec<Observer>,
}

impl Registry {
    /// An empty registry for `service`, on the process's monotonic clock.
    pub fn new(service: impl Into<String>) -> Self {
        Self::plain(RegistryBuilder::new(service.into()))
    }

    /// An empty registry for `service`, on `clock`.
    pub fn with_clock(service: impl Into<String>, clock: impl Into<TimeSource>) -> Self {
        Self::plain(RegistryBuilder::new(service.into()).clock(clock))
    }

    /// A registry whose breakers let every call pass and count none: what is wired when circuit
    /// breakers are switched off. Settings are still checked and names still clash.
    pub fn disabled(service: impl Into<String>) -> Self {
        Self::plain(RegistryBuilder::new(service.into()).enabled(false))
    }

    /// Starts a registry for `service` with a capacity, a template or settings of its own.
    pub fn builder(service: impl Into<String>) -> RegistryBuilder {
        RegistryBuilder::new(service.into())
    }

    fn plain(builder: RegistryBuilder) -> Self {
        builder
            .build()
            .expect("the default template and no settings make sense")
    }

    fn from_checked(parts: RegistryBuilder, clock: TimeSource) -> Self {
        Self {
            inner: Arc::new(Inner {
                service: parts.service.into(),
                enabled: parts.enabled,
                clock,
                capacity: parts.capacity,
                template: parts.template,
                entries: RwLock::new(Entries {
                    table: Table::default(),
                    settings: Arc::new(parts.settings),
                    observers: Vec::new(),
                }),
                last_config: Mutex::default(),
                applying: Mutex::new(()),
                next_round: AtomicU64::new(0),
                evicted: AtomicU64::new(0),
                refused: AtomicU64::new(0),
            }),
        }
    }

    /// The service whose circuits these are.
    pub fn service(&self) -> &str {
        &self.inner.service
    }

    /// False when the breakers are pass-throughs.
    pub fn is_enabled(&self) -> bool {
        self.inner.enabled
    }

    /// The most circuits it holds.
    pub fn capacity(&self) -> usize {
        self.inner.capacity
    }

    /// Builds a breaker and keeps it under `name` until it is [removed](Self::remove).
    ///
    /// `config` is what the code asks for; the registry's [settings](CircuitSettings) go over it.
    ///
    /// # Errors
    /// The name is taken (the breaker that has it stays), the registry is full of circuits that must
    /// stay, or a setting makes no sense.
    pub fn register(
        &self,
        name: impl Into<String>,
        config: BreakerConfig,
    ) -> Result<CircuitBreaker, RegistryError> {
        let name = name.into();
        self.insert(&name, Some(&Arc::new(config)), false)?
            .map_err(|_| RegistryError::NameTaken {
                service: self.inner.service.to_string(),
                name,
            })
    }

    /// The breaker of `key`, made from the template if there is none.
    ///
    /// When the registry is full, a keyed circuit is removed to make room, with its counters and its
    /// metric series: one that was asked for only once, or else not for a long time. Circuits that are open or half-open,
    /// that an operator has put in another mode, or that have calls under way are never removed, nor
    /// are registered ones. So take the handle for one call and ask again for the next; a handle
    /// kept beyond its circuit's removal still judges, but nobody else sees it.
    ///
    /// # Errors
    /// The registry is full of circuits that must stay, or the key is empty.
    pub fn get_or_register(&self, key: &str) -> Result<CircuitBreaker, RegistryError> {
        if let Some(found) = self.get(key) {
            return Ok(found);
        }
        Ok(self.insert(key, None, true)?.unwrap_or_else(|found| found))
    }

    /// [`get_or_register`](Self::get_or_register) with `config` in place of the template, for keys
    /// of several kinds in one registry. A circuit that is there already keeps its settings.
    ///
    /// # Errors
    /// The registry is full of circuits that must stay, the key is empty, or a setting makes no sense.
    pub fn get_or_register_with(
        &self,
        key: &str,
        config: &Arc<BreakerConfig>,
    ) -> Result<CircuitBreaker, RegistryError> {
        if let Some(found) = self.get(key) {
            return Ok(found);
        }
        let made = self.insert(key, Some(config), true)?;
        Ok(made.unwrap_or_else(|found| found))
    }

    /// The breaker of that name.
    pub fn get(&self, name: &str) -> Option<CircuitBreaker> {
        self.read().table.get(name).cloned()
    }

    /// Takes a breaker out of the registry, whatever its state, and gives it back.
    ///
    /// Whoever holds a handle may go on using it; it is in no list and no metric any more.
    pub fn remove(&self, name: &str) -> Option<CircuitBreaker> {
        self.write().table.remove(name)
    }

    /// Removes the keyed circuits that nobody asked for since this was last called, and answers how
    /// many it were. Those that must stay do; see [`get_or_register`](Self::get_or_register).
    ///
    /// Called every ten minutes, it removes circuits that were idle for ten to twenty.
    pub fn evict_idle(&self) -> usize {
        let idle = self.write().table.take_idle();
        // Outside the lock: looking at a circuit may run observers, which may come back.
        let candidates = idle.iter().filter(|found| may_go(&found.breaker));
        let removed = candidates
            .filter(|found| self.write().table.remove_unused(found))
            .count();
        self.inner
            .evicted
            .fetch_add(removed as u64, Ordering::Relaxed);
        removed
    }

    /// Keyed circuits removed since the start, to make room or because they were idle.
    pub fn evicted(&self) -> u64 {
        self.inner.evicted.load(Ordering::Relaxed)
    }

    /// Times that a circuit was not made because the registry was full.
    pub fn refused(&self) -> u64 {
        self.inner.refused.load(Ordering::Relaxed)
    }

    /// All breakers, sorted by name.
    pub fn breakers(&self) -> Vec<CircuitBreaker> {
        let entries = self.read();
        let slots = entries.table.slots();
        let mut all: Vec<CircuitBreaker> = slots.map(|slot| slot.breaker.clone()).collect();
        drop(entries);
        all.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        all
    }

    /// The snapshots of all breakers, sorted by name. Each is consistent in itself; they are taken
    /// one after the other.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        // Outside the registry's lock: a snapshot may deliver events, whose observers may come back.
        self.breakers()
            .iter()
            .map(CircuitBreaker::snapshot)
            .collect()
    }

    /// The state of every circuit, by name.
    pub fn states(&self) -> BTreeMap<String, State> {
        self.breakers()
            .iter()
            .map(|breaker| (breaker.name().to_owned(), breaker.state()))
            .collect()
    }

    /// All breakers whose name matches, sorted by name.
    pub fn matching(&self, pattern: &Pattern) -> Vec<CircuitBreaker> {
        let mut found = self.breakers();
        found.retain(|breaker| pattern.matches(breaker.name()));
        found
    }

    /// Resets every breaker; see [`CircuitBreaker::reset`].
    pub fn reset_all(&self) {
        for breaker in self.breakers() {
            breaker.reset();
        }
    }

    /// Puts every circuit whose name matches into a mode, and answers their names, sorted.
    ///
    /// Circuits made later are not meant. See [`CircuitBreaker::force`].
    pub fn force_matching(&self, pattern: &Pattern, change: &ModeChange) -> Vec<String> {
        self.matching(pattern)
            .iter()
            .map(|breaker| {
                breaker.force(change.clone());
                breaker.name().to_owned()
            })
            .collect()
    }

    /// Number of breakers.
    pub fn len(&self) -> usize {
        self.read().table.len()
    }

    /// True when nothing is registered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The settings that go over those of the code.
    pub fn settings(&self) -> Arc<CircuitSettings> {
        Arc::clone(&self.read().settings)
    }

    /// Puts other settings over those of the code, in place of the present ones, and answers the
    /// names of the circuits whose settings changed by that, sorted.
    ///
    /// Circuits keep state, counters, observers and a break under way; see
    /// [`CircuitBreaker::set_config`]. Circuits made later get the new settings.
    ///
    /// # Errors
    /// Everything that makes no sense for the template or a registered circuit. Then nothing has
    /// changed.
    pub fn apply_settings(&self, settings: CircuitSettings) -> Result<Vec<String>, SettingsError> {
        let _turn = self.turn();
        let settings = Arc::new(settings);
        let (changes, old) = {
            let mut entries = self.write();
            let changes = self.changes(&entries, &settings)?;
            (changes, std::mem::replace(&mut entries.settings, settings))
        };
        // Outside the lock: new settings may make events, whose observers may come back.
        for (done, change) in changes.iter().enumerate() {
            if let Err(error) = change.breaker.set_config(change.new.clone()) {
                for change in &changes[..done] {
                    // It had them a moment ago, and takes them again.
                    drop(change.breaker.set_config(change.old.clone()));
                }
                self.write().settings = old;
                let place = format!("circuit {}", change.breaker.name());
                return Err(SettingsError::one(Problem::from(error).at(place)));
            }
        }
        let mut names: Vec<String> = changes
            .iter()
            .map(|change| change.breaker.name().to_owned())
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Replaces what the code asks for of one circuit, live; the registry's settings go over it. A
    /// keyed circuit counts as registered from then on.
    ///
    /// # Errors
    /// There is no such circuit, or the settings make no sense; the old ones stay.
    pub fn reconfigure(&self, name: &str, config: BreakerConfig) -> Result<(), RegistryError> {
        let _turn = self.turn();
        let (breaker, settings) = {
            let entries = self.read();
            (
                entries.table.get(name).cloned(),
                Arc::clone(&entries.settings),
            )
        };
        let breaker = breaker.ok_or_else(|| RegistryError::Unknown {
            service: self.inner.service.to_string(),
            name: name.to_owned(),
        })?;
        settings
            .effective(name, &config)
            .and_then(|effective| breaker.set_config(effective))
            .map_err(|source| refused(name, source))?;
        if let Some(slot) = self.write().table.slot_mut(name) {
            slot.base = Some(Arc::new(config));
            slot.keyed = false;
        }
        Ok(())
    }

    /// Calls `observer` with every later event of every breaker, those registered later included.
    ///
    /// The rules of [`CircuitBreaker::on_event`] hold; events of different breakers may come at the
    /// same time. An observer may use the registry, but not change settings through it.
    pub fn on_event(&self, observer: impl Fn(&Event) + Send + Sync + 'static) {
        let observer: Observer = Arc::new(observer);
        let mut entries = self.write();
        for slot in entries.table.slots() {
            slot.breaker.observe(Arc::clone(&observer));
        }
        entries.observers.push(observer);
    }

    /// Makes the breaker of `name`; the inner `Err` is the one that has the name already.
    fn insert(
        &self,
        name: &str,
        base: Option<&Arc<BreakerConfig>>,
        keyed: bool,
    ) -> Result<Result<CircuitBreaker, CircuitBreaker>, RegistryError> {
        let mut steps = None;
        loop {
            let candidate = {
                let mut entries = self.write();
                if let Some(found) = entries.table.get(name) {
                    return Ok(Err(found.clone()));
                }
                if entries.table.len() < self.inner.capacity {
                    let breaker = self.make(&entries, name, base)?;
                    entries.table.insert(breaker.clone(), base.cloned(), keyed);
                    return Ok(Ok(breaker));
                }
                if steps.is_none() {
                    // No circuit may go for one that cannot be made.
                    self.make(&entries, name, base)?;
                }
                if steps.is_none() && self.pauses() {
                    None
                } else {
                    // Two rounds of the hand: the first clears the marks of all that were used, the
                    // second finds them unused. Over all turns of this loop, so that it ends.
                    let steps = steps.get_or_insert(2 * entries.table.len());
                    entries.table.next_unused(steps)
                }
            };
            match candidate {
                Some(found) if may_go(&found.breaker) => {
                    if self.write().table.remove_unused(&found) {
                        self.inner.evicted.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Some(_) => {}
                None => {
                    if steps.is_some() {
                        self.pause();
                    }
                    self.inner.refused.fetch_add(1, Ordering::Relaxed);
                    return Err(RegistryError::Full {
                        service: self.inner.service.to_string(),
                        capacity: self.inner.capacity,
                    });
                }
            }
        }
    }

    fn make(
        &self,
        entries: &Entries,
        name: &str,
        base: Option<&Arc<BreakerConfig>>,
    ) -> Result<CircuitBreaker, RegistryError> {
        let base = base.map_or(&self.inner.template, |base| base);
        let breaker = entries
            .settings
            .effective(name, base)
            .and_then(|config| {
                CircuitBreaker::builder(name)
                    .service(&*self.inner.service)
                    .config(self.share(config))
                    .clock(self.inner.clock.clone())
                    .enabled(self.inner.enabled)
                    .build()
            })
            .map_err(|source| refused(name, source))?;
        for observer in &entries.observers {
            breaker.observe(Arc::clone(observer));
        }
        Ok(breaker)
    }

    /// The circuits made one after the other are mostly set alike: they share the memory of that.
    fn share(&self, config: BreakerConfig) -> Arc<BreakerConfig> {
        let mut last = self
            .inner
            .last_config
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if **last != config {
            *last = Arc::new(config);
        }
        Arc::clone(&last)
    }

    /// What `new` changes, with the settings to be; all of it checked.
    fn changes(
        &self,
        entries: &Entries,
        new: &CircuitSettings,
    ) -> Result<Vec<Change>, SettingsError> {
        let mut problems = match new.check(&self.inner.template) {
            Ok(()) => Vec::new(),
            Err(error) => error.problems().to_vec(),
        };
        let mut of_circuits = Vec::new();
        let mut changes = Vec::new();
        for slot in entries.table.slots() {
            let name = slot.breaker.name();
            let base = slot.base.as_deref().unwrap_or(&self.inner.template);
            match new.effective(name, base) {
                Ok(config) => {
                    let old = entries.settings.effective(name, base);
                    let old = old.expect("they are in force, so they make sense");
                    if old != config {
                        changes.push(Change {
                            breaker: slot.breaker.clone(),
                            old,
                            new: config,
                        });
                    }
                }
                // Those of the template were found above.
                Err(error) if slot.base.is_some() => {
                    let place = format!("{} for circuit {name}", new.place_for(name));
                    of_circuits.push(Problem::from(error).at(place));
                }
                Err(_) => {}
            }
        }
        of_circuits.sort_by(|a, b| a.place.cmp(&b.place));
        problems.extend(of_circuits);
        SettingsError::of(problems)?;
        Ok(changes)
    }

    fn turn(&self) -> std::sync::MutexGuard<'_, ()> {
        self.inner
            .applying
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn pauses(&self) -> bool {
        self.millis() < self.inner.next_round.load(Ordering::Relaxed)
    }

    fn pause(&self) {
        let until = self.millis().saturating_add(millis(ROUND_PAUSE));
        self.inner.next_round.store(until, Ordering::Relaxed);
    }

    fn millis(&self) -> u64 {
        millis(Duration::from_nanos(self.inner.clock.nanos()))
    }

    // Every change under the lock is whole before anything that can panic, so a poisoned lock still
    // guards a sound value.
    fn read(&self) -> RwLockReadGuard<'_, Entries> {
        self.inner
            .entries
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Entries> {
        self.inner
            .entries
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("service", &self.inner.service)
            .field("enabled", &self.inner.enabled)
            .field("circuits", &self.len())
            .finish_non_exhaustive()
    }
}

/// Whether a circuit says nothing that would be missed: nobody would be let through who is refused
/// now, and no result is expected.
fn may_go(breaker: &CircuitBreaker) -> bool {
    let now = breaker.snapshot();
    let undecided = now.mode == Mode::Automatic || !now.enabled;
    now.state == State::Closed && undecided && now.in_flight == 0
}

fn refused(name: &str, source: ConfigError) -> RegistryError {
    RegistryError::Config {
        name: name.to_owned(),
        source,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
