//! Who calls: a bearer token, signed with HS256, that names a user.

use std::fmt;

use axum::extract::FromRequestParts;
use http::{header::AUTHORIZATION, request::Parts};
use huleedu_contracts::{
    error::ErrorCode,
    ids::{OrgId, UserId},
};
use huleedu_kit::{http::ApiError, settings::Secret};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use crate::App;

/// Checks tokens.
#[derive(Clone)]
pub(crate) struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(default)]
    org_id: Option<String>,
}

impl Verifier {
    /// Accepts tokens signed with this secret; `exp` and `sub` must be there.
    pub(crate) fn new(secret: &Secret) -> Self {
        // One algorithm only, so that a token cannot choose a weaker one.
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["exp", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = 30;
        Self {
            key: DecodingKey::from_secret(secret.expose().as_bytes()),
            validation,
        }
    }

    fn check(&self, token: &str) -> Result<User, ApiError> {
        let refused = |why: &str| ApiError::new(ErrorCode::AuthenticationError, why);
        let claims = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation)
            .map_err(|error| refused("the token is not valid or has expired").with_cause(error))?
            .claims;
        let id = claims
            .sub
            .parse()
            .map_err(|_| refused("the token names no usable user"))?;
        let org = claims
            .org_id
            .map(|org| org.parse())
            .transpose()
            .map_err(|_| refused("the token names no usable organisation"))?;
        Ok(User { id, org })
    }
}

/// The user who calls; 401 without a valid token.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: UserId,
    pub(crate) org: Option<OrgId>,
}

impl FromRequestParts<App> for User {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Self::Rejection> {
        let refused = |why: &str| ApiError::new(ErrorCode::AuthenticationError, why);
        let header = parts
            .headers
            .get(AUTHORIZATION)
            .ok_or_else(|| refused("the header Authorization is missing; send a bearer token"))?;
        let text = header
            .to_str()
            .map_err(|_| refused("the header Authorization is not text"))?;
        let token = text
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| refused("the header Authorization holds no bearer token"))?;
        app.verifier.check(token)
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn token(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
        encode(
            &Header::new(algorithm),
            claims,
            &EncodingKey::from_secret(secret.as_bytes()),
        )
        .unwrap()
    }

    fn check(token: &str) -> Result<User, ApiError> {
        Verifier::new(&Secret::new(SECRET)).check(token)
    }

    fn in_seconds(seconds: i64) -> i64 {
        jiff::Timestamp::now().as_second() + seconds
    }

    #[test]
    fn a_good_token_names_user_and_organisation() {
        let claims = json!({ "sub": "u1", "org_id": "o1", "exp": in_seconds(60) });
        let user = check(&token(Algorithm::HS256, SECRET, &claims)).unwrap();
        assert_eq!(
            (user.id.to_string(), user.org.unwrap().to_string()),
            ("u1".to_owned(), "o1".to_owned())
        );
    }

    #[test]
    fn every_bad_token_is_refused() {
        let good = json!({ "sub": "u1", "exp": in_seconds(60) });
        let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1MSIsImV4cCI6OTk5OTk5OTk5OX0.";
        for bad in [
            String::new(),
            "nonsense".to_owned(),
            none.to_owned(),
            token(Algorithm::HS256, "another secret, also long enough", &good),
            token(Algorithm::HS384, SECRET, &good),
            token(Algorithm::HS256, SECRET, &json!({ "sub": "u1" })),
            token(Algorithm::HS256, SECRET, &json!({ "exp": in_seconds(60) })),
            token(
                Algorithm::HS256,
                SECRET,
                &json!({ "sub": "", "exp": in_seconds(60) }),
            ),
            token(
                Algorithm::HS256,
                SECRET,
                &json!({ "sub": "u1", "exp": in_seconds(-60) }),
            ),
            token(
                Algorithm::HS256,
                SECRET,
                &json!({ "sub": "u1", "exp": in_seconds(90), "nbf": in_seconds(60) }),
            ),
        ] {
            assert_eq!(
                check(&bad).unwrap_err().code(),
                ErrorCode::AuthenticationError,
                "{bad}"
            );
        }
    }
}
