//! The nine services: their names in logs, metrics, environment and on the command line.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// One of the nine services of the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceId {
    /// The front door for teachers' clients.
    ApiGateway,
    /// Owner of the batch record and of pipeline progress.
    BatchOrchestrator,
    /// Resolves a requested pipeline into phases.
    BatchConductor,
    /// Owner of per-essay state.
    EssayLifecycle,
    /// Corrects learners' spelling.
    Spellchecker,
    /// Ranks essays by comparative judgement.
    CjAssessment,
    /// Stores blobs.
    Content,
    /// Takes uploads and extracts their text.
    File,
    /// Classes and students.
    ClassManagement,
}

struct Facts {
    slug: &'static str,
    name: &'static str,
    prefix: &'static str,
    port: u16,
    group: &'static str,
    summary: &'static str,
}

impl ServiceId {
    /// Every service, in the order in which a platform is started.
    pub const ALL: [Self; 9] = [
        Self::Content,
        Self::BatchConductor,
        Self::BatchOrchestrator,
        Self::EssayLifecycle,
        Self::File,
        Self::Spellchecker,
        Self::CjAssessment,
        Self::ClassManagement,
        Self::ApiGateway,
    ];

    const fn facts(self) -> Facts {
        match self {
            Self::ApiGateway => Facts {
                slug: "api-gateway",
                name: "api_gateway",
                prefix: "API_GATEWAY_",
                port: 8080,
                group: "api-gateway-consumers",
                summary: "front door: JWT, ownership, size limits",
            },
            Self::BatchOrchestrator => Facts {
                slug: "batch-orchestrator",
                name: "batch_orchestrator",
                prefix: "BATCH_ORCHESTRATOR_SERVICE_",
                port: 5000,
                group: "batch-orchestrator-consumers",
                summary: "batch records and pipeline progress",
            },
            Self::BatchConductor => Facts {
                slug: "batch-conductor",
                name: "batch_conductor",
                prefix: "BCS_",
                port: 4002,
                group: "bcs-event-consumer",
                summary: "resolves pipelines into phases",
            },
            Self::EssayLifecycle => Facts {
                slug: "essay-lifecycle",
                name: "essay_lifecycle",
                prefix: "ESSAY_LIFECYCLE_SERVICE_",
                port: 6000,
                group: "essay-lifecycle-service-group-v1.0",
                summary: "state of every essay",
            },
            Self::Spellchecker => Facts {
                slug: "spellchecker",
                name: "spellchecker",
                prefix: "SPELLCHECKER_SERVICE_",
                port: 8002,
                group: "spellchecker-service-group-v1.1",
                summary: "corrects spelling, English and Swedish",
            },
            Self::CjAssessment => Facts {
                slug: "cj-assessment",
                name: "cj_assessment",
                prefix: "CJ_ASSESSMENT_SERVICE_",
                port: 9090,
                group: "cj_assessment_consumer_group",
                summary: "ranks essays by comparative judgement",
            },
            Self::Content => Facts {
                slug: "content",
                name: "content",
                prefix: "CONTENT_SERVICE_",
                port: 8000,
                group: "content-consumers",
                summary: "stores blobs by content hash",
            },
            Self::File => Facts {
                slug: "file",
                name: "file",
                prefix: "FILE_SERVICE_",
                port: 7001,
                group: "file-service-consumers",
                summary: "takes uploads, extracts and validates text",
            },
            Self::ClassManagement => Facts {
                slug: "class-management",
                name: "class_management",
                prefix: "CLASS_MANAGEMENT_SERVICE_",
                port: 5002,
                group: "class_management-consumer-group",
                summary: "classes and students",
            },
        }
    }

    /// Name on the command line and of the package: `batch-orchestrator`.
    pub const fn slug(self) -> &'static str {
        self.facts().slug
    }

    /// Name in metrics, events and circuit names: `batch_orchestrator`.
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// Environment prefix that wins over the plain name of a variable.
    pub const fn env_prefix(self) -> &'static str {
        self.facts().prefix
    }

    /// Port when it runs on its own and `HTTP_PORT` is not set.
    pub const fn default_port(self) -> u16 {
        self.facts().port
    }

    /// Where it is when nobody says otherwise: its default port on this machine.
    ///
    /// # Panics
    /// Never: a loopback address with a port is a URL.
    pub fn default_url(self) -> url::Url {
        url::Url::parse(&format!("http://127.0.0.1:{}", self.default_port()))
            .expect("a loopback address with a port is a URL")
    }

    /// Kafka consumer group.
    pub const fn consumer_group(self) -> &'static str {
        self.facts().group
    }

    /// Whether it publishes or consumes events. The Content Service only answers requests.
    pub const fn uses_kafka(self) -> bool {
        !matches!(self, Self::Content)
    }

    /// Whether its events belong to no change of its own state, so that they go through a journal
    /// instead of an outbox in its database.
    pub const fn publishes_without_state(self) -> bool {
        matches!(self, Self::ApiGateway)
    }

    /// What it does, in a few words.
    pub const fn summary(self) -> &'static str {
        self.facts().summary
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}

/// A name that is none of the nine services.
#[derive(Debug, Error)]
#[error("`{given}` is not a service; choose one of: {}", ServiceId::ALL.map(ServiceId::slug).join(", "))]
pub struct UnknownService {
    given: String,
}

impl FromStr for ServiceId {
    type Err = UnknownService;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let wanted = s.trim().to_ascii_lowercase().replace('_', "-");
        Self::ALL
            .into_iter()
            .find(|id| id.slug() == wanted || format!("{}-service", id.slug()) == wanted)
            .ok_or(UnknownService {
                given: s.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_is_found_by_its_slug_and_by_its_name() {
        for id in ServiceId::ALL {
            assert_eq!(id.slug().parse::<ServiceId>().unwrap(), id);
            assert_eq!(id.name().parse::<ServiceId>().unwrap(), id);
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let text = "grammar".parse::<ServiceId>().unwrap_err().to_string();
        assert!(
            text.contains("`grammar`") && text.contains("spellchecker"),
            "{text}"
        );
    }
}
