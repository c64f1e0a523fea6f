//! Settings of the CJ service beside the common ones.

use std::time::Duration;

use fusebox::BreakerConfig;
use fusebox_llm::Provider;
use huleedu_kit::{
    ServiceId,
    settings::{CircuitDefaults, Secret, SettingsReader, circuit_config},
};
use url::Url;

use crate::decision::DEFAULT_MAX_COMPARISONS;

/// Settings of its own.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// Where the Content Service is.
    pub content_url: Url,
    /// Longest wait for its answer.
    pub content_timeout: Duration,
    /// Its circuit.
    pub content_circuit: BreakerConfig,
    /// Comparisons a batch may cost at least; larger batches get eight per essay.
    pub max_pairwise_comparisons: usize,
    /// Comparisons under way at once, over all batches.
    pub max_concurrent_comparisons: usize,
    /// Batches under way at once.
    pub max_concurrent_batches: usize,
    /// Rounds after which a comparison that no model judges readably is given up.
    pub comparison_attempts: u32,
    /// Age at which an unfinished batch is closed as failed.
    pub give_up_after: Duration,
    /// Longest wait before parked comparisons and batches are tried again.
    pub park_max: Duration,
    /// Seed of the choice of pairs.
    pub seed: u64,
    /// Sampling temperature; zero is a value like any other.
    pub temperature: f64,
    /// Most tokens of an answer.
    pub max_tokens: u32,
    /// The providers in the order in which they are asked; never empty.
    pub providers: Vec<ProviderSettings>,
}

/// Settings of one provider.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProviderSettings {
    /// The provider.
    pub provider: Provider,
    /// Its key.
    pub api_key: Secret,
    /// Where its API is.
    pub base_url: String,
    /// The model to ask.
    pub model: String,
    /// Longest time for one request and its answer.
    pub timeout: Duration,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// Its circuit.
    pub circuit: BreakerConfig,
}

/// Reads them; also used to show the effective settings.
pub fn load_settings(reader: &mut SettingsReader<'_>) -> Settings {
    Settings {
        content_url: reader.get("CONTENT_SERVICE_URL", local(ServiceId::Content), "base URL of the Content Service"),
        content_timeout: reader.get(
            "CONTENT_SERVICE_TIMEOUT_SECONDS",
            Duration::from_secs(10),
            "longest wait for an answer of the Content Service, in seconds",
        ),
        content_circuit: circuit_config(reader, CircuitDefaults::CONTENT),
        max_pairwise_comparisons: reader.get_in(
            "MAX_PAIRWISE_COMPARISONS",
            DEFAULT_MAX_COMPARISONS,
            1..=1_000_000,
            "comparisons a batch may cost; batches that are larger than an eighth of it get 8 per essay",
        ),
        max_concurrent_comparisons: reader.get_in(
            "MAX_CONCURRENT_COMPARISONS",
            8,
            1..=1000,
            "comparisons under way at once, over all batches",
        ),
        max_concurrent_batches: reader.get_in(
            "MAX_CONCURRENT_BATCHES",
            4,
            1..=1000,
            "batches under way at once; others wait",
        ),
        comparison_attempts: reader.get_in(
            "COMPARISON_ATTEMPTS",
            3,
            1..=100,
            "rounds over all providers after which a comparison without a readable answer is given up",
        ),
        give_up_after: reader.get(
            "GIVE_UP_AFTER_SECONDS",
            Duration::from_hours(24),
            "age at which an unfinished batch is closed as failed, in seconds",
        ),
        park_max: reader.get(
            "PARK_MAX_SECONDS",
            Duration::from_secs(15),
            "longest wait before parked comparisons are tried again, in seconds",
        ),
        seed: reader.get("PAIRING_SEED", 0_u64, "seed of the choice of pairs"),
        temperature: reader.get_in(
            "LLM_TEMPERATURE",
            0.0,
            0.0..=2.0,
            "sampling temperature of the judges; 0 is honoured",
        ),
        max_tokens: reader.get_in(
            "LLM_MAX_TOKENS",
            4096_u32,
            100..=1_000_000,
            "most tokens of an answer, thinking included",
        ),
        providers: providers(reader),
    }
}

/// The base URL of a service that runs on this machine with its default port.
fn local(service: ServiceId) -> Url {
    let url = format!("http://127.0.0.1:{}", service.default_port());
    url.parse().expect("an address and a port make a URL")
}

struct Names {
    provider: Provider,
    key: &'static str,
    base_url: &'static str,
    model: &'static str,
    circuit: CircuitDefaults,
}

const NAMES: [Names; 4] = [
    Names {
        provider: Provider::Anthropic,
        key: "ANTHROPIC_API_KEY",
        base_url: "ANTHROPIC_BASE_URL",
        model: "ANTHROPIC_MODEL",
        circuit: CircuitDefaults::ANTHROPIC,
    },
    Names {
        provider: Provider::OpenAi,
        key: "OPENAI_API_KEY",
        base_url: "OPENAI_BASE_URL",
        model: "OPENAI_MODEL",
        circuit: CircuitDefaults::OPENAI,
    },
    Names {
        provider: Provider::Google,
        key: "GOOGLE_API_KEY",
        base_url: "GOOGLE_BASE_URL",
        model: "GOOGLE_MODEL",
        circuit: CircuitDefaults::GOOGLE,
    },
    Names {
        provider: Provider::OpenRouter,
        key: "OPENROUTER_API_KEY",
        base_url: "OPENROUTER_BASE_URL",
        model: "OPENROUTER_MODEL",
        circuit: CircuitDefaults::OPENROUTER,
    },
];

/// The providers that can be asked: all of them at the sandbox, or those that have a key.
fn providers(reader: &mut SettingsReader<'_>) -> Vec<ProviderSettings> {
    let order = order(reader);
    let sandbox = reader.optional::<Url>(
        "LLM_SANDBOX_URL",
        "base URL of a provider sandbox that stands in for every provider; no key is needed then",
    );
    let timeout = reader.get(
        "LLM_REQUEST_TIMEOUT_SECONDS",
        Duration::from_mins(1),
        "longest time for one request to a provider and its answer, in seconds",
    );
    let connect_timeout = reader.get(
        "LLM_CONNECT_TIMEOUT_SECONDS",
        Duration::from_secs(5),
        "longest time to connect to a provider, in seconds",
    );
    let of_any = circuit_config(reader, CircuitDefaults::API);
    let mut known = Vec::new();
    for names in &NAMES {
        let provider = names.provider;
        let key =
            reader.optional::<Secret>(names.key, "API key; without it the provider is not asked");
        let own_url = reader.get(
            names.base_url,
            provider
                .base_url()
                .parse::<Url>()
                .expect("the public address is a URL"),
            "base URL of the provider's API",
        );
        let model = reader.get(
            names.model,
            provider.default_model().to_owned(),
            "model that judges unless a request says otherwise",
        );
        let circuit = circuit_config(reader, names.circuit.based_on(&of_any));
        let (api_key, base_url) = match (&sandbox, key) {
            (Some(sandbox), _) => {
                let root = sandbox.as_str().trim_end_matches('/');
                (Secret::new("sandbox"), format!("{root}/{provider}"))
            }
            (None, Some(key)) => (key, own_url.as_str().trim_end_matches('/').to_owned()),
            (None, None) => continue,
        };
        known.push(ProviderSettings {
            provider,
            api_key,
            base_url,
            model,
            timeout,
            connect_timeout,
            circuit,
        });
    }
    let chosen: Vec<ProviderSettings> = order
        .iter()
        .filter_map(|provider| known.iter().find(|settings| settings.provider == *provider))
        .cloned()
        .collect();
    if chosen.is_empty() {
        reader.refuse(
            "no AI provider can be asked; set ANTHROPIC_API_KEY, OPENAI_API_KEY, GOOGLE_API_KEY or \
             OPENROUTER_API_KEY for a provider of LLM_PROVIDERS, or LLM_SANDBOX_URL",
        );
    }
    chosen
}

/// The order of `LLM_PROVIDERS`; each provider once.
fn order(reader: &mut SettingsReader<'_>) -> Vec<Provider> {
    let all = Provider::ALL.map(Provider::as_str).join(",");
    let text = reader.get(
        "LLM_PROVIDERS",
        all,
        "providers in the order in which they are asked, separated by commas",
    );
    let mut order = Vec::new();
    for name in text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        match name.parse::<Provider>() {
            Ok(provider) if order.contains(&provider) => {}
            Ok(provider) => order.push(provider),
            Err(error) => reader.refuse(format!("LLM_PROVIDERS is `{text}`: {error}")),
        }
    }
    order
}
