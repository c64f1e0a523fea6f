//! Circuits that leave their registry leave the scrape.

use fusebox::{BreakerConfig, Registry as Circuits};
use fusebox_telemetry::{BreakerCollector, encode};
use prometheus_client::registry::Registry;

/// A breaker for each key must not leave a set of series for each key that ever came.
#[test]
fn the_series_of_a_removed_circuit_are_gone() {
    let circuits = Circuits::builder("gateway")
        .capacity(10)
        .build()
        .expect("sensible");
    let mut metrics = Registry::default();
    metrics.register_collector(Box::new(BreakerCollector::new([circuits.clone()])));
    let series_of = |circuit: &str| {
        let (_, body) = encode(&metrics, None);
        let label = format!("circuit_name=\"{circuit}\"");
        body.lines().filter(|line| line.contains(&label)).count()
    };
    circuits
        .register("named", BreakerConfig::default())
        .expect("free");
    let of_one = series_of("named");
    assert!(of_one > 10, "{of_one} series");

    for key in 0..1_000 {
        circuits
            .get_or_register(&format!("key-{key}"))
            .expect("room");
    }
    let (_, body) = encode(&metrics, None);
    let states = body
        .lines()
        .filter(|line| line.starts_with("circuit_breaker_state{"));
    assert_eq!(
        states.count(),
        10,
        "one gauge for each circuit that is left"
    );
    assert_eq!((series_of("named"), series_of("key-0")), (of_one, 0));
    assert_eq!(series_of("key-999"), of_one);

    circuits.remove("named").expect("registered above");
    assert_eq!(series_of("named"), 0);
}
