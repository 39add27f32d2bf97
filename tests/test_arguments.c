/*
 * Wrong calls: every argument that can be wrong has its status, its place and its sentence.  Others
 * look at pictures (test_pictures.c), at importing (test_import_options.c) and at structs of other
 * versions (test_abi.c).
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/answer.h"
#include "support/call.h"
#include "support/support.h"
#include "support/tiny.h"

static void the_correct_call_is_accepted(void **state)
{
    vmoe_error error = { VMOE_ERR_IO, "stale", "stale" };

    (void)state;
    assert_int_equal(call_run(&error), VMOE_OK);
    assert_int_equal(error.status, VMOE_OK);
    assert_string_equal(error.where, "");
    assert_string_equal(error.text, "");
    assert_int_equal(call_run(NULL), VMOE_OK);
}

static void reserved_fields_are_zero(void **state)
{
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_input input = call.input;
    vmoe_output output = call.output;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_cost cost = VMOE_COST_INIT;

    (void)state;
    options.reserved = input.reserved = output.reserved = 1;
    assert_refused(vmoe_run(call.model, &call.input, &options, &call.output, &error), error,
                   VMOE_ERR_UNSUPPORTED, "reserved");
    assert_refused(vmoe_get_cost(&call.info, &options, 1, &cost, &error), error,
                   VMOE_ERR_UNSUPPORTED, "reserved");
    assert_refused(vmoe_run(call.model, &input, NULL, &call.output, &error), error,
                   VMOE_ERR_UNSUPPORTED, "reserved");
    assert_refused(vmoe_run(call.model, &call.input, NULL, &output, &error), error,
                   VMOE_ERR_UNSUPPORTED, "reserved");
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
    call.output.member_logits_length = 0;
    call.report.routes_length = 0;
    memset(call.load, 0xEE, sizeof call.load);
    memset(call.layers, 0xEE, sizeof call.layers);
    assert_ok(call_run(&error), error);
    for (uint32_t block = 0, i = 0; block < call.info.layers; block++)
        if (call.info.moe[block]) {
            assert_int_equal(call.layers[i].layer, block);
            assert_int_equal(call.layers[i++].assigned, 0);
        }
    assert_int_equal(call.report.assigned, 0);
    assert_int_equal(call.report.groups, 0);
    assert_int_equal(call.report.macs, 0);
    assert_int_equal(call.report.weight_bytes, 0);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(call.load[i], 0);
    call.options.group_images = VMOE_GROUP_ALL;
    assert_ok(call_run(&error), error);
    assert_ok(vmoe_logits_f32(call.model, call.images, 0, NULL, call.logits, &error), error);
    assert_ok(vmoe_logits_f32(call.model, NULL, 0, NULL, NULL, &error), error);
    /* What is wrong with the options is said all the same. */
    call.options.threads = 257;
    assert_refused(call_run(&error), error, VMOE_ERR_LIMIT, "options.threads");
}

/* ---- The dial ------------------------------------------------------------------------------- */

/* The same options are refused by a call and by the question what it would cost. */
static void check_dial_refused(vmoe_status expected, const char *where, int line)
{
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_cost cost = VMOE_COST_INIT;

    check_refused(vmoe_get_cost(&call.info, &call.options, 2, &cost, &error), &error, expected,
                  where, __FILE__, line);
    check_call_refused(expected, where, __FILE__, line);
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
        assert_ok(call_run(&error), error);
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
    assert_ok(call_run(&error), error);
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
    assert_ok(call_run(&error), error);
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
        assert_ok(call_run(&error), error);
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
        assert_ok(call_run(&error), error);
        assert_int_equal(call.report.group_images, group);
        assert_int_equal(call.report.groups, 2 / group);
    }
    call.options.group_images = VMOE_GROUP_ALL;
    assert_ok(call_run(&error), error);
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
        call.options.isa = VMOE_ISA_NEON_I8MM + 1 + above[i];
        assert_call_refused(VMOE_ERR_ARGUMENT, "options.isa");
    }
}

static void every_choice_in_range_is_accepted(void **state)
{
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    for (uint32_t i = 0; i <= VMOE_PRECISION_INT8; i++) {
        call.options.precision = i;
        assert_ok(call_run(&error), error);
        assert_int_equal(call.report.precision, VMOE_PRECISION_F32);
    }
    for (uint32_t i = 0; i <= VMOE_PRIORITY_BPR_SUM; i++) {
        call.options.priority = i;
        assert_ok(call_run(&error), error);
    }
    call.options.threads = 256;
    call.options.capacity = 64.0;
    call.options.capacity_multiple = 4096;
    assert_ok(call_run(&error), error);
    assert_int_equal(call.report.threads, 256);
    assert_int_equal(call.report.capacity % 4096, 0);
}

static void instruction_sets_have_names_and_are_there_or_not(void **state)
{
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    assert_null(vmoe_isa_name(VMOE_ISA_DEFAULT));
    assert_string_equal(vmoe_isa_name(VMOE_ISA_REF), "ref");
    assert_string_equal(vmoe_isa_name(VMOE_ISA_AVX2), "avx2");
    assert_string_equal(vmoe_isa_name(VMOE_ISA_AVX512), "avx512");
    assert_string_equal(vmoe_isa_name(VMOE_ISA_AVX512_VNNI), "avx512-vnni");
    assert_string_equal(vmoe_isa_name(VMOE_ISA_AMX), "amx");
    assert_string_equal(vmoe_isa_name(VMOE_ISA_AVX512_BF16), "avx512-bf16");
    assert_string_equal(vmoe_isa_name(VMOE_ISA_NEON), "neon");
    assert_string_equal(vmoe_isa_name(VMOE_ISA_NEON_DOT), "neon-dot");
    assert_string_equal(vmoe_isa_name(VMOE_ISA_NEON_I8MM), "neon-i8mm");
    assert_null(vmoe_isa_name(VMOE_ISA_NEON_I8MM + 1));
    assert_null(vmoe_isa_name(UINT32_MAX));
    assert_int_equal(vmoe_isa_available(VMOE_ISA_DEFAULT), 1);
    assert_int_equal(vmoe_isa_available(VMOE_ISA_REF), 1);
    assert_int_equal(vmoe_isa_available(VMOE_ISA_NEON_I8MM + 1), 0);
    assert_int_equal(vmoe_isa_available(UINT32_MAX), 0);
    assert_int_equal(vmoe_isa_available(vmoe_isa_default()), 1);
    assert_ok(call_run(&error), error);
    assert_int_equal(call.report.isa, vmoe_isa_default());
    for (uint32_t isa = VMOE_ISA_REF; isa <= VMOE_ISA_NEON_I8MM; isa++) {
        call.options.isa = isa;
        if (vmoe_isa_available(isa)) {
            assert_ok(call_run(&error), error);
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
    LENGTH_REFUSED(call.output.member_logits_length, "output.member_logits");
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
    assert_ok(call_run(&error), error);
    assert_int_equal(call.report.assigned, 2 * 2 * 10 * 2);
    call.output = none;
    assert_ok(call_run(&error), error);
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
                assert_ok(call_run(&error), error);
            else
                assert_call_refused(cases[i].expected, "options.routes");
        }
    }
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
#define TEST(name) cmocka_unit_test_setup(name, call_reset)
    const struct CMUnitTest tests[] = {
        TEST(the_correct_call_is_accepted),
        TEST(reserved_fields_are_zero),
        TEST(null_arguments_are_named),
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
        TEST(every_status_has_its_name),
    };

    return cmocka_run_group_tests_name("arguments", tests, call_make, call_free);
}
