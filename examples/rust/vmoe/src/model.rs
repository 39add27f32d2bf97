//! The handle.

use std::fmt;
use std::path::Path;
use std::ptr::NonNull;

use vmoe_sys as sys;

use crate::cost::Cost;
use crate::error::Result;
use crate::info::Info;
use crate::load::LoadOptions;
use crate::options::Options;
use crate::text;

/// A model.  It never changes, and any number of threads may use it at the same time.
///
/// Dropping it frees its memory and ends its threads.  To share it beyond a scope, put it into an
/// [`Arc`](std::sync::Arc).
pub struct Model {
    handle: NonNull<sys::vmoe_model>,
    info: Info,
}

// SAFETY: the library allows calls with one handle from any number of threads at the same time, and
// vmoe_free from any thread.
unsafe impl Send for Model {}
unsafe impl Sync for Model {}

impl Model {
    /// Loads a `.vmoe` file and verifies every byte of it.
    pub fn load(path: impl AsRef<Path>) -> Result<Model> {
        LoadOptions::new().load(path)
    }

    /// Loads the bytes of a `.vmoe` file, which are copied.
    pub fn load_bytes(bytes: &[u8]) -> Result<Model> {
        LoadOptions::new().load_bytes(bytes)
    }

    /// Takes the ownership of a handle.
    ///
    /// # Safety
    /// `handle` comes from a load that succeeded, and nobody else frees it.
    pub(crate) unsafe fn from_handle(handle: *mut sys::vmoe_model) -> Result<Model> {
        let info = Info::fill(|info, error| sys::vmoe_get_info(handle, info, error))?;

        Ok(Model { handle: NonNull::new_unchecked(handle), info })
    }

    pub(crate) fn handle(&self) -> *const sys::vmoe_model {
        self.handle.as_ptr()
    }

    /// What the model is.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// The name of a class; "" without labels or for an index out of range.
    pub fn label(&self, class: u32) -> &str {
        // SAFETY: the handle is good, and its texts live as long as it.
        unsafe { text::from_c(sys::vmoe_label(self.handle(), class)) }.unwrap_or("")
    }

    /// The names of all classes in order; nothing if they have none.
    pub fn labels(&self) -> impl Iterator<Item = &str> + '_ {
        let count = if self.info.has_labels() { self.info.classes() } else { 0 };

        (0..count).map(move |class| self.label(class))
    }

    /// The free text that the importer noted about where the weights came from.
    pub fn provenance(&self) -> &str {
        // SAFETY: as for labels.
        unsafe { text::from_c(sys::vmoe_provenance(self.handle())) }.unwrap_or("")
    }

    /// What a call with `images` images will cost, known before it is made.
    pub fn cost(&self, images: usize, options: &Options) -> Result<Cost> {
        self.info.cost(images, options)
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: calls borrow the model, so none is running.
        unsafe { sys::vmoe_free(self.handle.as_ptr()) }
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model").field("info", &self.info).finish_non_exhaustive()
    }
}
