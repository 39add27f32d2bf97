/*
 * The memory of a forward pass.  One function lays it out, so that the cost of a call is known
 * before it is made and the call itself allocates nothing.
 */
#ifndef VMOE_ENCODER_BUFFERS_H
#define VMOE_ENCODER_BUFFERS_H

#include "kernels/linear.h"
#include "model/config.h"
#include "runtime/memory.h"

/*
 * Rows that go through an MLP at once: enough to amortise its weights, few enough to stay in cache.
 */
#define VMOE_MLP_ROWS 512u

/* Rows that are normed, made narrow, copied or given to the router by one task. */
#define VMOE_TASK_ROWS 16u

/*
 * Sequences whose attention is worked through together: their queries, keys and values should stay
 * in the second-level caches, and still make good use of the weights.
 */
uint64_t vmoe_chunk_sequences(const vmoe_info *info, uint64_t sequences);

/* The arithmetic of a call: the types of activations, as values of vmoe_precision. */
struct vmoe_types {
    uint32_t patches;   /* what the embedding multiplies */
    uint32_t block;     /* what enters the matrices of a block */
    uint32_t hidden;    /* what leaves the first layer of an MLP: block, or wider */
    uint32_t attention; /* q, k, v and their mixture */
};

/* The types with a table, for a model and the least exact arithmetic that a call permits. */
struct vmoe_types vmoe_types_resolve(const struct vmoe_kernels *kernels, const vmoe_info *info,
                                     uint32_t precision);

/*
 * N sequences of a slice, one for each member and image; T tokens, D width.  The first eight share
 * memory, because flattened patches, q, k and v, and what one query or the head needs of all tokens
 * are used one after the other.
 */
struct vmoe_buffers {
    float *image_patches; /* (images, patches, patch values) as they come from the pictures */
    struct vmoe_matrix patches;
    struct vmoe_matrix qkv;         /* (chunk, T, 3 D) */
    float *normed;                  /* (N, T, D) tokens that meet one query or a mean */
    float *query;                   /* (N, D) of a sequence, or (D) the same for all */
    float *directions;              /* (N, D, heads) or (D, heads), whose products are scores */
    float *scores;                  /* (N, T, heads) */
    float *mixtures;                /* (N, heads, D) tokens, mixed by their scores */
    struct vmoe_matrix x;           /* (N, T, D) the residual stream, float32 */
    struct vmoe_matrix y;           /* (N, T, D) what enters a layer */
    struct vmoe_matrix mixed;       /* (chunk, T, D) what leaves attention, unless y has its type */
    struct vmoe_matrix hidden;      /* (VMOE_MLP_ROWS, F) between the layers of an MLP */
    struct vmoe_matrix hidden_wide; /* before it is made narrow; hidden if the types are equal */
    struct vmoe_matrix gathered;    /* (VMOE_MLP_ROWS, D) */
    float *pooled;                  /* (N, D) */
    float *pooled_2;                /* (N, D) of the map head */
    struct vmoe_matrix map_hidden;  /* (N, F) of the map head */
    float *features;                /* (N, what enters the head) */
    float *logits;                  /* (N, classes) */
    float *probabilities;           /* (N, classes) */
    int32_t *patch_rows;            /* (images, patches) the token of each patch */
    struct vmoe_linear_part *parts; /* (experts, or 1) of a call */
    uint8_t *scratch;               /* (threads, scratch_bytes) */
    uint64_t scratch_bytes;
    /* Routing, for models with experts. */
    float *gates;      /* (N, T, experts of a member) */
    int16_t *choice;   /* (N, T, K) */
    int32_t *slot;     /* (N, T, K) */
    int32_t *rows;     /* (N * T * K) tokens in the order of their experts */
    float *factors;    /* (N * T * K) their gates */
    uint64_t *offsets; /* (E + 1) where each expert's tokens begin */
};

/* Images that are worked through together: whole groups, and about as many tokens as pay off. */
uint64_t vmoe_slice_images(const struct vmoe_dial *dial, uint64_t images);

/* Takes the buffers of a slice from the arena, which may only be counting. */
void vmoe_buffers_layout(const vmoe_info *info, const struct vmoe_dial *dial,
                         const struct vmoe_types *types, uint64_t images, uint32_t threads,
                         struct vmoe_arena *arena, struct vmoe_buffers *buffers);

#endif
