//! Closures that the library calls.  A panic must not unwind through C, so it is caught and kept
//! until the call has come back.

use std::any::Any;
use std::cell::Cell;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};

/// A closure that is told how much is done of how much.
pub(crate) type Progress<R> = dyn Fn(u64, u64) -> R + Send + Sync;

pub(crate) struct Guard<'a, R> {
    closure: &'a Progress<R>,
    panic: Cell<Option<Box<dyn Any + Send>>>,
}

impl<'a, R> Guard<'a, R> {
    pub(crate) fn new(closure: &'a Progress<R>) -> Self {
        Guard { closure, panic: Cell::new(None) }
    }

    /// The closure's answer; `None` if it panics now or has panicked before.
    pub(crate) fn call(&self, done: u64, total: u64) -> Option<R> {
        let caught = match self.panic.take() {
            Some(earlier) => Err(earlier),
            None => catch_unwind(AssertUnwindSafe(|| (self.closure)(done, total))),
        };

        caught.map_err(|panic| self.panic.set(Some(panic))).ok()
    }

    /// Lets the panic go on, if there was one.
    pub(crate) fn finish(self) {
        if let Some(panic) = self.panic.into_inner() {
            resume_unwind(panic);
        }
    }
}
