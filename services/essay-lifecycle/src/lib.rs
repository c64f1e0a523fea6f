//! Owner of every essay's state, from slot to final phase.
