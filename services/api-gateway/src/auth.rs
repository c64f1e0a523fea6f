//! Who calls: a bearer token, signed with HS256, that names a user.

use axum::extract::FromRequestParts;
use http::{header::AUTHORIZATION, request::Parts};
use huleedu_contracts::{
    error::ErrorCode,
    ids::{OrgId, UserId},
};
use huleedu_kit::{http::ApiError, settings::Secret};

use crate::{App, token::Reader};

/// Checks tokens and who they name.
#[derive(Debug, Clone)]
pub(crate) struct Verifier(Reader);

impl Verifier {
    /// Accepts tokens signed with this secret.
    pub(crate) fn new(secret: &Secret) -> Self {
        Self(Reader::new(secret))
    }

    fn check(&self, token: &str) -> Result<User, ApiError> {
        let refused = |why: &str| ApiError::new(ErrorCode::AuthenticationError, why);
        let claims = self
            .0
            .read(token)
            .map_err(|e| refused("the token is not valid or has expired").with_cause(e))?;
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
    use std::time::Duration;

    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    use serde_json::{Value, json};

    use super::*;
    use crate::token::mint;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn token(secret: &str, claims: &Value) -> String {
        let key = EncodingKey::from_secret(secret.as_bytes());
        encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
    }

    fn check(token: &str) -> Result<User, ApiError> {
        Verifier::new(&Secret::new(SECRET)).check(token)
    }

    fn in_seconds(seconds: i64) -> i64 {
        jiff::Timestamp::now().as_second() + seconds
    }

    #[test]
    fn a_good_token_names_user_and_organisation() {
        let (user, org) = ("u1".parse().unwrap(), "o1".parse().unwrap());
        let minted = mint(
            &Secret::new(SECRET),
            &user,
            Some(&org),
            Duration::from_mins(1),
        )
        .unwrap();
        let read = check(&minted).unwrap();
        assert_eq!((read.id, read.org), (user, Some(org)));
    }

    #[test]
    fn every_bad_token_is_refused() {
        let verifier = Verifier::new(&Secret::new(SECRET));
        let good = json!({ "sub": "u1", "exp": in_seconds(60) });
        assert!(verifier.check(&token(SECRET, &good)).is_ok());
        // {"alg":"none"} without a signature, and {"alg":"HS512"} with one.
        let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1MSIsImV4cCI6OTk5OTk5OTk5OX0.";
        let hs512 = "eyJhbGciOiJIUzUxMiJ9.eyJzdWIiOiJ1MSIsImV4cCI6OTk5OTk5OTk5OX0.AAAA";
        for bad in [
            String::new(),
            "nonsense".to_owned(),
            none.to_owned(),
            hs512.to_owned(),
            token("another secret, also long enough", &good),
            token(SECRET, &json!({ "sub": "u1" })),
            token(SECRET, &json!({ "exp": in_seconds(60) })),
            token(SECRET, &json!({ "sub": "", "exp": in_seconds(60) })),
            token(SECRET, &json!({ "sub": "u1", "exp": in_seconds(-60) })),
            token(
                SECRET,
                &json!({ "sub": "u1", "exp": in_seconds(90), "nbf": in_seconds(60) }),
            ),
        ] {
            let refused = verifier.check(&bad).unwrap_err();
            assert_eq!(refused.code(), ErrorCode::AuthenticationError, "{bad}");
        }
    }
}
