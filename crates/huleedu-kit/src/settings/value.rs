//! How a setting's text becomes a value, and how it is shown again.

use std::{
    fmt,
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use fusebox::TripRule;

/// A value that can be read from one environment variable.
pub trait SettingValue: Sized {
    /// Reads the text.
    ///
    /// # Errors
    /// What is allowed, as the end of the sentence "allowed: …".
    fn parse(text: &str) -> Result<Self, String>;

    /// The text that would be read back as this value; secrets are hidden.
    fn show(&self) -> String;
}

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl SettingValue for $t {
            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| format!("a whole number from {} to {}", <$t>::MIN, <$t>::MAX))
            }
            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}
integers!(u16, u32, u64, usize, NonZeroU32, NonZeroU64);

impl SettingValue for f64 {
    fn parse(text: &str) -> Result<Self, String> {
        match text.parse::<Self>() {
            Ok(v) if v.is_finite() => Ok(v),
            _ => Err("a decimal number".to_owned()),
        }
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl SettingValue for bool {
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err("true or false (also 1/0, yes/no, on/off)".to_owned()),
        }
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl SettingValue for String {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
    fn show(&self) -> String {
        self.clone()
    }
}

/// Seconds, whole or decimal, more than 0 and at most ten years.
impl SettingValue for Duration {
    fn parse(text: &str) -> Result<Self, String> {
        let allowed = || "seconds, more than 0, for example 30 or 0.5".to_owned();
        let seconds = text.parse::<f64>().map_err(|_| allowed())?;
        if !(seconds > 0.0 && seconds <= 315_360_000.0) {
            return Err(allowed());
        }
        Self::try_from_secs_f64(seconds).map_err(|_| allowed())
    }
    fn show(&self) -> String {
        self.as_secs_f64().to_string()
    }
}

impl SettingValue for url::Url {
    fn parse(text: &str) -> Result<Self, String> {
        let allowed = "an http or https URL, for example http://127.0.0.1:8000";
        match text.parse::<Self>() {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
            _ => Err(allowed.to_owned()),
        }
    }
    fn show(&self) -> String {
        self.as_str().trim_end_matches('/').to_owned()
    }
}

impl SettingValue for TripRule {
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "rate" => Ok(Self::Rate),
            "consecutive" => Ok(Self::Consecutive),
            _ => Err("rate or consecutive".to_owned()),
        }
    }
    fn show(&self) -> String {
        match self {
            Self::Consecutive => "consecutive",
            _ => "rate",
        }
        .to_owned()
    }
}

/// A text that never prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl SettingValue for Secret {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self::new(text))
    }
    fn show(&self) -> String {
        "***".to_owned()
    }
}
