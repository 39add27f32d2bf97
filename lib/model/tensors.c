/* The list of tensors, made by one walk that either counts or fills. */
#include "model/tensors.h"

#include <stdio.h>
#include <string.h>

#include "kernels/pack.h"
#include "model/config.h"

/* Where the walk is.  `tensors` is NULL while counting. */
struct walk {
    const vmoe_info *info;
    struct vmoe_tensor *tensors;
    struct vmoe_tensor_totals totals; /* so far */
    char prefix[48];
    uint32_t block;
    int32_t expert;
};

/* Adds to a name; the longest one fits by far. */
static void append(char name[VMOE_TENSOR_NAME_BYTES], const char *text)
{
    size_t used = strlen(name), bytes = strlen(text) + 1;

    if (used + bytes <= VMOE_TENSOR_NAME_BYTES)
        memcpy(name + used, text, bytes);
}

static void emit(struct walk *walk, const char *name, const char *part_name, uint32_t role,
                 uint32_t part, uint32_t precision, uint32_t rows, uint32_t columns)
{
    uint64_t bytes = part == VMOE_PART_MATRIX ? vmoe_pack_bytes(precision, rows, columns)
                                              : 4 * (uint64_t)rows * columns;

    if (walk->tensors != NULL) {
        struct vmoe_tensor *t = &walk->tensors[walk->totals.count];

        memset(t, 0, sizeof *t);
        append(t->name, walk->prefix);
        append(t->name, name);
        append(t->name, part_name);
        t->role = role;
        t->part = part;
        t->block = walk->block;
        t->expert = walk->expert;
        t->precision = precision;
        t->rows = rows;
        t->columns = columns;
        t->bytes = bytes;
    }
    walk->totals.count++;
    walk->totals.bytes += bytes;
    if (part != VMOE_PART_SCALE && part != VMOE_PART_SUM)
        walk->totals.parameters += (uint64_t)rows * columns;
}

static void emit_array(struct walk *walk, const char *name, uint32_t role, uint32_t rows,
                       uint32_t columns)
{
    emit(walk, name, "", role, VMOE_PART_WHOLE, VMOE_PRECISION_F32, rows, columns);
}

static void emit_norm(struct walk *walk, const char *name, uint32_t scale_role, uint32_t bias_role)
{
    emit(walk, name, ".scale", scale_role, VMOE_PART_WHOLE, VMOE_PRECISION_F32, 1,
         walk->info->width);
    emit(walk, name, ".bias", bias_role, VMOE_PART_WHOLE, VMOE_PRECISION_F32, 1, walk->info->width);
}

static void emit_linear(struct walk *walk, const char *name, uint32_t role, uint32_t precision,
                        uint32_t rows, uint32_t columns)
{
    emit(walk, name, ".weight", role, VMOE_PART_MATRIX, precision, rows, columns);
    if (precision == VMOE_PRECISION_INT8) {
        emit(walk, name, ".weight_scale", role, VMOE_PART_SCALE, VMOE_PRECISION_F32, 1, columns);
        emit(walk, name, ".weight_sum", role, VMOE_PART_SUM, VMOE_TENSOR_INT32, 1, columns);
    }
    emit(walk, name, ".bias", role, VMOE_PART_BIAS, VMOE_PRECISION_F32, 1, columns);
}

uint32_t vmoe_tensor_end_precision(const vmoe_info *info)
{
    return info->precision == VMOE_PRECISION_INT8 ? VMOE_PRECISION_BF16 : info->precision;
}

static void walk_block(struct walk *walk, uint32_t block)
{
    const vmoe_info *info = walk->info;
    uint32_t d = info->width, f = info->mlp;

    walk->block = block;
    snprintf(walk->prefix, sizeof walk->prefix, "block.%u.", block);
    emit_norm(walk, "norm_0", VMOE_ROLE_NORM_0_SCALE, VMOE_ROLE_NORM_0_BIAS);
    emit_linear(walk, "attention.qkv", VMOE_ROLE_QKV, info->precision, d, 3 * d);
    emit_linear(walk, "attention.out", VMOE_ROLE_ATTENTION_OUT, info->precision, d, d);
    emit_norm(walk, "norm_1", VMOE_ROLE_NORM_1_SCALE, VMOE_ROLE_NORM_1_BIAS);
    if (!info->moe[block]) {
        emit_linear(walk, "mlp.fc1", VMOE_ROLE_FC1, info->precision, d, f);
        emit_linear(walk, "mlp.fc2", VMOE_ROLE_FC2, info->precision, f, d);
        return;
    }
    emit_array(walk, "router", VMOE_ROLE_ROUTER, d, info->experts);
    for (uint32_t e = 0; e < info->experts; e++) {
        walk->expert = (int32_t)e;
        snprintf(walk->prefix, sizeof walk->prefix, "block.%u.expert.%u.", block, e);
        emit_linear(walk, "fc1", VMOE_ROLE_FC1, info->precision, d, f);
        emit_linear(walk, "fc2", VMOE_ROLE_FC2, info->precision, f, d);
    }
    walk->expert = -1;
}

static void walk_head(struct walk *walk)
{
    const vmoe_info *info = walk->info;
    uint32_t d = info->width, precision = vmoe_tensor_end_precision(info);

    emit_norm(walk, "norm", VMOE_ROLE_NORM_SCALE, VMOE_ROLE_NORM_BIAS);
    if (info->classifier == VMOE_CLASSIFIER_MAP) {
        emit_array(walk, "map.probe", VMOE_ROLE_MAP_PROBE, 1, d);
        emit_linear(walk, "map.query", VMOE_ROLE_MAP_QUERY, precision, d, d);
        emit_linear(walk, "map.key_value", VMOE_ROLE_MAP_KEY_VALUE, precision, d, 2 * d);
        emit_linear(walk, "map.out", VMOE_ROLE_MAP_OUT, precision, d, d);
        emit_norm(walk, "map.norm", VMOE_ROLE_MAP_NORM_SCALE, VMOE_ROLE_MAP_NORM_BIAS);
        emit_linear(walk, "map.mlp.fc1", VMOE_ROLE_MAP_FC1, precision, d, info->mlp);
        emit_linear(walk, "map.mlp.fc2", VMOE_ROLE_MAP_FC2, precision, info->mlp, d);
    }
    if (info->pre_logits != 0)
        emit_linear(walk, "pre_logits", VMOE_ROLE_PRE_LOGITS, precision, d, info->pre_logits);
    emit_linear(walk, "head", VMOE_ROLE_HEAD, precision, vmoe_config_head_width(info),
                info->classes);
}

static void walk_model(struct walk *walk)
{
    const vmoe_info *info = walk->info;

    walk->expert = -1;
    emit_linear(walk, "embedding", VMOE_ROLE_EMBEDDING, vmoe_tensor_end_precision(info),
                vmoe_config_patch_values(info), info->width);
    if (info->classifier == VMOE_CLASSIFIER_TOKEN)
        emit_array(walk, "cls", VMOE_ROLE_CLS, 1, info->width);
    emit_array(walk, "position", VMOE_ROLE_POSITION, info->tokens, info->width);
    for (uint32_t i = 0; i < info->layers; i++)
        walk_block(walk, i);
    walk->prefix[0] = '\0';
    walk->block = 0;
    walk_head(walk);
}

struct vmoe_tensor_totals vmoe_tensor_add_up(const vmoe_info *info)
{
    struct walk walk = { .info = info };

    walk_model(&walk);
    return walk.totals;
}

uint64_t vmoe_tensor_count(const vmoe_info *info)
{
    return vmoe_tensor_add_up(info).count;
}

void vmoe_tensor_list(const vmoe_info *info, struct vmoe_tensor *tensors)
{
    struct walk walk = { .info = info, .tensors = tensors };

    walk_model(&walk);
}
