//! Fusebox for operators: a Prometheus collector over every circuit of a registry.
