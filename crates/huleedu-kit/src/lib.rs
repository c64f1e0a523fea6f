//! What every HuleEdu service is made of: settings, store with inbox and outbox, Kafka consumer, HTTP server, health, metrics, shutdown.
