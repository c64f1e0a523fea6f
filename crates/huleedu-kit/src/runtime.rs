//! Start, supervise and stop one service.
//!
//! Every service crate has `pub async fn start(input: ServiceInput) -> Result<RunningService,
//! StartError>`, which reads its settings, builds a [`ServiceCore`], adds its routes, handlers and
//! background work, and calls [`ServiceCore::launch`]. The same function serves `huleedu run`, the
//! nine services of `huleedu up` in one process, and tests.

use std::{error::Error, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use fusebox::Registry;
use fusebox_journal::Journal;
use fusebox_kafka::{DrainerHandle, EventBus};
use huleedu_contracts::topics::Topic;
use thiserror::Error;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error, info, info_span, warn};

use crate::{
    admin::{self, Claim, ClaimError, Desk, Home, JournalDesk, OwnListener},
    circuits::FileMetrics,
    consumer::{self, ConsumerOptions, EventHandler, ForgetMetrics, chain},
    http::{CuttableListener, Health, standard_routes, with_middleware},
    metrics::{Metrics, PublishWatch},
    providers::{self, Keeper, WiringError},
    service::ServiceId,
    settings::{CommonSettings, Env, SettingsError, SettingsReader},
    store::{Migration, NoObserver, PublishObserver, Store, StoreError, StoreOptions},
};

/// What a service is started with.
#[derive(Debug)]
pub struct ServiceInput {
    /// Its environment.
    pub env: Env,
    /// A socket to serve on; `None` binds `HTTP_HOST:HTTP_PORT`.
    pub listener: Option<TcpListener>,
    /// Told about every event that is safe or delivered.
    pub observer: Arc<dyn PublishObserver>,
}

impl ServiceInput {
    /// Input with nothing but an environment.
    pub fn new(env: Env) -> Self {
        Self {
            env,
            listener: None,
            observer: Arc::new(NoObserver),
        }
    }

    /// Serves on this socket.
    #[must_use]
    pub fn on(mut self, listener: TcpListener) -> Self {
        self.listener = Some(listener);
        self
    }

    /// Reports events to this observer.
    #[must_use]
    pub fn observed_by(mut self, observer: Arc<dyn PublishObserver>) -> Self {
        self.observer = observer;
        self
    }
}

/// Why a service did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// Settings were refused.
    #[error("the settings were refused")]
    Settings(#[from] SettingsError),
    /// The store could not be opened.
    #[error("the store could not be opened")]
    Store(#[from] StoreError),
    /// Something could not be wired.
    #[error("the service could not be wired")]
    Wiring(#[from] WiringError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another process has the service's store, or its admin socket cannot be used.
    #[error("what the service keeps could not be claimed; one process at a time has it")]
    Claim(#[from] ClaimError),
    /// It has neither a database nor a journal for its events.
    #[error("{0} has no place for its events")]
    Homeless(ServiceId),
    /// Anything that only one service can fail at.
    #[error("the service could not be started")]
    Other(#[source] Box<dyn Error + Send + Sync>),
}

/// Why a store is asked for in vain.
const STATELESS: &str = "only a service with state has a store";

/// Everything the kit provides to one service while it is being put together.
pub struct ServiceCore {
    service: ServiceId,
    settings: CommonSettings,
    breakers: Registry,
    metrics: Metrics,
    store: Option<Store>,
    bus: Option<Arc<dyn EventBus>>,
    drainer: Option<DrainerHandle>,
    journal: Option<Journal>,
    shutdown: CancellationToken,
    listener: TcpListener,
    claim: Option<Claim>,
    admin: Option<OwnListener>,
    address: SocketAddr,
    tasks: JoinSet<Result<(), TaskError>>,
}

/// A part of a running service failed.
#[derive(Debug, Error)]
#[error("{service}: {task} failed")]
struct TaskError {
    service: ServiceId,
    task: &'static str,
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

impl std::fmt::Debug for ServiceCore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceCore")
            .field("service", &self.service)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl ServiceCore {
    /// Opens the store, registers the Kafka circuit, starts the drainer and binds the address.
    ///
    /// `settings` were loaded by the service with the same [`SettingsReader`] as its own, which must
    /// have been finished without error before.
    ///
    /// # Errors
    /// When store, producer or address cannot be had.
    pub async fn build(
        service: ServiceId,
        settings: CommonSettings,
        input: ServiceInput,
        migrations: &[Migration],
    ) -> Result<Self, StartError> {
        let listener = match input.listener {
            Some(listener) => listener,
            None => listen(&settings.http_host, settings.http_port).await?,
        };
        let address = listener.local_addr().map_err(|source| StartError::Listen {
            address: settings.http_host.clone(),
            source,
        })?;
        let claim = claim(service, &settings).await?;
        let admin = match &claim {
            Some(claim) => claim.listen()?,
            None => None,
        };
        let store = open_store(service, &settings, &input.observer, migrations).await?;
        let breakers = providers::provide_circuit_breaker_registry(service, &settings)?;
        let metrics = Metrics::new(service, breakers.clone());
        let publishing = match &settings.kafka {
            Some(kafka) => {
                let keeper = match (&store, &kafka.journal) {
                    (Some(store), _) => {
                        store.limit_outbox_bytes(kafka.fallback_queue_bytes);
                        Keeper::Outbox(store)
                    }
                    (None, Some(journal)) => Keeper::Journal(journal, Arc::clone(&input.observer)),
                    (None, None) => return Err(StartError::Homeless(service)),
                };
                let publishing =
                    providers::provide_kafka_publisher(&breakers, service, kafka, keeper).await?;
                metrics.watch_publishing(PublishWatch {
                    service,
                    drainer: publishing.drainer.clone(),
                    publisher: publishing.publisher.clone(),
                    store: store.clone(),
                    limit: kafka.fallback_queue_size,
                    limit_bytes: kafka.fallback_queue_bytes,
                });
                Some(publishing)
            }
            None => None,
        };
        let bus = publishing
            .as_ref()
            .map(|publishing| Arc::clone(&publishing.bus));
        let publisher = publishing.as_ref().and_then(|p| p.publisher.clone());
        let file_metrics = FileMetrics::register(service, &metrics);
        let circuit_file = settings.circuit_file.clone();
        let shutdown = CancellationToken::new();
        let mut core = Self {
            service,
            settings,
            breakers,
            metrics,
            bus,
            store,
            drainer: publishing.as_ref().map(|p| p.drainer.clone()),
            journal: publisher.and_then(|p| p.journal().cloned()),
            shutdown,
            listener,
            claim,
            admin,
            address,
            tasks: JoinSet::new(),
        };
        if let Some(publishing) = publishing {
            let stop = core.shutdown.clone();
            let work = publishing.into_work();
            core.spawn("drainer", || async move {
                work.run(stop).await;
                Ok::<(), std::convert::Infallible>(())
            });
        }
        if let Some(file) = circuit_file {
            let (registry, stop) = (core.breakers.clone(), core.shutdown.clone());
            core.spawn("circuit settings", || async move {
                file.watch(service, registry, file_metrics, stop).await;
                Ok::<(), std::convert::Infallible>(())
            });
        }
        Ok(core)
    }

    /// Which service this is.
    pub fn service(&self) -> ServiceId {
        self.service
    }

    /// Its common settings.
    pub fn settings(&self) -> &CommonSettings {
        &self.settings
    }

    /// Its circuits.
    pub fn breakers(&self) -> &Registry {
        &self.breakers
    }

    /// Its metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Its store.
    ///
    /// # Panics
    /// When the service is one without state ([`ServiceId::publishes_without_state`]).
    pub fn store(&self) -> &Store {
        self.store.as_ref().expect(STATELESS)
    }

    /// Its bus, for publishing outside of a business transaction.
    ///
    /// # Panics
    /// When the service is one without Kafka ([`ServiceId::uses_kafka`]).
    pub fn bus(&self) -> &Arc<dyn EventBus> {
        self.bus
            .as_ref()
            .expect("only a service with Kafka publishes events")
    }

    /// Cancelled when the service stops.
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Runs background work; when it fails, the service stops and says why. It should end soon
    /// after [`shutdown`](Self::shutdown) is cancelled.
    pub fn spawn<F, E>(&mut self, task: &'static str, work: impl FnOnce() -> F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let service = self.service;
        let span = info_span!("service", service = service.name(), task);
        let work = work();
        self.tasks.spawn(
            async move {
                work.await.map_err(|e| TaskError {
                    service,
                    task,
                    source: e.into(),
                })
            }
            .instrument(span),
        );
    }

    /// Consumes `topics` with `handler`, and forgets applied events in time. To be called once.
    ///
    /// # Panics
    /// When the service is one without Kafka ([`ServiceId::uses_kafka`]).
    pub fn consume(&mut self, topics: &[Topic], handler: Arc<dyn EventHandler>) {
        let kafka = self
            .settings
            .kafka
            .as_ref()
            .expect("only a service with Kafka consumes events");
        let options = ConsumerOptions {
            retry_min: kafka.retry_min,
            retry_max: kafka.retry_max,
            give_up_after: kafka.give_up_after,
            dead_letter_topics: kafka.dead_letter_topics,
            ..ConsumerOptions::new(
                &kafka.bootstrap_servers,
                self.service.consumer_group(),
                topics,
            )
        };
        let (store, metrics) = (self.store().clone(), self.metrics.consumer().clone());
        let retention = kafka.inbox_retention;
        let stop = self.shutdown.clone();
        self.spawn("consumer", || {
            consumer::run(options, store, handler, metrics, stop)
        });
        let metrics = ForgetMetrics::register(self.service, &self.metrics, retention);
        let (store, stop) = (self.store().clone(), self.shutdown.clone());
        self.spawn("inbox", || {
            consumer::forget(store, retention, metrics, stop)
        });
    }

    /// The operator's desk on what the service keeps.
    fn desk(&self) -> Option<Desk> {
        match (&self.store, &self.journal, &self.bus) {
            (Some(store), _, _) => Some(Desk::new(self.service, store.clone())),
            (None, Some(journal), Some(bus)) => {
                let (name, journal) = (self.service.slug(), journal.clone());
                Some(Desk::Journal(JournalDesk::live(
                    name,
                    journal,
                    Arc::clone(bus),
                )))
            }
            (None, _, _) => None,
        }
    }

    /// Serves `routes` beside the standard ones and hands the service over.
    pub fn launch(self, routes: Router) -> RunningService {
        let health = Health {
            service: self.service,
            store: self.store.clone(),
            breakers: self.breakers.clone(),
        };
        let app = with_middleware(
            routes.merge(standard_routes(health, self.metrics.clone())),
            self.service,
            self.metrics.clone(),
            self.settings.max_request_bytes,
        );
        let limit = self.settings.kafka.as_ref().map(|k| k.fallback_queue_size);
        let live = admin::Live {
            service: self.service,
            desk: self.desk(),
            drainer: self.drainer.clone(),
            breakers: self.breakers.clone(),
            limit,
        };
        let for_operators = with_middleware(
            admin::routes(live),
            self.service,
            self.metrics.clone(),
            self.settings.max_request_bytes,
        );
        let Self {
            service,
            breakers,
            store,
            drainer,
            journal,
            shutdown,
            listener,
            claim,
            admin,
            address,
            mut tasks,
            settings,
            ..
        } = self;
        if let Some(admin) = admin {
            let stop = shutdown.clone();
            let span = info_span!("service", service = service.name(), task = "admin");
            tasks.spawn(
                async move {
                    axum::serve(admin, for_operators)
                        .with_graceful_shutdown(stop.cancelled_owned())
                        .await
                        .map_err(|e| TaskError {
                            service,
                            task: "admin",
                            source: e.into(),
                        })
                }
                .instrument(span),
            );
        }
        let stop = shutdown.clone();
        let cut = CancellationToken::new();
        let listener = CuttableListener::new(listener, cut.clone());
        let span = info_span!("service", service = service.name(), task = "http");
        tasks.spawn(
            async move {
                axum::serve(listener, app)
                    .with_graceful_shutdown(stop.cancelled_owned())
                    .await
                    .map_err(|e| TaskError {
                        service,
                        task: "http",
                        source: e.into(),
                    })
            }
            .instrument(span),
        );
        info!(service = service.name(), %address, "service started");
        let (ended, end) = watch::channel(None);
        let supervisor = tokio::spawn(supervise(
            tasks,
            shutdown.clone(),
            settings.shutdown_timeout,
            ended,
            claim,
        ));
        RunningService {
            service,
            address,
            breakers,
            store,
            drainer,
            journal,
            shutdown,
            cut,
            end,
            supervisor,
        }
    }
}

/// Owns what the service keeps, where one process can.
async fn claim(service: ServiceId, settings: &CommonSettings) -> Result<Option<Claim>, StartError> {
    let Some(place) = settings.admin_place() else {
        return Ok(None);
    };
    if let Some(Home::Journal(dir)) = settings.home() {
        // The lock is in it.
        std::fs::create_dir_all(dir).map_err(|e| StartError::Other(e.into()))?;
    }
    Ok(Some(
        place.claim_to_serve(&format!("huleedu {service}")).await?,
    ))
}

async fn open_store(
    service: ServiceId,
    settings: &CommonSettings,
    observer: &Arc<dyn PublishObserver>,
    migrations: &[Migration],
) -> Result<Option<Store>, StoreError> {
    let Some(database) = &settings.database else {
        return Ok(None);
    };
    let kafka = settings.kafka.as_ref();
    let options = StoreOptions {
        url: database.url.expose().to_owned(),
        max_connections: database.max_connections,
        // A service without Kafka has no place for events.
        outbox_limit: kafka.map_or(0, |kafka| kafka.fallback_queue_size),
        observer: Arc::clone(observer),
    };
    Store::open(service, options, migrations).await.map(Some)
}

async fn listen(host: &str, port: u16) -> Result<TcpListener, StartError> {
    TcpListener::bind((host, port))
        .await
        .map_err(|source| StartError::Listen {
            address: format!("{host}:{port}"),
            source,
        })
}

/// Waits for the first task to end, then stops the rest; after the grace period it aborts them.
async fn supervise(
    mut tasks: JoinSet<Result<(), TaskError>>,
    shutdown: CancellationToken,
    grace: Duration,
    ended: watch::Sender<Option<Result<(), String>>>,
    claim: Option<Claim>,
) {
    let mut failure = None;
    let mut note = |result: Result<Result<(), TaskError>, tokio::task::JoinError>| {
        let text = match result {
            Ok(Ok(())) => return,
            Ok(Err(error)) => chain(&error),
            Err(error) if error.is_cancelled() => return,
            Err(error) => format!("a task panicked: {error}"),
        };
        error!(error = text, "part of a service failed");
        failure.get_or_insert(text);
    };
    loop {
        tokio::select! {
            // Tasks may finish by themselves; only a failure stops the service.
            Some(result) = tasks.join_next() => {
                let failed = !matches!(&result, Ok(Ok(())));
                note(result);
                if failed {
                    shutdown.cancel();
                    break;
                }
            }
            () = shutdown.cancelled() => break,
        }
    }
    let rest = async {
        while let Some(result) = tasks.join_next().await {
            note(result);
        }
    };
    if tokio::time::timeout(grace, rest).await.is_err() {
        tasks.shutdown().await;
    }
    // Not before the last task has ended: another process may begin from here on.
    drop(claim);
    ended.send_replace(Some(failure.map_or(Ok(()), Err)));
}

/// A service that has been started.
#[derive(Debug)]
pub struct RunningService {
    service: ServiceId,
    address: SocketAddr,
    breakers: Registry,
    store: Option<Store>,
    drainer: Option<DrainerHandle>,
    journal: Option<Journal>,
    shutdown: CancellationToken,
    cut: CancellationToken,
    end: watch::Receiver<Option<Result<(), String>>>,
    supervisor: tokio::task::JoinHandle<()>,
}

impl RunningService {
    /// Which service this is.
    pub fn service(&self) -> ServiceId {
        self.service
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://host:port`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its circuits.
    pub fn breakers(&self) -> &Registry {
        &self.breakers
    }

    /// Its store.
    ///
    /// # Panics
    /// When the service is one without state ([`ServiceId::publishes_without_state`]).
    pub fn store(&self) -> &Store {
        self.store.as_ref().expect(STATELESS)
    }

    /// What became of its events; `None` for a service without Kafka.
    pub fn drainer(&self) -> Option<&DrainerHandle> {
        self.drainer.as_ref()
    }

    /// The journal of its events; `None` when they go through the outbox of its store.
    pub fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref()
    }

    /// Waits until the service has ended, by itself or by [`stop`](Self::stop).
    ///
    /// # Errors
    /// What failed, when it ended by a failure.
    ///
    /// # Cancel safety
    /// Safe; it can be awaited again.
    pub async fn ended(&self) -> Result<(), String> {
        let mut end = self.end.clone();
        match end.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or(Ok(())),
            Err(_) => Err("the service was killed".to_owned()),
        }
    }

    /// Asks the service to stop, without waiting.
    pub fn request_stop(&self) {
        self.shutdown.cancel();
    }

    /// Stops: no new requests or events, work under way ends, events are handed to Kafka as far as
    /// the grace period allows; the rest stays safe in the outbox.
    ///
    /// # Errors
    /// What had failed before.
    pub async fn stop(self) -> Result<(), String> {
        self.shutdown.cancel();
        let result = self.ended().await;
        close(self.journal).await;
        if let Some(store) = self.store {
            store.close().await;
        }
        result
    }

    /// Ends everything at once, wherever it is, as a crash would. For drills and tests.
    pub async fn kill(self) {
        self.cut.cancel();
        self.supervisor.abort();
        // The supervisor owns every task; awaiting it waits until they are gone.
        drop(self.supervisor.await);
        // Whoever still has it may not keep others from it.
        close(self.journal).await;
        if let Some(store) = self.store {
            store.close().await;
        }
    }
}

/// Closes a journal, so that its folder is free.
async fn close(journal: Option<Journal>) {
    let Some(journal) = journal else { return };
    let closed = tokio::task::spawn_blocking(move || journal.close()).await;
    if let Ok(Err(error)) = closed {
        warn!(%error, "journal closed without saving its cursor");
    }
}

/// Loads common and own settings of a service in one go.
///
/// # Errors
/// Every bad or missing value at once.
pub fn load_settings<T>(
    service: ServiceId,
    env: &Env,
    own: impl FnOnce(&mut SettingsReader<'_>) -> T,
) -> Result<(CommonSettings, T), SettingsError> {
    let mut reader = SettingsReader::new(service, env);
    let common = CommonSettings::load(&mut reader);
    let own = own(&mut reader);
    reader.finish()?;
    Ok((common, own))
}
