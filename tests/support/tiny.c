/* Small models: formula source, import, load. */
#include "support/tiny.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint/import.h"
#include "support/formula.h"
#include "support/showable.h"
#include "support/support.h"

#define SEED 11u

vmoe_info tiny_info(uint32_t classifier)
{
    vmoe_info info = VMOE_INFO_INIT;

    info.image_size = 12;
    info.patch_size = 4;
    info.width = 12;
    info.heads = 2;
    info.mlp = 20;
    info.layers = 3;
    info.classes = 5;
    info.classifier = classifier;
    info.experts = 4;
    info.members = 1;
    info.moe[1] = info.moe[2] = 1;
    return info;
}

vmoe_info smallest_info(void)
{
    vmoe_info info = tiny_info(VMOE_CLASSIFIER_TOKEN);

    info.image_size = 4;
    info.patch_size = 2;
    info.layers = 1;
    info.experts = 2;
    memset(info.moe, 0, sizeof info.moe);
    info.moe[0] = 1;
    return info;
}

vmoe_info medium_info(uint32_t classifier)
{
    vmoe_info info = VMOE_INFO_INIT;

    info.image_size = 24;
    info.patch_size = 4;
    info.width = 72;
    info.heads = 3;
    info.mlp = 136;
    info.layers = 4;
    info.classes = 17;
    info.pre_logits = 40;
    info.classifier = classifier;
    info.experts = 6;
    info.members = 1;
    info.moe[1] = info.moe[3] = 1;
    return info;
}

void write_source(struct vmoe_source *source, const vmoe_import_options *options, const char *path)
{
    vmoe_import_options plain = VMOE_IMPORT_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;

    assert_non_null(source);
    plain.precision = VMOE_PRECISION_F32;
    assert_ok(vmoe_import_source(source, "formula", path, options != NULL ? options : &plain,
                                 &vmoe_memory_default, &error),
              error);
    source->close(source);
}

void write_model(const vmoe_info *info, const vmoe_import_options *options, const char *path)
{
    write_source(formula_source(info, SEED), options, path);
}

vmoe_model *make_model(const vmoe_info *info, uint32_t precision)
{
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    const char *path = scratch_path("made.vmoe");
    vmoe_model *model;

    options.precision = precision;
    write_model(info, &options, path);
    model = must_load(path, NULL);
    unlink(path);
    return model;
}

vmoe_model *must_load(const char *path, const vmoe_load_options *options)
{
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model = NULL;

    assert_ok(vmoe_load_file(path, options, &model, &error), error);
    return model;
}

vmoe_info info_of(const vmoe_model *model)
{
    vmoe_info info = VMOE_INFO_INIT;
    vmoe_error error = VMOE_ERROR_INIT;

    assert_ok(vmoe_get_info(model, &info, &error), error);
    return info;
}

/* ---- Sources that are not quite the formula ------------------------------------------------- */

struct changed {
    struct vmoe_source source;
    struct vmoe_source *formula;
    weight_change change;
};

static vmoe_status changed_read(struct vmoe_source *source, size_t array, uint64_t first,
                                uint64_t count, float *out, vmoe_error *error)
{
    struct changed *changed = (struct changed *)source;
    vmoe_status status =
        changed->formula->read(changed->formula, array, first, count, out, error);

    if (status == VMOE_OK)
        changed->change(source->arrays[array].name, first, count, out);
    return status;
}

static void changed_close(struct vmoe_source *source)
{
    struct changed *changed = (struct changed *)source;

    changed->formula->close(changed->formula);
    free(changed);
}

struct vmoe_source *changed_source(const vmoe_info *info, weight_change change)
{
    struct changed *changed = calloc(1, sizeof *changed);

    assert_non_null(changed);
    changed->formula = formula_source(info, SEED);
    assert_non_null(changed->formula);
    changed->source.count = changed->formula->count;
    changed->source.arrays = changed->formula->arrays;
    changed->source.read = changed_read;
    changed->source.close = changed_close;
    changed->change = change;
    return &changed->source;
}

/* ---- Images --------------------------------------------------------------------------------- */

size_t image_values(const vmoe_info *info)
{
    return 3 * (size_t)info->image_size * info->image_size;
}

float *make_images(const vmoe_info *info, size_t images)
{
    size_t values = images * image_values(info);
    float *tensor = malloc((values + 1) * sizeof *tensor);

    assert_non_null(tensor);
    for (size_t i = 0; i < values; i++)
        tensor[i] = formula_value("images", SEED, 0.0f, 1.0f, i);
    return tensor;
}

/* ---- Outcomes ------------------------------------------------------------------------------- */

void check_refused(vmoe_status status, const vmoe_error *error, vmoe_status expected,
                   const char *where, const char *file, int line)
{
    const char *problem = NULL;

    if (status != expected)
        problem = "the status is wrong";
    else if (error->status != status)
        problem = "the error has another status than the call";
    else if (!is_showable(error->where, sizeof error->where) ||
             !is_showable(error->text, sizeof error->text))
        problem = "the error cannot be shown on one line";
    else if (strstr(error->where, where) == NULL)
        problem = "the place is wrong";
    if (problem == NULL)
        return;
    print_error("%s: expected %s at %s, found %s, %s at %s: %s\n", problem,
                vmoe_status_name(expected), where, vmoe_status_name(status),
                vmoe_status_name(error->status), error->where, error->text);
    _fail(file, line);
}

void check_ok(vmoe_status status, const vmoe_error *error, const char *file, int line)
{
    if (status == VMOE_OK)
        return;
    print_error("%s: %s: %s\n", vmoe_status_name(status), error->where, error->text);
    _fail(file, line);
}
