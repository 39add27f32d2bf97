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

const struct vmoe_array *vmoe_dialect_find(const struct vmoe_source *source,
                                           const struct vmoe_dialect *dialect, const char *format,
                                           ...)
{
    char path[PATH_BYTES];
    int root = snprintf(path, sizeof path, "%s", dialect->root);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(path + root, sizeof path - (size_t)root, format, arguments);
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

/* An array that a tensor needs, by path and shape; dims end at the first 0. */
struct wanted {
    char path[PATH_BYTES];
    uint64_t dims[VMOE_LIMIT_RANK];
};

static void want(struct wanted *wanted, const struct vmoe_dialect *dialect, const char *leaf,
                 const uint64_t dims[4], const char *format, ...) VMOE_PRINTF(5, 6);

static void want(struct wanted *wanted, const struct vmoe_dialect *dialect, const char *leaf,
                 const uint64_t dims[4], const char *format, ...)
{
    size_t used = (size_t)snprintf(wanted->path, PATH_BYTES, "%s", dialect->root);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(wanted->path + used, PATH_BYTES - used, format, arguments);
    va_end(arguments);
    used = strlen(wanted->path);
    snprintf(wanted->path + used, PATH_BYTES - used, "%s", leaf);
    memset(wanted->dims, 0, sizeof wanted->dims);
    memcpy(wanted->dims, dims, 4 * sizeof *dims);
}

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

static vmoe_status add_piece(const struct vmoe_source *source, const struct wanted *wanted,
                             uint64_t first, uint32_t columns, struct vmoe_piece *pieces,
                             uint32_t *count, vmoe_error *error)
{
    const struct vmoe_array *array = find_path(source, wanted->path);
    uint32_t rank = 0;
    bool same;

    if (array == NULL)
        return vmoe_fail(error, VMOE_ERR_FORMAT, wanted->path, "the checkpoint lacks this array");
    while (rank < VMOE_LIMIT_RANK && wanted->dims[rank] != 0)
        rank++;
    same = array->rank == rank;
    for (uint32_t i = 0; same && i < rank; i++)
        same = array->dims[i] == wanted->dims[i];
    if (!same) {
        char found[SHAPE_BYTES], expected[SHAPE_BYTES];

        format_shape(found, array->rank, array->dims);
        format_shape(expected, rank, wanted->dims);
        return vmoe_fail(error, VMOE_ERR_FORMAT, wanted->path,
                         "the shape is (%s), but (%s) was expected", found, expected);
    }
    pieces[(*count)++] =
        (struct vmoe_piece){ (size_t)(array - source->arrays), first, columns };
    return VMOE_OK;
}

/* Query, key or value of an attention module, which upstream keeps apart and by heads. */
static vmoe_status add_heads(const struct vmoe_source *source, const struct vmoe_dialect *dialect,
                             const vmoe_info *info, const char *module, const char *which,
                             uint32_t part, struct vmoe_piece *pieces, uint32_t *count,
                             vmoe_error *error)
{
    uint64_t d = info->width, h = info->heads;
    const uint64_t kernel[4] = { d, h, d / h };
    const uint64_t bias[4] = { h, d / h };
    struct wanted wanted;

    want(&wanted, dialect, part == VMOE_PART_BIAS ? "/bias" : "/kernel",
         part == VMOE_PART_BIAS ? bias : kernel, "%s/%s", module, which);
    return add_piece(source, &wanted, 0, info->width, pieces, count, error);
}

static vmoe_status add_attention_out(const struct vmoe_source *source,
                                     const struct vmoe_dialect *dialect, const vmoe_info *info,
                                     const char *module, uint32_t part, struct vmoe_piece *pieces,
                                     uint32_t *count, vmoe_error *error)
{
    uint64_t d = info->width, h = info->heads;
    const uint64_t kernel[4] = { h, d / h, d };
    const uint64_t bias[4] = { d };
    struct wanted wanted;

    want(&wanted, dialect, part == VMOE_PART_BIAS ? "/bias" : "/kernel",
         part == VMOE_PART_BIAS ? bias : kernel, "%s/out", module);
    return add_piece(source, &wanted, 0, info->width, pieces, count, error);
}

/* Dense_0 or Dense_1 of an MLP, or of one expert of a stack of them. */
static vmoe_status add_dense(const struct vmoe_source *source, const struct vmoe_dialect *dialect,
                             const vmoe_info *info, const struct vmoe_tensor *tensor,
                             const char *module, bool second, struct vmoe_piece *pieces,
                             uint32_t *count, vmoe_error *error)
{
    uint64_t k = second ? info->mlp : info->width, n = second ? info->width : info->mlp;
    uint64_t elements = tensor->part == VMOE_PART_BIAS ? n : k * n;
    uint64_t first = tensor->expert < 0 ? 0 : (uint64_t)tensor->expert * elements;
    uint64_t dims[4] = { 0 };
    uint32_t rank = 0;
    struct wanted wanted;

    if (tensor->expert >= 0)
        dims[rank++] = info->experts;
    if (tensor->part != VMOE_PART_BIAS)
        dims[rank++] = k;
    dims[rank] = n;
    want(&wanted, dialect, tensor->part == VMOE_PART_BIAS ? "/bias" : "/kernel", dims,
         "%s/Dense_%d", module, second ? 1 : 0);
    return add_piece(source, &wanted, first, (uint32_t)n, pieces, count, error);
}

/* A plain array, or the kernel and bias of a Dense layer, at a fixed path. */
static vmoe_status add_plain(const struct vmoe_source *source, const struct vmoe_dialect *dialect,
                             const vmoe_info *info, const struct vmoe_tensor *tensor,
                             struct vmoe_piece *pieces, uint32_t *count, vmoe_error *error)
{
    uint64_t p = info->patch_size;
    const uint64_t row[4] = { tensor->columns };
    const uint64_t matrix[4] = { tensor->rows, tensor->columns };
    const uint64_t by_member[4] = { tensor->rows, info->members, vmoe_config_own_experts(info) };
    const uint64_t single[4] = { 1, 1, tensor->columns };
    const uint64_t conv[4] = { p, p, 3, tensor->columns };
    bool bias = tensor->part == VMOE_PART_BIAS;
    const char *leaf = bias ? "/bias" : "/kernel";
    const char *encoder = dialect->encoder;
    struct wanted w;

    switch (tensor->role) {
    case VMOE_ROLE_EMBEDDING:
        want(&w, dialect, leaf, bias ? row : conv, "embedding");
        break;
    case VMOE_ROLE_CLS:
        want(&w, dialect, "", single, "cls");
        break;
    case VMOE_ROLE_NORM_0_SCALE:
        want(&w, dialect, "/scale", row, "%s/encoderblock_%u/LayerNorm_0", encoder, tensor->block);
        break;
    case VMOE_ROLE_NORM_0_BIAS:
        want(&w, dialect, "/bias", row, "%s/encoderblock_%u/LayerNorm_0", encoder, tensor->block);
        break;
    case VMOE_ROLE_NORM_1_SCALE:
        want(&w, dialect, "/scale", row, "%s/encoderblock_%u/%s", encoder, tensor->block,
             dialect->norm_1);
        break;
    case VMOE_ROLE_NORM_1_BIAS:
        want(&w, dialect, "/bias", row, "%s/encoderblock_%u/%s", encoder, tensor->block,
             dialect->norm_1);
        break;
    case VMOE_ROLE_ROUTER:
        want(&w, dialect, "/kernel", dialect->members_apart ? by_member : matrix,
             "%s/encoderblock_%u/Moe/Router/dense", encoder, tensor->block);
        break;
    case VMOE_ROLE_NORM_SCALE:
        want(&w, dialect, "/scale", row, "%s/encoder_norm", encoder);
        break;
    case VMOE_ROLE_NORM_BIAS:
        want(&w, dialect, "/bias", row, "%s/encoder_norm", encoder);
        break;
    case VMOE_ROLE_MAP_PROBE:
        want(&w, dialect, "", single, "MapHead/probe");
        break;
    case VMOE_ROLE_MAP_NORM_SCALE:
        want(&w, dialect, "/scale", row, "MapHead/LayerNorm");
        break;
    case VMOE_ROLE_MAP_NORM_BIAS:
        want(&w, dialect, "/bias", row, "MapHead/LayerNorm");
        break;
    case VMOE_ROLE_PRE_LOGITS:
        want(&w, dialect, leaf, bias ? row : matrix, "pre_logits");
        break;
    default:
        want(&w, dialect, leaf, bias ? row : matrix, "head");
        break;
    }
    return add_piece(source, &w, 0, tensor->columns, pieces, count, error);
}

vmoe_status vmoe_dialect_pieces(const struct vmoe_source *source,
                                const struct vmoe_dialect *dialect, const vmoe_info *info,
                                const struct vmoe_tensor *tensor,
                                struct vmoe_piece pieces[VMOE_PIECES_MAX], uint32_t *count,
                                vmoe_error *error)
{
    static const char *const qkv[] = { "query", "key", "value" };
    static const char *const map_attention = "MapHead/MultiHeadDotProductAttention";
    uint32_t first = 0, last = 2;
    char module[PATH_BYTES / 2];
    vmoe_status status = VMOE_OK;

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
        for (uint32_t i = first; status == VMOE_OK && i <= last; i++)
            status = add_heads(source, dialect, info, module, qkv[i], tensor->part, pieces, count,
                               error);
        return status;
    case VMOE_ROLE_ATTENTION_OUT:
        snprintf(module, sizeof module, "%s/encoderblock_%u/%s", dialect->encoder, tensor->block,
                 dialect->attention);
        return add_attention_out(source, dialect, info, module, tensor->part, pieces, count, error);
    case VMOE_ROLE_MAP_OUT:
        return add_attention_out(source, dialect, info, map_attention, tensor->part, pieces, count,
                                 error);
    case VMOE_ROLE_FC1:
    case VMOE_ROLE_FC2:
        snprintf(module, sizeof module, "%s/encoderblock_%u/%s", dialect->encoder, tensor->block,
                 tensor->expert < 0 ? dialect->mlp : "Moe/Mlp");
        return add_dense(source, dialect, info, tensor, module, tensor->role == VMOE_ROLE_FC2,
                         pieces, count, error);
    case VMOE_ROLE_MAP_FC1:
    case VMOE_ROLE_MAP_FC2:
        return add_dense(source, dialect, info, tensor, "MapHead/Mlp",
                         tensor->role == VMOE_ROLE_MAP_FC2, pieces, count, error);
    default:
        return add_plain(source, dialect, info, tensor, pieces, count, error);
    }
}
