//! Bearer tokens: JWTs signed with HS256 and nothing else.
//!
//! The token library leaves the cryptography to its user. HS256 is all that the gateway accepts, so
//! HMAC-SHA-256 is all that is built in: no RSA, no curves, and no algorithm that a token could
//! choose instead.

use std::{fmt, time::Duration};

use hmac::{Hmac, KeyInit as _, Mac as _};
use huleedu_contracts::ids::{OrgId, UserId};
use huleedu_kit::settings::Secret;
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{Error, ErrorKind},
    signature::{self, Signer, Verifier},
};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// What a token says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// The user.
    pub(crate) sub: String,
    /// The user's organisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) org_id: Option<String>,
    /// Until when it is valid, in Unix seconds.
    exp: i64,
}

/// A token could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the token could not be made")]
pub struct MintError(#[from] Error);

/// Makes a token for `user` that the gateway with the same secret accepts for as long as `valid`.
///
/// # Errors
/// When the claims cannot be written as JSON.
pub fn mint(
    secret: &Secret,
    user: &UserId,
    org: Option<&OrgId>,
    valid: Duration,
) -> Result<String, MintError> {
    install();
    let seconds = i64::try_from(valid.as_secs()).unwrap_or(i64::MAX);
    let claims = Claims {
        sub: user.to_string(),
        org_id: org.map(ToString::to_string),
        exp: jiff::Timestamp::now().as_second().saturating_add(seconds),
    };
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    Ok(jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        &claims,
        &key,
    )?)
}

/// Reads tokens.
#[derive(Clone)]
pub(crate) struct Reader {
    key: DecodingKey,
    validation: Validation,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}

impl Reader {
    /// Accepts tokens signed with this secret; `exp` and `sub` must be there.
    pub(crate) fn new(secret: &Secret) -> Self {
        install();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["exp", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = 30;
        Self {
            key: DecodingKey::from_secret(secret.expose().as_bytes()),
            validation,
        }
    }

    /// The claims of a token that is signed with our secret and valid now.
    pub(crate) fn read(&self, token: &str) -> Result<Claims, Error> {
        Ok(jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation)?.claims)
    }
}

/// Makes HS256 known to the token library, once in this process.
fn install() {
    static HS256_ONLY: CryptoProvider = CryptoProvider {
        signer_factory: |algorithm, key| {
            only_hs256(*algorithm)?;
            Ok(Box::new(Hs256::new(key.as_bytes())?) as Box<dyn JwtSigner>)
        },
        verifier_factory: |algorithm, key| {
            only_hs256(*algorithm)?;
            Ok(Box::new(Hs256::new(key.try_get_as_bytes()?)?) as Box<dyn JwtVerifier>)
        },
        key_utils: KeyUtils::new_unimplemented(),
    };
    // Installed before: by us.
    HS256_ONLY.install_default().ok();
}

fn only_hs256(algorithm: Algorithm) -> Result<(), Error> {
    if algorithm == Algorithm::HS256 {
        Ok(())
    } else {
        Err(ErrorKind::InvalidAlgorithm.into())
    }
}

struct Hs256(Hmac<Sha256>);

impl Hs256 {
    fn new(key: &[u8]) -> Result<Self, Error> {
        Hmac::new_from_slice(key)
            .map(Self)
            .map_err(|_| ErrorKind::InvalidKeyFormat.into())
    }
}

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self
            .0
            .clone()
            .chain_update(message)
            .finalize()
            .into_bytes()
            .to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], given: &Vec<u8>) -> Result<(), signature::Error> {
        // Compares in constant time.
        self.0
            .clone()
            .chain_update(message)
            .verify_slice(given)
            .map_err(signature::Error::from_source)
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_standard() {
        // RFC 7515, appendix A.1: key, signing input and signature.
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let input = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        install();
        let key = DecodingKey::from_base64_secret(&standard(key)).unwrap();
        let signature = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let verify = |signature: &str, input: &str| {
            jsonwebtoken::crypto::verify(signature, input.as_bytes(), &key, Algorithm::HS256)
                .unwrap()
        };
        assert!(verify(signature, input));
        assert!(!verify(
            signature,
            &input.replace("joe", "eve").replace("eyJpc3M", "eyJpc3N")
        ));
        assert!(!verify(
            "eBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
            input
        ));
    }

    /// The library reads secrets in the standard alphabet with padding, the RFC prints the other.
    fn standard(url_safe: &str) -> String {
        let text = url_safe.replace('-', "+").replace('_', "/");
        let padding = "=".repeat((4 - text.len() % 4) % 4);
        text + &padding
    }

    #[test]
    fn no_other_algorithm_is_known() {
        install();
        let key = EncodingKey::from_secret(b"secret");
        let header = Header::new(Algorithm::HS512);
        let claims = Claims {
            sub: "u".to_owned(),
            org_id: None,
            exp: 0,
        };
        assert!(jsonwebtoken::encode(&header, &claims, &key).is_err());
    }
}
