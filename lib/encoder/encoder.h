/*
 * The forward pass: flattened patches in, features and logits out, for one slice of images at a
 * time.  The residual stream, norms, gates, head and probabilities are float32; what enters the
 * matrices of a block, and attention, have the types of buffers.h.
 */
#ifndef VMOE_ENCODER_ENCODER_H
#define VMOE_ENCODER_ENCODER_H

#include <stdbool.h>

#include "encoder/buffers.h"
#include "model/weights.h"
#include "runtime/sizes.h"
#include "runtime/team.h"

/* What happened in the MoE layers so far; the arrays are the caller's and may be NULL. */
struct vmoe_tally {
    vmoe_layer_report *layers; /* (moe_layers) */
    uint64_t *load;            /* (moe_layers, E) */
    int16_t *routes;           /* (moe_layers, images of the call, T, members, K) */
    uint8_t *used;             /* (moe_layers, E) 1 for experts that were computed; not NULL */
    uint64_t assigned, processed, dropped, untouched;
    uint64_t computed; /* of the processed pairs, those that the result depends on */
};

/*
 * Shows intermediate values of calls in float32 to tests: `data` is (rows, columns) with a row
 * stride.  A NULL function shows nothing.
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
    struct vmoe_types types;
    struct vmoe_buffers buffers;
    const int32_t *cancel; /* or NULL */
    const int16_t *forced; /* routes to follow, as in vmoe_options, or NULL */
    uint64_t call_images;  /* of the whole call: the stride of routes */
    struct vmoe_tally tally;
    struct vmoe_trace trace;
    double seconds[VMOE_STAGE_COUNT];

    /*
     * The slice, and its residual stream: all tokens of its images, in the end one of each.  From
     * the first layer of experts on it has a sequence of tokens for each member and image, all
     * images of one member after those of another.
     */
    uint64_t first_image, images;
    struct vmoe_matrix x;
    size_t sequences; /* in x: images, or members * images */
    size_t tokens;    /* of a sequence in x */
};

/*
 * Runs the slice whose flattened patches stand in buffers.image_patches; features and logits are
 * left in their buffers.
 */
vmoe_status vmoe_encoder_run(struct vmoe_encoder *encoder, vmoe_error *error);

/* VMOE_ERR_CANCELLED once the host has asked for it. */
vmoe_status vmoe_encoder_check_cancel(const struct vmoe_encoder *encoder, vmoe_error *error);

/* ---- The stages, each in its own file ---- */

/* Patches to tokens: embedding, class token, position embeddings.  image_patches -> buffers.x. */
void vmoe_embed(struct vmoe_encoder *encoder);

/* x += Attention(LayerNorm(x)).  Of a last block without experts the class token alone goes on. */
void vmoe_attention(struct vmoe_encoder *encoder, uint32_t block);

/*
 * The experts of a block, which is MoE layer number `number`: x += sum of gate * expert(y).  Before
 * the first of these layers each member gets its copy of x.
 */
void vmoe_moe(struct vmoe_encoder *encoder, uint32_t block, uint32_t number);

/* Last norm, pooling, pre_logits, head. */
void vmoe_head(struct vmoe_encoder *encoder);

/* ---- What stages are made of ---- */

/* to = LayerNorm(from), a row each. */
static inline void vmoe_norm_row(const struct vmoe_encoder *encoder, const struct vmoe_norm *norm,
                                 const float *from, float *to)
{
    encoder->kernels->layer_norm(encoder->info->width, from, VMOE_LAYER_NORM_EPSILON, norm->scale,
                                 norm->bias, to);
}

/* rows[r] = LayerNorm(x[r]) for some tokens of the stream, r = first .. first + count - 1. */
void vmoe_norm(const struct vmoe_encoder *encoder, const struct vmoe_norm *norm, size_t first,
               size_t count, const struct vmoe_matrix *rows);

/* to[r] = from[r] in the type of `to`, for r = 0 .. count - 1, in rows of n values. */
void vmoe_narrow(const struct vmoe_encoder *encoder, const struct vmoe_matrix *from,
                 const struct vmoe_matrix *to, size_t count, size_t n);

/*
 * out[r] = activation(in[r] W + bias) for r = 0 .. rows - 1, in the type of `out`, float32 or
 * bfloat16; with `add` this is added to a float32 `out`.
 */
void vmoe_apply(const struct vmoe_encoder *encoder, const struct vmoe_linear *layer,
                const struct vmoe_matrix *in, size_t rows, uint32_t activation,
                const struct vmoe_matrix *out, bool add);

/*
 * Attention of one query in each sequence to its tokens, which are not projected yet; heads are
 * mixed, but not projected back.
 */
struct vmoe_query_call {
    size_t sequences;
    const struct vmoe_linear *layer; /* keys and values, from columns `key` and `value` on */
    size_t key, value;
    struct vmoe_matrix query; /* (queries, D), float32 */
    size_t queries;           /* one for each sequence, or 1: all have the same */
    const float *tokens;      /* (sequences * T, D) */
    struct vmoe_matrix out;   /* (sequences, D), float32 */
};
void vmoe_query_run(const struct vmoe_encoder *encoder, const struct vmoe_query_call *call);

/*
 * MLPs over rows of `in`: number i has rows offsets[i] .. offsets[i + 1] - 1.  Row r is added to
 * row r of `out`, or, with `indices`, in[indices[r]] is added to out[indices[r]], times factors[r].
 */
struct vmoe_mlp_call {
    const struct vmoe_mlp *mlps;
    const uint64_t *offsets; /* (count + 1) */
    size_t count;
    const struct vmoe_matrix *in;
    const struct vmoe_matrix *out; /* (.., D) float32 */
    const int32_t *indices;
    const float *factors;
};
void vmoe_mlp_run(const struct vmoe_encoder *encoder, const struct vmoe_mlp_call *call);

/* True if, after the attention of this block, only class tokens have a part in the result. */
bool vmoe_ends_in_class_tokens(const struct vmoe_encoder *encoder, uint32_t block);

/* Shows rows of a stage to the trace, if there is one and they are float32. */
void vmoe_trace_show(const struct vmoe_encoder *encoder, const char *stage, uint32_t block,
                     const struct vmoe_matrix *rows, size_t count, size_t columns);

/* The same for the residual stream. */
void vmoe_trace_show_stream(const struct vmoe_encoder *encoder, const char *stage, uint32_t block);

/* The vmoe_finish between the layers of an MLP. */
static inline uint32_t vmoe_mlp_activation(const struct vmoe_encoder *encoder)
{
    return encoder->info->gelu == VMOE_GELU_ERF ? VMOE_GELU_ERF_OF : VMOE_GELU_TANH_OF;
}

/* Memory that a task may use, buffers.scratch_bytes of it. */
static inline void *vmoe_scratch(const struct vmoe_encoder *encoder, uint32_t thread)
{
    return encoder->buffers.scratch + thread * encoder->buffers.scratch_bytes;
}

/* Tasks of VMOE_TASK_ROWS rows each, and the rows of one: the last may have fewer. */
static inline size_t vmoe_task_count(size_t rows)
{
    return vmoe_divide_up(rows, VMOE_TASK_ROWS);
}

static inline size_t vmoe_task_rows(size_t rows, size_t task)
{
    return vmoe_smaller(rows - task * VMOE_TASK_ROWS, VMOE_TASK_ROWS);
}

/* Rows of `n` floats without padding. */
static inline struct vmoe_matrix vmoe_float_matrix(const float *data, size_t n)
{
    return (struct vmoe_matrix){ .type = VMOE_PRECISION_F32,
                                 .data = (void *)(uintptr_t)data,
                                 .stride = n * sizeof(float) };
}

#endif
