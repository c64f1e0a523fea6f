//! The whole platform in this process: nine services, each with its own environment and socket, an
//! embedded Kafka-protocol broker, SQLite stores and the provider sandbox.
//!
//! Services are started exactly as `run` starts them; between them are real sockets only.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use fusebox_devbroker::DevBroker;
use fusebox_llm::sandbox::{Sandbox, SandboxConfig};
use huleedu_kit::{
    RunningService, ServiceId, ServiceInput,
    settings::{Env, Secret},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    audit::Ledger,
    kafka::{Fsync, Kafka},
    services,
};

/// How the platform is started.
#[derive(Debug)]
pub(crate) struct Options {
    /// The user's environment; a setting in it wins over ours.
    pub(crate) env: Env,
    /// Where stores are kept.
    pub(crate) data_dir: PathBuf,
    /// Address of every service.
    pub(crate) host: IpAddr,
    /// Port of the gateway, 0 for any.
    pub(crate) gateway_port: u16,
    /// Seed of pairing and sandbox.
    pub(crate) seed: u64,
    /// Use the sandbox even when API keys are set.
    pub(crate) sandbox: bool,
    /// When the embedded broker syncs.
    pub(crate) fsync: Fsync,
}

/// The running platform.
#[derive(Debug)]
pub(crate) struct Platform {
    services: Vec<RunningService>,
    kafka: Kafka,
    sandbox: Option<SandboxServer>,
    jwt_secret: Secret,
    ledger: Arc<Ledger>,
    envs: Vec<(ServiceId, Env)>,
}

#[derive(Debug)]
struct SandboxServer {
    url: String,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// Who judges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Judges {
    /// These providers, with the user's keys.
    Providers(Vec<&'static str>),
    /// The sandbox at this address.
    Sandbox(String),
}

/// The providers, as their settings are named.
const PROVIDERS: [&str; 4] = ["ANTHROPIC", "OPENAI", "GOOGLE", "OPENROUTER"];

impl Platform {
    /// Starts everything; when a part fails, what was started before is stopped again.
    pub(crate) async fn start(options: Options) -> anyhow::Result<Self> {
        fs::create_dir_all(&options.data_dir)
            .with_context(|| format!("cannot make the folder {}", options.data_dir.display()))?;
        let kafka = Kafka::start(&options.env, &options.data_dir, options.fsync).await?;
        let sandbox = if options.sandbox || configured_providers(&options.env).is_empty() {
            Some(start_sandbox(options.seed).await?)
        } else {
            None
        };
        let configured = options
            .env
            .get("API_GATEWAY_JWT_SECRET")
            .or_else(|| options.env.get("JWT_SECRET"));
        let jwt_secret = match configured {
            Some(secret) => secret.to_owned(),
            None => kept_secret(&options.data_dir.join("jwt-secret"))?,
        };
        let mut listeners = Vec::new();
        for service in ServiceId::ALL {
            let port = if service == ServiceId::ApiGateway {
                options.gateway_port
            } else {
                0
            };
            let listener = TcpListener::bind((options.host, port))
                .await
                .with_context(|| {
                    format!("cannot listen on {}:{port} for {service}", options.host)
                })?;
            listeners.push((service, listener));
        }
        let mut common = options
            .env
            .clone()
            .with("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers())
            // Nine services cannot share one socket; each has its own beside its store.
            .with("ADMIN_SOCKET", "")
            .with_default("JWT_SECRET", &jwt_secret);
        for (service, listener) in &listeners {
            let address = listener.local_addr().context("a socket has no address")?;
            if let Some(name) = base_url_setting(*service) {
                common = common.with(name, format!("http://{address}"));
            }
        }
        if let Some(sandbox) = &sandbox {
            common = common.with("LLM_SANDBOX_URL", &sandbox.url);
        }
        common = common.with_default(
            "CJ_ASSESSMENT_SERVICE_PAIRING_SEED",
            options.seed.to_string(),
        );
        let ledger = Arc::new(Ledger::default());
        let mut platform = Self {
            services: Vec::new(),
            kafka,
            sandbox,
            jwt_secret: Secret::new(jwt_secret),
            ledger,
            envs: Vec::new(),
        };
        for (service, listener) in listeners {
            let (name, place) = if service.publishes_without_state() {
                let dir = journal_dir(&options.data_dir, service);
                ("KAFKA_JOURNAL_DIR", dir.display().to_string())
            } else {
                ("DATABASE_URL", database_url(&options.data_dir, service))
            };
            let name = format!("{}{name}", service.env_prefix());
            let env = common.clone().with_default(name, place);
            platform.envs.push((service, env.clone()));
            match platform.start_service(service, env, Some(listener)).await {
                Ok(running) => platform.services.push(running),
                Err(error) => {
                    platform.stop().await;
                    return Err(error);
                }
            }
        }
        Ok(platform)
    }

    async fn start_service(
        &self,
        service: ServiceId,
        env: Env,
        listener: Option<TcpListener>,
    ) -> anyhow::Result<RunningService> {
        let mut input = ServiceInput::new(env).observed_by(Arc::<Ledger>::clone(&self.ledger));
        input.listener = listener;
        services::start(service, input)
            .await
            .with_context(|| format!("{service} did not start"))
    }

    /// The running services.
    pub(crate) fn services(&self) -> &[RunningService] {
        &self.services
    }

    /// Kafka's address.
    pub(crate) fn bootstrap(&self) -> String {
        self.kafka.bootstrap_servers()
    }

    /// The embedded broker, unless another Kafka is configured.
    pub(crate) fn broker(&self) -> Option<&DevBroker> {
        self.kafka.embedded()
    }

    /// What the publishers were told.
    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Address of the gateway.
    pub(crate) fn gateway_url(&self) -> anyhow::Result<String> {
        self.services
            .iter()
            .find(|s| s.service() == ServiceId::ApiGateway)
            .map(RunningService::base_url)
            .context("the gateway is not running")
    }

    /// Who judges.
    pub(crate) fn judges(&self) -> Judges {
        match (&self.sandbox, self.envs.first()) {
            (Some(sandbox), _) => Judges::Sandbox(sandbox.url.clone()),
            (None, Some((_, env))) => Judges::Providers(configured_providers(env)),
            (None, None) => Judges::Providers(Vec::new()),
        }
    }

    /// A token for `user`, valid for `hours`.
    pub(crate) fn token(&self, user: &str, hours: u32) -> anyhow::Result<String> {
        let user = user.parse().context("a user's name")?;
        let valid = Duration::from_hours(hours.into());
        api_gateway::token::mint(&self.jwt_secret, &user, None, valid).context("no token")
    }

    /// Waits until any service has ended by itself, and says which and why.
    pub(crate) async fn failed(&self) -> String {
        let ends = self.services.iter().map(|service| {
            Box::pin(async move {
                let why = service
                    .ended()
                    .await
                    .err()
                    .unwrap_or_else(|| "it stopped".to_owned());
                format!("{} ended: {why}", service.service())
            })
        });
        futures_util::future::select_all(ends).await.0
    }

    /// Ends one service as a crash would and starts it again on the same store and address.
    #[cfg(test)]
    pub(crate) async fn crash_and_restart(&mut self, service: ServiceId) -> anyhow::Result<()> {
        let index = self
            .services
            .iter()
            .position(|s| s.service() == service)
            .context("not running")?;
        let running = self.services.remove(index);
        let address = running.address();
        running.kill().await;
        // The old server's connections may hold the port for a moment.
        let listener = loop {
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let env = self
            .envs
            .iter()
            .find(|(s, _)| *s == service)
            .context("no environment")?
            .1
            .clone();
        let running = self.start_service(service, env, Some(listener)).await?;
        self.services.insert(index, running);
        Ok(())
    }

    /// Stops every service, then broker and sandbox. What could not reach Kafka stays in the stores.
    pub(crate) async fn stop(mut self) {
        for service in &self.services {
            service.request_stop();
        }
        for service in self.services.drain(..).rev() {
            let name = service.service();
            if let Err(error) = service.stop().await {
                tracing::warn!(service = name.name(), error, "service had failed");
            }
        }
        self.kafka.stop().await;
        if let Some(sandbox) = self.sandbox.take() {
            sandbox.shutdown.cancel();
            drop(sandbox.task.await);
        }
    }
}

/// The secret in this file; a new one when there is none, so that tokens outlive the process.
fn kept_secret(path: &Path) -> anyhow::Result<String> {
    match fs::read_to_string(path) {
        Ok(secret) => return Ok(secret),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).context("the secret of tokens cannot be read"),
    }
    let secret = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let beside = path.with_extension("new");
    let write = || {
        let mut file = File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(secret.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().context("the secret of tokens cannot be kept")?;
    Ok(secret)
}

/// Where a service keeps its state in `folder`.
pub(crate) fn database_file(folder: &Path, service: ServiceId) -> PathBuf {
    folder.join(format!("{}.db", service.slug()))
}

/// The same as a setting.
pub(crate) fn database_url(folder: &Path, service: ServiceId) -> String {
    format!("sqlite://{}", database_file(folder, service).display())
}

/// Where a service without state keeps its events in `folder`.
pub(crate) fn journal_dir(folder: &Path, service: ServiceId) -> PathBuf {
    folder.join(format!("{}.journal", service.slug()))
}

/// The setting by which others find a service.
const fn base_url_setting(service: ServiceId) -> Option<&'static str> {
    match service {
        ServiceId::Content => Some("CONTENT_SERVICE_URL"),
        ServiceId::BatchConductor => Some("BCS_BASE_URL"),
        ServiceId::BatchOrchestrator => Some("BATCH_ORCHESTRATOR_URL"),
        ServiceId::EssayLifecycle => Some("ESSAY_LIFECYCLE_URL"),
        ServiceId::CjAssessment => Some("CJ_ASSESSMENT_URL"),
        ServiceId::File => Some("FILE_SERVICE_URL"),
        ServiceId::ClassManagement => Some("CLASS_MANAGEMENT_URL"),
        ServiceId::Spellchecker | ServiceId::ApiGateway => None,
    }
}

fn configured_providers(env: &Env) -> Vec<&'static str> {
    PROVIDERS
        .into_iter()
        .filter(|provider| {
            let name = format!("{provider}_API_KEY");
            env.get(&name)
                .or_else(|| env.get(&format!("CJ_ASSESSMENT_SERVICE_{name}")))
                .is_some()
        })
        .collect()
}

async fn start_sandbox(seed: u64) -> anyhow::Result<SandboxServer> {
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .context("the sandbox cannot listen")?;
    let url = format!(
        "http://{}",
        listener
            .local_addr()
            .context("the sandbox has no address")?
    );
    let shutdown = CancellationToken::new();
    let serve = Sandbox::serve(listener, SandboxConfig::new(seed), shutdown.clone());
    let task = tokio::spawn(async move {
        if let Err(error) = serve.await {
            tracing::error!(%error, "the provider sandbox failed");
        }
    });
    Ok(SandboxServer {
        url,
        shutdown,
        task,
    })
}
