//! Kafka publishing that loses nothing: an idempotent producer behind a circuit, and a drainer that feeds it from a durable backlog in order.
