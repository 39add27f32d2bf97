/*
 * From any set of named arrays to a `.vmoe` file.  The arrays are those of a small model, of which
 * some have other shapes, other names, or are missing.  What is imported can also be loaded.
 */
#include <stdio.h>
#include <string.h>

#include "checkpoint/format.h"
#include "checkpoint/import.h"
#include "fuzz/account.h"
#include "fuzz/memory_file.h"
#include "fuzz/own.h"
#include "support/formula.h"

enum { ARRAYS = 128, CHANGES = 4, NAME = 96 };

static char names[ARRAYS][NAME];
static struct vmoe_array arrays[ARRAYS];
static float odd_weight;

/* One weight of an array is odd, the others are plain. */
static vmoe_status read_weights(struct vmoe_source *source, size_t array, uint64_t first,
                                uint64_t count, float *out, vmoe_error *error)
{
    MUST(array < source->count);
    if (first > arrays[array].elements || count > arrays[array].elements - first)
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, arrays[array].name, "beyond the array");
    for (uint64_t i = 0; i < count; i++)
        out[i] = first + i == arrays[array].elements / 2 ? odd_weight : 0.25f;
    return VMOE_OK;
}

static vmoe_info small_model(struct feed *feed)
{
    vmoe_info info = own_least_info();

    info.classifier = 1 + feed_below(feed, 3);
    info.patch_size = 1 + feed_below(feed, 2);
    info.image_size = info.patch_size * (1 + feed_below(feed, 3));
    info.heads = 1 + feed_below(feed, 2);
    info.width = info.heads * (1 + feed_below(feed, 2));
    info.mlp = 1 + feed_below(feed, 3);
    info.layers = 1 + feed_below(feed, 2);
    info.pre_logits = feed_below(feed, 3);
    info.experts = feed_below(feed, 3);
    if (info.experts > 0)
        info.moe[info.layers - 1] = 1;
    return info;
}

/* Copies the arrays of a model, with `params/` before their names or without. */
static size_t copy_arrays(const vmoe_info *info, bool nested)
{
    struct vmoe_source *model = formula_source(info, 1);
    const size_t count = model->count;

    MUST(count <= ARRAYS);
    for (size_t i = 0; i < count; i++) {
        arrays[i] = model->arrays[i];
        MUST(snprintf(names[i], NAME, "%s%s", nested ? "params/" : "", arrays[i].name) < NAME);
        arrays[i].name = names[i];
    }
    model->close(model);
    return count;
}

static void change_shape(struct feed *feed, struct vmoe_array *array)
{
    static const uint64_t feared[] = { 1, 2, 3, 4, 5, 9, 1 << 16, VMOE_LIMIT_DIMENSION };

    if (feed_below(feed, 3) == 0)
        array->rank = feed_below(feed, 6);
    array->dims[feed_below(feed, 6)] = feared[feed_below(feed, 8)];
    array->elements = 1;
    for (uint32_t i = 0; i < array->rank; i++) {
        if (array->dims[i] != 0 && array->elements > VMOE_LIMIT_ELEMENTS / array->dims[i])
            array->dims[i] = 1; /* a source has no larger shapes */
        array->elements *= array->dims[i];
    }
}

/* One array less, another shape, or one character of a name; answers how many arrays there are. */
static size_t change(struct feed *feed, size_t count)
{
    const size_t i = feed_u8(feed) % count;
    char *name = names[(arrays[i].name - names[0]) / NAME];

    switch (feed_below(feed, 4)) {
    case 0:
        memmove(arrays + i, arrays + i + 1, (count - i - 1) * sizeof *arrays);
        return count - 1;
    case 1:
        name[feed_u8(feed) % strlen(name)] = (char)('0' + feed_below(feed, 75));
        return count;
    default:
        change_shape(feed, &arrays[i]);
        return count;
    }
}

/* By name, as a source has them; the second of two arrays of one name goes. */
static size_t sort_arrays(size_t count)
{
    for (size_t i = 1; i < count; i++)
        for (size_t j = i; j > 0 && strcmp(arrays[j - 1].name, arrays[j].name) > 0; j--) {
            const struct vmoe_array array = arrays[j];

            arrays[j] = arrays[j - 1];
            arrays[j - 1] = array;
        }
    for (size_t i = 1; i < count; i++)
        if (strcmp(arrays[i - 1].name, arrays[i].name) == 0)
            memmove(arrays + i, arrays + i + 1, (--count - i) * sizeof *arrays);
    return count;
}

static vmoe_import_options import_options(struct feed *feed)
{
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    const uint8_t which = feed_u8(feed);

    options.precision = feed_below(feed, 4);
    options.compact = which % 8 == 1; /* which takes long */
    if (which & 2)
        options.image_size = feed_below(feed, 12);
    if (which & 4)
        options.preset = vmoe_preset_name(feed_below(feed, 64));
    if (which & 8)
        options.experts_per_token = feed_below(feed, 5);
    odd_weight = which & 16 ? feed_float(feed) : 1.0f;
    return options;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct feed feed = { data, size };
    const vmoe_info info = small_model(&feed);
    const vmoe_import_options options = import_options(&feed);
    struct vmoe_source source = { .count = copy_arrays(&info, feed_below(&feed, 2)),
                                  .arrays = arrays,
                                  .read = read_weights };
    vmoe_error error = VMOE_ERROR_INIT;
    struct account account;
    const uint8_t *file;
    vmoe_status status;
    size_t bytes;

    for (uint32_t i = feed_below(&feed, CHANGES + 1); i > 0 && source.count > 1; i--)
        source.count = change(&feed, source.count);
    source.count = sort_arrays(source.count);
    memory_file_clear();
    account_open(&account);
    status = vmoe_import_source(&source, "fuzz", "f.vmoe", &options, &account.allocator, &error);
    account_close(&account);
    fuzz_check_error(status, &error);
    MUST(status != VMOE_ERR_MEMORY && status != VMOE_ERR_IO && status != VMOE_ERR_CHECKSUM);
    file = memory_file_written("f.vmoe", &bytes);
    MUST((status == VMOE_OK) == (file != NULL));
    /* A quarter, chosen by the checksum, is also loaded: that takes as long as the import. */
    if (file != NULL && file[VMOE_FORMAT_HASH_OFFSET] % 4 == 0) {
        vmoe_model *model = fuzz_load(file, bytes, NULL);

        MUST(model != NULL);
        vmoe_free(model);
    }
    return 0;
}
