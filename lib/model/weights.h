/*
 * The weights as the encoder sees them: pointers into one block of memory, named by use.
 */
#ifndef VMOE_MODEL_WEIGHTS_H
#define VMOE_MODEL_WEIGHTS_H

#include "kernels/linear.h"
#include "model/tensors.h"

struct vmoe_norm {
    const float *scale, *bias; /* (width) */
};

struct vmoe_mlp {
    struct vmoe_linear fc1, fc2;
};

struct vmoe_block {
    struct vmoe_norm norm_0;
    struct vmoe_linear qkv;
    struct vmoe_linear out;
    struct vmoe_norm norm_1;
    const float *router;   /* (width, experts), or NULL in a dense block */
    struct vmoe_mlp *mlps; /* one, or one for each expert */
};

struct vmoe_map_head {
    const float *probe; /* (width) */
    struct vmoe_linear query;
    struct vmoe_linear key_value;
    struct vmoe_linear out;
    struct vmoe_norm norm;
    struct vmoe_mlp mlp;
};

struct vmoe_weights {
    struct vmoe_linear embedding;
    const float *cls;      /* (width), classifier TOKEN only */
    const float *position; /* (tokens, width) */
    struct vmoe_block *blocks;
    struct vmoe_norm norm;
    struct vmoe_map_head map; /* classifier MAP only */
    struct vmoe_linear pre_logits;
    struct vmoe_linear head;
    void *storage; /* of the blocks and mlps */
};

/* Makes the blocks; every pointer to a tensor is still NULL. */
vmoe_status vmoe_weights_create(const vmoe_info *info, const vmoe_allocator *allocator,
                                struct vmoe_weights *weights, vmoe_error *error);
void vmoe_weights_destroy(struct vmoe_weights *weights, const vmoe_allocator *allocator);

/* Points the slot of `tensor` at `data`, which must stay. */
void vmoe_weights_bind(struct vmoe_weights *weights, const struct vmoe_tensor *tensor,
                       const void *data);

#endif
