//! `vmoe.h` in Rust: the same names, fields and values, declared by hand.
//!
//! The header is the manual; nothing is explained twice here.  The tests compare every struct, value
//! and function with the installed header.  The crate `vmoe` is the safe way to use all this.
//!
//! A struct that begins with `size` has a [`Default`], which is the `..._INIT` macro of the header.

#![allow(non_camel_case_types)]

use std::marker::{PhantomData, PhantomPinned};
use std::mem;
use std::os::raw::{c_char, c_int, c_uint, c_void};

/// The struct with zeros in all fields but `size`.
macro_rules! sized {
    ($($name:ident)*) => {$(
        impl Default for $name {
            fn default() -> Self {
                // SAFETY: the fields are numbers, raw pointers and optional functions.
                Self { size: mem::size_of::<Self>() as u32, ..unsafe { mem::zeroed() } }
            }
        }
    )*};
}

sized! {
    vmoe_load_options vmoe_info vmoe_options vmoe_input vmoe_output vmoe_report vmoe_cost
    vmoe_import_options vmoe_limits
}

pub const VMOE_VERSION_MAJOR: u32 = 0;
pub const VMOE_VERSION_MINOR: u32 = 1;
pub const VMOE_VERSION_PATCH: u32 = 0;
pub const VMOE_VERSION_NUMBER: u32 =
    VMOE_VERSION_MAJOR * 10000 + VMOE_VERSION_MINOR * 100 + VMOE_VERSION_PATCH;

// ---- Status and errors ---------------------------------------------------------------------------

pub type vmoe_status = c_uint;

pub const VMOE_OK: vmoe_status = 0;
pub const VMOE_ERR_ARGUMENT: vmoe_status = 1;
pub const VMOE_ERR_UNSUPPORTED: vmoe_status = 2;
pub const VMOE_ERR_MEMORY: vmoe_status = 3;
pub const VMOE_ERR_IO: vmoe_status = 4;
pub const VMOE_ERR_FORMAT: vmoe_status = 5;
pub const VMOE_ERR_CHECKSUM: vmoe_status = 6;
pub const VMOE_ERR_VERSION: vmoe_status = 7;
pub const VMOE_ERR_LIMIT: vmoe_status = 8;
pub const VMOE_ERR_IMAGE: vmoe_status = 9;
pub const VMOE_ERR_CANCELLED: vmoe_status = 10;
pub const VMOE_ERR_THREAD: vmoe_status = 11;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmoe_error {
    pub status: vmoe_status,
    pub r#where: [c_char; 96],
    pub text: [c_char; 320],
}

impl Default for vmoe_error {
    fn default() -> Self {
        Self { status: VMOE_OK, r#where: [0; 96], text: [0; 320] }
    }
}

// ---- The model -----------------------------------------------------------------------------------

#[repr(C)]
#[derive(Debug)]
pub struct vmoe_model {
    opaque: [u8; 0],
    marker: PhantomData<(*mut u8, PhantomPinned)>,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmoe_allocator {
    pub alloc: Option<unsafe extern "C" fn(*mut c_void, usize, usize) -> *mut c_void>,
    pub release: Option<unsafe extern "C" fn(*mut c_void, *mut c_void)>,
    pub context: *mut c_void,
}

pub const VMOE_LOAD_MMAP: u32 = 1;
pub const VMOE_LOAD_HEADER_ONLY: u32 = 2;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmoe_load_options {
    pub size: u32,
    pub flags: u32,
    pub max_bytes: u64,
    pub allocator: *const vmoe_allocator,
    pub cancel: *const i32,
}

pub type vmoe_classifier = c_uint;

pub const VMOE_CLASSIFIER_TOKEN: vmoe_classifier = 1;
pub const VMOE_CLASSIFIER_GAP: vmoe_classifier = 2;
pub const VMOE_CLASSIFIER_MAP: vmoe_classifier = 3;

pub type vmoe_precision = c_uint;

pub const VMOE_PRECISION_AUTO: vmoe_precision = 0;
pub const VMOE_PRECISION_F32: vmoe_precision = 1;
pub const VMOE_PRECISION_BF16: vmoe_precision = 2;
pub const VMOE_PRECISION_INT8: vmoe_precision = 3;

pub type vmoe_gelu = c_uint;

pub const VMOE_GELU_TANH: vmoe_gelu = 1;
pub const VMOE_GELU_ERF: vmoe_gelu = 2;

pub type vmoe_activation = c_uint;

pub const VMOE_OUTPUT_SOFTMAX: vmoe_activation = 1;
pub const VMOE_OUTPUT_SIGMOID: vmoe_activation = 2;

pub type vmoe_capacity_rule = c_uint;

pub const VMOE_CAPACITY_CEIL: vmoe_capacity_rule = 1;
pub const VMOE_CAPACITY_ROUND: vmoe_capacity_rule = 2;

pub type vmoe_preprocessing_kind = c_uint;

pub const VMOE_PREPROCESS_RESIZE: vmoe_preprocessing_kind = 1;
pub const VMOE_PREPROCESS_SMALL_CROP: vmoe_preprocessing_kind = 2;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct vmoe_preprocessing {
    pub kind: u32,
    pub side: u32,
    pub crop: u32,
}

pub const VMOE_MAX_LAYERS: usize = 256;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmoe_info {
    pub size: u32,
    pub image_size: u32,
    pub patch_size: u32,
    pub tokens: u32,
    pub width: u32,
    pub heads: u32,
    pub mlp: u32,
    pub layers: u32,
    pub classes: u32,
    pub pre_logits: u32,
    pub features: u32,
    pub classifier: u32,
    pub gelu: u32,
    pub output: u32,
    pub experts: u32,
    pub moe_layers: u32,
    pub moe: [u8; VMOE_MAX_LAYERS],
    pub experts_per_token: u32,
    pub group_images: u32,
    pub capacity: f64,
    pub capacity_rule: u32,
    pub capacity_multiple: u32,
    pub preprocessing: vmoe_preprocessing,
    pub precision: u32,
    pub compact: u32,
    pub labels: u32,
    pub parameters: u64,
    pub weight_bytes: u64,
    pub file_bytes: u64,
    pub id: [u8; 16],
    pub members: u32,
    pub reserved: u32,
}

// ---- Simple calls --------------------------------------------------------------------------------

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmoe_class {
    pub index: u32,
    pub probability: f32,
    pub label: *const c_char,
}

// ---- The dial ------------------------------------------------------------------------------------

pub type vmoe_priority = c_uint;

pub const VMOE_PRIORITY_DEFAULT: vmoe_priority = 0;
pub const VMOE_PRIORITY_VANILLA: vmoe_priority = 1;
pub const VMOE_PRIORITY_BPR_MAX: vmoe_priority = 2;
pub const VMOE_PRIORITY_BPR_SUM: vmoe_priority = 3;

pub type vmoe_isa = c_uint;

pub const VMOE_ISA_DEFAULT: vmoe_isa = 0;
pub const VMOE_ISA_REF: vmoe_isa = 1;
pub const VMOE_ISA_AVX2: vmoe_isa = 2;
pub const VMOE_ISA_AVX512: vmoe_isa = 3;
pub const VMOE_ISA_AVX512_VNNI: vmoe_isa = 4;
pub const VMOE_ISA_AMX: vmoe_isa = 5;
pub const VMOE_ISA_AVX512_BF16: vmoe_isa = 6;
pub const VMOE_ISA_NEON: vmoe_isa = 7;
pub const VMOE_ISA_NEON_DOT: vmoe_isa = 8;
pub const VMOE_ISA_NEON_I8MM: vmoe_isa = 9;

pub const VMOE_GROUP_ALL: u32 = u32::MAX;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmoe_options {
    pub size: u32,
    pub experts_per_token: u32,
    pub capacity: f64,
    pub priority: u32,
    pub group_images: u32,
    pub capacity_rule: u32,
    pub capacity_multiple: u32,
    pub threads: u32,
    pub precision: u32,
    pub isa: u32,
    pub reserved: u32,
    pub cancel: *const i32,
    pub progress: Option<unsafe extern "C" fn(*mut c_void, u64, u64)>,
    pub progress_context: *mut c_void,
    pub routes: *const i16,
    pub routes_length: usize,
}

// ---- Full calls ----------------------------------------------------------------------------------

pub type vmoe_picture_kind = c_uint;

pub const VMOE_PICTURE_JPEG: vmoe_picture_kind = 1;
pub const VMOE_PICTURE_RGB8: vmoe_picture_kind = 2;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmoe_picture {
    pub kind: u32,
    pub width: u32,
    pub height: u32,
    pub data: *const c_void,
    pub bytes: usize,
    pub stride: usize,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmoe_input {
    pub size: u32,
    pub reserved: u32,
    pub images: usize,
    pub pictures: *const vmoe_picture,
    pub pixels: *const u8,
    pub tensor: *const f32,
    pub length: usize,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmoe_output {
    pub size: u32,
    pub reserved: u32,
    pub logits: *mut f32,
    pub logits_length: usize,
    pub probabilities: *mut f32,
    pub probabilities_length: usize,
    pub features: *mut f32,
    pub features_length: usize,
    pub top: *mut vmoe_class,
    pub top_length: usize,
    pub top_count: usize,
    pub report: *mut vmoe_report,
    pub member_logits: *mut f32,
    pub member_logits_length: usize,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct vmoe_layer_report {
    pub layer: u32,
    pub reserved: u32,
    pub assigned: u64,
    pub processed: u64,
    pub dropped: u64,
    pub untouched: u64,
}

pub type vmoe_stage = c_uint;

pub const VMOE_STAGE_IMAGE: vmoe_stage = 0;
pub const VMOE_STAGE_EMBED: vmoe_stage = 1;
pub const VMOE_STAGE_ATTENTION: vmoe_stage = 2;
pub const VMOE_STAGE_MLP: vmoe_stage = 3;
pub const VMOE_STAGE_ROUTING: vmoe_stage = 4;
pub const VMOE_STAGE_EXPERTS: vmoe_stage = 5;
pub const VMOE_STAGE_HEAD: vmoe_stage = 6;
pub const VMOE_STAGE_COUNT: usize = 7;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmoe_report {
    pub size: u32,
    pub isa: u32,
    pub precision: u32,
    pub threads: u32,
    pub experts_per_token: u32,
    pub group_images: u32,
    pub groups: u64,
    pub capacity: u64,
    pub assigned: u64,
    pub processed: u64,
    pub dropped: u64,
    pub untouched: u64,
    pub macs: u64,
    pub weight_bytes: u64,
    pub seconds: [f64; VMOE_STAGE_COUNT],
    pub total_seconds: f64,
    pub layers: *mut vmoe_layer_report,
    pub layers_length: usize,
    pub load: *mut u64,
    pub load_length: usize,
    pub routes: *mut i16,
    pub routes_length: usize,
    pub macs_saved: u64,
}

// ---- Cost ----------------------------------------------------------------------------------------

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmoe_cost {
    pub size: u32,
    pub reserved: u32,
    pub capacity: u64,
    pub macs: u64,
    pub macs_padded: u64,
    pub macs_dense: u64,
    pub weight_bytes: u64,
    pub workspace_bytes: u64,
    pub macs_saved: u64,
}

// ---- Import --------------------------------------------------------------------------------------

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmoe_import_options {
    pub size: u32,
    pub precision: u32,
    pub preset: *const c_char,
    pub compact: u32,
    pub experts_per_token: u32,
    pub capacity: f64,
    pub capacity_rule: u32,
    pub capacity_multiple: u32,
    pub group_images: u32,
    pub gelu: u32,
    pub output: u32,
    pub preprocessing: vmoe_preprocessing,
    pub image_size: u32,
    pub label_count: u32,
    pub labels: *const *const c_char,
    pub provenance: *const c_char,
    pub progress: Option<unsafe extern "C" fn(*mut c_void, u64, u64) -> c_int>,
    pub progress_context: *mut c_void,
}

// ---- The machine and the limits ------------------------------------------------------------------

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmoe_limits {
    pub size: u32,
    pub layers: u32,
    pub heads: u32,
    pub experts: u32,
    pub experts_per_token: u32,
    pub width: u32,
    pub mlp: u32,
    pub classes: u32,
    pub image_size: u32,
    pub tokens: u32,
    pub group_tokens: u32,
    pub threads: u32,
    pub capacity: f64,
    pub file_bytes: u64,
    pub header_bytes: u64,
    pub tensors: u64,
    pub label_bytes: u64,
    pub jpeg_bytes: u64,
    pub picture_side: u64,
    pub picture_pixels: u64,
    pub jpeg_scans: u64,
    pub import_index_bytes: u64,
    pub import_shards: u64,
    pub members: u64,
}

// ---- Functions -----------------------------------------------------------------------------------

extern "C" {
    pub fn vmoe_version() -> u32;
    pub fn vmoe_status_name(status: vmoe_status) -> *const c_char;

    pub fn vmoe_load_file(
        path: *const c_char,
        options: *const vmoe_load_options,
        model: *mut *mut vmoe_model,
        error: *mut vmoe_error,
    ) -> vmoe_status;
    pub fn vmoe_load_memory(
        data: *const c_void,
        bytes: usize,
        options: *const vmoe_load_options,
        model: *mut *mut vmoe_model,
        error: *mut vmoe_error,
    ) -> vmoe_status;
    pub fn vmoe_free(model: *mut vmoe_model);
    pub fn vmoe_verify_file(path: *const c_char, error: *mut vmoe_error) -> vmoe_status;
    pub fn vmoe_get_info(
        model: *const vmoe_model,
        info: *mut vmoe_info,
        error: *mut vmoe_error,
    ) -> vmoe_status;
    pub fn vmoe_label(model: *const vmoe_model, class_index: u32) -> *const c_char;
    pub fn vmoe_provenance(model: *const vmoe_model) -> *const c_char;

    pub fn vmoe_classify_jpeg(
        model: *const vmoe_model,
        jpeg: *const c_void,
        bytes: usize,
        options: *const vmoe_options,
        top: *mut vmoe_class,
        count: usize,
        error: *mut vmoe_error,
    ) -> vmoe_status;
    pub fn vmoe_classify_rgb8(
        model: *const vmoe_model,
        pixels: *const u8,
        width: u32,
        height: u32,
        stride: usize,
        options: *const vmoe_options,
        top: *mut vmoe_class,
        count: usize,
        error: *mut vmoe_error,
    ) -> vmoe_status;
    pub fn vmoe_logits_f32(
        model: *const vmoe_model,
        tensor: *const f32,
        images: usize,
        options: *const vmoe_options,
        logits: *mut f32,
        error: *mut vmoe_error,
    ) -> vmoe_status;
    pub fn vmoe_run(
        model: *const vmoe_model,
        input: *const vmoe_input,
        options: *const vmoe_options,
        output: *const vmoe_output,
        error: *mut vmoe_error,
    ) -> vmoe_status;

    pub fn vmoe_get_cost(
        info: *const vmoe_info,
        options: *const vmoe_options,
        images: usize,
        cost: *mut vmoe_cost,
        error: *mut vmoe_error,
    ) -> vmoe_status;
    pub fn vmoe_preset(
        name: *const c_char,
        info: *mut vmoe_info,
        error: *mut vmoe_error,
    ) -> vmoe_status;
    pub fn vmoe_preset_name(i: usize) -> *const c_char;
    pub fn vmoe_preprocess(
        preprocessing: *const vmoe_preprocessing,
        picture: *const vmoe_picture,
        out: *mut c_void,
        bytes: usize,
        error: *mut vmoe_error,
    ) -> vmoe_status;
    pub fn vmoe_import(
        source: *const c_char,
        destination: *const c_char,
        options: *const vmoe_import_options,
        error: *mut vmoe_error,
    ) -> vmoe_status;

    pub fn vmoe_isa_name(isa: u32) -> *const c_char;
    pub fn vmoe_isa_available(isa: u32) -> c_int;
    pub fn vmoe_isa_default() -> u32;
    pub fn vmoe_get_limits(limits: *mut vmoe_limits, error: *mut vmoe_error) -> vmoe_status;
}
