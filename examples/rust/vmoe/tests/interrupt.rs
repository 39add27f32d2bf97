//! Ctrl-C in a long call: the handler of the host cancels a token, and the call ends with an error.

mod common;

use std::os::raw::c_int;
use std::sync::atomic::{AtomicPtr, Ordering};

use vmoe::{Cancel, Input, Status};

use common::{demo, dial, noise, IMAGE};

const SIGINT: c_int = 2;

extern "C" {
    fn signal(number: c_int, handler: extern "C" fn(c_int)) -> usize;
    fn raise(number: c_int) -> c_int;
}

static TOKEN: AtomicPtr<Cancel> = AtomicPtr::new(std::ptr::null_mut());

extern "C" fn on_interrupt(_: c_int) {
    // SAFETY: the token was stored before the handler was installed, and outlives it.
    unsafe { (*TOKEN.load(Ordering::Acquire)).cancel() }
}

#[test]
fn an_interrupt_ends_a_long_call() {
    let model = demo();
    let pixels = noise(100 * IMAGE);
    let mut cancel = Cancel::new();
    // The signal comes in the middle, when the first slice is done.
    let options = dial().cancel(&cancel).progress(|done, total| {
        assert!(done < total);
        // SAFETY: the handler only stores to an atomic.
        unsafe { raise(SIGINT) };
    });

    TOKEN.store(&mut cancel, Ordering::Release);
    // SAFETY: as above.
    unsafe { signal(SIGINT, on_interrupt) };
    let error = model.logits(Input::Pixels(&pixels), &options).unwrap_err();
    assert_eq!(error.status(), Status::Cancelled);
    model.logits(Input::Pixels(&pixels[..IMAGE]), &dial()).unwrap();
}
