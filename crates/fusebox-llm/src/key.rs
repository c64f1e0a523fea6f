//! A provider's API key: a type that never prints.

use std::fmt;

use reqwest::header::HeaderValue;
use thiserror::Error;

/// A provider's API key.
///
/// It shows itself neither in `Debug` nor anywhere else, and goes into a request only as a header
/// that is marked sensitive: never into a URL.
#[derive(Clone)]
pub struct ApiKey(HeaderValue);

/// A key that cannot be sent as a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an API key is one or more visible ASCII characters")]
pub struct InvalidKey;

impl ApiKey {
    /// Takes a key; space around it is dropped, as pasted keys often have some.
    ///
    /// # Errors
    /// Fails when nothing is left, or when the key has characters that no header can carry.
    pub fn new(key: &str) -> Result<Self, InvalidKey> {
        let key = key.trim();
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidKey);
        }
        Self::header(key)
    }

    /// The key as the value of a header of its own.
    pub(crate) fn plain(&self) -> HeaderValue {
        self.0.clone()
    }

    /// The key as the value of an `Authorization` header.
    pub(crate) fn bearer(&self) -> HeaderValue {
        let key = self.0.to_str().expect("only visible ASCII is accepted");
        Self::header(&format!("Bearer {key}"))
            .expect("a prefix keeps a value valid")
            .0
    }

    /// A text without the key, for texts that come from outside.
    pub(crate) fn removed_from(&self, text: &str) -> String {
        text.replace(
            self.0.to_str().expect("only visible ASCII is accepted"),
            "[key]",
        )
    }

    fn header(value: &str) -> Result<Self, InvalidKey> {
        let mut value = HeaderValue::from_str(value).map_err(|_| InvalidKey)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_never_prints() {
        let key = ApiKey::new(" sk-very-secret\n").unwrap();
        for shown in [
            format!("{key:?}"),
            format!("{:?}", key.plain()),
            format!("{:?}", key.bearer()),
        ] {
            assert!(!shown.contains("secret"), "{shown}");
        }
        assert_eq!(key.removed_from("no sk-very-secret here"), "no [key] here");
        assert_eq!(key.bearer().to_str().unwrap(), "Bearer sk-very-secret");
    }

    #[test]
    fn a_key_that_no_header_can_carry_is_refused() {
        for bad in [
            "",
            "  ",
            "two words",
            "tab\there",
            "schlüssel",
            "line\nbreak",
        ] {
            assert_eq!(ApiKey::new(bad).unwrap_err(), InvalidKey, "{bad:?}");
        }
    }
}
