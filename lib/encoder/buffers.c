/* Sizes of all buffers, in one place. */
#include "encoder/buffers.h"

#include "encoder/attention.h"
#include "routing/routing.h"

/* Tokens beyond which a larger slice no longer makes better use of the weights it reads. */
#define SLICE_TOKENS 2048u

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/*
 * A stride for rows of n floats.  Rows a multiple of 4 KiB apart share the sets of the first-level
 * cache, and a matrix kernel reads a dozen of them side by side.
 */
static size_t padded_stride(size_t n)
{
    return n * sizeof(float) % 4096 == 0 ? n + VMOE_ALIGNMENT / sizeof(float) : n;
}

uint64_t vmoe_slice_images(const vmoe_info *info, const struct vmoe_dial *dial, uint64_t images)
{
    uint64_t group = dial->group_images;
    uint64_t groups = SLICE_TOKENS / (group * info->tokens);
    uint64_t slice = (groups == 0 ? 1 : groups) * group;

    return slice < images ? slice : images;
}

void vmoe_buffers_layout(const vmoe_info *info, const struct vmoe_dial *dial, uint64_t images,
                         uint32_t threads, struct vmoe_arena *arena, struct vmoe_buffers *buffers)
{
    uint64_t tokens = images * info->tokens, d = info->width;
    uint64_t patches = images * vmoe_config_patches(info);
    uint64_t wide = larger(tokens * 3 * d, patches * vmoe_config_patch_values(info));
    uint64_t mlp_rows = tokens < VMOE_MLP_ROWS ? tokens : VMOE_MLP_ROWS;
    uint64_t scratch = vmoe_attention_scratch_bytes(info->tokens, d / info->heads);
    uint64_t pairs = tokens * dial->picks;

    buffers->x = vmoe_arena_take(arena, tokens * d, sizeof(float));
    buffers->y = vmoe_arena_take(arena, tokens * d, sizeof(float));
    buffers->wide = vmoe_arena_take(arena, wide, sizeof(float));
    buffers->hidden_stride = padded_stride(info->mlp);
    buffers->hidden =
        vmoe_arena_take(arena, larger(mlp_rows * buffers->hidden_stride, d), sizeof(float));
    buffers->gathered = vmoe_arena_take(arena, mlp_rows * d, sizeof(float));
    buffers->pooled = vmoe_arena_take(arena, images * d, sizeof(float));
    buffers->pooled_2 = vmoe_arena_take(arena, images * d, sizeof(float));
    buffers->features = vmoe_arena_take(arena, images * info->features, sizeof(float));
    buffers->logits = vmoe_arena_take(arena, images * info->classes, sizeof(float));
    buffers->probabilities = vmoe_arena_take(arena, images * info->classes, sizeof(float));
    buffers->patch_rows = vmoe_arena_take(arena, patches, sizeof(int32_t));
    if (info->experts != 0) {
        buffers->gates = vmoe_arena_take(arena, tokens * info->experts, sizeof(float));
        buffers->choice = vmoe_arena_take(arena, pairs, sizeof(int16_t));
        buffers->slot = vmoe_arena_take(arena, pairs, sizeof(int32_t));
        buffers->rows = vmoe_arena_take(arena, pairs, sizeof(int32_t));
        buffers->factors = vmoe_arena_take(arena, pairs, sizeof(float));
        buffers->offsets = vmoe_arena_take(arena, info->experts + 1u, sizeof(uint64_t));
        scratch = larger(scratch, vmoe_route_scratch_bytes(dial->group_tokens, info->experts));
    }
    buffers->scratch_bytes = (scratch + VMOE_ALIGNMENT - 1) / VMOE_ALIGNMENT * VMOE_ALIGNMENT;
    buffers->scratch = vmoe_arena_take(arena, threads, buffers->scratch_bytes);
}
