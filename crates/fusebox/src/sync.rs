//! The primitives under everything lock-free: the standard library's, or loom's while its models run.
//!
//! `--cfg fusebox_loom` chooses (`scripts/loom` sets it). The plain name `loom` would also switch
//! the crates we test with, which do not compile that way.

#[cfg(fusebox_loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};
use std::sync::PoisonError;
#[cfg(not(fusebox_loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};

/// No foreign code runs under our locks, so a poisoned one still guards a sound value.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Replaces the value by what `step` makes of it, until nobody came between; `None` gives up.
/// Answers the value before and after.
#[inline]
pub(crate) fn update(
    cell: &AtomicU64,
    mut step: impl FnMut(u64) -> Option<u64>,
) -> Option<(u64, u64)> {
    let mut seen = cell.load(Ordering::Acquire);
    loop {
        let next = step(seen)?;
        match cell.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Some((seen, next)),
            Err(now) => seen = now,
        }
    }
}
