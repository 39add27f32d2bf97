/*
 * Names of parameters.  A tensor's role gives the path of its array; its shape is demanded in full,
 * heads and experts included, so that a checkpoint of another architecture cannot slip through.
 */
#include "checkpoint/names.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "model/config.h"

#define PATH_BYTES 320u

static const struct vmoe_array *find_path(const struct vmoe_source *source, const char *path)
{
    size_t low = 0, high = source->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(source->arrays[middle].name, path);

        if (order == 0)
            return &source->arrays[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* The root, and what the format makes of the arguments. */
static void put_path(char path[PATH_BYTES], const struct vmoe_dialect *dialect, const char *format,
                     va_list arguments)
{
    const size_t root = (size_t)snprintf(path, PATH_BYTES, "%s", dialect->root);

    vsnprintf(path + root, PATH_BYTES - root, format, arguments);
}

const struct vmoe_array *vmoe_dialect_find(const struct vmoe_source *source,
                                           const struct vmoe_dialect *dialect, const char *format,
                                           ...)
{
    char path[PATH_BYTES];
    va_list arguments;

    va_start(arguments, format);
    put_path(path, dialect, format, arguments);
    va_end(arguments);
    return find_path(source, path);
}

const struct vmoe_array *vmoe_dialect_position(const struct vmoe_source *source,
                                               const struct vmoe_dialect *dialect)
{
    return vmoe_dialect_find(source, dialect, "%s/posembed_input/pos_embedding",
                             dialect->encoder);
}

/* The first of the candidates under which block 0 has `leaf`; the first of all if none has. */
static const char *choose(const struct vmoe_source *source, const struct vmoe_dialect *dialect,
                          const char *const *candidates, const char *leaf)
{
    for (size_t i = 0; candidates[i] != NULL; i++)
        if (vmoe_dialect_find(source, dialect, "%s/encoderblock_0/%s/%s", dialect->encoder,
                              candidates[i], leaf) != NULL)
            return candidates[i];
    return candidates[0];
}

vmoe_status vmoe_dialect_detect(const struct vmoe_source *source, const char *where,
                                struct vmoe_dialect *dialect, vmoe_error *error)
{
    static const char *const roots[] = { "", "params/", "target/", NULL };
    static const char *const encoders[] = { "Encoder", "Transformer", NULL };
    static const char *const attentions[] = { "SelfAttention", "MultiHeadDotProductAttention_0",
                                              "MultiHeadDotProductAttention_1", NULL };
    static const char *const norms[] = { "LayerNorm_1", "LayerNorm_2", NULL };
    static const char *const mlps[] = { "Mlp", "MlpBlock_0", "MlpBlock_3", NULL };

    for (size_t r = 0; roots[r] != NULL; r++) {
        dialect->root = roots[r];
        if (vmoe_dialect_find(source, dialect, "embedding/kernel") == NULL)
            continue;
        for (size_t e = 0; encoders[e] != NULL; e++) {
            dialect->encoder = encoders[e];
            if (vmoe_dialect_find(source, dialect, "%s/encoder_norm/scale", encoders[e]) == NULL)
                continue;
            dialect->attention = choose(source, dialect, attentions, "query/kernel");
            dialect->norm_1 = choose(source, dialect, norms, "scale");
            dialect->mlp = choose(source, dialect, mlps, "Dense_0/kernel");
            return VMOE_OK;
        }
    }
    return vmoe_fail(error, VMOE_ERR_FORMAT, where,
                     "no parameters of a ViT or V-MoE among its %zu arrays, the first of which is "
                     "\"%.80s\": there is neither embedding/kernel with "
                     "Encoder/encoder_norm/scale or Transformer/encoder_norm/scale, nor the same "
                     "under params or target",
                     source->count, source->count > 0 ? source->arrays[0].name : "");
}

/* ---- Tensors -------------------------------------------------------------------------------- */

/* Axes of upstream's arrays, at most. */
#define AXES 4u

/* The search for the pieces of a tensor, and what is the same for all of them. */
struct search {
    const struct vmoe_source *source;
    const struct vmoe_dialect *dialect;
    const vmoe_info *info;
    const struct vmoe_tensor *tensor;
    bool bias;
    const char *leaf; /* "bias", or else "kernel" */
    uint64_t first;   /* element: experts stand one behind the other in one array */
    uint32_t columns; /* of a piece */
    struct vmoe_piece *pieces;
    uint32_t *count;
    vmoe_error *error;
};

/* Room for VMOE_LIMIT_RANK numbers of 20 digits, and what is between them. */
#define SHAPE_BYTES (VMOE_LIMIT_RANK * 22u)

static void format_shape(char text[SHAPE_BYTES], uint32_t rank, const uint64_t *dims)
{
    size_t used = 0;

    text[0] = '\0';
    for (uint32_t i = 0; i < rank; i++)
        used += (size_t)snprintf(text + used, SHAPE_BYTES - used, i == 0 ? "%llu" : ", %llu",
                                 (unsigned long long)dims[i]);
}

static vmoe_status add_piece(const struct search *search, const uint64_t dims[AXES],
                             const char *format, ...) VMOE_PRINTF(3, 4);

/* Adds the array root/format, whose shape has to be `dims`, up to the first 0. */
static vmoe_status add_piece(const struct search *search, const uint64_t dims[AXES],
                             const char *format, ...)
{
    const struct vmoe_array *array;
    char path[PATH_BYTES];
    uint32_t rank = 0;
    va_list arguments;

    va_start(arguments, format);
    put_path(path, search->dialect, format, arguments);
    va_end(arguments);
    array = find_path(search->source, path);
    if (array == NULL)
        return vmoe_fail(search->error, VMOE_ERR_FORMAT, path, "the checkpoint lacks this array");
    while (rank < AXES && dims[rank] != 0)
        rank++;
    if (array->rank != rank || memcmp(array->dims, dims, rank * sizeof *dims) != 0) {
        char found[SHAPE_BYTES], expected[SHAPE_BYTES];

        format_shape(found, array->rank, array->dims);
        format_shape(expected, rank, dims);
        return vmoe_fail(search->error, VMOE_ERR_FORMAT, path,
                         "the shape is (%s), but (%s) was expected", found, expected);
    }
    search->pieces[(*search->count)++] = (struct vmoe_piece){
        (size_t)(array - search->source->arrays), search->first, search->columns
    };
    return VMOE_OK;
}

/* Query, key or value of an attention module, which upstream keeps apart and by heads. */
static vmoe_status add_heads(const struct search *search, const char *module, const char *which)
{
    uint64_t d = search->info->width, h = search->info->heads;
    const uint64_t kernel[AXES] = { d, h, d / h };
    const uint64_t bias[AXES] = { h, d / h };

    return add_piece(search, search->bias ? bias : kernel, "%s/%s/%s", module, which,
                     search->leaf);
}

static vmoe_status add_attention_out(const struct search *search, const char *module)
{
    uint64_t d = search->info->width, h = search->info->heads;
    const uint64_t kernel[AXES] = { h, d / h, d };
    const uint64_t bias[AXES] = { d };

    return add_piece(search, search->bias ? bias : kernel, "%s/out/%s", module, search->leaf);
}

/* Dense_0 or Dense_1 of an MLP, or of one expert of a stack of them. */
static vmoe_status add_dense(const struct search *search, const char *module, int number)
{
    const struct vmoe_tensor *tensor = search->tensor;
    uint64_t dims[AXES] = { 0 };
    uint32_t rank = 0;

    if (tensor->expert >= 0)
        dims[rank++] = search->info->experts;
    if (!search->bias)
        dims[rank++] = tensor->rows;
    dims[rank] = tensor->columns;
    return add_piece(search, dims, "%s/Dense_%d/%s", module, number, search->leaf);
}

/* A plain array, or the kernel and bias of a Dense layer, at a fixed path. */
static vmoe_status add_plain(const struct search *search)
{
    const vmoe_info *info = search->info;
    const struct vmoe_tensor *tensor = search->tensor;
    uint64_t p = info->patch_size;
    const uint64_t row[AXES] = { tensor->columns };
    const uint64_t matrix[AXES] = { tensor->rows, tensor->columns };
    const uint64_t by_member[AXES] = { tensor->rows, info->members,
                                       vmoe_config_own_experts(info) };
    const uint64_t single[AXES] = { 1, 1, tensor->columns };
    const uint64_t conv[AXES] = { p, p, 3, tensor->columns };
    const bool members_apart = search->dialect->members_apart;
    const char *encoder = search->dialect->encoder, *norm_1 = search->dialect->norm_1;

    switch (tensor->role) {
    case VMOE_ROLE_EMBEDDING:
        return add_piece(search, search->bias ? row : conv, "embedding/%s", search->leaf);
    case VMOE_ROLE_CLS:
        return add_piece(search, single, "cls");
    case VMOE_ROLE_NORM_0_SCALE:
        return add_piece(search, row, "%s/encoderblock_%u/LayerNorm_0/scale", encoder,
                         tensor->block);
    case VMOE_ROLE_NORM_0_BIAS:
        return add_piece(search, row, "%s/encoderblock_%u/LayerNorm_0/bias", encoder,
                         tensor->block);
    case VMOE_ROLE_NORM_1_SCALE:
        return add_piece(search, row, "%s/encoderblock_%u/%s/scale", encoder, tensor->block,
                         norm_1);
    case VMOE_ROLE_NORM_1_BIAS:
        return add_piece(search, row, "%s/encoderblock_%u/%s/bias", encoder, tensor->block,
                         norm_1);
    case VMOE_ROLE_ROUTER:
        return add_piece(search, members_apart ? by_member : matrix,
                         "%s/encoderblock_%u/Moe/Router/dense/kernel", encoder, tensor->block);
    case VMOE_ROLE_NORM_SCALE:
        return add_piece(search, row, "%s/encoder_norm/scale", encoder);
    case VMOE_ROLE_NORM_BIAS:
        return add_piece(search, row, "%s/encoder_norm/bias", encoder);
    case VMOE_ROLE_MAP_PROBE:
        return add_piece(search, single, "MapHead/probe");
    case VMOE_ROLE_MAP_NORM_SCALE:
        return add_piece(search, row, "MapHead/LayerNorm/scale");
    case VMOE_ROLE_MAP_NORM_BIAS:
        return add_piece(search, row, "MapHead/LayerNorm/bias");
    case VMOE_ROLE_PRE_LOGITS:
        return add_piece(search, search->bias ? row : matrix, "pre_logits/%s", search->leaf);
    default:
        return add_piece(search, search->bias ? row : matrix, "head/%s", search->leaf);
    }
}

vmoe_status vmoe_dialect_pieces(const struct vmoe_source *source,
                                const struct vmoe_dialect *dialect, const vmoe_info *info,
                                const struct vmoe_tensor *tensor,
                                struct vmoe_piece pieces[VMOE_PIECES_MAX], uint32_t *count,
                                vmoe_error *error)
{
    static const char *const qkv[] = { "query", "key", "value" };
    static const char *const map_attention = "MapHead/MultiHeadDotProductAttention";
    const bool bias = tensor->part == VMOE_PART_BIAS;
    struct search search = {
        .source = source,
        .dialect = dialect,
        .info = info,
        .tensor = tensor,
        .bias = bias,
        .leaf = bias ? "bias" : "kernel",
        .columns = tensor->columns,
        .pieces = pieces,
        .count = count,
        .error = error,
    };
    uint32_t first = 0, last = 2;
    char module[PATH_BYTES / 2];
    vmoe_status status = VMOE_OK;

    if (tensor->expert >= 0)
        search.first = (uint64_t)tensor->expert * tensor->rows * tensor->columns;
    *count = 0;
    switch (tensor->role) {
    case VMOE_ROLE_QKV:
    case VMOE_ROLE_MAP_QUERY:
    case VMOE_ROLE_MAP_KEY_VALUE:
        snprintf(module, sizeof module, "%s", map_attention);
        if (tensor->role == VMOE_ROLE_QKV)
            snprintf(module, sizeof module, "%s/encoderblock_%u/%s", dialect->encoder,
                     tensor->block, dialect->attention);
        if (tensor->role == VMOE_ROLE_MAP_QUERY)
            last = 0;
        if (tensor->role == VMOE_ROLE_MAP_KEY_VALUE)
            first = 1;
        search.columns = info->width;
        for (uint32_t i = first; status == VMOE_OK && i <= last; i++)
            status = add_heads(&search, module, qkv[i]);
        return status;
    case VMOE_ROLE_ATTENTION_OUT:
        snprintf(module, sizeof module, "%s/encoderblock_%u/%s", dialect->encoder, tensor->block,
                 dialect->attention);
        return add_attention_out(&search, module);
    case VMOE_ROLE_MAP_OUT:
        return add_attention_out(&search, map_attention);
    case VMOE_ROLE_FC1:
    case VMOE_ROLE_FC2:
        snprintf(module, sizeof module, "%s/encoderblock_%u/%s", dialect->encoder, tensor->block,
                 tensor->expert < 0 ? dialect->mlp : "Moe/Mlp");
        return add_dense(&search, module, tensor->role == VMOE_ROLE_FC2);
    case VMOE_ROLE_MAP_FC1:
    case VMOE_ROLE_MAP_FC2:
        return add_dense(&search, "MapHead/Mlp", tensor->role == VMOE_ROLE_MAP_FC2);
    default:
        return add_plain(&search);
    }
}
