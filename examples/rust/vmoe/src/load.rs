//! From a file or from bytes to a model.

use std::path::Path;
use std::ptr;

use vmoe_sys as sys;

use crate::error::{check, Result};
use crate::model::Model;
use crate::options::Cancel;
use crate::text;

/// How a model is loaded.  [`Model::load`] and [`Model::load_bytes`] use the defaults.
///
/// ```
/// use vmoe::LoadOptions;
///
/// # fn main() -> vmoe::Result<()> {
/// let model = LoadOptions::new().mmap(true).load("../../demo/fashion-mnist.vmoe")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct LoadOptions {
    flags: u32,
    max_bytes: u64,
    cancel: Option<Cancel>,
}

impl LoadOptions {
    /// Read the file, verify every byte of it, and refuse more than 16 GiB of weights.
    pub fn new() -> Self {
        Self::default()
    }

    /// Maps the file instead of reading it: the weights of a raw file stay in the page cache and
    /// are shared between processes.  Compact files are always read.
    ///
    /// Nobody may then truncate or rewrite the file in place while the model lives: a truncated
    /// mapping ends the process with SIGBUS, and new bytes become wrong results.  Replacing the file
    /// by rename is fine.
    pub fn mmap(self, yes: bool) -> Self {
        self.flag(sys::VMOE_LOAD_MMAP, yes)
    }

    /// Verifies the header but not the weights: faster, and trusts the disk.
    pub fn header_only(self, yes: bool) -> Self {
        self.flag(sys::VMOE_LOAD_HEADER_ONLY, yes)
    }

    /// Refuses models with more bytes of weights; 0 means 16 GiB.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Ends the load with [`Status::Cancelled`](crate::Status::Cancelled) soon after `token` is
    /// cancelled, which is looked at before each MiB of weights.
    pub fn cancel(mut self, token: &Cancel) -> Self {
        self.cancel = Some(token.clone());
        self
    }

    fn flag(mut self, flag: u32, yes: bool) -> Self {
        self.flags = if yes { self.flags | flag } else { self.flags & !flag };
        self
    }

    /// Loads a `.vmoe` file.
    pub fn load(&self, path: impl AsRef<Path>) -> Result<Model> {
        let path = text::path_to_c("path", path.as_ref())?;

        // SAFETY: `path` ends with a zero.
        self.create(self.flags, |options, model, error| unsafe {
            sys::vmoe_load_file(path.as_ptr(), options, model, error)
        })
    }

    /// Loads the bytes of a `.vmoe` file, which are copied; [`LoadOptions::mmap`] does nothing.
    pub fn load_bytes(&self, bytes: &[u8]) -> Result<Model> {
        self.memory(self.flags & !sys::VMOE_LOAD_MMAP, bytes)
    }

    /// The same without a copy, for a model in the program's own image.  The bytes must be aligned
    /// to 64.
    pub fn load_static(&self, bytes: &'static [u8]) -> Result<Model> {
        self.memory(self.flags | sys::VMOE_LOAD_MMAP, bytes)
    }

    fn memory(&self, flags: u32, bytes: &[u8]) -> Result<Model> {
        // SAFETY: `bytes` is readable; the library keeps a pointer to it only if VMOE_LOAD_MMAP is
        // set, and then it is static.
        self.create(flags, |options, model, error| unsafe {
            sys::vmoe_load_memory(bytes.as_ptr().cast(), bytes.len(), options, model, error)
        })
    }

    fn create(
        &self,
        flags: u32,
        load: impl FnOnce(
            &sys::vmoe_load_options,
            &mut *mut sys::vmoe_model,
            &mut sys::vmoe_error,
        ) -> sys::vmoe_status,
    ) -> Result<Model> {
        let options = sys::vmoe_load_options {
            flags,
            max_bytes: self.max_bytes,
            cancel: self.cancel.as_ref().map_or(ptr::null(), Cancel::flag),
            ..Default::default()
        };
        let mut handle = ptr::null_mut();

        check(|error| load(&options, &mut handle, error))?;
        // SAFETY: a load that succeeded made a handle, which belongs to us.
        unsafe { Model::from_handle(handle) }
    }
}

/// Reads a whole file and checks every byte of it without keeping the weights in memory.
pub fn verify(path: impl AsRef<Path>) -> Result<()> {
    let path = text::path_to_c("path", path.as_ref())?;

    // SAFETY: `path` ends with a zero.
    check(|error| unsafe { sys::vmoe_verify_file(path.as_ptr(), error) })
}
