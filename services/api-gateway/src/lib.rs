//! The front door: JWT, ownership, size limits, and one circuit per downstream service.
