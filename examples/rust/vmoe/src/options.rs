//! What a call may choose.

use std::fmt;
use std::os::raw::c_void;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::Arc;

use vmoe_sys as sys;

use crate::callback::{Guard, Progress};
use crate::values::{CapacityRule, Isa, Precision, Priority};

/// Everything that a call may choose.  What is not said, or said as zero, is as the model says.
///
/// Nothing is checked here; the call answers with an [`Error`](crate::Error) if a value is out of
/// range.
///
/// ```
/// use vmoe::{Options, Priority};
///
/// let options = Options::new().capacity(0.5).experts(1).priority(Priority::BprMax).threads(1);
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Options {
    experts: u32,
    capacity: f64,
    priority: u32,
    group: u32,
    capacity_rule: u32,
    capacity_multiple: u32,
    threads: u32,
    precision: u32,
    isa: u32,
    cancel: Option<Cancel>,
    progress: Option<Callback>,
    routes: Option<Arc<[i16]>>,
}

impl Options {
    /// The model's own choices.
    pub fn new() -> Self {
        Self::default()
    }

    /// K, the experts that a token is sent to: 1 to the smaller of E and 16.
    pub fn experts(mut self, experts_per_token: u32) -> Self {
        self.experts = experts_per_token;
        self
    }

    /// C, the capacity ratio: an expert has C * S * K / E slots for a group of S tokens.  Above 0
    /// and at most 64.
    pub fn capacity(mut self, ratio: f64) -> Self {
        self.capacity = ratio;
        self
    }

    /// Who comes first when slots are scarce.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority.into();
        self
    }

    /// Images that are routed as one group and compete for the same slots.  Their number must
    /// divide the images of the call.  With 1 an image's logits do not depend on its neighbours.
    pub fn group(mut self, images: u32) -> Self {
        self.group = images;
        self
    }

    /// All images of the call are one group.
    pub fn group_all(self) -> Self {
        self.group(sys::VMOE_GROUP_ALL)
    }

    /// How the capacity becomes a whole number.
    pub fn capacity_rule(mut self, rule: CapacityRule) -> Self {
        self.capacity_rule = rule.into();
        self
    }

    /// The capacity is rounded up to a multiple of this many slots.  4 is upstream's; 1 makes a
    /// finer dial at low C.
    pub fn capacity_multiple(mut self, slots: u32) -> Self {
        self.capacity_multiple = slots;
        self
    }

    /// Threads that work on the call, 1 to 256; by default as many as there are CPUs to run on.
    pub fn threads(mut self, threads: u32) -> Self {
        self.threads = threads;
        self
    }

    /// The least exact arithmetic that the call permits.  [`Precision::F32`] is strict;
    /// [`Precision::Auto`] permits int8, and the library takes the narrowest type that the machine
    /// multiplies fast with the stored weights.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision.into();
        self
    }

    /// The instruction set.  One that the machine lacks is
    /// [`Status::Unsupported`](crate::Status::Unsupported).
    pub fn isa(mut self, isa: Isa) -> Self {
        self.isa = isa.into();
        self
    }

    /// Ends the call with [`Status::Cancelled`](crate::Status::Cancelled) soon after `token` is
    /// cancelled.
    pub fn cancel(mut self, token: &Cancel) -> Self {
        self.cancel = Some(token.clone());
        self
    }

    /// Calls `progress(done, total)` in the calling thread after every slice of the images.
    ///
    /// If it panics, the call ends early (or, if there is a [`Cancel`] token, as usual), and the
    /// panic goes on from there.
    pub fn progress(mut self, progress: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        self.progress = Some(Callback(Arc::new(progress)));
        self
    }

    /// The routing decisions of the call, in the form of [`Report::routes`](crate::Report::routes)
    /// of a call of the same shape: (moe_layers, images, tokens, members, K).  The gates are still
    /// computed.
    pub fn routes(mut self, routes: impl Into<Arc<[i16]>>) -> Self {
        self.routes = Some(routes.into());
        self
    }

    /// K of a call to a model whose own is `default`.
    pub(crate) fn experts_or(&self, default: u32) -> u32 {
        if self.experts != 0 {
            self.experts
        } else {
            default
        }
    }

    /// The options in C, for the time of a call.
    pub(crate) fn with<R>(&self, call: impl FnOnce(&sys::vmoe_options) -> R) -> R {
        let mut raw = self.raw();
        let stop = Cancel::new();
        let progress = match &self.progress {
            None => return call(&raw),
            Some(progress) => Call { guard: Guard::new(&*progress.0), stop: &stop },
        };

        raw.progress = Some(run_progress);
        raw.progress_context = &progress as *const Call as *mut c_void;
        if raw.cancel.is_null() {
            raw.cancel = stop.flag();
        }
        let result = call(&raw);
        progress.guard.finish();
        result
    }

    /// Without the callback.  The pointers are good as long as `self`.
    fn raw(&self) -> sys::vmoe_options {
        sys::vmoe_options {
            experts_per_token: self.experts,
            capacity: self.capacity,
            priority: self.priority,
            group_images: self.group,
            capacity_rule: self.capacity_rule,
            capacity_multiple: self.capacity_multiple,
            threads: self.threads,
            precision: self.precision,
            isa: self.isa,
            cancel: self.cancel.as_ref().map_or(ptr::null(), Cancel::flag),
            routes: self.routes.as_ref().map_or(ptr::null(), |routes| routes.as_ptr()),
            routes_length: self.routes.as_ref().map_or(0, |routes| routes.len()),
            ..Default::default()
        }
    }
}

#[derive(Clone)]
struct Callback(Arc<Progress<()>>);

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fn(u64, u64)")
    }
}

/// What the library's callback needs.
struct Call<'a> {
    guard: Guard<'a, ()>,
    stop: &'a Cancel,
}

/// # Safety
/// `context` points to a `Call`.
unsafe extern "C" fn run_progress(context: *mut c_void, done: u64, total: u64) {
    let call = &*(context as *const Call);

    if call.guard.call(done, total).is_none() {
        call.stop.cancel();
    }
}

/// Ends calls from another thread, or from a signal handler.
///
/// Clones are the same token.  One token may be given to many calls, and to loads by
/// [`LoadOptions::cancel`](crate::LoadOptions::cancel); it stays cancelled until [`Cancel::reset`].
///
/// ```
/// use vmoe::{Cancel, Input, Model, Options, Status};
///
/// # fn main() -> vmoe::Result<()> {
/// let model = Model::load("../../demo/fashion-mnist.vmoe")?;
/// let cancel = Cancel::new();
/// let options = Options::new().cancel(&cancel);
/// let pixels = vec![0; 1000 * 28 * 28 * 3];
/// let result = std::thread::scope(|scope| {
///     let call = scope.spawn(|| model.logits(Input::Pixels(&pixels), &options));
///     cancel.cancel();
///     call.join().unwrap()
/// });
/// assert_eq!(result.unwrap_err().status(), Status::Cancelled);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicI32>);

impl Cancel {
    /// A token that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the calls and loads that have this token, and those to come.  Safe in a signal handler.
    pub fn cancel(&self) {
        self.0.store(1, Ordering::Relaxed);
    }

    /// Whether it is cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// Makes the token as new.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Where the library looks.  An `AtomicI32` has the layout of an `i32`.
    pub(crate) fn flag(&self) -> *const i32 {
        &*self.0 as *const AtomicI32 as *const i32
    }
}
