//! What a call will cost.

use vmoe_sys as sys;

use crate::error::{check, Result};
use crate::options::Options;

/// What a call will cost: a pure function of the geometry and the options, but for the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cost {
    /// Slots an expert has in a group.
    pub capacity: u64,
    /// Multiply-adds of matrix products, for the most token-expert pairs that can be processed.
    pub macs: u64,
    /// Multiply-adds of upstream's code, which computes empty slots too.
    pub macs_padded: u64,
    /// Multiply-adds of the ViT with the same geometry and no experts.
    pub macs_dense: u64,
    /// The part of `macs` that is left out, because the head reads one token.
    pub macs_saved: u64,
    /// Bytes of all weights.
    pub weight_bytes: u64,
    /// Bytes of working memory that the call takes on this machine.
    pub workspace_bytes: u64,
}

pub(crate) fn of(info: &sys::vmoe_info, images: usize, options: &Options) -> Result<Cost> {
    let mut raw = sys::vmoe_cost::default();

    // SAFETY: all pointers are to initialised structs.
    options.with(|options| {
        check(|error| unsafe { sys::vmoe_get_cost(info, options, images, &mut raw, error) })
    })?;
    Ok(Cost {
        capacity: raw.capacity,
        macs: raw.macs,
        macs_padded: raw.macs_padded,
        macs_dense: raw.macs_dense,
        macs_saved: raw.macs_saved,
        weight_bytes: raw.weight_bytes,
        workspace_bytes: raw.workspace_bytes,
    })
}
