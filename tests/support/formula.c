/* The formula: splitmix64 of the name's hash and the index, scaled as an initialiser would. */
#define _GNU_SOURCE
#include "support/formula.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARRAYS_MAX 8192u

struct formula {
    struct vmoe_source source;
    uint64_t seed;
    struct vmoe_array arrays[ARRAYS_MAX];
};

static uint64_t name_hash(const char *name)
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325);

    for (; *name != '\0'; name++)
        hash = (hash ^ (uint8_t)*name) * UINT64_C(0x100000001B3);
    return hash;
}

static float value_at(uint64_t state, float offset, float scale, uint64_t i)
{
    uint64_t z = state + (i + 1) * UINT64_C(0x9E3779B97F4A7C15);

    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    z ^= z >> 31;
    return offset + scale * ((float)(z >> 40) * 0x1p-23f - 1.0f);
}

float formula_value(const char *name, uint64_t seed, float offset, float scale, uint64_t i)
{
    return value_at(name_hash(name) ^ seed, offset, scale, i);
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);

    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* Offset and scale of a tensor. */
static void tensor_range(const struct vmoe_array *array, float *offset, float *scale)
{
    const char *name = array->name;
    double fan = (double)array->dims[0];

    *offset = 0.0f;
    if (ends_with(name, "/scale")) {
        *offset = 1.0f;
        *scale = 0.25f;
    } else if (ends_with(name, "bias")) {
        *scale = 0.125f;
    } else if (strcmp(name, "cls") == 0 || ends_with(name, "pos_embedding") ||
               ends_with(name, "probe")) {
        *scale = 0.5f;
    } else {
        if (strstr(name, "Attention/out") != NULL)
            fan = (double)(array->dims[0] * array->dims[1]);
        else if (strstr(name, "/Moe/Mlp/") != NULL)
            fan = (double)array->dims[1];
        else if (strncmp(name, "embedding", 9) == 0)
            fan = (double)(array->dims[0] * array->dims[1] * array->dims[2]);
        *scale = (float)((strstr(name, "Router") != NULL ? 3.0 : 1.0) * sqrt(3.0 / fan));
    }
}

static vmoe_status formula_read(struct vmoe_source *source, size_t array, uint64_t first,
                                uint64_t count, float *out, vmoe_error *error)
{
    struct formula *formula = (struct formula *)source;
    const struct vmoe_array *a = &formula->arrays[array];
    uint64_t state = name_hash(a->name) ^ formula->seed;
    float offset, scale;

    (void)error;
    tensor_range(a, &offset, &scale);
    for (uint64_t i = 0; i < count; i++)
        out[i] = value_at(state, offset, scale, first + i);
    return VMOE_OK;
}

static void formula_close(struct vmoe_source *source)
{
    for (size_t i = 0; i < source->count; i++)
        free((void *)(uintptr_t)source->arrays[i].name);
    free(source);
}

static void add(struct formula *formula, const uint64_t dims[4], const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void add(struct formula *formula, const uint64_t dims[4], const char *format, ...)
{
    struct vmoe_array *array = &formula->arrays[formula->source.count++];
    char *name = NULL;
    va_list arguments;

    va_start(arguments, format);
    if (vasprintf(&name, format, arguments) < 0)
        abort();
    va_end(arguments);
    *array = (struct vmoe_array){ .name = name, .elements = 1 };
    while (array->rank < 4 && dims[array->rank] != 0) {
        array->dims[array->rank] = dims[array->rank];
        array->elements *= dims[array->rank++];
    }
}

#define DIMS(...) ((const uint64_t[4]){ __VA_ARGS__ })

static void add_norm(struct formula *formula, const vmoe_info *info, const char *module,
                     const char *name)
{
    add(formula, DIMS(info->width), "%s/%s/scale", module, name);
    add(formula, DIMS(info->width), "%s/%s/bias", module, name);
}

static void add_attention(struct formula *formula, const vmoe_info *info, const char *module,
                          const char *name)
{
    static const char *const heads[] = { "query", "key", "value" };
    uint64_t d = info->width, h = info->heads;

    for (int n = 0; n < 3; n++) {
        add(formula, DIMS(d, h, d / h), "%s/%s/%s/kernel", module, name, heads[n]);
        add(formula, DIMS(h, d / h), "%s/%s/%s/bias", module, name, heads[n]);
    }
    add(formula, DIMS(h, d / h, d), "%s/%s/out/kernel", module, name);
    add(formula, DIMS(d), "%s/%s/out/bias", module, name);
}

static void add_mlp(struct formula *formula, const vmoe_info *info, const char *module)
{
    uint64_t d = info->width, f = info->mlp;

    add(formula, DIMS(d, f), "%s/Mlp/Dense_0/kernel", module);
    add(formula, DIMS(f), "%s/Mlp/Dense_0/bias", module);
    add(formula, DIMS(f, d), "%s/Mlp/Dense_1/kernel", module);
    add(formula, DIMS(d), "%s/Mlp/Dense_1/bias", module);
}

static void add_block(struct formula *formula, const vmoe_info *info, uint32_t i)
{
    uint64_t d = info->width, f = info->mlp, e = info->experts;
    char block[64];

    snprintf(block, sizeof block, "Encoder/encoderblock_%u", i);
    add_norm(formula, info, block, "LayerNorm_0");
    add_norm(formula, info, block, "LayerNorm_1");
    add_attention(formula, info, block, "SelfAttention");
    if (info->moe[i]) {
        if (info->members > 1)
            add(formula, DIMS(d, info->members, e / info->members), "%s/Moe/Router/dense/kernel",
                block);
        else
            add(formula, DIMS(d, e), "%s/Moe/Router/dense/kernel", block);
        add(formula, DIMS(e, d, f), "%s/Moe/Mlp/Dense_0/kernel", block);
        add(formula, DIMS(e, f), "%s/Moe/Mlp/Dense_0/bias", block);
        add(formula, DIMS(e, f, d), "%s/Moe/Mlp/Dense_1/kernel", block);
        add(formula, DIMS(e, d), "%s/Moe/Mlp/Dense_1/bias", block);
    } else {
        add_mlp(formula, info, block);
    }
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct vmoe_array *)a)->name, ((const struct vmoe_array *)b)->name);
}

struct vmoe_source *formula_source(const vmoe_info *info, uint64_t seed)
{
    struct formula *formula = malloc(sizeof *formula); /* large, and mostly never touched */
    uint64_t d = info->width, p = info->patch_size, side = info->image_size / p;
    uint64_t token = info->classifier == VMOE_CLASSIFIER_TOKEN;
    uint64_t features = info->pre_logits != 0 ? info->pre_logits : d;

    if (formula == NULL)
        return NULL;
    formula->seed = seed;
    formula->source = (struct vmoe_source){ .arrays = formula->arrays,
                                            .read = formula_read,
                                            .close = formula_close };
    add(formula, DIMS(p, p, 3, d), "embedding/kernel");
    add(formula, DIMS(d), "embedding/bias");
    if (token)
        add(formula, DIMS(1, 1, d), "cls");
    add(formula, DIMS(1, side * side + token, d), "Encoder/posembed_input/pos_embedding");
    for (uint32_t i = 0; i < info->layers; i++)
        add_block(formula, info, i);
    add_norm(formula, info, "Encoder", "encoder_norm");
    if (info->classifier == VMOE_CLASSIFIER_MAP) {
        add(formula, DIMS(1, 1, d), "MapHead/probe");
        add_attention(formula, info, "MapHead", "MultiHeadDotProductAttention");
        add_norm(formula, info, "MapHead", "LayerNorm");
        add_mlp(formula, info, "MapHead");
    }
    if (info->pre_logits != 0) {
        add(formula, DIMS(d, info->pre_logits), "pre_logits/kernel");
        add(formula, DIMS(info->pre_logits), "pre_logits/bias");
    }
    add(formula, DIMS(features, info->classes), "head/kernel");
    add(formula, DIMS(info->classes), "head/bias");
    qsort(formula->arrays, formula->source.count, sizeof *formula->arrays, compare_names);
    return &formula->source;
}
