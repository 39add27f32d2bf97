//! What a call did.

use vmoe_sys as sys;

use crate::error::{zeros, Result};
use crate::info::Info;
use crate::values::{values, Isa, Precision};

/// What a call did, summed over its groups.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The instruction set that ran.
    pub isa: Isa,
    /// The type of the activations in the blocks.
    pub precision: Precision,
    /// Threads that worked on the call.
    pub threads: u32,
    /// K.
    pub experts_per_token: u32,
    /// Images of a group.
    pub group_images: u32,
    /// Groups of the call.
    pub groups: u64,
    /// Slots an expert has in a group, after rounding; may exceed the tokens of the group.
    pub capacity: u64,
    /// Token-expert pairs that the routers chose, over all MoE layers.
    pub assigned: u64,
    /// Of these, the ones that found a slot.
    pub processed: u64,
    /// The others.
    pub dropped: u64,
    /// Tokens that no expert processed, over all MoE layers: only the residual passes.
    pub untouched: u64,
    /// Multiply-adds of matrix products, as the papers count them.
    pub macs: u64,
    /// Of `macs`, not done, because the head reads one token.
    pub macs_saved: u64,
    /// Bytes of weights that had a part in the result, each counted once.
    pub weight_bytes: u64,
    /// Seconds of the whole call.
    pub total_seconds: f64,
    /// Each MoE layer by itself.
    pub layers: Vec<LayerReport>,
    /// (moe_layers, experts): pairs that each expert processed.
    pub load: Vec<u64>,
    /// (moe_layers, images, tokens, members, K): the k-th choice of each token, best first, as
    /// [`Route`] reads it; empty unless [`Want::routes`](crate::Want::routes) asked for it.
    pub routes: Vec<i16>,
    seconds: [f64; sys::VMOE_STAGE_COUNT],
}

/// What happened in one MoE layer, summed over the groups of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerReport {
    /// Index of the block, from 0.
    pub layer: u32,
    /// Token-expert pairs that the router chose: tokens * K.
    pub assigned: u64,
    /// Of these, the ones that found a slot.
    pub processed: u64,
    /// The others.
    pub dropped: u64,
    /// Tokens that no expert processed.
    pub untouched: u64,
}

values! {
    /// A part of a call that is timed by itself.
    Stage {
        /// Decode, resize, normalise.
        Image = sys::VMOE_STAGE_IMAGE,
        /// Patches to tokens.
        Embed = sys::VMOE_STAGE_EMBED,
        /// Attention with its layer norm and projections.
        Attention = sys::VMOE_STAGE_ATTENTION,
        /// Dense MLPs with their layer norm.
        Mlp = sys::VMOE_STAGE_MLP,
        /// Layer norm before the router, gates, plan, gather.
        Routing = sys::VMOE_STAGE_ROUTING,
        /// The experts.
        Experts = sys::VMOE_STAGE_EXPERTS,
        /// The head.
        Head = sys::VMOE_STAGE_HEAD,
    }
}

impl Report {
    /// Seconds of one stage; 0 for one that does not exist.
    pub fn seconds(&self, stage: Stage) -> f64 {
        self.seconds.get(u32::from(stage) as usize).copied().unwrap_or(0.0)
    }
}

/// One choice of a token, read from [`Report::routes`].
///
/// ```
/// use vmoe::Route;
///
/// assert_eq!(Route::from(3), Route::Processed(3));
/// assert_eq!(Route::from(-4), Route::Dropped(3));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// This expert processed the token.
    Processed(u16),
    /// This expert had no slot left for it.
    Dropped(u16),
}

impl From<i16> for Route {
    fn from(route: i16) -> Self {
        if route >= 0 {
            Route::Processed(route as u16)
        } else {
            Route::Dropped(!route as u16)
        }
    }
}

/// A report in C with the arrays that it points to.
pub(crate) struct RawReport {
    raw: sys::vmoe_report,
    layers: Vec<sys::vmoe_layer_report>,
    load: Vec<u64>,
    routes: Vec<i16>,
}

impl RawReport {
    /// `picks` is K where routes are wanted, else 0.
    pub(crate) fn new(info: &Info, images: usize, picks: usize) -> Result<Self> {
        let layers = info.moe_layers() as usize;
        let tokens = info.tokens() as usize * info.members().max(1) as usize;
        let choices = (layers * tokens * picks).saturating_mul(images);

        Ok(RawReport {
            raw: Default::default(),
            layers: zeros("layers", Default::default(), layers)?,
            load: zeros("load", 0, layers * info.experts() as usize)?,
            routes: zeros("routes", 0, choices)?,
        })
    }

    /// The pointer that the library fills, good until `self` moves.
    pub(crate) fn pointer(&mut self) -> *mut sys::vmoe_report {
        self.raw.layers = self.layers.as_mut_ptr();
        self.raw.layers_length = self.layers.len();
        self.raw.load = self.load.as_mut_ptr();
        self.raw.load_length = self.load.len();
        if !self.routes.is_empty() {
            self.raw.routes = self.routes.as_mut_ptr();
            self.raw.routes_length = self.routes.len();
        }
        &mut self.raw
    }
}

impl From<RawReport> for Report {
    fn from(report: RawReport) -> Self {
        let raw = &report.raw;

        Report {
            isa: raw.isa.into(),
            precision: raw.precision.into(),
            threads: raw.threads,
            experts_per_token: raw.experts_per_token,
            group_images: raw.group_images,
            groups: raw.groups,
            capacity: raw.capacity,
            assigned: raw.assigned,
            processed: raw.processed,
            dropped: raw.dropped,
            untouched: raw.untouched,
            macs: raw.macs,
            macs_saved: raw.macs_saved,
            weight_bytes: raw.weight_bytes,
            total_seconds: raw.total_seconds,
            layers: report.layers.iter().map(LayerReport::from).collect(),
            load: report.load,
            routes: report.routes,
            seconds: raw.seconds,
        }
    }
}

impl From<&sys::vmoe_layer_report> for LayerReport {
    fn from(raw: &sys::vmoe_layer_report) -> Self {
        LayerReport {
            layer: raw.layer,
            assigned: raw.assigned,
            processed: raw.processed,
            dropped: raw.dropped,
            untouched: raw.untouched,
        }
    }
}
