//! The nine services by id: how each is started and configured.

use huleedu_kit::{
    RunningService, ServiceId, ServiceInput, StartError,
    settings::{CommonSettings, Env, SettingRow, SettingsReader},
};

/// Starts one service.
pub(crate) async fn start(
    service: ServiceId,
    input: ServiceInput,
) -> Result<RunningService, StartError> {
    match service {
        ServiceId::ApiGateway => api_gateway::start(input).await,
        ServiceId::BatchOrchestrator => batch_orchestrator::start(input).await,
        ServiceId::BatchConductor => batch_conductor::start(input).await,
        ServiceId::EssayLifecycle => essay_lifecycle::start(input).await,
        ServiceId::Spellchecker => spellchecker::start(input).await,
        ServiceId::CjAssessment => cj_assessment::start(input).await,
        ServiceId::Content => content::start(input).await,
        ServiceId::File => file::start(input).await,
        ServiceId::ClassManagement => class_management::start(input).await,
    }
}

/// Every setting of one service as it would start now, and what is wrong with it.
pub(crate) fn settings(service: ServiceId, env: &Env) -> (Vec<SettingRow>, Vec<String>) {
    let mut reader = SettingsReader::new(service, env);
    CommonSettings::load(&mut reader);
    match service {
        ServiceId::ApiGateway => drop(api_gateway::load_settings(&mut reader)),
        ServiceId::BatchOrchestrator => drop(batch_orchestrator::load_settings(&mut reader)),
        ServiceId::BatchConductor => drop(batch_conductor::load_settings(&mut reader)),
        ServiceId::EssayLifecycle => drop(essay_lifecycle::load_settings(&mut reader)),
        ServiceId::Spellchecker => drop(spellchecker::load_settings(&mut reader)),
        ServiceId::CjAssessment => drop(cj_assessment::load_settings(&mut reader)),
        ServiceId::Content => drop(content::load_settings(&mut reader)),
        ServiceId::File => drop(file::load_settings(&mut reader)),
        ServiceId::ClassManagement => drop(class_management::load_settings(&mut reader)),
    }
    reader.report()
}
