/*
 * What can be known without a call: the multiply-adds and sizes of the geometries of the papers,
 * the capacities of upstream's code, the released checkpoints, and the limits.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/config.h"
#include "support/support.h"
#include "support/tiny.h"

/* The backbones of the papers. */
enum backbone { S32, B32, B16, L32, L16, H14, B15 };

static const struct {
    uint32_t layers, width, mlp, heads, patch;
} backbones[] = {
    [S32] = { 8, 512, 2048, 8, 32 },     [B32] = { 12, 768, 3072, 12, 32 },
    [B16] = { 12, 768, 3072, 12, 16 },   [L32] = { 24, 1024, 4096, 16, 32 },
    [L16] = { 24, 1024, 4096, 16, 16 },  [H14] = { 32, 1280, 5120, 16, 14 },
    [B15] = { 48, 1408, 6400, 16, 14 },
};

/* Blocks with experts: every second one, or the last n of those. */
#define EVERY_2 1000u

static vmoe_info geometry(enum backbone backbone, uint32_t image_size, uint32_t classes,
                          uint32_t pre_logits, uint32_t experts, uint32_t last)
{
    vmoe_info info = VMOE_INFO_INIT;
    vmoe_error error = VMOE_ERROR_INIT;

    info.image_size = image_size;
    info.patch_size = backbones[backbone].patch;
    info.width = backbones[backbone].width;
    info.mlp = backbones[backbone].mlp;
    info.heads = backbones[backbone].heads;
    info.layers = backbones[backbone].layers;
    info.classes = classes;
    info.pre_logits = pre_logits;
    info.classifier = VMOE_CLASSIFIER_TOKEN;
    info.gelu = VMOE_GELU_TANH;
    info.output = VMOE_OUTPUT_SOFTMAX;
    info.preprocessing = (vmoe_preprocessing){ VMOE_PREPROCESS_RESIZE, image_size, 0 };
    info.precision = VMOE_PRECISION_F32;
    if (experts != 0) {
        info.experts = experts;
        for (uint32_t i = info.layers; i-- > 1 && last > 0;) {
            if (i % 2 == 1) {
                info.moe[i] = 1;
                last--;
            }
        }
        info.experts_per_token = 2;
        info.group_images = 1;
        info.capacity = 1.05;
        info.capacity_rule = VMOE_CAPACITY_CEIL;
        info.capacity_multiple = 4;
    }
    assert_ok(vmoe_config_complete(&info, "geometry", VMOE_ERR_ARGUMENT, &error), error);
    return info;
}

/* With the capacity rounded to nearest, as the papers count. */
static vmoe_cost cost_of(const vmoe_info *info, double capacity, uint32_t picks, size_t images)
{
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_cost cost = VMOE_COST_INIT;
    vmoe_error error = VMOE_ERROR_INIT;

    options.capacity = capacity;
    options.experts_per_token = info->experts != 0 ? picks : 0;
    options.group_images = VMOE_GROUP_ALL;
    options.capacity_rule = VMOE_CAPACITY_ROUND;
    options.capacity_multiple = 1;
    assert_ok(vmoe_get_cost(info, &options, images, &cost, &error), error);
    return cost;
}

/* ---- Multiply-adds -------------------------------------------------------------------------- */

/* Upstream's groups are of 8 images; the numbers are for one. */
static double giga(uint64_t macs)
{
    return (double)macs / 8.0 / 1e9;
}

static void check_macs(const char *name, const vmoe_info *info, const double expected[6],
                       double within)
{
    const double all = 4.0; /* E / K: nothing is dropped */
    const double found[6] = {
        giga(cost_of(info, all, 1, 8).macs_dense), giga(cost_of(info, 2.0 * all, 1, 8).macs),
        giga(cost_of(info, all, 2, 8).macs),       giga(cost_of(info, 1.05, 2, 8).macs_padded),
        giga(cost_of(info, 1.5, 2, 8).macs_padded), giga(cost_of(info, all, 2, 8).macs_padded),
    };

    print_message("  %-8s dense %.3f, K = 1 %.3f, K = 2 %.3f, padded at C = 1.05 %.3f, 1.5 %.3f, "
                  "4 %.3f GMAC\n",
                  name, found[0], found[1], found[2], found[3], found[4], found[5]);
    for (size_t i = 0; i < 6; i++)
        if (fabs(found[i] - expected[i]) > within)
            fail_msg("%s, column %zu: %.3f instead of %.3f", name, i, found[i], expected[i]);
}

static void the_released_models_cost_what_the_papers_say(void **state)
{
    static const double s32_384[] = { 4.05, 4.05, 4.66, 4.72, 5.27, 8.31 };
    static const double b16_224[] = { 17.6, 17.6, 23.1, 23.7, 28.7, 56.6 };
    static const double b16_384[] = { 55.5, 55.5, 71.8, 73.5, 88.2, 169.9 };
    const vmoe_info s = geometry(S32, 384, 1000, 0, 8, 2);
    const vmoe_info b = geometry(B16, 224, 21843, 0, 8, EVERY_2);
    const vmoe_info b384 = geometry(B16, 384, 1000, 0, 8, EVERY_2);

    (void)state;
    check_macs("S/32 384", &s, s32_384, 0.006);
    check_macs("B/16 224", &b, b16_224, 0.07);
    check_macs("B/16 384", &b384, b16_384, 0.07);
}

/* The paper's table: operations in percent of a ViT-H/14, groups of 8 images, E = 32. */
static void relative_costs_are_those_of_the_paper(void **state)
{
    static const struct {
        enum backbone backbone;
        uint32_t last, picks;
        double capacity, expected;
    } rows[] = {
        { L16, 2, 2, 1.05, 39.0 },       { L16, EVERY_2, 2, 1.05, 49.9 },
        { H14, 5, 2, 1.05, 111.1 },      { H14, EVERY_2, 2, 1.05, 135.5 },
        { H14, 5, 1, 1.05, 100.5 },      { H14, 5, 2, 0.5, 100.0 },
        { H14, 5, 2, 0.6, 102.0 },
    };
    const vmoe_info dense = geometry(H14, 224, 18291, 1280, 0, 0);
    const double whole = (double)cost_of(&dense, 0.0, 0, 8).macs;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const uint32_t width = backbones[rows[i].backbone].width;
        const vmoe_info info = geometry(rows[i].backbone, 224, 18291, width, 32, rows[i].last);
        const vmoe_cost cost = cost_of(&info, rows[i].capacity, rows[i].picks, 8);
        const double found = 100.0 * (double)cost.macs_padded / whole;

        print_message("  %s %s K = %u C = %.2f: %.1f, the paper has %.1f\n",
                      rows[i].backbone == L16 ? "L/16" : "H/14",
                      rows[i].last == EVERY_2 ? "every 2" : "last n ", rows[i].picks,
                      rows[i].capacity, found, rows[i].expected);
        assert_true(fabs(found - rows[i].expected) <= 0.5);
    }
}

static void parameters_are_those_of_the_paper(void **state)
{
    static const struct {
        enum backbone backbone;
        uint32_t experts, last, classes;
        bool pre_logits;
        double millions;
    } rows[] = {
        { S32, 0, 0, 18291, true, 36.5 },         { B32, 0, 0, 18291, true, 102.1 },
        { B16, 0, 0, 18291, true, 100.5 },        { L32, 0, 0, 18291, true, 325.3 },
        { L16, 0, 0, 18291, true, 323.1 },        { H14, 0, 0, 18291, true, 655.8 },
        { S32, 32, EVERY_2, 18291, true, 296.9 }, { B32, 32, EVERY_2, 18291, true, 980.6 },
        { B16, 32, EVERY_2, 18291, true, 979.0 }, { L32, 32, 2, 18291, true, 845.8 },
        { L16, 32, EVERY_2, 18291, true, 3446.0 }, { H14, 32, 5, 18291, true, 2688.6 },
        { H14, 32, EVERY_2, 18291, true, 7160.8 }, { B15, 32, EVERY_2, 29593, false, 14705.1 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const uint32_t width = backbones[rows[i].backbone].width;
        const vmoe_info info = geometry(rows[i].backbone, 224, rows[i].classes,
                                        rows[i].pre_logits ? width : 0, rows[i].experts,
                                        rows[i].last);

        if (fabs((double)info.parameters / 1e6 - rows[i].millions) > 0.1)
            fail_msg("row %zu: %.2f million parameters instead of %.1f", i,
                     (double)info.parameters / 1e6, rows[i].millions);
    }
}

/* ---- Capacities ----------------------------------------------------------------------------- */

static void capacities_are_those_of_upstream(void **state)
{
    static const double ratios[] = { 0.1, 0.15, 0.2, 0.3, 0.5, 0.8, 1.0, 1.05, 1.5, 4.0 };
    static const struct {
        enum backbone backbone;
        uint32_t image_size, tokens;
        uint16_t code[10], paper[10];
    } rows[] = {
        { S32, 224, 400, { 12, 16, 20, 32, 52, 80, 100, 108, 152, 400 },
          { 10, 15, 20, 30, 50, 80, 100, 105, 150, 400 } },
        { S32, 384, 1160, { 32, 44, 60, 88, 148, 232, 292, 308, 436, 1160 },
          { 29, 44, 58, 87, 145, 232, 290, 304, 435, 1160 } },
        { B16, 224, 1576, { 40, 60, 80, 120, 200, 316, 396, 416, 592, 1576 },
          { 39, 59, 79, 118, 197, 315, 394, 414, 591, 1576 } },
        { B16, 384, 4616, { 116, 176, 232, 348, 580, 924, 1156, 1212, 1732, 4616 },
          { 115, 173, 231, 346, 577, 923, 1154, 1212, 1731, 4616 } },
    };

    (void)state;
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        const vmoe_info info = geometry(rows[r].backbone, rows[r].image_size, 1000, 0, 8, 2);

        assert_int_equal(8 * info.tokens, rows[r].tokens);
        for (size_t i = 0; i < sizeof ratios / sizeof ratios[0]; i++) {
            vmoe_options options = VMOE_OPTIONS_INIT;
            vmoe_cost cost = VMOE_COST_INIT;
            vmoe_error error = VMOE_ERROR_INIT;

            options.capacity = ratios[i];
            options.group_images = 8;
            assert_ok(vmoe_get_cost(&info, &options, 8, &cost, &error), error);
            assert_int_equal(cost.capacity, rows[r].code[i]);
            options.capacity_rule = VMOE_CAPACITY_ROUND;
            options.capacity_multiple = 1;
            assert_ok(vmoe_get_cost(&info, &options, 8, &cost, &error), error);
            assert_int_equal(cost.capacity, rows[r].paper[i]);
        }
    }
}

/* (150 * 1.1) / 3 is 55, but of a member alone (50 * 1.1) / 1 is a little more, and 56 slots. */
static void the_capacity_of_an_ensemble_is_that_of_all_its_members(void **state)
{
    vmoe_info info = geometry(S32, 224, 1000, 0, 3, 2);
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_cost cost = VMOE_COST_INIT;
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    options.capacity = 1.1;
    options.capacity_multiple = 1;
    info.members = 3;
    info.experts_per_token = 1;
    assert_ok(vmoe_get_cost(&info, &options, 1, &cost, &error), error);
    assert_int_equal(cost.capacity, 55);
    info.members = info.experts = 1;
    assert_ok(vmoe_get_cost(&info, &options, 1, &cost, &error), error);
    assert_int_equal(cost.capacity, 56);
}

/* ---- Relations ------------------------------------------------------------------------------ */

static void costs_grow_with_images_and_ratio(void **state)
{
    const vmoe_info info = geometry(B16, 224, 1000, 0, 8, EVERY_2);
    const vmoe_cost none = cost_of(&info, 1.0, 2, 0), one = cost_of(&info, 1.0, 2, 1);
    uint64_t before = 0;

    (void)state;
    assert_int_equal(none.macs, 0);
    assert_int_equal(none.macs_padded, 0);
    assert_int_equal(none.macs_dense, 0);
    assert_int_equal(one.weight_bytes, info.weight_bytes);
    for (double ratio = 0.1; ratio < 5.0; ratio *= 1.3) {
        const vmoe_cost cost = cost_of(&info, ratio, 2, 8);

        assert_true(cost.macs >= before);
        assert_true(cost.macs <= cost.macs_padded);
        assert_true(cost.macs_dense == 8 * one.macs_dense);
        before = cost.macs;
    }
    /* At C = E / K nothing is dropped, and more slots are not filled. */
    assert_int_equal(cost_of(&info, 4.0, 2, 8).macs, cost_of(&info, 64.0, 2, 8).macs);
}

static void a_dense_model_costs_the_same_whatever_the_dial(void **state)
{
    const vmoe_info info = geometry(B16, 224, 1000, 0, 0, 0);
    const vmoe_cost cost = cost_of(&info, 0.2, 1, 3);
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_cost other = VMOE_COST_INIT;
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    assert_int_equal(cost.capacity, 0);
    options.experts_per_token = 2;
    assert_ok(vmoe_get_cost(&info, &options, 3, &other, &error), error);
    assert_int_equal(other.capacity, 0);
    assert_int_equal(cost.macs, cost.macs_dense);
    assert_int_equal(cost.macs, cost.macs_padded);
}

/* With heads of one number, one query needs more than keys and values of two tokens would. */
static void what_one_query_needs_is_not_taken_for_saved(void **state)
{
    vmoe_info info = geometry(S32, 32, 10, 0, 0, 0);
    const uint64_t d = 256, f = info.mlp, t = 2;
    vmoe_cost cost;

    (void)state;
    info.layers = 1;
    info.width = info.heads = 256;
    cost = cost_of(&info, 0.0, 0, 1);
    /* Embedding; query, directions, values and projection; scores and mixtures; MLP; head. */
    assert_int_equal(cost.macs - cost.macs_saved,
                     3 * 32 * 32 * d + 4 * d * d + 2 * t * d * d + 2 * d * f + d * 10);
    info.classifier = VMOE_CLASSIFIER_MAP;
    assert_int_equal(cost_of(&info, 0.0, 0, 1).macs_saved, 0);
}

/* The largest geometry that the limits allow, times the largest call, is beyond 64 bits. */
static void costs_that_cannot_be_counted_are_refused(void **state)
{
    static const size_t images[] = { 1, 31, 1000, 65536, (size_t)1 << 32 };
    vmoe_info info = geometry(S32, 384, 1000, 0, 8, 2);
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_options options = VMOE_OPTIONS_INIT;
    size_t refused = 0;

    (void)state;
    info.image_size = 4096;
    info.width = 65536;
    info.heads = 256;
    info.mlp = 262144;
    info.layers = 256;
    info.experts = 16;
    info.classes = 1048576;
    memset(info.moe, 1, 256);
    info.patch_size = 16;
    info.classifier = VMOE_CLASSIFIER_GAP;
    info.preprocessing.side = 4096;
    options.capacity = 64.0;
    options.experts_per_token = 16;
    for (size_t i = 0; i < sizeof images / sizeof images[0]; i++) {
        vmoe_cost cost = VMOE_COST_INIT;
        const vmoe_status status = vmoe_get_cost(&info, &options, images[i], &cost, &error);
        const double pair = 2.0 * 65536.0 * 262144.0;
        const double padded = (double)images[i] * 256.0 * 64.0 * 16.0 * 65536.0 * pair;

        if (status != VMOE_OK) {
            assert_refused(status, error, VMOE_ERR_LIMIT, "images");
            refused++;
            continue;
        }
        assert_true(padded < 0x1p64);
        assert_true((double)cost.macs_padded >= padded);
        assert_true(cost.macs_padded >= cost.macs);
    }
    assert_true(refused >= 4);
}

static void wrong_geometries_are_refused(void **state)
{
    static const struct {
        const char *where;
        size_t offset;
        uint32_t value;
        vmoe_status expected;
    } cases[] = {
        { "image_size", offsetof(vmoe_info, image_size), 0, VMOE_ERR_ARGUMENT },
        { "image_size", offsetof(vmoe_info, image_size), 4097, VMOE_ERR_LIMIT },
        { "patch_size", offsetof(vmoe_info, patch_size), 0, VMOE_ERR_ARGUMENT },
        { "patch_size", offsetof(vmoe_info, patch_size), 31, VMOE_ERR_ARGUMENT },
        { "width", offsetof(vmoe_info, width), 0, VMOE_ERR_ARGUMENT },
        { "width", offsetof(vmoe_info, width), 65537, VMOE_ERR_LIMIT },
        { "heads", offsetof(vmoe_info, heads), 0, VMOE_ERR_ARGUMENT },
        { "heads", offsetof(vmoe_info, heads), 7, VMOE_ERR_ARGUMENT },
        { "mlp", offsetof(vmoe_info, mlp), 0, VMOE_ERR_ARGUMENT },
        { "layers", offsetof(vmoe_info, layers), 0, VMOE_ERR_ARGUMENT },
        { "layers", offsetof(vmoe_info, layers), 257, VMOE_ERR_LIMIT },
        { "moe", offsetof(vmoe_info, layers), 7, VMOE_ERR_ARGUMENT },
        { "classes", offsetof(vmoe_info, classes), 0, VMOE_ERR_ARGUMENT },
        { "classifier", offsetof(vmoe_info, classifier), 0, VMOE_ERR_ARGUMENT },
        { "classifier", offsetof(vmoe_info, classifier), 4, VMOE_ERR_ARGUMENT },
        { "precision", offsetof(vmoe_info, precision), 0, VMOE_ERR_ARGUMENT },
        { "experts", offsetof(vmoe_info, experts), 0, VMOE_ERR_ARGUMENT },
        { "experts_per_token", offsetof(vmoe_info, experts_per_token), 9, VMOE_ERR_ARGUMENT },
        { "experts", offsetof(vmoe_info, experts), 4097, VMOE_ERR_LIMIT },
        { "preprocessing", offsetof(vmoe_info, preprocessing.side), 224, VMOE_ERR_ARGUMENT },
        { "members", offsetof(vmoe_info, members), 3, VMOE_ERR_ARGUMENT },
        { "experts_per_token", offsetof(vmoe_info, members), 8, VMOE_ERR_ARGUMENT },
        { "members", offsetof(vmoe_info, members), 16, VMOE_ERR_ARGUMENT },
        { "members", offsetof(vmoe_info, members), 65, VMOE_ERR_LIMIT },
        { "reserved", offsetof(vmoe_info, reserved), 1, VMOE_ERR_UNSUPPORTED },
    };
    const vmoe_info right = geometry(S32, 384, 1000, 0, 8, 2);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vmoe_info info = right;
        vmoe_cost cost = VMOE_COST_INIT;
        vmoe_error error = VMOE_ERROR_INIT;

        memcpy((uint8_t *)&info + cases[i].offset, &cases[i].value, sizeof cases[i].value);
        assert_refused(vmoe_get_cost(&info, NULL, 1, &cost, &error), error, cases[i].expected,
                       cases[i].where);
    }
}

/* A dense model with nothing large, so that each number can grow up to its limit alone. */
static vmoe_info modest(void)
{
    vmoe_info info = geometry(S32, 224, 10, 0, 0, 0);

    info.classifier = VMOE_CLASSIFIER_GAP;
    info.width = 256;
    info.heads = 1;
    return info;
}

static vmoe_status ask_cost(const vmoe_info *info, vmoe_error *error)
{
    vmoe_cost cost = VMOE_COST_INIT;

    return vmoe_get_cost(info, NULL, 1, &cost, error);
}

static void a_geometry_may_be_as_large_as_the_limits(void **state)
{
    static const struct {
        const char *where;
        size_t offset;
        uint32_t limit;
    } cases[] = {
        { "width", offsetof(vmoe_info, width), 65536 },
        { "heads", offsetof(vmoe_info, heads), 256 },
        { "mlp", offsetof(vmoe_info, mlp), 262144 },
        { "layers", offsetof(vmoe_info, layers), 256 },
        { "classes", offsetof(vmoe_info, classes), 1048576 },
        { "pre_logits", offsetof(vmoe_info, pre_logits), 65536 },
    };
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vmoe_info info = modest();
        uint32_t *const field = (uint32_t *)(void *)((uint8_t *)&info + cases[i].offset);

        *field = cases[i].limit;
        assert_ok(ask_cost(&info, &error), error);
        *field = cases[i].limit + 1;
        assert_refused(ask_cost(&info, &error), error, VMOE_ERR_LIMIT, cases[i].where);
    }
}

/* 256 * 256 patches, and then a class token before them. */
static void an_image_has_a_limit_of_tokens(void **state)
{
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_info info = modest();

    (void)state;
    info.image_size = info.preprocessing.side = 4096;
    info.patch_size = 16;
    assert_ok(ask_cost(&info, &error), error);
    info.classifier = VMOE_CLASSIFIER_TOKEN;
    assert_refused(ask_cost(&info, &error), error, VMOE_ERR_LIMIT, "patch_size");
    info.patch_size = 32;
    assert_ok(ask_cost(&info, &error), error);
    info.image_size = info.preprocessing.side = 4128;
    assert_refused(ask_cost(&info, &error), error, VMOE_ERR_LIMIT, "image_size");
}

/* 128 * 128 patches for each of four members, and then a class token before them. */
static void members_share_the_limit_of_tokens(void **state)
{
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_info info = geometry(S32, 384, 10, 0, 8, 2);

    (void)state;
    info.image_size = info.preprocessing.side = 4096;
    info.experts_per_token = 2;
    info.members = 4;
    info.classifier = VMOE_CLASSIFIER_GAP;
    assert_ok(ask_cost(&info, &error), error);
    info.classifier = VMOE_CLASSIFIER_TOKEN;
    assert_refused(ask_cost(&info, &error), error, VMOE_ERR_LIMIT, "members");
}

/*
 * Four tensors an expert, nine more in a block of them, twelve in another block, and seven around:
 * 65,536.  A class token is one more.
 */
static void a_model_has_a_limit_of_tensors(void **state)
{
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_info info = modest();

    (void)state;
    info.layers = 7;
    memset(info.moe, 1, 5);
    info.experts = 3273;
    info.experts_per_token = 16;
    info.group_images = 1;
    info.capacity = 64.0;
    info.capacity_rule = VMOE_CAPACITY_CEIL;
    info.capacity_multiple = 4096;
    assert_ok(ask_cost(&info, &error), error);
    info.classifier = VMOE_CLASSIFIER_TOKEN;
    assert_refused(ask_cost(&info, &error), error, VMOE_ERR_LIMIT, "experts");
    memset(info.moe, 0, 4);
    info.experts = 4096;
    assert_ok(ask_cost(&info, &error), error);
    info.experts_per_token = 17;
    assert_refused(ask_cost(&info, &error), error, VMOE_ERR_LIMIT, "experts_per_token");
}

/* ---- Presets -------------------------------------------------------------------------------- */

static void the_presets_are_the_released_checkpoints(void **state)
{
    static const struct {
        const char *name;
        uint32_t image_size, classes, pre_logits, moe_layers, kind, output;
        double capacity, megabytes; /* of float32 weights */
        uint32_t picks, members;
    } rows[] = {
        { "vmoe_s32_last2_ilsvrc2012_randaug_light1", 224, 1000, 512, 2,
          VMOE_PREPROCESS_SMALL_CROP, VMOE_OUTPUT_SIGMOID, 4.0, 228.0, 2, 1 },
        { "vmoe_s32_last2_ilsvrc2012_randaug_medium", 224, 1000, 512, 2,
          VMOE_PREPROCESS_SMALL_CROP, VMOE_OUTPUT_SIGMOID, 1.05, 228.0, 2, 1 },
        { "vmoe_s32_last2_ilsvrc2012_randaug_light1_ft_ilsvrc2012", 384, 1000, 0, 2,
          VMOE_PREPROCESS_RESIZE, VMOE_OUTPUT_SOFTMAX, 1.5, 227.0, 2, 1 },
        { "vmoe_b16_imagenet21k_randaug_strong", 224, 21843, 0, 6, VMOE_PREPROCESS_SMALL_CROP,
          VMOE_OUTPUT_SIGMOID, 1.05, 1204.0, 2, 1 },
        { "vmoe_b16_imagenet21k_randaug_strong_ft_ilsvrc2012", 384, 1000, 0, 6,
          VMOE_PREPROCESS_RESIZE, VMOE_OUTPUT_SOFTMAX, 1.5, 1141.0, 2, 1 },
        { "eee_s32_last2_ilsvrc2012", 224, 1000, 512, 2, VMOE_PREPROCESS_SMALL_CROP,
          VMOE_OUTPUT_SIGMOID, 1.05, 228.0, 1, 2 },
        { "eee_s32_last2_ilsvrc2012_ft_cifar100", 128, 100, 512, 2, VMOE_PREPROCESS_RESIZE,
          VMOE_OUTPUT_SOFTMAX, 1.5, 226.0, 1, 2 },
    };
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        vmoe_info info = VMOE_INFO_INIT;
        vmoe_cost cost = VMOE_COST_INIT;

        assert_string_equal(vmoe_preset_name(i), rows[i].name);
        assert_ok(vmoe_preset(rows[i].name, &info, &error), error);
        assert_int_equal(info.image_size, rows[i].image_size);
        assert_int_equal(info.classes, rows[i].classes);
        assert_int_equal(info.pre_logits, rows[i].pre_logits);
        assert_int_equal(info.moe_layers, rows[i].moe_layers);
        assert_int_equal(info.experts, 8);
        assert_int_equal(info.experts_per_token, rows[i].picks);
        assert_int_equal(info.members, rows[i].members);
        assert_int_equal(info.classifier, VMOE_CLASSIFIER_TOKEN);
        assert_int_equal(info.preprocessing.kind, rows[i].kind);
        assert_int_equal(info.output, rows[i].output);
        assert_true(info.capacity == rows[i].capacity);
        assert_true(fabs((double)info.weight_bytes / 1e6 - rows[i].megabytes) < 1.0);
        assert_true(fabs((double)info.parameters * 4.0 / 1e6 - rows[i].megabytes) < 1.0);
        assert_ok(vmoe_get_cost(&info, NULL, 1, &cost, &error), error);
    }
}

static void unknown_names_are_refused(void **state)
{
    static const char *const unknown[] = { "", "vmoe", "VMOE_S32_LAST2_ILSVRC2012_RANDAUG_LIGHT1",
                                           "vmoe_s32_last2_ilsvrc2012_randaug_light",
                                           "a name\nwith a line end" };
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_info info = VMOE_INFO_INIT;

    (void)state;
    assert_null(vmoe_preset_name(7));
    assert_null(vmoe_preset_name(SIZE_MAX));
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
        assert_refused(vmoe_preset(unknown[i], &info, &error), error, VMOE_ERR_ARGUMENT, "name");
}

/* ---- Limits --------------------------------------------------------------------------------- */

static void the_limits_are_what_they_are(void **state)
{
    vmoe_limits limits = VMOE_LIMITS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    assert_ok(vmoe_get_limits(&limits, &error), error);
    assert_int_equal(limits.size, sizeof limits);
    assert_int_equal(limits.layers, 256);
    assert_int_equal(limits.heads, 256);
    assert_int_equal(limits.experts, 4096);
    assert_int_equal(limits.experts_per_token, 16);
    assert_int_equal(limits.width, 65536);
    assert_int_equal(limits.mlp, 262144);
    assert_int_equal(limits.classes, 1048576);
    assert_int_equal(limits.image_size, 4096);
    assert_int_equal(limits.tokens, 65536);
    assert_int_equal(limits.group_tokens, 1048576);
    assert_int_equal(limits.threads, 256);
    assert_true(limits.capacity == 64.0);
    assert_int_equal(limits.file_bytes, UINT64_C(1) << 40);
    assert_int_equal(limits.header_bytes, 16 << 20);
    assert_int_equal(limits.tensors, 65536);
    assert_int_equal(limits.label_bytes, 1024);
    assert_int_equal(limits.jpeg_bytes, 64 << 20);
    assert_int_equal(limits.picture_side, 16384);
    assert_int_equal(limits.picture_pixels, 64 << 20);
    assert_int_equal(limits.jpeg_scans, 100);
    assert_int_equal(limits.import_index_bytes, 64 << 20);
    assert_int_equal(limits.import_shards, 4096);
    assert_int_equal(limits.members, 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_released_models_cost_what_the_papers_say),
        cmocka_unit_test(relative_costs_are_those_of_the_paper),
        cmocka_unit_test(parameters_are_those_of_the_paper),
        cmocka_unit_test(capacities_are_those_of_upstream),
        cmocka_unit_test(the_capacity_of_an_ensemble_is_that_of_all_its_members),
        cmocka_unit_test(costs_grow_with_images_and_ratio),
        cmocka_unit_test(a_dense_model_costs_the_same_whatever_the_dial),
        cmocka_unit_test(what_one_query_needs_is_not_taken_for_saved),
        cmocka_unit_test(costs_that_cannot_be_counted_are_refused),
        cmocka_unit_test(wrong_geometries_are_refused),
        cmocka_unit_test(a_geometry_may_be_as_large_as_the_limits),
        cmocka_unit_test(an_image_has_a_limit_of_tokens),
        cmocka_unit_test(members_share_the_limit_of_tokens),
        cmocka_unit_test(a_model_has_a_limit_of_tensors),
        cmocka_unit_test(the_presets_are_the_released_checkpoints),
        cmocka_unit_test(unknown_names_are_refused),
        cmocka_unit_test(the_limits_are_what_they_are),
    };

    return cmocka_run_group_tests_name("costs, presets and limits", tests, NULL, NULL);
}
