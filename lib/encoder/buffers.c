/* Types and sizes of all buffers, in one place. */
#include "encoder/buffers.h"

#include "model/tensors.h"
#include "routing/routing.h"
#include "runtime/sizes.h"

/* Tokens beyond which a larger slice no longer makes better use of the weights it reads. */
#define SLICE_TOKENS 4096u

/* Tokens whose attention is worked through together. */
#define CHUNK_TOKENS 768u

struct vmoe_types vmoe_types_resolve(const struct vmoe_kernels *kernels, const vmoe_info *info,
                                     uint32_t precision)
{
    const uint32_t most = info->mlp > VMOE_INT8_INPUTS ? VMOE_PRECISION_BF16 : VMOE_PRECISION_INT8;
    const uint32_t least = precision == VMOE_PRECISION_AUTO || precision > most ? most : precision;
    const uint32_t narrow = kernels->attend[VMOE_PRECISION_BF16] != NULL ? VMOE_PRECISION_BF16
                                                                         : VMOE_PRECISION_F32;
    struct vmoe_types types;

    types.patches = vmoe_matrix_type(kernels, least, vmoe_tensor_end_precision(info));
    types.block = vmoe_matrix_type(kernels, least, info->precision);
    /* Narrow kernels read a panel of each query, which the keys behind it have to fill. */
    types.attention = types.block == VMOE_PRECISION_F32 || info->width < VMOE_PANEL
                          ? VMOE_PRECISION_F32
                          : narrow;
    types.hidden = types.block == VMOE_PRECISION_INT8 ? narrow : types.block;
    return types;
}

/* As few slices as the tokens allow, of nearly equal size. */
uint64_t vmoe_slice_images(const struct vmoe_dial *dial, uint64_t images)
{
    const uint64_t group = dial->group_images;
    const uint64_t most = vmoe_larger(SLICE_TOKENS / dial->group_tokens, 1);
    const uint64_t groups = vmoe_divide_up(images, group);
    const uint64_t slices = vmoe_divide_up(groups, most);

    return slices == 0 ? 0 : vmoe_smaller(images, vmoe_divide_up(groups, slices) * group);
}

uint64_t vmoe_chunk_sequences(const vmoe_info *info, uint64_t sequences)
{
    return vmoe_smaller(sequences, vmoe_larger(CHUNK_TOKENS / info->tokens, 1));
}

static struct vmoe_matrix take_rows(struct vmoe_arena *arena, uint32_t type, uint64_t count,
                                    size_t n)
{
    struct vmoe_matrix rows = { .type = type, .stride = vmoe_matrix_stride(type, n) };

    /* Kernels may load whole tiles from any row on. */
    rows.data = vmoe_arena_take(arena, count + VMOE_ROW_COUNT, rows.stride);
    if (type == VMOE_PRECISION_INT8)
        rows.quants = vmoe_arena_take(arena, count + VMOE_ROW_COUNT, sizeof *rows.quants);
    return rows;
}

/* That of a last dense block, or of the map head. */
static bool ends_in_one_query(const vmoe_info *info)
{
    return info->classifier == VMOE_CLASSIFIER_MAP ||
           (vmoe_config_reads_class_tokens(info) && !info->moe[info->layers - 1]);
}

/*
 * What a thread needs for that: the weights of all heads, a query with padding, or some values.
 * Products of float32 rows need nothing beside.
 */
static uint64_t query_scratch_bytes(const vmoe_info *info)
{
    const uint64_t weights = (uint64_t)info->heads * info->tokens;
    const uint64_t query = info->width / info->heads + 2 * VMOE_PANEL;
    const uint64_t values = VMOE_TASK_ROWS * VMOE_PANEL;

    return vmoe_larger(weights, vmoe_larger(query, values)) * sizeof(float);
}

/* Bytes that any task of a thread may need. */
static uint64_t scratch_bytes(const vmoe_info *info, const struct vmoe_dial *dial,
                              const struct vmoe_types *types)
{
    const uint64_t d = info->width;
    const uint64_t attend = vmoe_attend_bytes(types->attention, info->tokens, d / info->heads);
    const uint64_t product =
        vmoe_product_scratch_bytes(types->block, info->precision, vmoe_larger(d, info->mlp));
    uint64_t bytes = vmoe_larger(VMOE_TASK_ROWS * d * sizeof(float), vmoe_larger(attend, product));

    if (ends_in_one_query(info))
        bytes = vmoe_larger(bytes, query_scratch_bytes(info));
    if (info->experts != 0)
        bytes = vmoe_larger(bytes, vmoe_route_scratch_bytes(dial->group_tokens / info->members,
                                                            vmoe_config_own_experts(info)));
    return vmoe_divide_up(bytes, VMOE_ALIGNMENT) * VMOE_ALIGNMENT;
}

/* Patches, then q, k and v, then what one query or the head needs of all tokens: one memory. */
static void take_shared(const vmoe_info *info, const struct vmoe_types *types, uint64_t images,
                        struct vmoe_arena *arena, struct vmoe_buffers *buffers)
{
    const uint64_t sequences = images * info->members, tokens = sequences * info->tokens;
    const uint64_t patches = images * vmoe_config_patches(info);
    const size_t values = vmoe_config_patch_values(info);
    struct vmoe_arena begin = *arena, end = *arena;

    buffers->image_patches = vmoe_arena_take(&begin, patches * values, sizeof(float));
    buffers->patches = (struct vmoe_matrix){ .type = VMOE_PRECISION_F32,
                                             .data = buffers->image_patches,
                                             .stride = values * sizeof(float) };
    if (types->patches != VMOE_PRECISION_F32)
        buffers->patches = take_rows(&begin, types->patches, patches, values);
    buffers->qkv = take_rows(arena, types->attention,
                             vmoe_chunk_sequences(info, sequences) * info->tokens,
                             3 * (size_t)info->width);
    buffers->normed = vmoe_arena_take(&end, tokens * info->width, sizeof(float));
    if (ends_in_one_query(info)) {
        const uint64_t heads = info->heads;
        const uint64_t queries = info->classifier == VMOE_CLASSIFIER_MAP ? 1 : sequences;

        buffers->query = vmoe_arena_take(&end, queries * info->width, sizeof(float));
        buffers->directions = vmoe_arena_take(&end, queries * info->width * heads, sizeof(float));
        buffers->scores = vmoe_arena_take(&end, tokens * heads, sizeof(float));
        buffers->mixtures = vmoe_arena_take(&end, sequences * heads * info->width, sizeof(float));
    }
    arena->used = vmoe_larger(arena->used, vmoe_larger(begin.used, end.used));
    arena->overflow = arena->overflow || begin.overflow || end.overflow;
}

static void take_routing(const vmoe_info *info, const struct vmoe_dial *dial, uint64_t tokens,
                         struct vmoe_arena *arena, struct vmoe_buffers *buffers)
{
    const uint64_t pairs = tokens * dial->picks;

    buffers->gates =
        vmoe_arena_take(arena, tokens * vmoe_config_own_experts(info), sizeof(float));
    buffers->choice = vmoe_arena_take(arena, pairs, sizeof(int16_t));
    buffers->slot = vmoe_arena_take(arena, pairs, sizeof(int32_t));
    buffers->rows = vmoe_arena_take(arena, pairs, sizeof(int32_t));
    buffers->factors = vmoe_arena_take(arena, pairs, sizeof(float));
    buffers->offsets = vmoe_arena_take(arena, info->experts + 1u, sizeof(uint64_t));
}

void vmoe_buffers_layout(const vmoe_info *info, const struct vmoe_dial *dial,
                         const struct vmoe_types *types, uint64_t images, uint32_t threads,
                         struct vmoe_arena *arena, struct vmoe_buffers *buffers)
{
    const uint64_t sequences = images * info->members, tokens = sequences * info->tokens;
    const uint64_t d = info->width, chunk = vmoe_chunk_sequences(info, sequences);
    const uint64_t picks = info->experts != 0 ? dial->picks : 1;
    const uint64_t mlp_rows = vmoe_smaller(tokens * picks, VMOE_MLP_ROWS);

    take_shared(info, types, images, arena, buffers);
    buffers->x = take_rows(arena, VMOE_PRECISION_F32, tokens, d);
    buffers->y = take_rows(arena, types->block, tokens, d);
    buffers->mixed = (struct vmoe_matrix){ 0 };
    if (types->attention != types->block)
        buffers->mixed = take_rows(arena, types->attention, chunk * info->tokens, d);
    buffers->hidden = take_rows(arena, types->block, mlp_rows, info->mlp);
    buffers->hidden_wide = types->hidden == types->block
                               ? buffers->hidden
                               : take_rows(arena, types->hidden, mlp_rows, info->mlp);
    if (info->experts != 0)
        buffers->gathered = take_rows(arena, types->block, mlp_rows, d);
    buffers->pooled = vmoe_arena_take(arena, sequences * d, sizeof(float));
    if (info->classifier == VMOE_CLASSIFIER_MAP) {
        buffers->pooled_2 = vmoe_arena_take(arena, sequences * d, sizeof(float));
        buffers->map_hidden = take_rows(arena, VMOE_PRECISION_F32, sequences, info->mlp);
    }
    buffers->features = vmoe_arena_take(arena, images * info->features, sizeof(float));
    buffers->logits = vmoe_arena_take(arena, sequences * info->classes, sizeof(float));
    buffers->probabilities = vmoe_arena_take(arena, sequences * info->classes, sizeof(float));
    buffers->patch_rows =
        vmoe_arena_take(arena, images * vmoe_config_patches(info), sizeof(int32_t));
    buffers->parts = vmoe_arena_take(arena, vmoe_larger(info->experts, 1), sizeof *buffers->parts);
    if (info->experts != 0)
        take_routing(info, dial, tokens, arena, buffers);
    buffers->scratch_bytes = scratch_bytes(info, dial, types);
    buffers->scratch = vmoe_arena_take(arena, threads, buffers->scratch_bytes);
}
