//! One request type, four AI providers, a verdict for every answer, and a sandbox that speaks all four formats.
