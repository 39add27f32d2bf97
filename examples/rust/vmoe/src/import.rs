//! From a foreign checkpoint to a `.vmoe` file.

use std::ffi::CString;
use std::ops::ControlFlow;
use std::os::raw::{c_int, c_void};
use std::path::Path;
use std::ptr;

use vmoe_sys as sys;

use crate::callback::{Guard, Progress};
use crate::error::{check, Result};
use crate::input::Preprocessing;
use crate::text;
use crate::values::{Activation, CapacityRule, Gelu, Precision};

/// How a foreign checkpoint becomes a `.vmoe` file.  What is not said has a default.
///
/// ```no_run
/// use vmoe::{Import, Precision};
///
/// # fn main() -> vmoe::Result<()> {
/// Import::new()
///     .preset("vmoe_s32_last2_ilsvrc2012_randaug_light1_ft_ilsvrc2012")
///     .precision(Precision::Int8)
///     .write("checkpoints/s32", "s32.vmoe")?;
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
#[must_use]
pub struct Import {
    precision: u32,
    preset: Option<String>,
    compact: bool,
    experts: u32,
    capacity: f64,
    capacity_rule: u32,
    capacity_multiple: u32,
    group: u32,
    gelu: u32,
    output: u32,
    preprocessing: Option<Preprocessing>,
    image_size: u32,
    labels: Vec<String>,
    provenance: Option<String>,
    progress: Option<Box<Progress<ControlFlow<()>>>>,
}

impl Import {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The type of the stored weights: F32, BF16 (the default) or INT8.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision.into();
        self
    }

    /// A name of [`presets`](crate::presets); the other choices override it.
    pub fn preset(mut self, name: impl Into<String>) -> Self {
        self.preset = Some(name.into());
        self
    }

    /// zlib-coded: smaller, slower to load.
    pub fn compact(mut self, yes: bool) -> Self {
        self.compact = yes;
        self
    }

    /// K of calls that do not choose; 2 by default, or E if that is less.
    pub fn experts(mut self, experts_per_token: u32) -> Self {
        self.experts = experts_per_token;
        self
    }

    /// C of calls that do not choose; 1.05 by default.
    pub fn capacity(mut self, ratio: f64) -> Self {
        self.capacity = ratio;
        self
    }

    /// The rounding of the capacity; up by default.
    pub fn capacity_rule(mut self, rule: CapacityRule) -> Self {
        self.capacity_rule = rule.into();
        self
    }

    /// The capacity is rounded up to a multiple of this many slots; 4 by default.
    pub fn capacity_multiple(mut self, slots: u32) -> Self {
        self.capacity_multiple = slots;
        self
    }

    /// Images that are routed as one group; 1 by default.
    pub fn group(mut self, images: u32) -> Self {
        self.group = images;
        self
    }

    /// The form of the GELU; by tanh by default.
    pub fn gelu(mut self, gelu: Gelu) -> Self {
        self.gelu = gelu.into();
        self
    }

    /// How logits become probabilities; softmax by default.
    pub fn output(mut self, output: Activation) -> Self {
        self.output = output.into();
        self
    }

    /// How a picture becomes the input; squashed to the model's image size by default.
    pub fn preprocessing(mut self, preprocessing: Preprocessing) -> Self {
        self.preprocessing = Some(preprocessing);
        self
    }

    /// Pixels, the side of the input: the position embeddings are resized to it.
    pub fn image_size(mut self, side: u32) -> Self {
        self.image_size = side;
        self
    }

    /// The names of all classes, in order.
    pub fn labels(mut self, labels: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.labels = labels.into_iter().map(Into::into).collect();
        self
    }

    /// Free text on where the weights come from; the source's file name by default.
    pub fn provenance(mut self, text: impl Into<String>) -> Self {
        self.provenance = Some(text.into());
        self
    }

    /// Calls `progress(done, total)` with the bytes written so far.  `Break` cancels the import, and
    /// so does a panic, which then goes on in the caller.
    pub fn progress(
        mut self,
        progress: impl Fn(u64, u64) -> ControlFlow<()> + Send + Sync + 'static,
    ) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Writes `destination` from `source`: the prefix of google-research/vmoe's shards
    /// (`PREFIX.index`, `PREFIX.data-00000-of-0000N`), a `.npz` of vision_transformer, or a
    /// `.safetensors` file.  The destination appears complete or not at all.
    pub fn write(&self, source: impl AsRef<Path>, destination: impl AsRef<Path>) -> Result<()> {
        let source = text::path_to_c("source", source.as_ref())?;
        let destination = text::path_to_c("destination", destination.as_ref())?;
        let preset = optional_to_c("options.preset", &self.preset)?;
        let provenance = optional_to_c("options.provenance", &self.provenance)?;
        let labels = self.labels.iter().map(|label| text::to_c("options.labels", label.as_bytes()));
        let labels = labels.collect::<Result<Vec<CString>>>()?;
        let label_pointers: Vec<_> = labels.iter().map(|label| label.as_ptr()).collect();
        let guard = self.progress.as_deref().map(Guard::new);
        let mut raw = self.numbers();

        raw.preset = preset.as_ref().map_or(ptr::null(), |text| text.as_ptr());
        raw.provenance = provenance.as_ref().map_or(ptr::null(), |text| text.as_ptr());
        raw.label_count = u32::try_from(labels.len()).unwrap_or(u32::MAX);
        if !labels.is_empty() {
            raw.labels = label_pointers.as_ptr();
        }
        if let Some(guard) = &guard {
            raw.progress = Some(import_progress);
            raw.progress_context = guard as *const Guard<_> as *mut c_void;
        }
        // SAFETY: all texts end with a zero, and there are `label_count` labels.
        let result = check(|error| unsafe {
            sys::vmoe_import(source.as_ptr(), destination.as_ptr(), &raw, error)
        });
        if let Some(guard) = guard {
            guard.finish();
        }
        result
    }

    fn numbers(&self) -> sys::vmoe_import_options {
        sys::vmoe_import_options {
            precision: self.precision,
            compact: self.compact.into(),
            experts_per_token: self.experts,
            capacity: self.capacity,
            capacity_rule: self.capacity_rule,
            capacity_multiple: self.capacity_multiple,
            group_images: self.group,
            gelu: self.gelu,
            output: self.output,
            preprocessing: self.preprocessing.map_or_else(Default::default, |p| p.raw()),
            image_size: self.image_size,
            ..Default::default()
        }
    }
}

fn optional_to_c(place: &str, text: &Option<String>) -> Result<Option<CString>> {
    text.as_ref().map(|text| text::to_c(place, text.as_bytes())).transpose()
}

/// # Safety
/// `context` points to a guard of an import.
unsafe extern "C" fn import_progress(context: *mut c_void, done: u64, total: u64) -> c_int {
    let guard = &*(context as *const Guard<ControlFlow<()>>);

    c_int::from(guard.call(done, total) != Some(ControlFlow::Continue(())))
}
