//! Texts in and out of the library.

use std::ffi::{CStr, CString};
use std::os::raw::c_char;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::{Error, Result, Status};

/// A text that the library owns; `None` if the pointer is NULL.  The library hands out UTF-8 only.
///
/// # Safety
/// `text` is NULL, or ends with a zero and lives as long as `'a`.
pub(crate) unsafe fn from_c<'a>(text: *const c_char) -> Option<&'a str> {
    if text.is_null() {
        return None;
    }
    CStr::from_ptr(text).to_str().ok()
}

/// The text in an array of the library's, up to its zero.
pub(crate) fn from_array(array: &[c_char]) -> String {
    let bytes: Vec<u8> = array.iter().take_while(|&&c| c != 0).map(|&c| c as u8).collect();

    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) fn to_c(place: &str, text: &[u8]) -> Result<CString> {
    CString::new(text).map_err(|error| {
        let sentence = format!("byte {} of the text is a zero", error.nul_position());

        Error::new(Status::Argument, place.into(), sentence)
    })
}

pub(crate) fn path_to_c(place: &str, path: &Path) -> Result<CString> {
    to_c(place, path.as_os_str().as_bytes())
}
