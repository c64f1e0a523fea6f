//! Circuit breaker, registry, classification, events and clock: the resilience core, free of I/O and of any runtime.
