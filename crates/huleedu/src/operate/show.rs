//! Times, sizes and identifiers for people.

use jiff::Timestamp;

/// `17s`, `4m 05s`, `3h 20m`, `2d 4h`.
pub(crate) fn age(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86400, seconds / 3600 % 24),
    }
}

/// How long ago a moment was.
pub(crate) fn ago(at_ms: i64) -> String {
    age(u64::try_from(now_ms().saturating_sub(at_ms)).unwrap_or(0))
}

/// A moment.
pub(crate) fn time(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).map_or_else(|_| at_ms.to_string(), |t| t.to_string())
}

/// The beginning of a long text in one line.
pub(crate) fn short(text: &str, most: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= most {
        return line.to_owned();
    }
    let mut begin: String = line.chars().take(most.saturating_sub(1)).collect();
    begin.push('…');
    begin
}

pub(crate) fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short_and_say_their_unit() {
        let of = |seconds: u64| age(seconds * 1000);
        assert_eq!(of(0), "0s");
        assert_eq!(of(59), "59s");
        assert_eq!(of(245), "4m 05s");
        assert_eq!(of(12_000), "3h 20m");
        assert_eq!(of(187_200), "2d 4h");
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        assert_eq!(short("åäö", 3), "åäö");
        assert_eq!(short("åäöå", 3), "åä…");
        assert_eq!(short("one\ntwo", 9), "one");
    }
}
