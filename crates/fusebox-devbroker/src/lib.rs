//! A small durable broker that speaks the Kafka protocol, for laptops, tests and fault injection.
