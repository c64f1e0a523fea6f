//! An HTTP client whose every call passes a circuit breaker: deadlines, Retry-After, typed errors.
