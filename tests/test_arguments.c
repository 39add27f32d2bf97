/*
 * Wrong calls: every argument of every function has its status, its place and its sentence.  Structs
 * of older and newer headers are part of it.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/import.h"
#include "support/answer.h"
#include "support/formula.h"
#include "support/support.h"
#include "support/tiny.h"

#define JPEG "examples/demo/pictures/bag.jpg"

/* A correct call of two images, of which each test spoils one thing. */
struct call {
    vmoe_model *model;
    vmoe_info info;
    float *images;
    float logits[2 * 5], probabilities[2 * 5], features[2 * 12];
    vmoe_class top[2 * 3];
    uint64_t load[2 * 4];
    vmoe_layer_report layers[2];
    int16_t routes[2 * 2 * 10 * 4];
    vmoe_input input;
    vmoe_options options;
    vmoe_output output;
    vmoe_report report;
};

static struct call call;

static int make_call(void **state)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);

    (void)state;
    call.model = make_model(&geometry, VMOE_PRECISION_F32);
    call.info = info_of(call.model);
    call.images = make_images(&geometry, 3);
    return 0;
}

static int free_call(void **state)
{
    (void)state;
    free(call.images);
    vmoe_free(call.model);
    return 0;
}

static int reset_call(void **state)
{
    const vmoe_input input = VMOE_INPUT_INIT;
    const vmoe_options options = VMOE_OPTIONS_INIT;
    const vmoe_output output = VMOE_OUTPUT_INIT;
    const vmoe_report report = VMOE_REPORT_INIT;

    (void)state;
    call.input = input;
    call.options = options;
    call.output = output;
    call.report = report;
    call.input.images = 2;
    call.input.tensor = call.images;
    call.input.length = 2 * image_values(&call.info);
    call.output.logits = call.logits;
    call.output.logits_length = 2 * 5;
    call.output.probabilities = call.probabilities;
    call.output.probabilities_length = 2 * 5;
    call.output.features = call.features;
    call.output.features_length = 2 * 12;
    call.output.top = call.top;
    call.output.top_count = 3;
    call.output.top_length = 2 * 3;
    call.output.report = &call.report;
    call.report.load = call.load;
    call.report.load_length = 2 * 4;
    call.report.layers = call.layers;
    call.report.layers_length = 2;
    call.report.routes = call.routes;
    call.report.routes_length = 2 * 2 * 10 * 2;
    return 0;
}

static vmoe_status run(vmoe_error *error)
{
    return vmoe_run(call.model, &call.input, &call.options, &call.output, error);
}

/* The call as it stands is refused, with `error` NULL too; then it is correct again. */
static void check_call_refused(vmoe_status expected, const char *where, int line)
{
    vmoe_error error = VMOE_ERROR_INIT;

    check_refused(run(&error), &error, expected, where, __FILE__, line);
    assert_int_equal(run(NULL), expected);
    reset_call(NULL);
}

#define assert_call_refused(expected, where) check_call_refused(expected, where, __LINE__)

static void the_correct_call_is_accepted(void **state)
{
    vmoe_error error = { VMOE_ERR_IO, "stale", "stale" };

    (void)state;
    assert_int_equal(run(&error), VMOE_OK);
    assert_int_equal(error.status, VMOE_OK);
    assert_string_equal(error.where, "");
    assert_string_equal(error.text, "");
    assert_int_equal(run(NULL), VMOE_OK);
}

/* ---- NULL ----------------------------------------------------------------------------------- */

static void null_arguments_are_named(void **state)
{
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model = call.model;
    vmoe_info info = VMOE_INFO_INIT;
    vmoe_cost cost = VMOE_COST_INIT;
    vmoe_preprocessing resize = { VMOE_PREPROCESS_RESIZE, 12, 0 };
    vmoe_picture picture = { VMOE_PICTURE_RGB8, 1, 1, "abc", 3, 0 };
    uint8_t out[432];

    (void)state;
#define NULL_REFUSED(where, ...) assert_refused((__VA_ARGS__), error, VMOE_ERR_ARGUMENT, where)
    NULL_REFUSED("model", vmoe_load_file("x", NULL, NULL, &error));
    NULL_REFUSED("path", vmoe_load_file(NULL, NULL, &model, &error));
    assert_null(model);
    model = call.model;
    NULL_REFUSED("model", vmoe_load_memory("x", 1, NULL, NULL, &error));
    NULL_REFUSED("data", vmoe_load_memory(NULL, 0, NULL, &model, &error));
    assert_null(model);
    NULL_REFUSED("path", vmoe_verify_file(NULL, &error));
    NULL_REFUSED("model", vmoe_get_info(NULL, &info, &error));
    NULL_REFUSED("info", vmoe_get_info(call.model, NULL, &error));
    NULL_REFUSED("model", vmoe_run(NULL, &call.input, NULL, &call.output, &error));
    NULL_REFUSED("input", vmoe_run(call.model, NULL, NULL, &call.output, &error));
    NULL_REFUSED("output", vmoe_run(call.model, &call.input, NULL, NULL, &error));
    NULL_REFUSED("model", vmoe_logits_f32(NULL, call.images, 1, NULL, call.logits, &error));
    NULL_REFUSED("tensor", vmoe_logits_f32(call.model, NULL, 1, NULL, call.logits, &error));
    NULL_REFUSED("logits", vmoe_logits_f32(call.model, call.images, 1, NULL, NULL, &error));
    NULL_REFUSED("model", vmoe_classify_jpeg(NULL, "x", 1, NULL, call.top, 1, &error));
    NULL_REFUSED("pictures[0]", vmoe_classify_jpeg(call.model, NULL, 1, NULL, call.top, 1, &error));
    NULL_REFUSED("top", vmoe_classify_jpeg(call.model, "x", 1, NULL, NULL, 1, &error));
    NULL_REFUSED("model",
                 vmoe_classify_rgb8(NULL, out, 1, 1, 0, NULL, call.top, 1, &error));
    NULL_REFUSED("pictures[0]",
                 vmoe_classify_rgb8(call.model, NULL, 1, 1, 0, NULL, call.top, 1, &error));
    NULL_REFUSED("top", vmoe_classify_rgb8(call.model, out, 1, 1, 0, NULL, NULL, 1, &error));
    NULL_REFUSED("info", vmoe_get_cost(NULL, NULL, 1, &cost, &error));
    NULL_REFUSED("cost", vmoe_get_cost(&call.info, NULL, 1, NULL, &error));
    NULL_REFUSED("name", vmoe_preset(NULL, &info, &error));
    NULL_REFUSED("info", vmoe_preset(vmoe_preset_name(0), NULL, &error));
    NULL_REFUSED("preprocessing", vmoe_preprocess(NULL, &picture, out, sizeof out, &error));
    NULL_REFUSED("picture", vmoe_preprocess(&resize, NULL, out, sizeof out, &error));
    NULL_REFUSED("out", vmoe_preprocess(&resize, &picture, NULL, sizeof out, &error));
    NULL_REFUSED("source", vmoe_import(NULL, "x", NULL, &error));
    NULL_REFUSED("destination", vmoe_import("x", NULL, NULL, &error));
    NULL_REFUSED("limits", vmoe_get_limits(NULL, &error));
    vmoe_free(NULL);
    assert_string_equal(vmoe_label(NULL, 0), "");
    assert_string_equal(vmoe_provenance(NULL), "");
}

/* ---- Structs of other versions -------------------------------------------------------------- */

/* Calls `try` with the size of a struct set to what no header can have. */
static void check_sizes(uint32_t *size, vmoe_status (*try)(vmoe_error *), const char *where)
{
    static const uint32_t wrong[] = { 0, 1, 2, 3, 4097, 0x7fffffff, 0x80000000, 0xffffffff };
    const uint32_t right = *size;
    vmoe_error error = VMOE_ERROR_INIT;

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        *size = wrong[i];
        assert_refused(try(&error), error, VMOE_ERR_ARGUMENT, where);
    }
    *size = right;
    assert_ok(try(&error), error);
}

static vmoe_load_options load_options = VMOE_LOAD_OPTIONS_INIT;
static vmoe_import_options import_options = VMOE_IMPORT_OPTIONS_INIT;
static vmoe_info some_info = VMOE_INFO_INIT;
static vmoe_cost some_cost = VMOE_COST_INIT;
static vmoe_limits some_limits = VMOE_LIMITS_INIT;

static vmoe_status try_load(vmoe_error *error)
{
    vmoe_model *model;
    vmoe_status status =
        vmoe_load_file(scratch_path("sizes.vmoe"), &load_options, &model, error);

    vmoe_free(model);
    return status;
}

static vmoe_status try_info(vmoe_error *error)
{
    return vmoe_get_info(call.model, &some_info, error);
}

static vmoe_status try_preset(vmoe_error *error)
{
    return vmoe_preset(vmoe_preset_name(0), &some_info, error);
}

static vmoe_status try_cost(vmoe_error *error)
{
    return vmoe_get_cost(&some_info, &call.options, 2, &some_cost, error);
}

static vmoe_status try_limits(vmoe_error *error)
{
    return vmoe_get_limits(&some_limits, error);
}

static vmoe_status try_import(vmoe_error *error)
{
    vmoe_status status = vmoe_import("/nowhere", "/nowhere.vmoe", &import_options, error);

    return status == VMOE_ERR_IO ? VMOE_OK : status;
}

static void a_struct_without_its_size_is_refused(void **state)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);

    (void)state;
    write_model(&geometry, NULL, scratch_path("sizes.vmoe"));
    some_info = call.info;
    check_sizes(&call.input.size, run, "input");
    check_sizes(&call.options.size, run, "options");
    check_sizes(&call.output.size, run, "output");
    check_sizes(&call.report.size, run, "report");
    check_sizes(&load_options.size, try_load, "options");
    check_sizes(&some_info.size, try_info, "info");
    check_sizes(&some_info.size, try_preset, "info");
    check_sizes(&some_info.size, try_cost, "info");
    check_sizes(&some_cost.size, try_cost, "cost");
    check_sizes(&call.options.size, try_cost, "options");
    check_sizes(&some_limits.size, try_limits, "limits");
    check_sizes(&import_options.size, try_import, "options");
}

/* A struct of a later header: the known part, and 64 bytes behind it. */
static void *newer(const void *known, uint32_t bytes)
{
    uint8_t *made = calloc(1, bytes + 64);
    uint32_t size = bytes + 64;

    memcpy(made, known, bytes);
    memcpy(made, &size, sizeof size);
    return made;
}

static void a_newer_struct_is_accepted_if_its_tail_is_zero(void **state)
{
    vmoe_error error = VMOE_ERROR_INIT;
    uint8_t *input = newer(&call.input, sizeof call.input);
    uint8_t *options = newer(&call.options, sizeof call.options);
    uint8_t *output = newer(&call.output, sizeof call.output);
    uint8_t *report = newer(&call.report, sizeof call.report);
    uint8_t *tails[] = { input + sizeof call.input, options + sizeof call.options,
                         output + sizeof call.output, report + sizeof call.report };
    static const char *const names[] = { "input", "options", "output", "report" };

    (void)state;
    ((vmoe_output *)(void *)output)->report = (vmoe_report *)(void *)report;
#define RUN_NEWER()                                                                                \
    vmoe_run(call.model, (vmoe_input *)(void *)input, (vmoe_options *)(void *)options,             \
             (vmoe_output *)(void *)output, &error)
    assert_ok(RUN_NEWER(), error);
    for (size_t i = 0; i < 4; i++) {
        for (size_t at = 0; at < 64; at += 21) {
            tails[i][at] = 1;
            assert_refused(RUN_NEWER(), error, VMOE_ERR_UNSUPPORTED, names[i]);
            tails[i][at] = 0;
        }
    }
    assert_ok(RUN_NEWER(), error);
    assert_int_equal(((vmoe_report *)(void *)report)->size, sizeof call.report + 64);
    free(input);
    free(options);
    free(output);
    free(report);
}

/* What the library fills is filled as far as both sides know, and not a byte further. */
static void only_the_known_part_of_a_struct_is_filled(void **state)
{
    static const uint32_t sizes[] = { 4, 8, 12, 48, 300, sizeof(vmoe_info), sizeof(vmoe_info) + 40 };
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const size_t filled = sizes[i] < sizeof(vmoe_info) ? sizes[i] : sizeof(vmoe_info);
        uint64_t space[(sizeof(vmoe_info) + 64) / 8];
        uint8_t *bytes = (uint8_t *)space;

        memset(bytes, 0xEE, sizeof space);
        memcpy(bytes, &sizes[i], 4);
        assert_ok(vmoe_get_info(call.model, (vmoe_info *)(void *)space, &error), error);
        assert_memory_equal(bytes, &sizes[i], 4);
        assert_memory_equal(bytes + 4, (uint8_t *)&call.info + 4, filled - 4);
        for (size_t k = filled; k < sizeof space; k++)
            assert_int_equal(bytes[k], 0xEE);
    }
}

/* An application that was built when the options ended behind K; the rest is whatever lies there. */
static void an_older_struct_means_the_defaults(void **state)
{
    vmoe_options old, expected = VMOE_OPTIONS_INIT;
    struct answer a, b;

    (void)state;
    memset(&old, 0xEE, sizeof old);
    old.size = 8;
    old.experts_per_token = 3;
    expected.experts_per_token = 3;
    a = must_answer(call.model, call.images, 2, &old);
    b = must_answer(call.model, call.images, 2, &expected);
    assert_same_answer(&a, &b);
    answer_free(&a);
    old.size = 4;
    answer_free(&b);
    old.experts_per_token = 0; /* which answer_run looks at, but the library must not */
    a = must_answer(call.model, call.images, 2, &old);
    b = must_answer(call.model, call.images, 2, NULL);
    assert_same_answer(&a, &b);
    answer_free(&a);
    answer_free(&b);
}

/* ---- Loading -------------------------------------------------------------------------------- */

static void wrong_load_options_are_refused(void **state)
{
    static void *(*const no_alloc)(void *, size_t, size_t) = NULL;
    vmoe_allocator allocator = { no_alloc, NULL, NULL };
    vmoe_load_options options = VMOE_LOAD_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model = call.model;

    (void)state;
    for (uint32_t flag = 4; flag != 0; flag <<= 1) {
        options.flags = flag;
        assert_refused(vmoe_load_memory("x", 1, &options, &model, &error), error,
                       VMOE_ERR_UNSUPPORTED, "options.flags");
        assert_null(model);
    }
    options.flags = 0;
    options.allocator = &allocator;
    assert_refused(vmoe_load_memory("x", 1, &options, &model, &error), error, VMOE_ERR_ARGUMENT,
                   "options.allocator");
}

/* ---- Input ---------------------------------------------------------------------------------- */

static void exactly_one_input_is_given(void **state)
{
    static const uint8_t pixels[2 * 432];
    const vmoe_picture picture = { VMOE_PICTURE_RGB8, 1, 1, pixels, 3, 0 };

    (void)state;
    call.input.tensor = NULL;
    assert_call_refused(VMOE_ERR_ARGUMENT, "input");
    call.input.pixels = pixels;
    assert_call_refused(VMOE_ERR_ARGUMENT, "input");
    call.input.pictures = &picture;
    assert_call_refused(VMOE_ERR_ARGUMENT, "input");
    call.input.pictures = &picture;
    call.input.pixels = pixels;
    assert_call_refused(VMOE_ERR_ARGUMENT, "input");
}

static void the_length_of_the_input_is_checked(void **state)
{
    static const uint8_t pixels[2 * 432];

    (void)state;
    for (size_t length = 0; length <= 3 * 432; length += length == 864 ? 432 : 431) {
        if (length == 864)
            continue;
        call.input.length = length;
        assert_call_refused(VMOE_ERR_ARGUMENT, "input.length");
        call.input.tensor = NULL;
        call.input.pixels = pixels;
        call.input.length = length;
        assert_call_refused(VMOE_ERR_ARGUMENT, "input.length");
    }
    call.input.length = 865;
    assert_call_refused(VMOE_ERR_ARGUMENT, "input.length");
    call.input.length = SIZE_MAX;
    assert_call_refused(VMOE_ERR_ARGUMENT, "input.length");
    /* A number of images whose values would wrap to what was given. */
    call.input.images = ((size_t)1 << 60) + 2;
    assert_call_refused(VMOE_ERR_LIMIT, "images");
    call.input.images = SIZE_MAX;
    assert_call_refused(VMOE_ERR_LIMIT, "images");
}

static void too_many_images_are_refused_everywhere(void **state)
{
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_cost cost = VMOE_COST_INIT;
    const size_t many = ((size_t)1 << 32) + 1;

    (void)state;
    assert_refused(vmoe_logits_f32(call.model, call.images, many, NULL, call.logits, &error), error,
                   VMOE_ERR_LIMIT, "images");
    assert_refused(vmoe_logits_f32(call.model, call.images, SIZE_MAX, NULL, call.logits, &error),
                   error, VMOE_ERR_LIMIT, "images");
    assert_refused(vmoe_get_cost(&call.info, NULL, many, &cost, &error), error, VMOE_ERR_LIMIT,
                   "images");
}

static void no_images_are_fine(void **state)
{
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    call.input.images = 0;
    call.input.tensor = NULL;
    call.input.length = 0;
    call.output.logits_length = call.output.probabilities_length = 0;
    call.output.features_length = call.output.top_length = 0;
    call.report.routes_length = 0;
    memset(call.load, 0xEE, sizeof call.load);
    assert_ok(run(&error), error);
    assert_int_equal(call.report.assigned, 0);
    assert_int_equal(call.report.groups, 0);
    assert_int_equal(call.report.macs, 0);
    assert_int_equal(call.report.weight_bytes, 0);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(call.load[i], 0);
    call.options.group_images = VMOE_GROUP_ALL;
    assert_ok(run(&error), error);
    assert_ok(vmoe_logits_f32(call.model, call.images, 0, NULL, call.logits, &error), error);
    /* What is wrong with the options is said all the same. */
    call.options.threads = 257;
    assert_refused(run(&error), error, VMOE_ERR_LIMIT, "options.threads");
}

/* ---- The dial ------------------------------------------------------------------------------- */

/* The same options are refused by a call and by the question what it would cost. */
static void check_dial_refused(vmoe_status expected, const char *where, int line)
{
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_cost cost = VMOE_COST_INIT;

    check_refused(vmoe_get_cost(&call.info, &call.options, 2, &cost, &error), &error, expected,
                  where, __FILE__, line);
    check_call_refused(expected, where, line);
}

#define assert_dial_refused(expected, where) check_dial_refused(expected, where, __LINE__)

static void capacity_must_be_a_positive_number_up_to_64(void **state)
{
    static const double wrong[] = { -1.0, -1e-300, -0.5, NAN, INFINITY, -INFINITY, 64.000001, 65.0,
                                    1e300 };
    static const double right[] = { 1e-9, 0.5, 64.0, 0.0, -0.0 };
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        call.options.capacity = wrong[i];
        assert_dial_refused(VMOE_ERR_ARGUMENT, "options.capacity");
    }
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        call.options.capacity = right[i];
        assert_ok(run(&error), error);
        assert_int_equal(call.report.capacity, i == 0 ? 4 : i == 1 ? 4 : i == 2 ? 320 : 8);
    }
}

/* Rounding up never gives 0, rounding to nearest may. */
static void a_capacity_below_one_slot_is_refused(void **state)
{
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    call.options.capacity = 1e-9;
    call.options.capacity_multiple = 1;
    assert_ok(run(&error), error);
    assert_int_equal(call.report.capacity, 1);
    call.options.capacity_rule = VMOE_CAPACITY_ROUND;
    assert_dial_refused(VMOE_ERR_ARGUMENT, "options.capacity");
    call.options.capacity_rule = VMOE_CAPACITY_ROUND;
    call.options.capacity_multiple = 1;
    call.options.capacity = 0.1; /* 10 tokens * 2 / 4 * 0.1 = half a slot, and half goes to even */
    assert_dial_refused(VMOE_ERR_ARGUMENT, "options.capacity");
    call.options.capacity_rule = VMOE_CAPACITY_ROUND;
    call.options.capacity_multiple = 1;
    call.options.capacity = 0.11;
    assert_ok(run(&error), error);
    assert_int_equal(call.report.capacity, 1);
}

static void a_token_goes_to_at_most_all_experts(void **state)
{
    static const uint32_t wrong[] = { 5, 16, 17, 4096, 0x80000000, 0xffffffff };
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        call.options.experts_per_token = wrong[i];
        assert_dial_refused(VMOE_ERR_ARGUMENT, "options.experts_per_token");
    }
    for (uint32_t k = 0; k <= 4; k++) {
        call.options.experts_per_token = k;
        call.report.routes_length = 2 * 2 * 10 * (k == 0 ? 2 : k);
        assert_ok(run(&error), error);
        assert_int_equal(call.report.experts_per_token, k == 0 ? 2 : k);
    }
}

static void groups_must_divide_the_images(void **state)
{
    static const uint32_t wrong[] = { 3, 4, 5, 1000000, 0x80000000, 0xfffffffe };
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        call.options.group_images = wrong[i];
        assert_dial_refused(VMOE_ERR_ARGUMENT, "options.group_images");
    }
    for (uint32_t group = 1; group <= 2; group++) {
        call.options.group_images = group;
        assert_ok(run(&error), error);
        assert_int_equal(call.report.group_images, group);
        assert_int_equal(call.report.groups, 2 / group);
    }
    call.options.group_images = VMOE_GROUP_ALL;
    assert_ok(run(&error), error);
    assert_int_equal(call.report.group_images, 2);
    assert_int_equal(call.report.groups, 1);
}

/* 1,048,576 tokens are 104,857 images of 10; asking what that costs needs no images. */
static void a_group_has_a_limit_of_tokens(void **state)
{
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_cost cost = VMOE_COST_INIT;

    (void)state;
    call.options.group_images = VMOE_GROUP_ALL;
    assert_ok(vmoe_get_cost(&call.info, &call.options, 104857, &cost, &error), error);
    assert_refused(vmoe_get_cost(&call.info, &call.options, 104858, &cost, &error), error,
                   VMOE_ERR_LIMIT, "options.group_images");
}

static void choices_out_of_range_are_refused(void **state)
{
    static const uint32_t above[] = { 0, 1, 100, 0x7fffffff };

    (void)state;
    for (size_t i = 0; i < sizeof above / sizeof above[0]; i++) {
        call.options.priority = VMOE_PRIORITY_BPR_SUM + 1 + above[i];
        assert_dial_refused(VMOE_ERR_ARGUMENT, "options.priority");
        call.options.capacity_rule = VMOE_CAPACITY_ROUND + 1 + above[i];
        assert_dial_refused(VMOE_ERR_ARGUMENT, "options.capacity_rule");
        call.options.capacity_multiple = 4096 + 1 + above[i];
        assert_dial_refused(VMOE_ERR_LIMIT, "options.capacity_multiple");
        call.options.threads = 256 + 1 + above[i];
        assert_dial_refused(VMOE_ERR_LIMIT, "options.threads");
        call.options.precision = VMOE_PRECISION_INT8 + 1 + above[i];
        assert_call_refused(VMOE_ERR_ARGUMENT, "options.precision");
        call.options.isa = VMOE_ISA_AVX512 + 1 + above[i];
        assert_call_refused(VMOE_ERR_ARGUMENT, "options.isa");
    }
}

static void every_choice_in_range_is_accepted(void **state)
{
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    for (uint32_t i = 0; i <= VMOE_PRECISION_INT8; i++) {
        call.options.precision = i;
        assert_ok(run(&error), error);
        assert_int_equal(call.report.precision, VMOE_PRECISION_F32);
    }
    for (uint32_t i = 0; i <= VMOE_PRIORITY_BPR_SUM; i++) {
        call.options.priority = i;
        assert_ok(run(&error), error);
    }
    call.options.threads = 256;
    assert_ok(run(&error), error);
    assert_int_equal(call.report.threads, 256);
}

static void instruction_sets_have_names_and_are_there_or_not(void **state)
{
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    assert_null(vmoe_isa_name(VMOE_ISA_DEFAULT));
    assert_string_equal(vmoe_isa_name(VMOE_ISA_REF), "ref");
    assert_string_equal(vmoe_isa_name(VMOE_ISA_AVX2), "avx2");
    assert_string_equal(vmoe_isa_name(VMOE_ISA_AVX512), "avx512");
    assert_null(vmoe_isa_name(VMOE_ISA_AVX512 + 1));
    assert_null(vmoe_isa_name(UINT32_MAX));
    assert_int_equal(vmoe_isa_available(VMOE_ISA_DEFAULT), 1);
    assert_int_equal(vmoe_isa_available(VMOE_ISA_REF), 1);
    assert_int_equal(vmoe_isa_available(VMOE_ISA_AVX512 + 1), 0);
    assert_int_equal(vmoe_isa_available(UINT32_MAX), 0);
    assert_int_equal(vmoe_isa_available(vmoe_isa_default()), 1);
    assert_ok(run(&error), error);
    assert_int_equal(call.report.isa, vmoe_isa_default());
    for (uint32_t isa = VMOE_ISA_REF; isa <= VMOE_ISA_AVX512; isa++) {
        call.options.isa = isa;
        if (vmoe_isa_available(isa)) {
            assert_ok(run(&error), error);
            assert_int_equal(call.report.isa, isa);
        } else {
            assert_call_refused(VMOE_ERR_UNSUPPORTED, "options.isa");
        }
    }
}

/* Without experts the dial is checked but turns nothing. */
static void a_dense_model_ignores_the_dial(void **state)
{
    vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model;
    struct answer plain, turned;

    (void)state;
    geometry.experts = 0;
    memset(geometry.moe, 0, sizeof geometry.moe);
    model = make_model(&geometry, VMOE_PRECISION_F32);
    plain = must_answer(model, call.images, 2, NULL);
    options.capacity = 0.01;
    options.priority = VMOE_PRIORITY_BPR_MAX;
    options.group_images = 2;
    options.capacity_rule = VMOE_CAPACITY_ROUND;
    turned = must_answer(model, call.images, 2, &options);
    assert_same_answer(&plain, &turned);
    assert_int_equal(turned.report.capacity, 0);
    assert_int_equal(turned.report.assigned, 0);
    answer_free(&plain);
    answer_free(&turned);
    options.capacity = -1.0;
    assert_refused(answer_run(model, call.images, 2, &options, &plain, &error), error,
                   VMOE_ERR_ARGUMENT, "options.capacity");
    vmoe_free(model);
}

/* ---- Output --------------------------------------------------------------------------------- */

static void every_array_must_have_its_exact_length(void **state)
{
    static const int off[] = { -1, 1, 5 };

    (void)state;
#define LENGTH_REFUSED(length, where)                                                              \
    do {                                                                                           \
        const size_t right = (length);                                                             \
                                                                                                   \
        for (size_t i = 0; i < sizeof off / sizeof off[0]; i++) {                                  \
            (length) = (size_t)((long)right + off[i]);                                             \
            assert_call_refused(VMOE_ERR_ARGUMENT, where);                                         \
        }                                                                                          \
        (length) = 0;                                                                              \
        assert_call_refused(VMOE_ERR_ARGUMENT, where);                                             \
        (length) = SIZE_MAX;                                                                       \
        assert_call_refused(VMOE_ERR_ARGUMENT, where);                                             \
    } while (0)
    LENGTH_REFUSED(call.output.logits_length, "output.logits");
    LENGTH_REFUSED(call.output.probabilities_length, "output.probabilities");
    LENGTH_REFUSED(call.output.features_length, "output.features");
    LENGTH_REFUSED(call.output.top_length, "output.top");
    LENGTH_REFUSED(call.report.layers_length, "report.layers");
    LENGTH_REFUSED(call.report.load_length, "report.load");
    LENGTH_REFUSED(call.report.routes_length, "report.routes");
#define ABSENT_REFUSED(array, where)                                                               \
    do {                                                                                           \
        (array) = NULL;                                                                            \
        assert_call_refused(VMOE_ERR_ARGUMENT, where);                                             \
    } while (0)
    ABSENT_REFUSED(call.output.logits, "output.logits");
    ABSENT_REFUSED(call.output.probabilities, "output.probabilities");
    ABSENT_REFUSED(call.output.features, "output.features");
    ABSENT_REFUSED(call.output.top, "output.top");
    ABSENT_REFUSED(call.report.layers, "report.layers");
    ABSENT_REFUSED(call.report.load, "report.load");
    ABSENT_REFUSED(call.report.routes, "report.routes");
    call.options.routes = call.routes;
    assert_call_refused(VMOE_ERR_ARGUMENT, "options.routes");
    call.options.routes_length = 80;
    assert_call_refused(VMOE_ERR_ARGUMENT, "options.routes");
}

static void every_output_is_optional(void **state)
{
    const vmoe_output none = VMOE_OUTPUT_INIT;
    const vmoe_report bare = VMOE_REPORT_INIT;
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    call.report = bare;
    assert_ok(run(&error), error);
    assert_int_equal(call.report.assigned, 2 * 2 * 10 * 2);
    call.output = none;
    assert_ok(run(&error), error);
}

static void the_best_classes_are_one_to_all(void **state)
{
    static const size_t wrong[] = { 0, 6, 1000, SIZE_MAX, SIZE_MAX / 2 + 1 };
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_class top[5];
    uint8_t pixels[3] = { 1, 2, 3 };

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        call.output.top_count = wrong[i];
        call.output.top_length = 2 * wrong[i];
        assert_call_refused(VMOE_ERR_ARGUMENT, "output.top_count");
        assert_refused(vmoe_classify_rgb8(call.model, pixels, 1, 1, 0, NULL, top, wrong[i], &error),
                       error, VMOE_ERR_ARGUMENT, "output.top_count");
    }
    for (size_t count = 1; count <= 5; count++)
        assert_ok(vmoe_classify_rgb8(call.model, pixels, 1, 1, 0, NULL, top, count, &error), error);
}

/* ---- Routes from outside -------------------------------------------------------------------- */

static void routes_must_name_distinct_experts(void **state)
{
    static const struct {
        int16_t first, second;
        vmoe_status expected;
    } cases[] = {
        { 0, 1, VMOE_OK },           { 3, 0, VMOE_OK },
        { -1, -2, VMOE_OK },         { 2, -4, VMOE_OK },
        { 0, 0, VMOE_ERR_ARGUMENT }, { 0, -1, VMOE_ERR_ARGUMENT },
        { -4, 3, VMOE_ERR_ARGUMENT }, { -1, -1, VMOE_ERR_ARGUMENT },
        { 4, 0, VMOE_ERR_ARGUMENT }, { 0, 4, VMOE_ERR_ARGUMENT },
        { -5, 0, VMOE_ERR_ARGUMENT }, { 0, -5, VMOE_ERR_ARGUMENT },
        { INT16_MAX, 0, VMOE_ERR_ARGUMENT }, { INT16_MIN, 0, VMOE_ERR_ARGUMENT },
        { 0, INT16_MIN, VMOE_ERR_ARGUMENT },
    };
    int16_t routes[2 * 2 * 10 * 2];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t at = 0; at < 80; at += 78) { /* the first token and the last */
            vmoe_error error = VMOE_ERROR_INIT;

            for (size_t k = 0; k < 80; k++)
                routes[k] = (int16_t)(k % 2);
            routes[at] = cases[i].first;
            routes[at + 1] = cases[i].second;
            call.options.routes = routes;
            call.options.routes_length = 80;
            if (cases[i].expected == VMOE_OK)
                assert_ok(run(&error), error);
            else
                assert_call_refused(cases[i].expected, "options.routes");
        }
    }
}

/* ---- Pictures ------------------------------------------------------------------------------- */

static void bad_pictures_are_named_by_their_place(void **state)
{
    enum { COUNT = 9 };
    static const uint8_t pixels[12 * 10 * 3 + 1];
    const vmoe_picture good = { VMOE_PICTURE_RGB8, 12, 10, pixels, sizeof pixels, 0 };
    size_t jpeg_bytes;
    void *jpeg = read_file(JPEG, &jpeg_bytes);
    const struct {
        vmoe_picture picture;
        vmoe_status expected;
    } bad[] = {
        { { 0, 12, 10, pixels, sizeof pixels, 0 }, VMOE_ERR_ARGUMENT },
        { { 3, 12, 10, pixels, sizeof pixels, 0 }, VMOE_ERR_ARGUMENT },
        { { VMOE_PICTURE_RGB8, 12, 10, NULL, sizeof pixels, 0 }, VMOE_ERR_ARGUMENT },
        { { VMOE_PICTURE_RGB8, 0, 10, pixels, sizeof pixels, 0 }, VMOE_ERR_ARGUMENT },
        { { VMOE_PICTURE_RGB8, 12, 0, pixels, sizeof pixels, 0 }, VMOE_ERR_ARGUMENT },
        { { VMOE_PICTURE_RGB8, 12, 10, pixels, 359, 0 }, VMOE_ERR_ARGUMENT },
        { { VMOE_PICTURE_RGB8, 12, 10, pixels, sizeof pixels, 35 }, VMOE_ERR_ARGUMENT },
        { { VMOE_PICTURE_RGB8, 12, 10, pixels, sizeof pixels, 37 }, VMOE_ERR_ARGUMENT },
        { { VMOE_PICTURE_RGB8, 12, 10, pixels, sizeof pixels, SIZE_MAX }, VMOE_ERR_ARGUMENT },
        { { VMOE_PICTURE_RGB8, 16385, 1, pixels, SIZE_MAX, 0 }, VMOE_ERR_LIMIT },
        { { VMOE_PICTURE_RGB8, 1, 16385, pixels, SIZE_MAX, 0 }, VMOE_ERR_LIMIT },
        { { VMOE_PICTURE_RGB8, 16384, 4097, pixels, SIZE_MAX, 0 }, VMOE_ERR_LIMIT },
        { { VMOE_PICTURE_RGB8, UINT32_MAX, UINT32_MAX, pixels, SIZE_MAX, 0 }, VMOE_ERR_LIMIT },
        { { VMOE_PICTURE_JPEG, 0, 0, jpeg, 0, 0 }, VMOE_ERR_IMAGE },
        { { VMOE_PICTURE_JPEG, 0, 0, jpeg, 1, 0 }, VMOE_ERR_IMAGE },
        { { VMOE_PICTURE_JPEG, 0, 0, jpeg, jpeg_bytes - 1, 0 }, VMOE_ERR_IMAGE },
        { { VMOE_PICTURE_JPEG, 0, 0, jpeg, jpeg_bytes / 2, 0 }, VMOE_ERR_IMAGE },
        { { VMOE_PICTURE_JPEG, 0, 0, pixels, sizeof pixels, 0 }, VMOE_ERR_IMAGE },
    };
    const vmoe_output none = VMOE_OUTPUT_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        for (size_t at = 0; at < COUNT; at += 4) {
            vmoe_picture pictures[COUNT];
            char place[32];

            for (size_t k = 0; k < COUNT; k++)
                pictures[k] = good;
            pictures[at] = bad[i].picture;
            /* Of several bad pictures the first is named, whatever thread meets it. */
            for (size_t k = at + 1; k < COUNT; k += 2)
                pictures[k] = bad[(i + k) % (sizeof bad / sizeof bad[0])].picture;
            snprintf(place, sizeof place, "input.pictures[%zu]", at);
            call.input.images = COUNT;
            call.input.tensor = NULL;
            call.input.length = 0;
            call.input.pictures = pictures;
            call.options.threads = 4;
            call.output = none;
            assert_call_refused(bad[i].expected, place);
        }
    }
    free(jpeg);
}

/* JPEG files and pixels of different sizes in one call, each as in a call of its own. */
static void kinds_and_sizes_of_pictures_may_be_mixed(void **state)
{
    static uint8_t pixels[50 * 40 * 3];
    size_t jpeg_bytes;
    void *jpeg = read_file(JPEG, &jpeg_bytes);
    const vmoe_picture pictures[] = {
        { VMOE_PICTURE_RGB8, 40, 30, pixels, sizeof pixels, 0 },
        { VMOE_PICTURE_JPEG, 0, 0, jpeg, jpeg_bytes, 0 },
        { VMOE_PICTURE_RGB8, 12, 12, pixels + 7, 12 * 36, 36 },
        { VMOE_PICTURE_RGB8, 1, 1, pixels + 100, 3, 0 },
        { VMOE_PICTURE_RGB8, 3, 40, pixels, sizeof pixels, 150 },
    };
    enum { COUNT = sizeof pictures / sizeof pictures[0] };
    float together[COUNT * 5], alone[5];
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_output output = VMOE_OUTPUT_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * i + i / 150);
    call.input.tensor = NULL;
    call.input.length = 0;
    call.input.pictures = pictures;
    call.input.images = COUNT;
    output.logits = together;
    output.logits_length = COUNT * 5;
    assert_ok(vmoe_run(call.model, &call.input, NULL, &output, &error), error);
    call.input.images = 1;
    output.logits = alone;
    output.logits_length = 5;
    for (size_t i = 0; i < COUNT; i++) {
        call.input.pictures = &pictures[i];
        assert_ok(vmoe_run(call.model, &call.input, NULL, &output, &error), error);
        assert_memory_equal(together + 5 * i, alone, sizeof alone);
    }
    free(jpeg);
}

static void the_simple_calls_refuse_what_the_full_one_refuses(void **state)
{
    static const uint8_t pixels[3];
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_class top[5];

    (void)state;
    options.threads = 257;
    assert_refused(vmoe_classify_rgb8(call.model, pixels, 1, 1, 0, &options, top, 1, &error), error,
                   VMOE_ERR_LIMIT, "options.threads");
    assert_refused(vmoe_classify_jpeg(call.model, pixels, 3, &options, top, 1, &error), error,
                   VMOE_ERR_LIMIT, "options.threads");
    assert_refused(vmoe_logits_f32(call.model, call.images, 1, &options, call.logits, &error),
                   error, VMOE_ERR_LIMIT, "options.threads");
    assert_refused(vmoe_classify_rgb8(call.model, pixels, 1, 1, 2, NULL, top, 1, &error), error,
                   VMOE_ERR_ARGUMENT, "pictures[0]");
    assert_refused(vmoe_classify_rgb8(call.model, pixels, 1, 2, SIZE_MAX, NULL, top, 1, &error),
                   error, VMOE_ERR_ARGUMENT, "pictures[0]");
    assert_refused(vmoe_classify_rgb8(call.model, pixels, 0, 1, 0, NULL, top, 1, &error), error,
                   VMOE_ERR_ARGUMENT, "pictures[0]");
    assert_refused(vmoe_classify_rgb8(call.model, pixels, 20000, 1, 0, NULL, top, 1, &error), error,
                   VMOE_ERR_LIMIT, "pictures[0]");
    assert_refused(vmoe_classify_jpeg(call.model, pixels, 3, NULL, top, 1, &error), error,
                   VMOE_ERR_IMAGE, "pictures[0]");
}

static void preprocessing_knows_its_size(void **state)
{
    static const uint8_t pixels[30 * 20 * 3];
    static const struct {
        vmoe_preprocessing how;
        size_t bytes;
        vmoe_status expected;
        const char *where;
    } cases[] = {
        { { VMOE_PREPROCESS_RESIZE, 12, 0 }, 432, VMOE_OK, "" },
        { { VMOE_PREPROCESS_RESIZE, 1, 0 }, 3, VMOE_OK, "" },
        { { VMOE_PREPROCESS_SMALL_CROP, 16, 12 }, 1728, VMOE_OK, "" },
        { { VMOE_PREPROCESS_SMALL_CROP, 12, 12 }, 1728, VMOE_OK, "" },
        { { VMOE_PREPROCESS_RESIZE, 12, 0 }, 431, VMOE_ERR_ARGUMENT, "bytes" },
        { { VMOE_PREPROCESS_RESIZE, 12, 0 }, 433, VMOE_ERR_ARGUMENT, "bytes" },
        { { VMOE_PREPROCESS_RESIZE, 12, 0 }, 1728, VMOE_ERR_ARGUMENT, "bytes" },
        { { VMOE_PREPROCESS_SMALL_CROP, 16, 12 }, 432, VMOE_ERR_ARGUMENT, "bytes" },
        { { VMOE_PREPROCESS_RESIZE, 12, 12 }, 432, VMOE_ERR_ARGUMENT, "crop" },
        { { VMOE_PREPROCESS_SMALL_CROP, 12, 0 }, 0, VMOE_ERR_ARGUMENT, "crop" },
        { { VMOE_PREPROCESS_SMALL_CROP, 12, 13 }, 2028, VMOE_ERR_ARGUMENT, "crop" },
        { { VMOE_PREPROCESS_RESIZE, 0, 0 }, 0, VMOE_ERR_ARGUMENT, "side" },
        { { VMOE_PREPROCESS_RESIZE, 4097, 0 }, 3, VMOE_ERR_LIMIT, "side" },
        { { VMOE_PREPROCESS_RESIZE, UINT32_MAX, 0 }, 3, VMOE_ERR_LIMIT, "side" },
        { { 0, 12, 0 }, 432, VMOE_ERR_ARGUMENT, "kind" },
        { { 3, 12, 0 }, 432, VMOE_ERR_ARGUMENT, "kind" },
    };
    vmoe_picture picture = { VMOE_PICTURE_RGB8, 30, 20, pixels, sizeof pixels, 0 };
    vmoe_error error = VMOE_ERROR_INIT;
    uint8_t out[2048];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vmoe_status status = vmoe_preprocess(&cases[i].how, &picture, out, cases[i].bytes, &error);

        if (cases[i].expected == VMOE_OK)
            assert_ok(status, error);
        else
            assert_refused(status, error, cases[i].expected, cases[i].where);
    }
    picture.bytes = 5;
    assert_refused(vmoe_preprocess(&cases[0].how, &picture, out, 432, &error), error,
                   VMOE_ERR_ARGUMENT, "picture");
}

/* ---- Importing ------------------------------------------------------------------------------ */

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
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "preset", options.preset = "no such name");
    IMPORT_REFUSED(VMOE_ERR_UNSUPPORTED, "eee_s32", options.preset = "eee_s32_last2_ilsvrc2012");
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "experts_per_token", options.experts_per_token = 5);
    IMPORT_REFUSED(VMOE_ERR_LIMIT, "experts_per_token", options.experts_per_token = 17);
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "capacity", options.capacity = -1.0);
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
    static const char *const wrong[] = { "", "two\nlines", "tab\t", "\x7f", "\xff", "\xc3", "\xc0\xaf",
                                         "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xc2\x85" };
    static char long_label[1026], long_text[4098];
    const char *labels[5];

    (void)state;
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "labels", options.labels = five; options.label_count = 4);
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "labels", options.labels = five; options.label_count = 6);
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
    IMPORT_REFUSED(VMOE_ERR_ARGUMENT, "labels", options.labels = labels; options.label_count = 5);
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

/* ---- Names of statuses ---------------------------------------------------------------------- */

static void every_status_has_its_name(void **state)
{
    static const char *const names[] = {
        "VMOE_OK",           "VMOE_ERR_ARGUMENT", "VMOE_ERR_UNSUPPORTED", "VMOE_ERR_MEMORY",
        "VMOE_ERR_IO",       "VMOE_ERR_FORMAT",   "VMOE_ERR_CHECKSUM",    "VMOE_ERR_VERSION",
        "VMOE_ERR_LIMIT",    "VMOE_ERR_IMAGE",    "VMOE_ERR_CANCELLED",   "VMOE_ERR_THREAD",
    };

    (void)state;
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_string_equal(vmoe_status_name((vmoe_status)i), names[i]);
    assert_string_equal(vmoe_status_name((vmoe_status)12), "unknown");
    assert_string_equal(vmoe_status_name((vmoe_status)0x7fffffff), "unknown");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, reset_call)
    const struct CMUnitTest tests[] = {
        TEST(the_correct_call_is_accepted),
        TEST(null_arguments_are_named),
        TEST(a_struct_without_its_size_is_refused),
        TEST(a_newer_struct_is_accepted_if_its_tail_is_zero),
        TEST(only_the_known_part_of_a_struct_is_filled),
        TEST(an_older_struct_means_the_defaults),
        TEST(wrong_load_options_are_refused),
        TEST(exactly_one_input_is_given),
        TEST(the_length_of_the_input_is_checked),
        TEST(too_many_images_are_refused_everywhere),
        TEST(no_images_are_fine),
        TEST(capacity_must_be_a_positive_number_up_to_64),
        TEST(a_capacity_below_one_slot_is_refused),
        TEST(a_token_goes_to_at_most_all_experts),
        TEST(groups_must_divide_the_images),
        TEST(a_group_has_a_limit_of_tokens),
        TEST(choices_out_of_range_are_refused),
        TEST(every_choice_in_range_is_accepted),
        TEST(instruction_sets_have_names_and_are_there_or_not),
        TEST(a_dense_model_ignores_the_dial),
        TEST(every_array_must_have_its_exact_length),
        TEST(every_output_is_optional),
        TEST(the_best_classes_are_one_to_all),
        TEST(routes_must_name_distinct_experts),
        TEST(bad_pictures_are_named_by_their_place),
        TEST(kinds_and_sizes_of_pictures_may_be_mixed),
        TEST(the_simple_calls_refuse_what_the_full_one_refuses),
        TEST(preprocessing_knows_its_size),
        TEST(wrong_import_options_are_refused),
        TEST(wrong_labels_are_refused),
        TEST(null_labels_are_refused),
        TEST(labels_up_to_the_limit_are_kept),
        TEST(every_status_has_its_name),
    };

    return cmocka_run_group_tests_name("arguments", tests, make_call, free_call);
}
