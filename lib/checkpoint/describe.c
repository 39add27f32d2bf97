/*
 * Geometry comes from the shapes of the arrays; what no shape tells comes from the preset and the
 * options.
 */
#include "checkpoint/describe.h"

#include <string.h>

#include "checkpoint/geometry.h"
#include "model/config.h"
#include "model/presets.h"

/* Defaults, then the preset, then the options: the last that says something wins. */
static void apply_dial(const vmoe_import_options *options, const struct vmoe_preset_row *preset,
                       vmoe_info *info)
{
    info->gelu = options->gelu != 0 ? options->gelu : VMOE_GELU_TANH;
    info->output = options->output != 0 ? options->output
                   : preset != NULL     ? preset->output
                                        : VMOE_OUTPUT_SOFTMAX;
    if (info->experts == 0)
        return;
    info->experts_per_token = info->experts < 2 * info->members ? 1 : 2;
    info->capacity = 1.05;
    if (preset != NULL) {
        info->experts_per_token = preset->experts_per_token;
        info->capacity = preset->capacity;
    }
    if (options->experts_per_token != 0)
        info->experts_per_token = options->experts_per_token;
    if (!vmoe_config_is_zero(options->capacity))
        info->capacity = options->capacity;
    info->capacity_rule =
        options->capacity_rule != 0 ? options->capacity_rule : VMOE_CAPACITY_CEIL;
    info->capacity_multiple = options->capacity_multiple != 0 ? options->capacity_multiple : 4;
    info->group_images = options->group_images != 0 ? options->group_images : 1;
}

static void apply_preprocessing(const vmoe_import_options *options,
                                const struct vmoe_preset_row *preset, vmoe_info *info)
{
    const vmoe_preprocessing resize = { VMOE_PREPROCESS_RESIZE, info->image_size, 0 };

    info->preprocessing = resize;
    if (options->preprocessing.kind != 0)
        info->preprocessing = options->preprocessing;
    else if (preset != NULL && preset->preprocessing.kind == VMOE_PREPROCESS_SMALL_CROP)
        info->preprocessing = preset->preprocessing;
}

static vmoe_status find_preset(const vmoe_import_options *options,
                               const struct vmoe_preset_row **preset, vmoe_error *error)
{
    *preset = NULL;
    if (options->preset == NULL)
        return VMOE_OK;
    *preset = vmoe_preset_find(options->preset);
    if (*preset == NULL)
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, "options.preset",
                         "there is no preset \"%.100s\"", options->preset);
    return VMOE_OK;
}

/*
 * Classes and image size change when a model is fine-tuned; the rest is the preset's or another's.
 */
static vmoe_status check_preset(const struct vmoe_preset_row *preset, const vmoe_info *info,
                                vmoe_error *error)
{
    vmoe_info geometry;

    vmoe_preset_geometry(preset, &geometry);
    if (info->patch_size != geometry.patch_size || info->width != geometry.width ||
        info->heads != geometry.heads || info->mlp != geometry.mlp ||
        info->layers != geometry.layers || info->experts != geometry.experts ||
        memcmp(info->moe, geometry.moe, sizeof info->moe) != 0)
        return vmoe_fail(
            error, VMOE_ERR_ARGUMENT, "options.preset",
            "\"%s\" is another model: it has %u layers of width %u, patches of %u pixels and %u "
            "experts, the checkpoint %u layers of width %u, patches of %u and %u",
            preset->name, geometry.layers, geometry.width, geometry.patch_size, geometry.experts,
            info->layers, info->width, info->patch_size, info->experts);
    if (info->members != 0 && info->members != geometry.members)
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, "options.preset",
                         "\"%s\" is another model: its experts have %u members, those of the "
                         "checkpoint %u",
                         preset->name, geometry.members, info->members);
    return VMOE_OK;
}

vmoe_status vmoe_describe(const struct vmoe_source *source, const char *where,
                          const vmoe_import_options *options, struct vmoe_description *description,
                          vmoe_error *error)
{
    const struct vmoe_preset_row *preset;
    vmoe_info *info = &description->info;
    vmoe_status status = find_preset(options, &preset, error);

    *description = (struct vmoe_description){ .info = VMOE_INFO_INIT };
    if (status == VMOE_OK)
        status = vmoe_dialect_detect(source, where, &description->dialect, error);
    if (status == VMOE_OK)
        status = vmoe_geometry_derive(source, &description->dialect, info, error);
    if (status == VMOE_OK && preset != NULL)
        status = check_preset(preset, info, error);
    if (status != VMOE_OK)
        return status;
    description->dialect.members_apart = info->members != 0;
    if (info->members == 0)
        info->members = preset != NULL ? preset->members : 1;
    description->stored_image_size = info->image_size;
    if (options->image_size != 0)
        info->image_size = options->image_size;
    info->precision = options->precision != 0 ? options->precision : VMOE_PRECISION_BF16;
    info->compact = options->compact;
    apply_dial(options, preset, info);
    apply_preprocessing(options, preset, info);
    status = vmoe_config_complete(info, "import", VMOE_ERR_ARGUMENT, error);
    if (status != VMOE_OK)
        return status;
    if (options->labels != NULL && options->label_count != info->classes)
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, "options.labels",
                         "there are %u labels for %u classes", options->label_count, info->classes);
    return VMOE_OK;
}
