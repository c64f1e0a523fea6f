//! The judges: one client per provider, each behind its circuit, and their order for a request.

use std::sync::Arc;

use fusebox::Registry;
use fusebox_llm::{
    ApiKey, ClientConfig, Failover, JudgeProvider, ModelChoice, Provider, ProviderClient,
};
use huleedu_contracts::events::cj::LLMConfigOverrides;
use huleedu_kit::{CallContext, StartError, providers::provide_circuit};

use crate::{SERVICE, settings::Settings};

/// Every provider that can be asked, in the order of the settings.
#[derive(Debug, Clone)]
pub(crate) struct Judges {
    clients: Vec<Arc<dyn JudgeProvider>>,
}

impl Judges {
    /// Builds the clients with circuits named `cj_assessment.{provider}_provider`.
    pub(crate) fn build(breakers: &Registry, settings: &Settings) -> Result<Self, StartError> {
        let mut clients: Vec<Arc<dyn JudgeProvider>> = Vec::new();
        for provider in &settings.providers {
            let what = format!("{}_provider", provider.provider);
            let breaker = provide_circuit(breakers, SERVICE, &what, provider.circuit.clone())?;
            let key = ApiKey::new(provider.api_key.expose())
                .map_err(|error| StartError::Other(Box::new(error)))?;
            let config = ClientConfig::new(provider.provider, key)
                .with_base_url(&provider.base_url)
                .with_model(&provider.model)
                .with_timeout(provider.timeout)
                .with_connect_timeout(provider.connect_timeout);
            let client = ProviderClient::new(config, breaker)
                .map_err(|error| StartError::Other(Box::new(error)))?
                .with_ids(CallContext::ids);
            clients.push(Arc::new(client));
        }
        Ok(Self { clients })
    }

    /// The judge for a request, and the model it asks for instead of the usual one.
    ///
    /// A provider that the request names is asked first; the others still stand in for it. A model
    /// belongs to the provider that is asked first. A provider that is not configured is passed
    /// over, together with its model.
    pub(crate) fn for_request(
        &self,
        overrides: Option<&LLMConfigOverrides>,
    ) -> (Failover, Option<ModelChoice>) {
        let mut clients = self.clients.clone();
        let wanted = overrides.and_then(|overrides| overrides.provider_override.as_deref());
        let mut model = overrides.and_then(|overrides| overrides.model_override.clone());
        if let Some(wanted) = wanted {
            let place = wanted.parse::<Provider>().ok().and_then(|wanted| {
                clients
                    .iter()
                    .position(|client| client.provider() == wanted)
            });
            if let Some(place) = place {
                let first = clients.remove(place);
                clients.insert(0, first);
            } else {
                tracing::warn!(wanted, "a request names a provider that is not configured");
                // Its model is no model of another provider.
                model = None;
            }
        }
        let model = model
            .zip(clients.first())
            .map(|(model, first)| ModelChoice {
                provider: first.provider(),
                model,
            });
        (Failover::new(clients), model)
    }
}
