//! What goes in.

use std::mem;
use std::os::raw::c_void;
use std::ptr;

use vmoe_sys as sys;

use crate::error::{check, zeros, Result};
use crate::values::PreprocessingKind;

/// One picture of any size.
#[derive(Clone, Copy, Debug)]
pub enum Picture<'a> {
    /// A JPEG file in memory.
    Jpeg(&'a [u8]),
    /// Pixels, 8 bits for each of red, green and blue.
    Rgb8 {
        /// Row y begins at `pixels[y * stride]`; at least stride * (height - 1) + 3 * width bytes.
        pixels: &'a [u8],
        /// Pixels of a row.
        width: u32,
        /// Rows.
        height: u32,
        /// Bytes from row to row; 0 means 3 * width.
        stride: usize,
    },
}

impl Picture<'_> {
    /// The picture in C, for as long as its bytes are borrowed.
    fn raw(&self) -> sys::vmoe_picture {
        let (kind, bytes, width, height, stride) = match *self {
            Picture::Jpeg(bytes) => (sys::VMOE_PICTURE_JPEG, bytes, 0, 0, 0),
            Picture::Rgb8 { pixels, width, height, stride } => {
                (sys::VMOE_PICTURE_RGB8, pixels, width, height, stride)
            }
        };

        sys::vmoe_picture {
            kind,
            width,
            height,
            data: bytes.as_ptr().cast(),
            bytes: bytes.len(),
            stride,
        }
    }
}

/// The images of a call.  None are fine: the results are empty.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Pictures of mixed kinds and sizes; each is put through the model's preprocessing.
    Pictures(&'a [Picture<'a>]),
    /// (images, image_size, image_size, 3), already of the right size.
    Pixels(&'a [u8]),
    /// (images, image_size, image_size, 3), values x / 255 * 2 - 1, that is, in -1..1.
    Tensor(&'a [f32]),
}

/// The input in C, and what its pointers need.
pub(crate) struct RawInput {
    pub(crate) raw: sys::vmoe_input,
    _pictures: Vec<sys::vmoe_picture>,
}

impl Input<'_> {
    pub(crate) fn raw(&self, image_size: u32) -> RawInput {
        let mut raw = sys::vmoe_input::default();
        let mut pictures = Vec::new();

        match *self {
            Input::Pictures(given) => {
                pictures = given.iter().map(Picture::raw).collect();
                raw.images = pictures.len();
                raw.pictures = pictures.as_ptr();
            }
            Input::Pixels(pixels) => {
                raw.images = images(pixels.len(), image_size);
                raw.pixels = pixels.as_ptr();
                raw.length = pixels.len();
            }
            Input::Tensor(tensor) => {
                raw.images = images(tensor.len(), image_size);
                raw.tensor = tensor.as_ptr();
                raw.length = tensor.len();
            }
        }
        RawInput { raw, _pictures: pictures }
    }
}

/// Images in an array; an incomplete one counts, so that the library refuses it.
fn images(length: usize, image_size: u32) -> usize {
    let values = 3 * image_size as usize * image_size as usize;

    length / values + usize::from(length % values != 0)
}

/// How a picture of any size becomes a square.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preprocessing {
    /// The method.
    pub kind: PreprocessingKind,
    /// Pixels: the side of the square, or the shorter side before cropping.
    pub side: u32,
    /// Pixels: the side of the square that is cropped out, else 0.
    pub crop: u32,
}

/// The pixels of one square picture, (side, side, 3).
#[derive(Clone, Debug, PartialEq)]
pub enum Pixels {
    /// Of [`PreprocessingKind::Resize`].
    U8(Vec<u8>),
    /// Of [`PreprocessingKind::SmallCrop`], in 0..255.
    F32(Vec<f32>),
}

impl Preprocessing {
    /// Squashes pictures to `side` x `side`.
    pub fn resize(side: u32) -> Self {
        Preprocessing { kind: PreprocessingKind::Resize, side, crop: 0 }
    }

    /// Brings the shorter side to `side` and crops the centre, `crop` x `crop`.
    pub fn small_crop(side: u32, crop: u32) -> Self {
        Preprocessing { kind: PreprocessingKind::SmallCrop, side, crop }
    }

    /// What a model with this preprocessing sees of a picture, before x / 255 * 2 - 1.
    ///
    /// ```
    /// use vmoe::{Picture, Pixels, Preprocessing};
    ///
    /// # fn main() -> vmoe::Result<()> {
    /// let gray = [128; 5 * 4 * 3];
    /// let picture = Picture::Rgb8 { pixels: &gray, width: 5, height: 4, stride: 0 };
    /// let pixels = Preprocessing::resize(2).apply(&picture)?;
    /// assert_eq!(pixels, Pixels::U8(vec![128; 2 * 2 * 3]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn apply(&self, picture: &Picture<'_>) -> Result<Pixels> {
        if u32::from(self.kind) == sys::VMOE_PREPROCESS_SMALL_CROP {
            let mut out = zeros("crop", 0.0, values(self.crop))?;

            self.fill(picture, &mut out)?;
            Ok(Pixels::F32(out))
        } else {
            let mut out = zeros("side", 0, values(self.side))?;

            self.fill(picture, &mut out)?;
            Ok(Pixels::U8(out))
        }
    }

    fn fill<T>(&self, picture: &Picture<'_>, out: &mut [T]) -> Result<()> {
        let (raw, picture) = (self.raw(), picture.raw());
        let (data, bytes) = (out.as_mut_ptr() as *mut c_void, mem::size_of_val(out));

        // SAFETY: `out` has that many bytes, and `T` is u8 or f32, whatever bits they have.
        check(|error| unsafe { sys::vmoe_preprocess(&raw, &picture, data, bytes, error) })
    }

    pub(crate) fn raw(&self) -> sys::vmoe_preprocessing {
        sys::vmoe_preprocessing { kind: self.kind.into(), side: self.side, crop: self.crop }
    }
}

/// Values of a square, but no more than of the largest that the library makes: it refuses others.
fn values(side: u32) -> usize {
    let mut limits = sys::vmoe_limits::default();

    // SAFETY: `limits` is initialised, and the error may be NULL.
    unsafe { sys::vmoe_get_limits(&mut limits, ptr::null_mut()) };
    let side = side.min(limits.image_size) as usize;
    3 * side * side
}

impl From<sys::vmoe_preprocessing> for Preprocessing {
    fn from(raw: sys::vmoe_preprocessing) -> Self {
        Preprocessing { kind: raw.kind.into(), side: raw.side, crop: raw.crop }
    }
}
