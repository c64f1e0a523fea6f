//! Reading how long a server asks us to wait.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;

/// The longest wait a server can ask for: one hour. Anything beyond it is cut to it.
pub const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// Reads `retry-after-ms`, else `Retry-After` as seconds (also fractional) or as an HTTP date.
///
/// What cannot be understood, is negative, or lies in the past is as good as absent.
pub fn parse_retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let millis = text("retry-after-ms").and_then(number).map(|n| n / 1000.0);
    let wait = if let Some(seconds) = millis {
        seconds_to_duration(seconds)
    } else {
        let value = text(RETRY_AFTER.as_str())?;
        match number(value) {
            Some(seconds) => seconds_to_duration(seconds),
            None => httpdate::parse_http_date(value)
                .ok()?
                .duration_since(now)
                .ok()?,
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// A number of the form digits, with an optional fraction; no sign, exponent, or infinity.
fn number(text: &str) -> Option<f64> {
    let digits = text.bytes().any(|b| b.is_ascii_digit());
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if digits && plain {
        text.parse().ok()
    } else {
        None
    }
}

fn seconds_to_duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(MAX_RETRY_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&'static str, &str)]) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        // 21 Oct 2015 07:28:00 UTC
        let now = SystemTime::UNIX_EPOCH + Duration::from_mins(24_090_208);
        parse_retry_after(&headers, now)
    }

    #[test]
    fn every_form_is_read() {
        let ms = |n| Some(Duration::from_millis(n));
        assert_eq!(parse(&[("retry-after", "3")]), ms(3000));
        assert_eq!(parse(&[("retry-after", " 0 ")]), ms(0));
        assert_eq!(parse(&[("retry-after", "1.5")]), ms(1500));
        assert_eq!(parse(&[("retry-after-ms", "250")]), ms(250));
        assert_eq!(
            parse(&[("retry-after-ms", "250"), ("retry-after", "9")]),
            ms(250)
        );
        assert_eq!(
            parse(&[("retry-after-ms", "soon"), ("retry-after", "9")]),
            ms(9000)
        );
        assert_eq!(
            parse(&[("retry-after", "Wed, 21 Oct 2015 07:28:20 GMT")]),
            ms(20_000)
        );
    }

    #[test]
    fn garbage_and_the_past_are_ignored_and_the_future_is_capped() {
        for bad in [
            "-1",
            "",
            "soon",
            "NaN",
            "inf",
            "1e9",
            "0x10",
            "1.2.3",
            ".",
            "Wed, 21 Oct 2015 07:27:00 GMT",
        ] {
            assert_eq!(parse(&[("retry-after", bad)]), None, "{bad:?}");
        }
        for far in [
            "86400",
            "99999999999999999999999999",
            "Wed, 21 Oct 2065 07:28:00 GMT",
        ] {
            assert_eq!(
                parse(&[("retry-after", far)]),
                Some(MAX_RETRY_AFTER),
                "{far}"
            );
        }
        assert_eq!(parse(&[]), None);
    }
}
