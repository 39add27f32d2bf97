/*
 * The memory of a forward pass.  One function lays it out, so that the cost of a call is known
 * before it is made and the call itself allocates nothing.
 */
#ifndef VMOE_ENCODER_BUFFERS_H
#define VMOE_ENCODER_BUFFERS_H

#include "model/config.h"
#include "runtime/memory.h"

/*
 * Rows that go through an MLP at once: enough to amortise its weights, few enough to stay in cache.
 */
#define VMOE_MLP_ROWS 256u

/*
 * N images of a slice, T tokens, D width.  `wide` is used one after the other for the flattened
 * patches (N, patches, patch values), for q, k and v (N, T, 3 D) and for the map head's k and v.
 */
struct vmoe_buffers {
    float *x;          /* (N, T, D) the residual stream */
    float *y;          /* (N, T, D) what enters a layer */
    float *wide;
    float *hidden;     /* (VMOE_MLP_ROWS, hidden_stride) between the layers of an MLP */
    float *gathered;   /* (VMOE_MLP_ROWS, D) */
    float *pooled;     /* (N, D) */
    float *pooled_2;   /* (N, D) of the map head */
    float *features;   /* (N, features) */
    float *logits;     /* (N, classes) */
    float *probabilities; /* (N, classes) */
    int32_t *patch_rows; /* (N, patches) the token of each patch */
    /* Routing, for models with experts. */
    float *gates;      /* (N, T, E) */
    int16_t *choice;   /* (N, T, K) */
    int32_t *slot;     /* (N, T, K) */
    int32_t *rows;     /* (N * T * K) tokens in the order of their experts */
    float *factors;    /* (N * T * K) their gates */
    uint64_t *offsets; /* (E + 1) where each expert's tokens begin */
    size_t hidden_stride; /* F and some padding */
    uint8_t *scratch;  /* (threads, scratch_bytes) */
    uint64_t scratch_bytes;
};

/* Images that are worked through together: whole groups, and about as many tokens as pay off. */
uint64_t vmoe_slice_images(const vmoe_info *info, const struct vmoe_dial *dial, uint64_t images);

/* Takes the buffers of a slice from the arena, which may only be counting. */
void vmoe_buffers_layout(const vmoe_info *info, const struct vmoe_dial *dial, uint64_t images,
                         uint32_t threads, struct vmoe_arena *arena, struct vmoe_buffers *buffers);

#endif
