/*
 * The forward pass: flattened patches in, features and logits out, for one slice of images at a
 * time.  All arithmetic is float32; weights may be narrower.
 */
#ifndef VMOE_ENCODER_ENCODER_H
#define VMOE_ENCODER_ENCODER_H

#include "encoder/buffers.h"
#include "model/weights.h"
#include "runtime/team.h"

/* What happened in the MoE layers so far; the arrays are the caller's and may be NULL. */
struct vmoe_tally {
    vmoe_layer_report *layers; /* (moe_layers) */
    uint64_t *load;            /* (moe_layers, E) */
    int16_t *routes;           /* (moe_layers, images of the call, T, K) */
    uint8_t *used;             /* (moe_layers, E) 1 for experts that processed a token; not NULL */
    uint64_t assigned, processed, dropped, untouched;
};

/*
 * Shows intermediate values to tests: `data` is (rows, columns) with a row stride.  A NULL function
 * shows nothing.
 */
struct vmoe_trace {
    void (*show)(void *context, const char *stage, uint32_t block, const float *data, size_t rows,
                 size_t columns, size_t stride);
    void *context;
};

/* A call: what stays the same over its slices, and what accumulates. */
struct vmoe_encoder {
    const vmoe_info *info;
    const struct vmoe_weights *weights;
    const struct vmoe_kernels *kernels;
    struct vmoe_team *team;
    struct vmoe_dial dial;
    struct vmoe_buffers buffers;
    const int32_t *cancel; /* or NULL */
    const int16_t *forced; /* routes to follow, as in vmoe_options, or NULL */
    uint64_t call_images;  /* of the whole call: the stride of routes */
    struct vmoe_tally tally;
    struct vmoe_trace trace;
    double seconds[VMOE_STAGE_COUNT];

    /* The slice. */
    uint64_t first_image, images;
};

/*
 * Runs the slice whose flattened patches stand in buffers.wide; features and logits are left in
 * their buffers.
 */
vmoe_status vmoe_encoder_run(struct vmoe_encoder *encoder, vmoe_error *error);

/* ---- The stages, each in its own file ---- */

/* Patches to tokens: embedding, class token, position embeddings.  wide -> x. */
void vmoe_embed(struct vmoe_encoder *encoder);

/* y = LayerNorm(x) for every token of the slice. */
void vmoe_norm_tokens(struct vmoe_encoder *encoder, const struct vmoe_norm *norm);

/*
 * out[r] += factor[r] * MLP(in[r]) for `rows` rows.  If `indices` is not NULL, in[r] and out[r] are
 * rows indices[r] of y and x; otherwise rows r of `in` and `out`.  `factors` may be NULL (1).
 */
struct vmoe_mlp_call {
    const struct vmoe_mlp *mlp;
    size_t rows;
    const float *in;
    float *out;
    const int32_t *indices;
    const float *factors;
};
void vmoe_mlp_run(struct vmoe_encoder *encoder, const struct vmoe_mlp_call *call);

/* The experts of block `block`, its MoE layer number `layer`: x += sum of gate * expert(y). */
void vmoe_moe(struct vmoe_encoder *encoder, uint32_t block, uint32_t layer);

/* Last norm, pooling, pre_logits, head. */
void vmoe_head(struct vmoe_encoder *encoder);

/* Shows a stage of all tokens to the trace, if there is one. */
void vmoe_trace_show(const struct vmoe_encoder *encoder, const char *stage, uint32_t block,
                     const float *data, size_t rows, size_t columns, size_t stride);

#endif
