//! What a model is.

use std::fmt;

use vmoe_sys as sys;

use crate::cost::{self, Cost};
use crate::error::{check, Result};
use crate::input::Preprocessing;
use crate::options::Options;
use crate::text;
use crate::values::{Activation, CapacityRule, Classifier, Gelu, Precision};

/// What a model is: its geometry, the defaults of its calls, its size.
#[derive(Clone, Copy)]
pub struct Info {
    raw: sys::vmoe_info,
}

macro_rules! getters {
    ($($(#[$what:meta])* $name:ident: $type:ty,)*) => {
        impl Info {
            $($(#[$what])* pub fn $name(&self) -> $type {
                self.raw.$name.into()
            })*
        }

        impl fmt::Debug for Info {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("Info")$(.field(stringify!($name), &self.$name()))*.finish()
            }
        }
    };
}

getters! {
    /// Pixels, the side of the square input.
    image_size: u32,
    /// Pixels, the side of a patch.
    patch_size: u32,
    /// Tokens of an image, with the class token.
    tokens: u32,
    /// D, the width of a token.
    width: u32,
    /// Attention heads.
    heads: u32,
    /// F, the width of the MLPs and of the experts.
    mlp: u32,
    /// L, the number of blocks.
    layers: u32,
    /// Classes.
    classes: u32,
    /// Width of the tanh layer before the head, 0 if there is none.
    pre_logits: u32,
    /// Width of what enters the head, of all members together.
    features: u32,
    /// What the head reads.
    classifier: Classifier,
    /// The form of the GELU.
    gelu: Gelu,
    /// How logits become probabilities.
    output: Activation,
    /// E, the experts of a MoE layer; 0 for a dense model.
    experts: u32,
    /// M of an ensemble of experts, each of which has E / M of them; 1 for other models.
    members: u32,
    /// How many blocks have experts.
    moe_layers: u32,
    /// K, the default of calls, as are the next four.
    experts_per_token: u32,
    /// Images that are routed together.
    group_images: u32,
    /// C, the capacity ratio.
    capacity: f64,
    /// How the capacity becomes a whole number.
    capacity_rule: CapacityRule,
    /// The capacity is rounded up to a multiple of this.
    capacity_multiple: u32,
    /// How a picture of any size becomes the input.
    preprocessing: Preprocessing,
    /// The type of the stored weights.
    precision: Precision,
    /// The number of weights.
    parameters: u64,
    /// Bytes of the weights in memory.
    weight_bytes: u64,
    /// Bytes of the file.
    file_bytes: u64,
    /// XXH3-128 of the file's header, which covers the weights.
    id: [u8; 16],
}

impl Info {
    /// The geometry of a released checkpoint by the name of its file; weights as float32.
    ///
    /// ```
    /// use vmoe::{Info, Options};
    ///
    /// # fn main() -> vmoe::Result<()> {
    /// let info = Info::preset("vmoe_b16_imagenet21k_randaug_strong_ft_ilsvrc2012")?;
    /// assert_eq!((info.image_size(), info.layers(), info.experts()), (384, 12, 8));
    /// let half = info.cost(1, &Options::new().capacity(0.5))?;
    /// let full = info.cost(1, &Options::new())?;
    /// assert!(half.macs < full.macs);
    /// # Ok(())
    /// # }
    /// ```
    pub fn preset(name: &str) -> Result<Info> {
        let name = text::to_c("name", name.as_bytes())?;

        // SAFETY: `name` ends with a zero.
        Info::fill(|info, error| unsafe { sys::vmoe_preset(name.as_ptr(), info, error) })
    }

    pub(crate) fn fill(
        call: impl FnOnce(&mut sys::vmoe_info, &mut sys::vmoe_error) -> sys::vmoe_status,
    ) -> Result<Info> {
        let mut raw = sys::vmoe_info::default();

        check(|error| call(&mut raw, error))?;
        Ok(Info { raw })
    }

    /// Whether block `layer`, counted from 0, has experts.
    pub fn is_moe(&self, layer: u32) -> bool {
        layer < self.layers() && self.raw.moe.get(layer as usize) == Some(&1)
    }

    /// Whether the file is zlib-coded.
    pub fn is_compact(&self) -> bool {
        self.raw.compact != 0
    }

    /// Whether the classes have names.
    pub fn has_labels(&self) -> bool {
        self.raw.labels != 0
    }

    /// What a call with `images` images will cost, known before it is made.
    pub fn cost(&self, images: usize, options: &Options) -> Result<Cost> {
        cost::of(&self.raw, images, options)
    }
}

/// The names that [`Info::preset`] and [`Import::preset`](crate::Import::preset) know.
pub fn presets() -> impl Iterator<Item = &'static str> {
    // SAFETY: the answer is NULL or a constant text.
    (0..).map_while(|i| unsafe { text::from_c(sys::vmoe_preset_name(i)) })
}
