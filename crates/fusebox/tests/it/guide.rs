//! The pages of the guide against the code.

use std::time::Duration;

use fusebox::{Abandoned, BreakerConfig, SETTINGS, TripRule, Window};

/// Name and value of each row of the table under `title`.
fn rows<'p>(page: &'p str, title: &str) -> Vec<(&'p str, &'p str)> {
    let section = page.split(&format!("## {title}\n")).nth(1).expect(title);
    let section = section.split("\n## ").next().expect("something");
    let cells = |line: &'p str| {
        let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        Some((name, rest.strip_suffix(" |")?))
    };
    section.lines().filter_map(cells).collect()
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

/// The defaults as the pages write them.
fn defaults() -> Vec<(&'static str, String)> {
    let config = BreakerConfig::default();
    let Window::Time { length, buckets } = config.window else {
        panic!("the default window is one of time");
    };
    assert_eq!((config.trip_rule, config.slow_call), (TripRule::Rate, None));
    assert_eq!(config.abandoned, Abandoned::Neutral);
    let nothing = (config.consecutive_failures, config.custom_rule, config.ramp);
    assert_eq!(nothing, (None, None, None));
    vec![
        ("failure_threshold", config.failure_threshold.to_string()),
        ("trip_rule", "rate".to_owned()),
        ("failure_rate", config.failure_rate.to_string()),
        (
            "window",
            format!("{} in {buckets} buckets", seconds(length)),
        ),
        ("consecutive_failures", "none".to_owned()),
        ("custom_rule", "none".to_owned()),
        ("slow_call", "none".to_owned()),
        (
            "judge_calls_under_way",
            config.judge_calls_under_way.to_string(),
        ),
        ("abandoned", "neutral".to_owned()),
        ("first_break", seconds(config.first_break)),
        ("recovery_timeout", seconds(config.recovery_timeout)),
        ("break_jitter", config.break_jitter.to_string()),
        ("retry_after_cap", seconds(config.retry_after_cap)),
        ("success_threshold", config.success_threshold.to_string()),
        ("half_open_lease", seconds(config.half_open_lease)),
        ("ramp", "none".to_owned()),
    ]
}

#[test]
fn the_tables_of_defaults_are_the_defaults() {
    let guide = include_str!("../../../../docs/guide/choose-a-rule.md");
    let design = include_str!("../../../../docs/design/breaker.md");
    for (page, text) in [("guide", guide), ("design", design)] {
        let written: Vec<(&str, String)> = rows(text, "Defaults")
            .into_iter()
            // The design's page has a further column: what is allowed.
            .map(|(name, rest)| (name, rest.split(" |").next().unwrap_or(rest).to_owned()))
            .collect();
        assert_eq!(written, defaults(), "{page}");
    }
}

#[test]
fn the_guide_lists_every_setting() {
    let page = include_str!("../../../../docs/guide/change-circuits-while-running.md");
    let settings = SETTINGS
        .iter()
        .map(|setting| (setting.name, setting.meaning));
    assert_eq!(rows(page, "Settings"), settings.collect::<Vec<_>>());
}
