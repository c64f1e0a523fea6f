//! The records that every subject is given.

use std::time::Duration;

use fusebox_journal::Entry;

/// Bytes of a record's data.
pub(crate) const SIZE: usize = 1024;

/// Record number `n`.
pub(crate) fn entry(n: u64) -> Entry {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.to_le_bytes());
    // Nothing that a disk could compress.
    let mut state = n;
    let mut data = Vec::with_capacity(SIZE);
    while data.len() < SIZE {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        data.extend_from_slice(&state.rotate_left(17).to_le_bytes());
    }
    Entry {
        id,
        label: "bench".into(),
        admitted_at_ms: 0,
        data: data.into(),
    }
}

/// What a percentage of a sorted list is below.
pub(crate) fn part<T: Copy>(sorted: &[T], percent: usize) -> T {
    sorted[(sorted.len() - 1) * percent / 100]
}

/// How many per second.
pub(crate) fn rate(count: u64, took: Duration) -> f64 {
    to_f64(count) / took.as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn to_f64(n: u64) -> f64 {
    n as f64
}
