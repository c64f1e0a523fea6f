//! How long a provider asks us to wait, in the four ways they say it.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::Provider;

/// The buckets for which providers say what is left and when they are filled again.
const BUCKETS: [&str; 4] = ["requests", "tokens", "input-tokens", "output-tokens"];

/// The wait that an answer asks for; `None` when it names none that can be read.
pub(super) fn of(
    provider: Provider,
    headers: &HeaderMap,
    error: &Value,
    now: Timestamp,
) -> Option<Duration> {
    from_headers(headers, now).or_else(|| match provider {
        Provider::Google => google(error),
        Provider::OpenRouter => error["availability"]["retry_after"]
            .as_f64()
            .and_then(seconds),
        Provider::Anthropic | Provider::OpenAi => None,
    })
}

/// `retry-after-ms`, else `Retry-After` (seconds or a date), else the latest time at which a bucket
/// that is used up is filled again.
fn from_headers(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let header = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(wait) = header("retry-after-ms")
        .and_then(|value| value.parse::<f64>().ok())
        .and_then(|millis| seconds(millis / 1000.0))
    {
        return Some(wait);
    }
    if let Some(value) = header("retry-after") {
        let wait = match value.parse::<f64>() {
            Ok(value) => seconds(value),
            Err(_) => jiff::fmt::rfc2822::parse(value)
                .ok()
                .map(|date| until(date.timestamp(), now)),
        };
        if wait.is_some() {
            return wait;
        }
    }
    let resets = BUCKETS.iter().flat_map(|bucket| {
        // −1 means "not counted", not "used up".
        let used_up = |name: String| header(&name).is_some_and(|left| left == "0");
        let openai = used_up(format!("x-ratelimit-remaining-{bucket}"))
            .then(|| header(&format!("x-ratelimit-reset-{bucket}")).and_then(spelled))
            .flatten();
        let anthropic = used_up(format!("anthropic-ratelimit-{bucket}-remaining"))
            .then(|| header(&format!("anthropic-ratelimit-{bucket}-reset")))
            .flatten()
            .and_then(|date| date.parse::<Timestamp>().ok())
            .map(|date| until(date, now));
        [openai, anthropic]
    });
    resets.flatten().max()
}

/// `RetryInfo` of the details, else what the message says.
fn google(error: &Value) -> Option<Duration> {
    let details = error["details"].as_array().into_iter().flatten();
    let from_details = details
        .filter(|detail| {
            detail["@type"]
                .as_str()
                .is_some_and(|name| name.ends_with("google.rpc.RetryInfo"))
        })
        .find_map(|detail| spelled(detail["retryDelay"].as_str()?));
    from_details.or_else(|| {
        let (_, rest) = error["message"].as_str()?.split_once("Please retry in ")?;
        spelled(rest.split_whitespace().next()?.trim_end_matches('.'))
    })
}

/// Durations as Go writes them: `12ms`, `6m0s`, `1h2m3.5s`; a bare number is seconds.
fn spelled(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 6] = [
        ("ms", 1e-3),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("h", 3600.0),
        ("m", 60.0),
        ("s", 1.0),
    ];
    let mut rest = text.trim();
    if let Ok(value) = rest.parse::<f64>() {
        return seconds(value);
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let number: f64 = number.parse().ok()?;
        let (unit, factor) = UNITS.iter().find(|(unit, _)| tail.starts_with(unit))?;
        total += number * factor;
        rest = tail.strip_prefix(unit)?;
    }
    (total > 0.0 || text.contains('0'))
        .then(|| seconds(total))
        .flatten()
}

/// Seconds as a duration; negative, endless and unreadable numbers are `None`.
fn seconds(value: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(value).ok()
}

fn until(date: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(date.duration_since(now)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelled_durations() {
        for (text, want) in [
            ("12ms", 0.012),
            ("6m0s", 360.0),
            ("1h2m3.5s", 3723.5),
            ("10h17m5.723541104s", 37_025.723_541_104),
            ("60", 60.0),
            ("0", 0.0),
            ("0s", 0.0),
            ("250µs", 0.000_25),
        ] {
            let got = spelled(text).unwrap().as_secs_f64();
            assert!((got - want).abs() < 1e-6, "{text}: {got}");
        }
        for bad in ["", "abc", "-1", "5x", "1e400", "s", "1h2"] {
            assert_eq!(spelled(bad), None, "{bad}");
        }
    }
}
