//! The file of circuit settings, from its first reading to a change while the service runs.

use std::{path::Path, time::Duration};

use axum::Router;
use fusebox::BreakerConfig;
use huleedu_kit::{
    RunningService, ServiceCore, ServiceId, ServiceInput, StartError,
    providers::provide_circuit,
    runtime,
    settings::Env,
    testing::{eventually, http_client, service_env},
};

const LIMIT: Duration = Duration::from_secs(20);

fn env(folder: &Path) -> Env {
    service_env(ServiceId::Content, "127.0.0.1:1", folder)
        .with(
            "CIRCUIT_BREAKER_CONFIG_FILE",
            file(folder).display().to_string(),
        )
        .with("CIRCUIT_BREAKER_CONFIG_POLL_SECONDS", "0.02")
}

fn file(folder: &Path) -> std::path::PathBuf {
    folder.join("circuits.toml")
}

fn write(folder: &Path, text: &str) {
    std::fs::write(file(folder), text).unwrap();
}

/// A service with one circuit, `content.store`, whose code asks for five failures.
async fn start(folder: &Path) -> Result<RunningService, StartError> {
    let input = ServiceInput::new(env(folder));
    let (common, ()) = runtime::load_settings(ServiceId::Content, &input.env, |_| ())?;
    let core = ServiceCore::build(ServiceId::Content, common, input, &[]).await?;
    let config = BreakerConfig::default();
    provide_circuit(core.breakers(), ServiceId::Content, "store", config)?;
    Ok(core.launch(Router::new()))
}

fn threshold(service: &RunningService) -> u32 {
    let circuit = service.breakers().get("content.store").unwrap();
    circuit.snapshot().failure_threshold
}

async fn scrape(service: &RunningService) -> String {
    let url = format!("{}/metrics", service.base_url());
    let answer = http_client().get(url).send().await.unwrap();
    answer.text().await.unwrap()
}

async fn until(what: &str, service: &RunningService, line: &str) {
    let found = eventually(what, LIMIT, || async {
        scrape(service).await.contains(line).then_some(())
    });
    found.await.unwrap();
}

#[tokio::test]
async fn a_changed_file_holds_without_a_restart_and_a_bad_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "[circuits.\"*.store\"]\nfailure_threshold = 7\n");
    let service = start(folder).await.unwrap();
    assert_eq!(threshold(&service), 7);
    let circuit = service.breakers().get("content.store").unwrap();
    circuit.try_acquire().unwrap().success();

    write(folder, "[circuits.\"*.store\"]\nfailure_threshold = 9\n");
    let applied =
        "circuit_breaker_config_reloads_total{service_name=\"content\",result=\"applied\"} 1";
    until("the new settings are in force", &service, applied).await;
    assert_eq!(threshold(&service), 9);

    write(
        folder,
        "[circuits.\"*.store\"]\nfailure_threshold = 0\nfailure_rate = 0.9\n",
    );
    let refused =
        "circuit_breaker_config_reloads_total{service_name=\"content\",result=\"refused\"} 1";
    until("nonsense is refused", &service, refused).await;
    let metrics = scrape(&service).await;
    assert!(
        metrics.contains("circuit_breaker_config_refused{service_name=\"content\"} 1"),
        "{metrics}"
    );
    let config = circuit.snapshot().config;
    assert_eq!(
        (config.failure_threshold, config.failure_rate.to_bits()),
        (9, 0.5_f64.to_bits())
    );

    std::fs::remove_file(file(folder)).unwrap();
    let gone = refused.replace("} 1", "} 2");
    until("a file that is gone is refused", &service, &gone).await;
    assert_eq!(threshold(&service), 9);

    write(folder, "");
    let again = applied.replace("} 1", "} 2");
    until(
        "a file that says nothing gives the code its say",
        &service,
        &again,
    )
    .await;
    assert_eq!(threshold(&service), 5);
    let metrics = scrape(&service).await;
    assert!(metrics.contains("circuit_breaker_config_refused{service_name=\"content\"} 0"));
    assert_eq!(
        circuit.snapshot().counts.success,
        1,
        "the circuit is the one it was"
    );
    service.stop().await.unwrap();
}

#[tokio::test]
async fn a_bad_file_stops_the_start_with_all_that_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let shown = |error: StartError| {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    };
    let missing = shown(start(folder).await.unwrap_err());
    assert!(
        missing.contains("CIRCUIT_BREAKER_CONFIG_FILE: the circuit settings of"),
        "{missing}"
    );
    write(
        folder,
        "[defaults]\nfailure_rate = \"half\"\nsuccess_treshold = 2\n",
    );
    let bad = shown(start(folder).await.unwrap_err());
    for expected in [
        "line 2: defaults.failure_rate is half",
        "line 3: defaults.success_treshold",
    ] {
        assert!(bad.contains(expected), "{expected} is not in {bad}");
    }
    write(folder, "[defaults]\nfailure_rate = 7\n");
    let nonsense = shown(start(folder).await.unwrap_err());
    assert!(
        nonsense.contains("defaults.failure_rate is 7.0; allowed is more than 0"),
        "{nonsense}"
    );
    // Sense in general, nonsense for a circuit of this service.
    write(
        folder,
        "[circuits.\"content.store\"]\nwindow_calls = 4\nfailure_threshold = 5\n",
    );
    let of_one = shown(start(folder).await.unwrap_err());
    assert!(
        of_one.contains("failure_threshold is 5; allowed is at most the calls"),
        "{of_one}"
    );
}
