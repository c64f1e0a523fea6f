//! The rules, one list per provider: the first that fits names the kind.
//!
//! A type or code wins over a status, because statuses lie: a bad key is a 400 at Google, a spent
//! budget is a 400 or a 429 at Anthropic, and every provider sends errors with 200.

use super::Kind;
use super::read::Signal;
use crate::Provider;

/// One rule. Every list that is not empty must have an entry that fits.
struct Rule {
    /// The error's type is one of these.
    types: &'static [&'static str],
    /// One of the error's codes is one of these.
    codes: &'static [&'static str],
    /// One of the error's codes contains one of these.
    code_parts: &'static [&'static str],
    /// The message contains one of these.
    message_parts: &'static [&'static str],
    /// The status is one of these.
    statuses: &'static [u16],
    kind: Kind,
}

const ANY: Rule = Rule {
    types: &[],
    codes: &[],
    code_parts: &[],
    message_parts: &[],
    statuses: &[],
    kind: Kind::Unavailable,
};

const ANTHROPIC: &[Rule] = &[
    Rule {
        codes: &["enforced_spend_limit_reached"],
        kind: Kind::QuotaExhausted,
        ..ANY
    },
    Rule {
        types: &["overloaded_error"],
        kind: Kind::Overloaded,
        ..ANY
    },
    Rule {
        types: &["rate_limit_error"],
        kind: Kind::RateLimited,
        ..ANY
    },
    Rule {
        types: &["billing_error"],
        kind: Kind::QuotaExhausted,
        ..ANY
    },
    Rule {
        types: &["authentication_error", "permission_error"],
        kind: Kind::Auth,
        ..ANY
    },
    Rule {
        types: &["invalid_request_error"],
        message_parts: &[
            "You have reached your specified",
            "credit balance is too low",
        ],
        kind: Kind::QuotaExhausted,
        ..ANY
    },
    Rule {
        types: &["invalid_request_error"],
        message_parts: &["prompt is too long"],
        kind: Kind::TooLong,
        ..ANY
    },
    Rule {
        types: &["invalid_request_error"],
        kind: Kind::BadRequest,
        ..ANY
    },
    Rule {
        types: &["request_too_large"],
        kind: Kind::TooLong,
        ..ANY
    },
    Rule {
        types: &["not_found_error"],
        kind: Kind::ModelNotFound,
        ..ANY
    },
    Rule {
        types: &["timeout_error"],
        kind: Kind::Timeout,
        ..ANY
    },
    Rule {
        types: &["api_error"],
        kind: Kind::Unavailable,
        ..ANY
    },
];

const OPENAI: &[Rule] = &[
    Rule {
        codes: &[
            "credit_balance_exhausted",
            "organization_spend_limit_exceeded",
            "project_spend_limit_exceeded",
            "organization_usage_limit_exceeded",
            "insufficient_quota",
            "billing_hard_limit_reached",
        ],
        kind: Kind::QuotaExhausted,
        ..ANY
    },
    Rule {
        types: &["insufficient_quota"],
        kind: Kind::QuotaExhausted,
        ..ANY
    },
    Rule {
        codes: &["context_length_exceeded"],
        kind: Kind::TooLong,
        ..ANY
    },
    Rule {
        codes: &["content_policy_violation", "content_filter", "bio_policy"],
        kind: Kind::Refused,
        ..ANY
    },
    Rule {
        codes: &["model_not_found"],
        kind: Kind::ModelNotFound,
        ..ANY
    },
    Rule {
        codes: &["invalid_api_key"],
        kind: Kind::Auth,
        ..ANY
    },
    Rule {
        codes: &["slow_down", "rate_limit_exceeded"],
        kind: Kind::RateLimited,
        ..ANY
    },
    Rule {
        types: &["server_error"],
        statuses: &[200],
        kind: Kind::Unavailable,
        ..ANY
    },
    Rule {
        codes: &["server_error"],
        statuses: &[200],
        kind: Kind::Unavailable,
        ..ANY
    },
];

const GOOGLE: &[Rule] = &[
    // RetryInfo stands beside a spent day as well: "47s" is no reason to ask again today.
    Rule {
        types: &["RESOURCE_EXHAUSTED"],
        code_parts: &["PerDay", "Daily"],
        kind: Kind::QuotaExhausted,
        ..ANY
    },
    Rule {
        types: &["RESOURCE_EXHAUSTED"],
        message_parts: &["limit: 0"],
        kind: Kind::QuotaExhausted,
        ..ANY
    },
    Rule {
        types: &["RESOURCE_EXHAUSTED"],
        kind: Kind::RateLimited,
        ..ANY
    },
    Rule {
        types: &["UNAVAILABLE"],
        kind: Kind::Overloaded,
        ..ANY
    },
    Rule {
        types: &["DEADLINE_EXCEEDED"],
        kind: Kind::Timeout,
        ..ANY
    },
    Rule {
        types: &[
            "UNAUTHENTICATED",
            "PERMISSION_DENIED",
            "FAILED_PRECONDITION",
        ],
        kind: Kind::Auth,
        ..ANY
    },
    Rule {
        types: &["INVALID_ARGUMENT"],
        codes: &["API_KEY_INVALID"],
        kind: Kind::Auth,
        ..ANY
    },
    Rule {
        types: &["INVALID_ARGUMENT"],
        message_parts: &["exceeds the maximum number of tokens"],
        kind: Kind::TooLong,
        ..ANY
    },
    Rule {
        types: &["NOT_FOUND"],
        kind: Kind::ModelNotFound,
        ..ANY
    },
    Rule {
        types: &["INTERNAL"],
        kind: Kind::Unavailable,
        ..ANY
    },
];

const OPENROUTER: &[Rule] = &[
    // A 402 that only means: other requests of ours hold the rest of the budget just now.
    Rule {
        codes: &["openrouter_in_flight_budget"],
        kind: Kind::RateLimited,
        ..ANY
    },
    Rule {
        types: &["rate_limit_exceeded"],
        kind: Kind::RateLimited,
        ..ANY
    },
    Rule {
        types: &["provider_overloaded", "provider_unavailable"],
        kind: Kind::Overloaded,
        ..ANY
    },
    Rule {
        types: &["payment_required"],
        kind: Kind::QuotaExhausted,
        ..ANY
    },
    Rule {
        types: &["authentication"],
        kind: Kind::Auth,
        ..ANY
    },
    Rule {
        types: &["timeout"],
        kind: Kind::Timeout,
        ..ANY
    },
    Rule {
        types: &["server", "unmapped"],
        kind: Kind::Unavailable,
        ..ANY
    },
    Rule {
        types: &["context_length_exceeded", "payload_too_large"],
        kind: Kind::TooLong,
        ..ANY
    },
    Rule {
        types: &["content_policy_violation", "refusal"],
        kind: Kind::Refused,
        ..ANY
    },
    Rule {
        types: &["not_found"],
        kind: Kind::ModelNotFound,
        ..ANY
    },
    Rule {
        types: &["permission_denied"],
        codes: &["patterns"],
        kind: Kind::Refused,
        ..ANY
    },
    Rule {
        types: &["permission_denied"],
        code_parts: &["budget", "guardrail", "workspace", "key"],
        kind: Kind::QuotaExhausted,
        ..ANY
    },
    Rule {
        types: &[
            "invalid_request",
            "invalid_prompt",
            "unprocessable",
            "token_limit_exceeded",
            "max_tokens_exceeded",
            "string_too_long",
        ],
        kind: Kind::BadRequest,
        ..ANY
    },
    Rule {
        statuses: &[403],
        kind: Kind::Refused,
        ..ANY
    },
    Rule {
        statuses: &[502],
        kind: Kind::Overloaded,
        ..ANY
    },
];

/// What a status means when nothing better is known.
const BY_STATUS: &[Rule] = &[
    Rule {
        statuses: &[401, 403],
        kind: Kind::Auth,
        ..ANY
    },
    Rule {
        statuses: &[402],
        kind: Kind::QuotaExhausted,
        ..ANY
    },
    Rule {
        statuses: &[404],
        kind: Kind::ModelNotFound,
        ..ANY
    },
    Rule {
        statuses: &[408, 504, 524],
        kind: Kind::Timeout,
        ..ANY
    },
    Rule {
        statuses: &[413],
        kind: Kind::TooLong,
        ..ANY
    },
    Rule {
        statuses: &[429],
        kind: Kind::RateLimited,
        ..ANY
    },
    Rule {
        statuses: &[503, 529],
        kind: Kind::Overloaded,
        ..ANY
    },
];

/// The kind that the first fitting rule names.
pub(super) fn kind(provider: Provider, signal: &Signal<'_>) -> Kind {
    let own = match provider {
        Provider::Anthropic => ANTHROPIC,
        Provider::OpenAi => OPENAI,
        Provider::Google => GOOGLE,
        Provider::OpenRouter => OPENROUTER,
    };
    own.iter()
        .chain(BY_STATUS)
        .find(|rule| rule.fits(signal))
        .map_or_else(|| by_class(signal.status), |rule| rule.kind)
}

fn by_class(status: u16) -> Kind {
    if (400..500).contains(&status) {
        Kind::BadRequest
    } else {
        Kind::Unavailable
    }
}

impl Rule {
    fn fits(&self, signal: &Signal<'_>) -> bool {
        let any = |list: &[&str], test: &dyn Fn(&str) -> bool| {
            list.is_empty() || list.iter().any(|entry| test(entry))
        };
        any(self.types, &|entry| signal.error_type == entry)
            && any(self.codes, &|entry| signal.codes.contains(&entry))
            && any(self.code_parts, &|entry| {
                signal.codes.iter().any(|code| code.contains(entry))
            })
            && any(self.message_parts, &|entry| signal.message.contains(entry))
            && (self.statuses.is_empty() || self.statuses.contains(&signal.status))
    }
}
