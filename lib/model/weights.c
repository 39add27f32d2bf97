/* Where each tensor of the list belongs among the weights. */
#include "model/weights.h"

#include <string.h>

vmoe_status vmoe_weights_create(const vmoe_info *info, const vmoe_allocator *allocator,
                                struct vmoe_weights *weights, vmoe_error *error)
{
    uint64_t mlps = info->layers - info->moe_layers + (uint64_t)info->moe_layers * info->experts;
    struct vmoe_arena arena = { 0 };
    struct vmoe_mlp *mlp;

    memset(weights, 0, sizeof *weights);
    vmoe_arena_take(&arena, info->layers, sizeof *weights->blocks);
    vmoe_arena_take(&arena, mlps, sizeof *mlp);
    weights->storage = vmoe_memory_take_zeroed(allocator, arena.used);
    if (weights->storage == NULL)
        return vmoe_fail(error, VMOE_ERR_MEMORY, "model", "no memory for %u blocks", info->layers);
    arena = (struct vmoe_arena){ .base = weights->storage, .size = arena.used };
    weights->blocks = vmoe_arena_take(&arena, info->layers, sizeof *weights->blocks);
    mlp = vmoe_arena_take(&arena, mlps, sizeof *mlp);
    for (uint32_t i = 0; i < info->layers; i++) {
        weights->blocks[i].mlps = mlp;
        mlp += info->moe[i] ? info->experts : 1;
    }
    return VMOE_OK;
}

void vmoe_weights_destroy(struct vmoe_weights *weights, const vmoe_allocator *allocator)
{
    vmoe_memory_release(allocator, weights->storage);
    memset(weights, 0, sizeof *weights);
}

/* The slot of a whole array, or NULL if the role is a matrix. */
static const float **array_slot(struct vmoe_weights *w, const struct vmoe_tensor *tensor)
{
    struct vmoe_block *block = &w->blocks[tensor->block];

    switch (tensor->role) {
    case VMOE_ROLE_CLS:
        return &w->cls;
    case VMOE_ROLE_POSITION:
        return &w->position;
    case VMOE_ROLE_NORM_0_SCALE:
        return &block->norm_0.scale;
    case VMOE_ROLE_NORM_0_BIAS:
        return &block->norm_0.bias;
    case VMOE_ROLE_NORM_1_SCALE:
        return &block->norm_1.scale;
    case VMOE_ROLE_NORM_1_BIAS:
        return &block->norm_1.bias;
    case VMOE_ROLE_ROUTER:
        return &block->router;
    case VMOE_ROLE_NORM_SCALE:
        return &w->norm.scale;
    case VMOE_ROLE_NORM_BIAS:
        return &w->norm.bias;
    case VMOE_ROLE_MAP_PROBE:
        return &w->map.probe;
    case VMOE_ROLE_MAP_NORM_SCALE:
        return &w->map.norm.scale;
    case VMOE_ROLE_MAP_NORM_BIAS:
        return &w->map.norm.bias;
    default:
        return NULL;
    }
}

static struct vmoe_linear *linear_slot(struct vmoe_weights *w, const struct vmoe_tensor *tensor)
{
    struct vmoe_block *block = &w->blocks[tensor->block];
    uint32_t expert = tensor->expert < 0 ? 0 : (uint32_t)tensor->expert;

    switch (tensor->role) {
    case VMOE_ROLE_EMBEDDING:
        return &w->embedding;
    case VMOE_ROLE_QKV:
        return &block->qkv;
    case VMOE_ROLE_ATTENTION_OUT:
        return &block->out;
    case VMOE_ROLE_FC1:
        return &block->mlps[expert].fc1;
    case VMOE_ROLE_FC2:
        return &block->mlps[expert].fc2;
    case VMOE_ROLE_MAP_QUERY:
        return &w->map.query;
    case VMOE_ROLE_MAP_KEY_VALUE:
        return &w->map.key_value;
    case VMOE_ROLE_MAP_OUT:
        return &w->map.out;
    case VMOE_ROLE_MAP_FC1:
        return &w->map.mlp.fc1;
    case VMOE_ROLE_MAP_FC2:
        return &w->map.mlp.fc2;
    case VMOE_ROLE_PRE_LOGITS:
        return &w->pre_logits;
    default:
        return &w->head;
    }
}

void vmoe_weights_bind(struct vmoe_weights *weights, const struct vmoe_tensor *tensor,
                       const void *data)
{
    struct vmoe_linear *linear;

    if (tensor->part == VMOE_PART_WHOLE) {
        *array_slot(weights, tensor) = data;
        return;
    }
    linear = linear_slot(weights, tensor);
    switch (tensor->part) {
    case VMOE_PART_MATRIX:
        linear->panels = data;
        linear->k = tensor->rows;
        linear->n = tensor->columns;
        linear->precision = tensor->precision;
        break;
    case VMOE_PART_SCALE:
        linear->scale = data;
        break;
    case VMOE_PART_SUM:
        linear->sum = data;
        break;
    default:
        linear->bias = data;
        break;
    }
}
