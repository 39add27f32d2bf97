/* The table of released checkpoints and of the backbones they are made of. */
#include "model/presets.h"

#include <stddef.h>
#include <string.h>

struct backbone {
    uint32_t patch_size, width, heads, mlp, layers;
    uint64_t moe; /* bit i: block i has experts */
};

enum { S32_LAST_2, B16_EVERY_2 };

static const struct backbone backbones[] = {
    [S32_LAST_2] = { 32, 512, 8, 2048, 8, (1u << 5) | (1u << 7) },
    [B16_EVERY_2] = { 16, 768, 12, 3072, 12, 0xaaa },
};

/* The capacity ratios are those of upstream's evaluations; where none is known, of its training. */
static const struct vmoe_preset_row rows[] = {
    { "vmoe_s32_last2_ilsvrc2012_randaug_light1", S32_LAST_2, 224, 1000, 512, 1, 2, 4.0,
      { VMOE_PREPROCESS_SMALL_CROP, 256, 224 }, VMOE_OUTPUT_SIGMOID },
    { "vmoe_s32_last2_ilsvrc2012_randaug_medium", S32_LAST_2, 224, 1000, 512, 1, 2, 1.05,
      { VMOE_PREPROCESS_SMALL_CROP, 256, 224 }, VMOE_OUTPUT_SIGMOID },
    { "vmoe_s32_last2_ilsvrc2012_randaug_light1_ft_ilsvrc2012", S32_LAST_2, 384, 1000, 0, 1, 2, 1.5,
      { VMOE_PREPROCESS_RESIZE, 384, 0 }, VMOE_OUTPUT_SOFTMAX },
    { "vmoe_b16_imagenet21k_randaug_strong", B16_EVERY_2, 224, 21843, 0, 1, 2, 1.05,
      { VMOE_PREPROCESS_SMALL_CROP, 256, 224 }, VMOE_OUTPUT_SIGMOID },
    { "vmoe_b16_imagenet21k_randaug_strong_ft_ilsvrc2012", B16_EVERY_2, 384, 1000, 0, 1, 2, 1.5,
      { VMOE_PREPROCESS_RESIZE, 384, 0 }, VMOE_OUTPUT_SOFTMAX },
    { "eee_s32_last2_ilsvrc2012", S32_LAST_2, 224, 1000, 512, 2, 1, 1.05,
      { VMOE_PREPROCESS_SMALL_CROP, 256, 224 }, VMOE_OUTPUT_SIGMOID },
    { "eee_s32_last2_ilsvrc2012_ft_cifar100", S32_LAST_2, 128, 100, 512, 2, 1, 1.5,
      { VMOE_PREPROCESS_RESIZE, 128, 0 }, VMOE_OUTPUT_SOFTMAX },
};

const struct vmoe_preset_row *vmoe_preset_find(const char *name)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

const char *vmoe_preset_name(size_t i)
{
    return i < sizeof rows / sizeof rows[0] ? rows[i].name : NULL;
}

void vmoe_preset_geometry(const struct vmoe_preset_row *row, vmoe_info *info)
{
    const struct backbone *backbone = &backbones[row->variant];
    vmoe_info made = VMOE_INFO_INIT;

    made.image_size = row->image_size;
    made.patch_size = backbone->patch_size;
    made.width = backbone->width;
    made.heads = backbone->heads;
    made.mlp = backbone->mlp;
    made.layers = backbone->layers;
    made.classes = row->classes;
    made.pre_logits = row->pre_logits;
    made.classifier = VMOE_CLASSIFIER_TOKEN;
    made.gelu = VMOE_GELU_TANH;
    made.output = row->output;
    made.experts = 8;
    made.members = row->members;
    for (uint32_t i = 0; i < backbone->layers; i++)
        made.moe[i] = (backbone->moe >> i) & 1;
    made.experts_per_token = row->experts_per_token;
    made.group_images = 1;
    made.capacity = row->capacity;
    made.capacity_rule = VMOE_CAPACITY_CEIL;
    made.capacity_multiple = 4;
    made.preprocessing = row->preprocessing;
    made.precision = VMOE_PRECISION_F32;
    *info = made;
}
