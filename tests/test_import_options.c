/* Wrong options of an import: each has its status, its place and its sentence. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/import.h"
#include "support/fault.h"
#include "support/formula.h"
#include "support/support.h"
#include "support/tiny.h"

static const char *const five[] = { "a", "b", "c", "d", "e" };

/* Imports the tiny model with these options and forgets the file. */
static vmoe_status import_tiny(const vmoe_import_options *options, vmoe_error *error)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    struct vmoe_source *source = formula_source(&geometry, 11);
    vmoe_status status = vmoe_import_source(source, "formula", scratch_path("import.vmoe"), options,
                                            &vmoe_memory_default, error);

    source->close(source);
    return status;
}

#define IMPORT_REFUSED(expected, where, ...)                                                       \
    do {                                                                                           \
        vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;                                    \
        vmoe_error error = VMOE_ERROR_INIT;                                                        \
                                                                                                   \
        __VA_ARGS__;                                                                               \
        assert_refused(import_tiny(&options, &error), error, expected, where);                     \
    } while (0)

static void wrong_import_options_are_refused(void **state)
{
    (void)state;
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "precision", options.precision = 4);
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "compact", options.compact = 2);
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "preset", options.preset = "no such name");
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "preset",
                   options.preset = "vmoe_b16_imagenet21k_randaug_strong");
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "preset", options.preset = "eee_s32_last2_ilsvrc2012");
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "experts_per_token", options.experts_per_token = 5);
    IMPORT_REFUSED(VMOE_ERR_LIMIT, "experts_per_token", options.experts_per_token = 17);
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "capacity", options.capacity = -1.0);
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "capacity", options.capacity = -5e-324);
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "capacity", options.capacity = (double)NAN);
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "capacity", options.capacity = (double)INFINITY);
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "capacity", options.capacity = 64.5);
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "capacity_rule", options.capacity_rule = 3);
    IMPORT_REFUSED(VMOE_ERR_LIMIT, "capacity_multiple", options.capacity_multiple = 4097);
    IMPORT_REFUSED(VMOE_ERR_LIMIT, "group_images", options.group_images = 1048577);
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "gelu", options.gelu = 3);
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "output", options.output = 3);
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "preprocessing", options.preprocessing.kind = 3;
                   options.preprocessing.side = 12);
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "preprocessing", options.preprocessing.kind = 1;
                   options.preprocessing.side = 16);
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "preprocessing", options.preprocessing.kind = 2;
                   options.preprocessing.side = 16);
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "patch_size", options.image_size = 13);
    IMPORT_REFUSED(VMOE_ERR_LIMIT, "image_size", options.image_size = 4100);
    IMPORT_REFUSED(VMOE_ERR_LIMIT, "patch_size", options.image_size = 4096);
}

static void wrong_labels_are_refused(void **state)
{
    static const char *const wrong[] = {
        "", "two\nlines", "tab\t", "\x7f", "\xff", "\xc3",
        "\xc0\xaf", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xc2\x85",
    };
    static char long_label[1026], long_text[4098];
    const char *labels[5];

    (void)state;
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "labels", options.labels = five; options.label_count = 4);
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "labels", options.labels = five; options.label_count = 6);
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "labels", options.labels = five);
    memset(long_label, 'x', 1025);
    memset(long_text, 'x', 4097);
    memcpy(labels, five, sizeof labels);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        labels[i % 5] = wrong[i];
        IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "labels", options.labels = labels;
                       options.label_count = 5);
        if (i > 0) /* an empty provenance is one */
            IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "provenance", options.provenance = wrong[i]);
        labels[i % 5] = five[i % 5];
    }
    labels[4] = long_label;
    IMPORT_REFUSED(VMOE_ERR_LIMIT, "labels", options.labels = labels; options.label_count = 5);
    IMPORT_REFUSED(VMOE_ERR_LIMIT, "provenance", options.provenance = long_text);
}

static void null_labels_are_refused(void **state)
{
    const char *const labels[] = { "a", "b", NULL, "d", "e" };
    vmoe_import_options none = VMOE_IMPORT_OPTIONS_INIT;
    vmoe_error nowhere = VMOE_ERROR_INIT;

    (void)state;
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "labels[2]", options.labels = labels;
                   options.label_count = 5);
    none.label_count = 5;
    assert_refused(vmoe_import("/nowhere", "/nowhere.vmoe", &none, &nowhere), nowhere,
                   VMOE_ERR_ARGUMENT, "options.labels");
}

/* The longest texts there may be, with the longest characters. */
static void labels_up_to_the_limit_are_kept(void **state)
{
    static char label[1025], provenance[4097];
    const char *labels[5] = { "a", "b", "c", "d", label };
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model;

    (void)state;
    for (size_t i = 0; i < 1024; i += 4)
        memcpy(label + i, "\xf0\x9f\x90\x88", 4);
    memset(provenance, '~', 4096);
    options.labels = labels;
    options.label_count = 5;
    options.provenance = provenance;
    assert_ok(import_tiny(&options, &error), error);
    model = must_load(scratch_path("import.vmoe"), NULL);
    assert_string_equal(vmoe_label(model, 4), label);
    assert_string_equal(vmoe_label(model, 5), "");
    assert_string_equal(vmoe_label(model, UINT32_MAX), "");
    assert_string_equal(vmoe_provenance(model), provenance);
    vmoe_free(model);
}

/* Calls take a denormal number at its word, too, whatever comparisons think of it. */
static void a_capacity_that_is_nearly_zero_is_not_the_default(void **state)
{
    static const double capacities[] = { 5e-324, 1e-310, 0.0, -0.0 };

    (void)state;
    for (size_t i = 0; i < sizeof capacities / sizeof capacities[0]; i++) {
        vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
        vmoe_error error = VMOE_ERROR_INIT;
        vmoe_info info = VMOE_INFO_INIT;
        vmoe_model *model;

        options.capacity = capacities[i];
        assert_ok(import_tiny(&options, &error), error);
        model = must_load(scratch_path("import.vmoe"), NULL);
        assert_int_equal(vmoe_get_info(model, &info, NULL), VMOE_OK);
        assert_true(info.capacity == (capacities[i] == 0.0 ? 1.05 : capacities[i]));
        vmoe_free(model);
    }
}

/* Without its folder; a name that is no text for a file is left out. */
static void the_provenance_is_the_name_of_the_source(void **state)
{
    static const char *const sources[][2] = {
        { "prefix", "prefix" }, { "/folder/pre.fix", "pre.fix" }, { "fol\nder/prefix", "prefix" },
        { "folder/pre\nfix", "" }, { "folder/\xff", "" },
    };
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    const vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        struct vmoe_source *source = formula_source(&geometry, 11);
        vmoe_error error = VMOE_ERROR_INIT;
        vmoe_model *model;

        assert_ok(vmoe_import_source(source, sources[i][0], scratch_path("named.vmoe"), &options,
                                     &vmoe_memory_default, &error),
                  error);
        model = must_load(scratch_path("named.vmoe"), NULL);
        assert_string_equal(vmoe_provenance(model), sources[i][1]);
        vmoe_free(model);
        source->close(source);
    }
}

/* The source that has the numbers of a training state. */
static struct vmoe_source *wrapped;

static vmoe_status read_wrapped(struct vmoe_source *source, size_t array, uint64_t first,
                                uint64_t count, float *out, vmoe_error *error)
{
    (void)source;
    return wrapped->read(wrapped, array, first, count, out, error);
}

static void the_provenance_tells_what_was_left_of_a_training_state(void **state)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    const vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    struct vmoe_source *source = formula_source(&geometry, 11);
    struct vmoe_source training = *source;
    struct vmoe_array *arrays = calloc(source->count + 2, sizeof *arrays);
    char (*names)[160] = calloc(source->count, sizeof *names);
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model;

    (void)state;
    /* Behind the others in the order of names, so that the numbers of the arrays remain. */
    for (size_t i = 0; i < source->count; i++) {
        snprintf(names[i], sizeof names[i], "params/%s", source->arrays[i].name);
        arrays[i] = source->arrays[i];
        arrays[i].name = names[i];
    }
    arrays[source->count].name = "params_ema/cls";
    arrays[source->count + 1].name = "step";
    wrapped = source;
    training.arrays = arrays;
    training.count = source->count + 2;
    training.read = read_wrapped;
    assert_ok(vmoe_import_source(&training, "folder/state", scratch_path("state.vmoe"), &options,
                                 &vmoe_memory_default, &error),
              error);
    model = must_load(scratch_path("state.vmoe"), NULL);
    assert_string_equal(vmoe_provenance(model), "state: params, without 2 other arrays");
    vmoe_free(model);
    source->close(source);
    free(names);
    free(arrays);
}

/* The default is 2, but no more than there are. */
static void one_expert_is_one_for_each_token(void **state)
{
    vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN), info;
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_cost cost = VMOE_COST_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model;

    (void)state;
    for (uint32_t experts = 1; experts <= 3; experts++) {
        geometry.experts = experts;
        model = make_model(&geometry, VMOE_PRECISION_F32);
        info = info_of(model);
        assert_int_equal(info.experts_per_token, experts == 1 ? 1 : 2);
        options.experts_per_token = experts + 1;
        assert_refused(vmoe_get_cost(&info, &options, 1, &cost, &error), error, VMOE_ERR_ARGUMENT,
                       "options.experts_per_token");
        vmoe_free(model);
    }
}

/* Nothing else in a checkpoint says how large they are, so they must not be believed. */
static void boasting_position_embeddings_get_no_memory(void **state)
{
    static const uint64_t boasts[][2] = { { 0, 1 << 25 }, { 2, 1 << 25 } };
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);

    (void)state;
    for (size_t i = 0; i < sizeof boasts / sizeof boasts[0]; i++) {
        const vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
        struct vmoe_source *source = formula_source(&geometry, 11);
        struct vmoe_array *array = (struct vmoe_array *)(uintptr_t)source->arrays;
        vmoe_error error = VMOE_ERROR_INIT;
        struct fault fault;
        vmoe_status status;

        while (strstr(array->name, "pos_embedding") == NULL)
            array++;
        array->elements = array->elements / array->dims[boasts[i][0]] * boasts[i][1];
        array->dims[boasts[i][0]] = boasts[i][1];
        fault_init(&fault, 0, false);
        status = vmoe_import_source(source, "formula", scratch_path("boast.vmoe"), &options,
                                    &fault.allocator, &error);
        assert_refused(status, error, VMOE_ERR_FORMAT, "pos_embedding");
        assert_in_range(fault.peak, 0, 1 << 20);
        assert_int_equal(fault.live, 0);
        source->close(source);
    }
}

/* An import of the tiny model of whose array number `at` a test says something else. */
struct lie {
    struct vmoe_source *source;
    size_t count; /* of the arrays */
    struct vmoe_array *array;
    char name[128];
};

static struct lie begin_lie(size_t at)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_MAP);
    struct lie lie = { .source = formula_source(&geometry, 11) };

    lie.count = lie.source->count;
    lie.array = (struct vmoe_array *)(uintptr_t)lie.source->arrays + at;
    snprintf(lie.name, sizeof lie.name, "%s", lie.array->name);
    return lie;
}

static vmoe_status end_lie(struct lie *lie, vmoe_error *error)
{
    const vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    vmoe_status status = vmoe_import_source(lie->source, "formula", scratch_path("lie.vmoe"),
                                            &options, &vmoe_memory_default, error);

    lie->source->count = lie->count;
    lie->source->close(lie->source);
    return status;
}

/* Checkpoints may have arrays without elements, and arrays of very many, but not a model's own. */
static void shapes_that_lie_are_refused_where_they_are(void **state)
{
    static const uint64_t lengths[] = { 0, UINT64_C(1) << 31 };
    struct lie lie = begin_lie(0);
    const size_t count = lie.count;
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    lie.source->close(lie.source);
    for (size_t i = 0; i < count; i++) {
        uint32_t rank = 1;

        for (uint32_t axis = 0; axis < rank; axis++) {
            for (size_t j = 0; j < sizeof lengths / sizeof lengths[0]; j++) {
                lie = begin_lie(i);
                rank = lie.array->rank;
                lie.array->elements = lie.array->elements / lie.array->dims[axis] * lengths[j];
                lie.array->dims[axis] = lengths[j];
                assert_refused(end_lie(&lie, &error), error, VMOE_ERR_FORMAT, lie.name);
            }
        }
        lie = begin_lie(i);
        /* One router like an ensemble's makes the others wrong. */
        lie.array->dims[lie.array->rank++] = 1;
        assert_refused(end_lie(&lie, &error), error, VMOE_ERR_FORMAT,
                       strstr(lie.name, "Router") != NULL ? "Router" : lie.name);
    }
}

/* What is left is another model, of which either something is missing or something is not part. */
static void an_import_without_any_one_array_is_refused(void **state)
{
    struct lie lie = begin_lie(0);
    const size_t count = lie.count;

    (void)state;
    lie.source->close(lie.source);
    for (size_t i = 0; i < count; i++) {
        vmoe_error error = VMOE_ERROR_INIT;
        struct vmoe_array missing;
        vmoe_status status;

        lie = begin_lie(i);
        missing = *lie.array;
        memmove(lie.array, lie.array + 1, (count - i - 1) * sizeof *lie.array);
        lie.array[count - i - 1] = missing;
        lie.source->count--;
        status = end_lie(&lie, &error);
        if (status != VMOE_ERR_FORMAT && status != VMOE_ERR_UNSUPPORTED)
            fail_msg("without %s: %s", lie.name, vmoe_status_name(status));
        assert_int_equal(error.status, status);
        if (status == VMOE_ERR_UNSUPPORTED)
            assert_non_null(strstr(error.text, "or other arrays are missing"));
        if (strstr(lie.name, "encoderblock_1/LayerNorm_0/scale") != NULL)
            assert_non_null(strstr(error.text, "of 1 blocks has no such array"));
    }
}

/* The bytes of a released checkpoint are not here, but its shapes are. */
static void a_preset_goes_with_its_own_model(void **state)
{
    static const char *const name = "vmoe_s32_last2_ilsvrc2012_randaug_light1";
    static const char *const tuned = "vmoe_s32_last2_ilsvrc2012_randaug_light1_ft_ilsvrc2012";
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    vmoe_info geometry = VMOE_INFO_INIT, info;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model;

    (void)state;
    if (SANITIZED)
        skip_because("not under a sanitizer");
    assert_ok(vmoe_preset(tuned, &geometry, &error), error);
    geometry.classes = 3; /* tuned once more */
    geometry.image_size = 64;
    options.preset = tuned;
    write_model(&geometry, &options, scratch_path("preset.vmoe"));
    model = must_load(scratch_path("preset.vmoe"), NULL);
    info = info_of(model);
    assert_int_equal(info.experts_per_token, 2);
    assert_true(info.capacity == 1.5);
    assert_int_equal(info.output, VMOE_OUTPUT_SOFTMAX);
    assert_int_equal(info.preprocessing.kind, VMOE_PREPROCESS_RESIZE);
    assert_int_equal(info.preprocessing.side, 64);
    vmoe_free(model);
    options.preset = name;
    geometry.image_size = 224;
    write_model(&geometry, &options, scratch_path("preset.vmoe"));
    model = must_load(scratch_path("preset.vmoe"), NULL);
    info = info_of(model);
    assert_true(info.capacity == 4.0);
    assert_int_equal(info.output, VMOE_OUTPUT_SIGMOID);
    assert_int_equal(info.preprocessing.kind, VMOE_PREPROCESS_SMALL_CROP);
    assert_int_equal(info.preprocessing.side, 256);
    assert_int_equal(info.preprocessing.crop, 224);
    vmoe_free(model);
}

static void check_another_model(const vmoe_info *geometry, const char *preset)
{
    struct vmoe_source *source = formula_source(geometry, 11);
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_status status;

    options.preset = preset;
    status = vmoe_import_source(source, "formula", scratch_path("another.vmoe"), &options,
                                &vmoe_memory_default, &error);
    assert_refused(status, error, VMOE_ERR_ARGUMENT, "options.preset");
    source->close(source);
}

/* In one of its sizes, or in the block that has the experts. */
static void a_preset_of_another_model_is_refused(void **state)
{
    static const char *const name = "vmoe_s32_last2_ilsvrc2012_randaug_light1";
    vmoe_info geometry = VMOE_INFO_INIT;
    uint32_t *const sizes[] = { &geometry.patch_size, &geometry.width,  &geometry.heads,
                                &geometry.mlp,        &geometry.layers, &geometry.experts };
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    assert_ok(vmoe_preset(name, &geometry, &error), error);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const uint32_t size = *sizes[i];

        *sizes[i] = 2 * size;
        check_another_model(&geometry, name);
        *sizes[i] = size;
    }
    geometry.moe[5] = 0;
    geometry.moe[6] = 1;
    check_another_model(&geometry, name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_import_options_are_refused),
        cmocka_unit_test(wrong_labels_are_refused),
        cmocka_unit_test(null_labels_are_refused),
        cmocka_unit_test(labels_up_to_the_limit_are_kept),
        cmocka_unit_test(a_capacity_that_is_nearly_zero_is_not_the_default),
        cmocka_unit_test(the_provenance_is_the_name_of_the_source),
        cmocka_unit_test(the_provenance_tells_what_was_left_of_a_training_state),
        cmocka_unit_test(one_expert_is_one_for_each_token),
        cmocka_unit_test(boasting_position_embeddings_get_no_memory),
        cmocka_unit_test(shapes_that_lie_are_refused_where_they_are),
        cmocka_unit_test(an_import_without_any_one_array_is_refused),
        cmocka_unit_test(a_preset_goes_with_its_own_model),
        cmocka_unit_test(a_preset_of_another_model_is_refused),
    };

    return cmocka_run_group_tests_name("import options", tests, NULL, NULL);
}
