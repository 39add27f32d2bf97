/*
 * The released geometries with weights by formula: upstream's logits for S/32, B/16 and slices of
 * H/14 and the 15B, through import, file, load and run, as a user's model would go.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint/import.h"
#include "support/formula.h"
#include "support/support.h"

/* Strict float32 stays this close to upstream's float64 answers. */
#define TOLERANCE 2e-5

static uint32_t number(const struct table *table, const char *key)
{
    /* The geometry tables have no header: their first line is a pair like the others. */
    for (size_t i = 0; i <= table->rows; i++)
        if (strcmp(table->cells[2 * i], key) == 0)
            return (uint32_t)strtoul(table->cells[2 * i + 1], NULL, 10);
    fail_msg("the geometry lacks %s", key);
    return 0;
}

static vmoe_info load_geometry(const char *model)
{
    struct table table = table_load(golden_path("geometry/%s.geometry.tsv", model));
    vmoe_info info = VMOE_INFO_INIT;

    info.image_size = number(&table, "px");
    info.patch_size = number(&table, "patch");
    info.width = number(&table, "D");
    info.mlp = number(&table, "F");
    info.heads = number(&table, "H");
    info.layers = number(&table, "L");
    info.experts = number(&table, "E");
    info.classes = number(&table, "classes");
    info.pre_logits = number(&table, "rep"); /* "None" reads as 0 */
    info.classifier = VMOE_CLASSIFIER_TOKEN;
    for (size_t i = 0; i <= table.rows; i++) {
        char *list = table.cells[2 * i + 1];

        if (strcmp(table.cells[2 * i], "moe") != 0)
            continue;
        for (char *block = strtok(list, ","); block != NULL; block = strtok(NULL, ","))
            info.moe[strtoul(block, NULL, 10)] = 1;
    }
    table_free(&table);
    return info;
}

/* The generator must be right before the model can be judged. */
static void check_generator(const char *model, struct vmoe_source *source)
{
    struct table table = table_load(golden_path("geometry/%s.tensors.tsv", model));

    assert_int_equal(table.rows, source->count);
    for (size_t i = 0; i < source->count; i++) {
        const struct vmoe_array *array = &source->arrays[i];
        float first, last;

        assert_string_equal(table_cell(&table, i, "name"), array->name);
        source->read(source, i, 0, 1, &first, NULL);
        source->read(source, i, array->elements - 1, 1, &last, NULL);
        assert_true(first == strtof(table_cell(&table, i, "first"), NULL));
        assert_true(last == strtof(table_cell(&table, i, "last"), NULL));
    }
    table_free(&table);
}

static void run_case(vmoe_model *model, const vmoe_info *info, const struct npy *images,
                     const struct table *cases, size_t row)
{
    struct npy expected = npy_load(golden_path("geometry/%s", table_cell(cases, row, "logits")));
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_input input = VMOE_INPUT_INIT;
    vmoe_output output = VMOE_OUTPUT_INIT;
    vmoe_report report = VMOE_REPORT_INIT;
    double difference;

    options.capacity = strtod(table_cell(cases, row, "C"), NULL);
    options.experts_per_token = (uint32_t)atoi(table_cell(cases, row, "K"));
    options.priority =
        atoi(table_cell(cases, row, "bpr")) ? VMOE_PRIORITY_BPR_MAX : VMOE_PRIORITY_VANILLA;
    options.group_images = (uint32_t)atoi(table_cell(cases, row, "group_images"));
    input.images = images->dims[0];
    input.pixels = images->data;
    input.length = images->elements;
    output.logits_length = images->dims[0] * info->classes;
    output.logits = malloc(output.logits_length * sizeof(float));
    output.report = &report;
    assert_int_equal(expected.elements, output.logits_length);
    if (vmoe_run(model, &input, &options, &output, &error) != VMOE_OK)
        fail_msg("%s: %s", error.where, error.text);
    difference = max_difference(output.logits, expected.data, expected.elements);
    print_message("  %-10s C=%-4s K=%s bpr=%s group=%s  max |difference| %.2e\n",
                  table_cell(cases, row, "model"), table_cell(cases, row, "C"),
                  table_cell(cases, row, "K"), table_cell(cases, row, "bpr"),
                  table_cell(cases, row, "group_images"), difference);
    assert_int_equal(report.capacity, strtoul(table_cell(cases, row, "capacity"), NULL, 10));
    assert_true(difference <= TOLERANCE);
    free(output.logits);
    npy_free(&expected);
}

static void check_model(const char *name)
{
    vmoe_info info, loaded = VMOE_INFO_INIT;
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    struct vmoe_source *source;
    struct npy images;
    struct table cases;
    vmoe_model *model;
    const char *path;

    if (!golden_exists())
        skip();
    info = load_geometry(name);
    path = scratch_path("geometry.vmoe");
    images = npy_load(golden_path("geometry/%s.images.npy", name));
    cases = table_load(golden_path("geometry/cases.tsv"));
    source = formula_source(&info, 7);
    check_generator(name, source);
    options.precision = VMOE_PRECISION_F32;
    if (vmoe_import_source(source, name, path, &options, &vmoe_memory_default, &error) != VMOE_OK)
        fail_msg("%s: %s", error.where, error.text);
    source->close(source);
    if (vmoe_load_file(path, NULL, &model, &error) != VMOE_OK)
        fail_msg("%s: %s", error.where, error.text);
    unlink(path);
    vmoe_get_info(model, &loaded, NULL);
    for (size_t i = 0; i < cases.rows; i++)
        if (strcmp(table_cell(&cases, i, "model"), name) == 0)
            run_case(model, &loaded, &images, &cases, i);
    vmoe_free(model);
    npy_free(&images);
    table_free(&cases);
}

#define GEOMETRY_TEST(name) \
    static void name##_gives_upstreams_logits(void **state) \
    { \
        (void)state; \
        check_model(#name); \
    }

GEOMETRY_TEST(s32_224)
GEOMETRY_TEST(s32_384)
GEOMETRY_TEST(b16_224)
GEOMETRY_TEST(b16_384)
GEOMETRY_TEST(h14_slice)

static void the_15b_slice_gives_upstreams_logits(void **state)
{
    (void)state;
    check_model("15b_slice");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(s32_224_gives_upstreams_logits),
        cmocka_unit_test(s32_384_gives_upstreams_logits),
        cmocka_unit_test(b16_224_gives_upstreams_logits),
        cmocka_unit_test(b16_384_gives_upstreams_logits),
        cmocka_unit_test(h14_slice_gives_upstreams_logits),
        cmocka_unit_test(the_15b_slice_gives_upstreams_logits),
    };

    return cmocka_run_group_tests_name("golden geometries", tests, NULL, NULL);
}
