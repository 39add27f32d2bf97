//! Sparse Vision Transformers (V-MoE) on CPUs: the safe interface to libvmoe.
//!
//! A V-MoE is a Vision Transformer in which some MLPs are replaced by E expert MLPs.  A router sends
//! each token (one patch of the image) to K of them, and each expert has C * S * K / E slots for a
//! group of S tokens; Batch Priority Routing (BPR) gives scarce slots to the tokens that matter
//! most.  C, K and BPR are chosen for every call, with one set of weights: a dial between accuracy
//! and compute.
//!
//! ```
//! use vmoe::{Model, Options, Priority};
//!
//! # fn main() -> vmoe::Result<()> {
//! let model = Model::load("../../demo/fashion-mnist.vmoe")?;
//! let jpeg = std::fs::read("../../demo/pictures/sandal.jpg").unwrap();
//! let options = Options::new()
//!     .capacity(0.5) // half the slots ...
//!     .priority(Priority::BprMax); // ... for the tokens that matter
//! for class in model.classify_jpeg(&jpeg, 3, &options)? {
//!     println!("{:5.1} %  {}", 100.0 * class.probability, class.label);
//! }
//! # assert_eq!(model.classify_jpeg(&jpeg, 3, &options)?[0].label, "Sandal");
//! # Ok(())
//! # }
//! ```
//!
//! # What to know
//!
//! - **Threads.**  A [`Model`] never changes after loading and is `Send + Sync`: any number of
//!   threads may call at the same time.  A call itself uses as many threads as
//!   [`Options::threads`] says, by default one for each CPU; a host that has threads of its own,
//!   such as rayon's, sets 1.
//! - **Errors.**  Whatever is wrong with a file, an array or an option is an [`Error`] with a
//!   [`Status`], the place and a sentence.  A panic in a progress callback does not cross the
//!   library: it goes on in the caller when the call has come back.
//! - **Shapes.**  Arrays are dense and row-major; shapes are written as (images, classes).  `images`
//!   is the number of images of the call, other names are methods of [`Info`].  Images are RGB, rows
//!   from top to bottom, channels interleaved.
//! - **Same bits.**  With the same library, ISA and precision, results are bit-identical for every
//!   number of threads and every run, and, as long as a routing group is one image (the default),
//!   for every batch size and every position in the batch.
//! - **Not here.**  An allocator of the host's own and the list of limits; the crate `vmoe-sys` has
//!   them.

#![deny(missing_docs)]

mod answer;
mod callback;
mod cost;
mod error;
mod import;
mod info;
mod input;
mod load;
mod model;
mod options;
mod report;
mod text;
mod values;

pub use answer::{Answer, Class, Want};
pub use cost::Cost;
pub use error::{Error, Result, Status};
pub use import::Import;
pub use info::{presets, Info};
pub use input::{Input, Picture, Pixels, Preprocessing};
pub use load::{verify, LoadOptions};
pub use model::Model;
pub use options::{Cancel, Options};
pub use report::{LayerReport, Report, Route, Stage};
pub use values::{
    Activation, CapacityRule, Classifier, Gelu, Isa, Precision, PreprocessingKind, Priority,
};

/// The version of the library that runs, 10000 * major + 100 * minor + patch.
pub fn version() -> u32 {
    // SAFETY: the function has no requirements.
    unsafe { vmoe_sys::vmoe_version() }
}

/// The code of the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
