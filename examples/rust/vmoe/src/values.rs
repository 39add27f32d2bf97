//! The enumerations of vmoe.h.  The library may be newer than this crate and know more values, so
//! each has a variant for the others.

use vmoe_sys as sys;

use crate::text;

macro_rules! values {
    ($($(#[$about:meta])* $name:ident {
        $($(#[$what:meta])* $variant:ident = $value:path,)*
    })*) => {$(
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$what])* $variant,)*
            /// A value that this crate has no name for.
            Other(u32),
        }

        impl From<u32> for $name {
            fn from(value: u32) -> Self {
                match value {
                    $($value => Self::$variant,)*
                    other => Self::Other(other),
                }
            }
        }

        impl From<$name> for u32 {
            fn from(value: $name) -> Self {
                match value {
                    $($name::$variant => $value,)*
                    $name::Other(other) => other,
                }
            }
        }
    )*};
}

pub(crate) use values;

values! {
    /// Who comes first when slots are scarce.
    Priority {
        /// Vanilla, as upstream evaluates its checkpoints.
        Default = sys::VMOE_PRIORITY_DEFAULT,
        /// By position in the group.
        Vanilla = sys::VMOE_PRIORITY_VANILLA,
        /// By the largest gate of the token (upstream's code).
        BprMax = sys::VMOE_PRIORITY_BPR_MAX,
        /// By the sum of its K gates (the paper's other score).
        BprSum = sys::VMOE_PRIORITY_BPR_SUM,
    }

    /// How the capacity becomes a whole number of slots.
    CapacityRule {
        /// Up, as upstream's code does.
        Ceil = sys::VMOE_CAPACITY_CEIL,
        /// To nearest, ties to even, as the paper says.
        Round = sys::VMOE_CAPACITY_ROUND,
    }

    /// A type of numbers: of stored weights, or of the activations in the blocks.
    Precision {
        /// In options: int8 is permitted, and the library chooses.
        Auto = sys::VMOE_PRECISION_AUTO,
        /// float32.
        F32 = sys::VMOE_PRECISION_F32,
        /// bfloat16.
        Bf16 = sys::VMOE_PRECISION_BF16,
        /// 8 bits, with scales.
        Int8 = sys::VMOE_PRECISION_INT8,
    }

    /// An instruction set.
    Isa {
        /// The best that the machine has.
        Default = sys::VMOE_ISA_DEFAULT,
        /// Portable C.
        Ref = sys::VMOE_ISA_REF,
        /// AVX2 with FMA.
        Avx2 = sys::VMOE_ISA_AVX2,
        /// AVX-512.
        Avx512 = sys::VMOE_ISA_AVX512,
        /// AVX-512 with products of int8.
        Avx512Vnni = sys::VMOE_ISA_AVX512_VNNI,
        /// AVX-512 with BF16 and VNNI, and tiles for bfloat16 and int8.
        Amx = sys::VMOE_ISA_AMX,
        /// AVX-512 with products of bfloat16 and int8.
        Avx512Bf16 = sys::VMOE_ISA_AVX512_BF16,
        /// NEON, as every 64-bit ARM has it.
        Neon = sys::VMOE_ISA_NEON,
        /// NEON with dot products of int8.
        NeonDot = sys::VMOE_ISA_NEON_DOT,
        /// NEON with dot products, and matrix products of bfloat16 and int8.
        NeonI8mm = sys::VMOE_ISA_NEON_I8MM,
    }

    /// What the head reads.
    Classifier {
        /// A class token before the patches.
        Token = sys::VMOE_CLASSIFIER_TOKEN,
        /// The mean of the tokens.
        Gap = sys::VMOE_CLASSIFIER_GAP,
        /// A multi-head attention pooling head.
        Map = sys::VMOE_CLASSIFIER_MAP,
    }

    /// The form of the GELU.
    Gelu {
        /// By tanh.
        Tanh = sys::VMOE_GELU_TANH,
        /// By erf.
        Erf = sys::VMOE_GELU_ERF,
    }

    /// How logits become probabilities.
    Activation {
        /// Probabilities of exclusive classes.
        Softmax = sys::VMOE_OUTPUT_SOFTMAX,
        /// A probability for each class on its own.
        Sigmoid = sys::VMOE_OUTPUT_SIGMOID,
    }

    /// How a picture of any size becomes the model's input.
    PreprocessingKind {
        /// Squashed to `side` x `side` by bilinear interpolation, truncated to `u8`.
        Resize = sys::VMOE_PREPROCESS_RESIZE,
        /// The shorter side brought to `side` by area averaging, and the centre cropped.
        SmallCrop = sys::VMOE_PREPROCESS_SMALL_CROP,
    }
}

impl Isa {
    /// The instruction set that [`Isa::Default`] means on this machine.
    pub fn best() -> Isa {
        // SAFETY: the function has no requirements.
        unsafe { sys::vmoe_isa_default() }.into()
    }

    /// Whether this machine and this build of the library can run it.
    pub fn is_available(self) -> bool {
        // SAFETY: the function has no requirements.
        unsafe { sys::vmoe_isa_available(self.into()) != 0 }
    }

    /// Its name as the command line spells it, such as "avx2"; `None` for [`Isa::Default`] and for
    /// what the library does not know.
    pub fn name(self) -> Option<&'static str> {
        // SAFETY: the answer is NULL or a constant text.
        unsafe { text::from_c(sys::vmoe_isa_name(self.into())) }
    }
}
