//! What can go wrong.

use std::error;
use std::fmt;

use vmoe_sys as sys;

use crate::text;
use crate::values::values;

/// What the functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

values! {
    /// The kind of an error.
    Status {
        /// The call is wrong: an option out of range, a wrong length.
        Argument = sys::VMOE_ERR_ARGUMENT,
        /// Well-formed, but not something this library or machine can do.
        Unsupported = sys::VMOE_ERR_UNSUPPORTED,
        /// An allocation failed.
        Memory = sys::VMOE_ERR_MEMORY,
        /// The operating system refused to open, read or write a file.
        Io = sys::VMOE_ERR_IO,
        /// The bytes are not what they claim to be.
        Format = sys::VMOE_ERR_FORMAT,
        /// A `.vmoe` file was damaged after it was written.
        Checksum = sys::VMOE_ERR_CHECKSUM,
        /// A file of a version that this library does not read.
        Version = sys::VMOE_ERR_VERSION,
        /// Larger than a limit of the library or of the caller.
        Limit = sys::VMOE_ERR_LIMIT,
        /// A JPEG that cannot be decoded.
        Image = sys::VMOE_ERR_IMAGE,
        /// The call was cancelled.
        Cancelled = sys::VMOE_ERR_CANCELLED,
        /// A thread or a lock could not be created.
        Thread = sys::VMOE_ERR_THREAD,
    }
}

impl Status {
    /// Its name in vmoe.h, such as "VMOE_ERR_FORMAT"; "unknown" for a number that is none.
    pub fn name(self) -> &'static str {
        // SAFETY: the answer is a constant text.
        unsafe { text::from_c(sys::vmoe_status_name(self.into())) }.unwrap_or("unknown")
    }
}

/// What went wrong: a sentence, and the place it is about (a file, a tensor, an option).
///
/// ```
/// use vmoe::{Model, Status};
///
/// let error = Model::load("no/such.vmoe").unwrap_err();
/// assert_eq!(error.status(), Status::Io);
/// assert_eq!(error.place(), "no/such.vmoe");
/// assert!(error.to_string().contains("No such file"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    status: Status,
    place: String,
    text: String,
}

impl Error {
    pub(crate) fn new(status: Status, place: String, text: String) -> Self {
        Error { status, place, text }
    }

    /// The kind of the error.
    pub fn status(&self) -> Status {
        self.status
    }

    /// What it is about: the name of a file, a tensor, an option.  May be empty.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The sentence.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.text)
    }
}

impl error::Error for Error {}

/// Makes a call that takes an error as its last argument.
pub(crate) fn check(call: impl FnOnce(&mut sys::vmoe_error) -> sys::vmoe_status) -> Result<()> {
    let mut error = sys::vmoe_error::default();

    match call(&mut error) {
        sys::VMOE_OK => Ok(()),
        status => Err(Error::new(
            status.into(),
            text::from_array(&error.r#where),
            text::from_array(&error.text),
        )),
    }
}

/// An array of zeros, or an error where `vec!` would end the process.
pub(crate) fn zeros<T: Clone>(place: &str, zero: T, length: usize) -> Result<Vec<T>> {
    let mut array = Vec::new();

    array.try_reserve_exact(length).map_err(|_| {
        Error::new(Status::Memory, place.into(), format!("no memory for {length} elements"))
    })?;
    array.resize(length, zero);
    Ok(array)
}
