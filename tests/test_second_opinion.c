/*
 * Two readers of one format:  the library's, and tests/second_reader.py, which was written from
 * docs/format.md alone.  Files of our writer and of the second reader's own builder must mean the
 * same to both, number by number.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/format.h"
#include "checkpoint/import.h"
#include "checkpoint/reader.h"
#include "kernels/pack.h"
#include "support/formula.h"
#include "support/support.h"
#include "support/tensor_crc.h"

static const char *python(void)
{
    const char *given = getenv("PYTHON");

    return given != NULL ? given : "/usr/bin/python3";
}

static bool have_numpy(void)
{
    char command[512];

    snprintf(command, sizeof command, "%s -c 'import numpy' 2>/dev/null", python());
    return system(command) == 0;
}

/* Sums of int8 columns are those of the numbers; the matrix was the tensor before the scales. */
static void check_sums(const struct vmoe_tensor *matrix, const uint8_t *data)
{
    const uint8_t *scales = data + vmoe_format_tensor_offset(matrix->bytes);
    const uint8_t *sums = scales + vmoe_format_tensor_offset(matrix[1].bytes);

    assert_int_equal(matrix[2].part, VMOE_PART_SUM);
    for (size_t j = 0; j < matrix->columns; j++) {
        int32_t sum = 0, stored;

        for (size_t i = 0; i < matrix->rows; i++)
            sum += (int32_t)vmoe_pack_value(matrix->precision, matrix->rows, data, i, j);
        memcpy(&stored, sums + j * sizeof stored, sizeof stored);
        assert_int_equal(stored, sum);
    }
}

/* Compares the library's reading of a file with the listing of the second reader. */
static size_t compare_readings(const char *path)
{
    static const char *const precisions[] = { "", "f32", "bf16", "int8", "int32" };
    const struct vmoe_read_options options = { 0 };
    struct vmoe_checkpoint checkpoint;
    vmoe_error error = VMOE_ERROR_INIT;
    struct vmoe_tensor *tensors;
    uint64_t count;
    const uint8_t *data;
    char command[1024], line[512];
    FILE *listing;

    if (vmoe_checkpoint_read(path, NULL, 0, &options, &vmoe_memory_default, &checkpoint, &error) !=
        VMOE_OK)
        fail_msg("%s: %s", error.where, error.text);
    count = vmoe_tensor_count(&checkpoint.info);
    tensors = malloc(count * sizeof *tensors);
    vmoe_tensor_list(&checkpoint.info, tensors);
    snprintf(command, sizeof command, "%s tests/second_reader.py %s", python(), path);
    listing = popen(command, "r");
    assert_non_null(listing);
    data = checkpoint.data;
    for (uint64_t i = 0; i < count; i++) {
        const struct vmoe_tensor *t = &tensors[i];
        /* The scales of an int8 matrix follow it in memory, and its sums follow them. */
        const float *scales = (const float *)(data + vmoe_format_tensor_offset(t->bytes));
        char expected[256];

        do
            assert_non_null(fgets(line, sizeof line, listing));
        while (line[0] == '#');
        snprintf(expected, sizeof expected, "%s\t%u\t%u\t%s\t%08x\n", t->name, t->rows, t->columns,
                 precisions[t->precision], tensor_crc(t, data, scales));
        assert_string_equal(line, expected);
        if (t->precision == VMOE_PRECISION_INT8)
            check_sums(t, data);
        data += vmoe_format_tensor_offset(t->bytes);
    }
    assert_null(fgets(line, sizeof line, listing));
    assert_int_equal(pclose(listing), 0);
    free(tensors);
    vmoe_checkpoint_release(&checkpoint, &vmoe_memory_default);
    return count;
}

static void our_files_mean_the_same_to_the_second_reader(void **state)
{
    vmoe_info info = VMOE_INFO_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    const char *path = scratch_path("ours.vmoe");
    size_t files = 0, tensors = 0;

    (void)state;
    if (!have_numpy())
        skip_because("there is no Python with NumPy");
    info.image_size = 14;
    info.patch_size = 7;
    info.width = 36;
    info.heads = 3;
    info.mlp = 70;
    info.layers = 3;
    info.classes = 17;
    for (uint32_t variant = 0; variant < 24; variant++) {
        vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
        struct vmoe_source *source;

        options.precision = VMOE_PRECISION_F32 + variant % 3;
        options.compact = variant / 3 % 2;
        info.classifier = variant / 6 % 2 ? VMOE_CLASSIFIER_GAP : VMOE_CLASSIFIER_TOKEN;
        info.pre_logits = variant / 6 % 2 ? 19 : 0;
        info.experts = variant / 12 % 2 ? 6 : 0;
        info.members = variant / 12 % 2 ? 1 + variant % 3 : 1;
        info.moe[1] = variant / 12 % 2;
        source = formula_source(&info, variant);
        if (vmoe_import_source(source, "formula", path, &options, &vmoe_memory_default, &error) !=
            VMOE_OK)
            fail_msg("%s: %s", error.where, error.text);
        source->close(source);
        tensors += compare_readings(path);
        files++;
    }
    print_message("  %zu files, %zu tensors\n", files, tensors);
}

static void upstreams_map_head_means_the_same_to_the_second_reader(void **state)
{
    const char *path = scratch_path("map.vmoe");
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    if (!have_numpy() || !golden_has("models/map/model.index"))
        skip_because("there is no Python with NumPy, or no golden model");
    for (uint32_t precision = VMOE_PRECISION_F32; precision <= VMOE_PRECISION_INT8; precision++) {
        vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;

        options.precision = precision;
        options.compact = precision != VMOE_PRECISION_F32;
        if (vmoe_import(golden_path("models/map/model"), path, &options, &error) != VMOE_OK)
            fail_msg("%s: %s", error.where, error.text);
        compare_readings(path);
    }
}

/* The builder is a second writer, too, as independent of ours as the reader is. */
static void its_files_mean_the_same_to_us(void **state)
{
    char command[1024], name[256];
    size_t files = 0;
    FILE *list;

    (void)state;
    if (!have_numpy())
        skip_because("there is no Python with NumPy");
    snprintf(command, sizeof command, "%s tests/vmoe_builder.py %s >/dev/null", python(),
             scratch_folder());
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof command, "ls %s/*.vmoe", scratch_folder());
    list = popen(command, "r");
    assert_non_null(list);
    while (fgets(name, sizeof name, list) != NULL) {
        name[strcspn(name, "\n")] = '\0';
        compare_readings(name);
        files++;
    }
    pclose(list);
    print_message("  %zu files\n", files);
    assert_true(files >= 9);
}

/* The shipped model is read by both, and its labels are there. */
static void the_demo_model_means_the_same_to_both(void **state)
{
    (void)state;
    if (!have_numpy())
        skip_because("there is no Python with NumPy");
    assert_true(compare_readings("examples/demo/fashion-mnist.vmoe") > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_files_mean_the_same_to_the_second_reader),
        cmocka_unit_test(upstreams_map_head_means_the_same_to_the_second_reader),
        cmocka_unit_test(its_files_mean_the_same_to_us),
        cmocka_unit_test(the_demo_model_means_the_same_to_both),
    };

    return cmocka_run_group_tests_name("second opinion", tests, NULL, NULL);
}
