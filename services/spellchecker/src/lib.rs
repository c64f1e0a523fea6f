//! Corrects learners' spelling in English and Swedish.
