/*
 * Upstream's own checkpoints, imported, and upstream's own answers: the logits and the load of
 * every expert in all 606 cases of the dial, the logits of every member of an ensemble in 60 more,
 * the logits of the trained demo models on pictures of their test set, and every intermediate stage
 * of two images.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "kernels/linear.h"
#include "run.h"
#include "support/golden.h"
#include "support/tiers.h"
#include "support/tiny.h"

/* ---- Cases ---------------------------------------------------------------------------------- */

static void check_cases(const char *path, size_t expected_cases)
{
    struct golden golden;
    vmoe_model *model;

    if (!golden_is_here(path))
        skip_because("not among the golden data here");
    golden = golden_open(path);
    model = golden_model(&golden, VMOE_PRECISION_F32);
    assert_int_equal(golden.cases, expected_cases);
    assert_int_equal(golden.logits.dims[0], expected_cases);
    for (const uint32_t *isa = tiers(); *isa != VMOE_ISA_DEFAULT; isa++) {
        double worst = 0.0;

        for (size_t i = 0; i < golden.cases; i++)
            worst = fmax(worst, golden_difference(&golden, model, i, *isa));
        print_message("  %-6s %-11s %zu cases, max |difference| of logits %.2e\n", golden.name,
                      vmoe_isa_name(*isa), golden.cases, worst);
        assert_true(worst <= GOLDEN_TOLERANCE);
    }
    vmoe_free(model);
    golden_close(&golden);
}

static void token_cases_match_upstream(void **state)
{
    (void)state;
    check_cases("models/token", 192);
}

static void odd_cases_match_upstream(void **state)
{
    (void)state;
    check_cases("models/odd", 358);
}

static void last2_cases_match_upstream(void **state)
{
    (void)state;
    check_cases("models/last2", 48);
}

static void map_cases_match_upstream(void **state)
{
    (void)state;
    check_cases("models/map", 4);
}

static void gap_cases_match_upstream(void **state)
{
    (void)state;
    check_cases("models/gap", 4);
}

static void ensemble_cases_match_upstream(void **state)
{
    (void)state;
    check_cases("e3", 60);
}

/* ---- The demo model, on real pictures ------------------------------------------------------- */

#define TEST_PICTURES "/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz"

/* Upstream's logits are of 400 of them; whole groups of 8 for sanitizers and emulators. */
enum { DEMO_PICTURES = SANITIZED ? 16 : 400, DEMO_PIXELS = 28 * 28 };

/* RGB of the first gray test pictures of Fashion-MNIST, or NULL without the dataset. */
static uint8_t *read_test_pictures(void)
{
    gzFile file = gzopen(TEST_PICTURES, "rb");
    uint8_t *pixels;

    if (file == NULL)
        return NULL;
    pixels = malloc(3 * DEMO_PICTURES * DEMO_PIXELS);
    assert_int_equal(gzseek(file, 16, SEEK_SET), 16);
    for (size_t i = 0; i < DEMO_PICTURES * DEMO_PIXELS; i++)
        memset(pixels + 3 * i, gzgetc(file), 3);
    gzclose(file);
    return pixels;
}

/* Runs a model of the demo in one setting of the dial on every instruction set. */
static void check_demo(const vmoe_model *model, vmoe_options options, const char *file,
                       const uint8_t *pixels)
{
    struct npy expected = npy_load(golden_path("../demo/%s", file));
    const size_t count = DEMO_PICTURES * info_of(model).classes;
    float *logits = malloc(count * sizeof *logits);
    vmoe_input input = VMOE_INPUT_INIT;
    vmoe_output output = VMOE_OUTPUT_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    double worst = 0.0;

    assert_int_equal(expected.elements, 400 * info_of(model).classes);
    input.images = DEMO_PICTURES;
    input.pixels = pixels;
    input.length = 3 * DEMO_PICTURES * DEMO_PIXELS;
    output.logits = logits;
    output.logits_length = count;
    for (const uint32_t *isa = tiers(); *isa != VMOE_ISA_DEFAULT; isa++) {
        options.isa = *isa;
        assert_ok(vmoe_run(model, &input, &options, &output, &error), error);
        worst = fmax(worst, max_difference(logits, expected.data, count));
    }
    print_message("  %-27s max |difference| of logits %.2e\n", file, worst);
    assert_true(worst <= GOLDEN_TOLERANCE);
    free(logits);
    npy_free(&expected);
}

static vmoe_model *import_demo(const char *name)
{
    const char *path = scratch_path("demo.vmoe");
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;

    options.precision = VMOE_PRECISION_F32;
    assert_ok(vmoe_import(golden_path("../demo/%s", name), path, &options, &error), error);
    return must_load(path, NULL);
}

/* A trained router, on pictures that it was trained for, which random weights and noise are not. */
static void trained_models_match_upstream(void **state)
{
    static const struct {
        const char *logits;
        double capacity;
        uint32_t picks, group, priority;
    } cases[] = {
        { "logits_C0.2.bpr0.k1.g8.npy", 0.2, 1, 8, VMOE_PRIORITY_VANILLA },
        { "logits_C0.3.bpr1.k2.g1.npy", 0.3, 2, 1, VMOE_PRIORITY_BPR_MAX },
        { "logits_C0.5.bpr1.k2.g8.npy", 0.5, 2, 8, VMOE_PRIORITY_BPR_MAX },
        { "logits_C1.05.bpr0.k2.g8.npy", 1.05, 2, 8, VMOE_PRIORITY_VANILLA },
        { "logits_C4.0.bpr0.k2.g1.npy", 4.0, 2, 1, VMOE_PRIORITY_VANILLA },
    };
    uint8_t *pixels = read_test_pictures();
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_model *model;

    (void)state;
    if (pixels == NULL || !golden_has("../demo/model.index")) {
        free(pixels);
        skip_because("not among the golden data here, or no pictures of Fashion-MNIST");
    }
    model = import_demo("dense");
    check_demo(model, options, "dense_logits.npy", pixels);
    vmoe_free(model);
    model = import_demo("model");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        options.capacity = cases[i].capacity;
        options.experts_per_token = cases[i].picks;
        options.group_images = cases[i].group;
        options.priority = cases[i].priority;
        check_demo(model, options, cases[i].logits, pixels);
    }
    vmoe_free(model);
    free(pixels);
}

/* ---- Stages --------------------------------------------------------------------------------- */

struct stages {
    struct golden golden;
    vmoe_model *model;
    vmoe_info info;
    float *before; /* the residual stream that entered the layer at hand */
    double worst;
    size_t shown;
};

static void compare(struct stages *stages, const float *found, const char *file)
{
    struct npy expected =
        npy_load(golden_path("models/%s/stages/%s.npy", stages->golden.name, file));
    double difference = max_difference(found, expected.data, expected.elements);

    if (difference > GOLDEN_TOLERANCE)
        fail_msg("%s %s: max |difference| %.2e", stages->golden.name, file, difference);
    stages->worst = fmax(stages->worst, difference);
    stages->shown++;
    npy_free(&expected);
}

/* What a layer added to the residual stream. */
static void compare_added(struct stages *stages, const float *x, size_t n, const char *file)
{
    float *added = malloc(n * sizeof *added);

    for (size_t i = 0; i < n; i++)
        added[i] = x[i] - stages->before[i];
    compare(stages, added, file);
    free(added);
}

/* The embedding alone: the tokens without position embeddings. */
static void compare_embedding(struct stages *stages, const float *tokens)
{
    const vmoe_info *info = &stages->info;
    const float *position = stages->model->checkpoint.weights.position;
    size_t d = info->width, t = info->tokens, first = vmoe_config_first_patch(info);
    float *values = malloc(2 * t * d * sizeof *values), *to = values;

    for (size_t image = 0; image < 2; image++)
        for (size_t i = first * d; i < t * d; i++)
            *to++ = tokens[image * t * d + i] - position[i];
    compare(stages, values, "embedding");
    free(values);
}

/* The first layer of an MLP before its activation, which the library never stores. */
static void compare_dense_0(struct stages *stages, uint32_t block, const float *y)
{
    const vmoe_info *info = &stages->info;
    size_t rows = 2 * (size_t)info->tokens;
    struct vmoe_team *team;
    const struct vmoe_linear_part part = {
        &stages->model->checkpoint.weights.blocks[block].mlps[0].fc1, 0, rows
    };
    struct vmoe_linear_call call = { .parts = &part,
                                     .count = 1,
                                     .a = vmoe_float_matrix(y, info->width),
                                     .ldo = info->mlp * sizeof(float) };
    char file[64];

    call.out = malloc(rows * info->mlp * sizeof(float));
    assert_int_equal(vmoe_team_create(&vmoe_memory_default, &team, NULL), VMOE_OK);
    vmoe_linear_run(vmoe_kernels_for(vmoe_isa_default()), team, &call);
    vmoe_team_destroy(team);
    snprintf(file, sizeof file, "Encoder.encoderblock_%u.Mlp.Dense_0", block);
    compare(stages, call.out, file);
    free(call.out);
}

/* Router logits come as gates; upstream's are brought to the same form in double. */
static void compare_gates(struct stages *stages, uint32_t block, const float *gates)
{
    struct npy logits =
        npy_load(golden_path("models/%s/stages/Encoder.encoderblock_%u.Moe.Router.dense.npy",
                             stages->golden.name, block));
    size_t experts = stages->info.experts;

    for (size_t t = 0; t < logits.elements / experts; t++) {
        const float *row = (const float *)logits.data + t * experts;
        double sum = 0.0;

        for (size_t e = 0; e < experts; e++)
            sum += exp((double)row[e]);
        for (size_t e = 0; e < experts; e++)
            assert_true(fabs(exp((double)row[e]) / sum - (double)gates[t * experts + e]) <=
                        GOLDEN_TOLERANCE);
    }
    stages->shown++;
    npy_free(&logits);
}

static void show(void *context, const char *stage, uint32_t block, const float *data, size_t rows,
                 size_t columns, size_t stride)
{
    struct stages *stages = context;
    const vmoe_info *info = &stages->info;
    size_t n = rows * columns;
    float *dense = malloc(n * sizeof *dense);
    char prefix[64], file[96];

    for (size_t r = 0; r < rows; r++)
        memcpy(dense + r * columns, data + r * stride, columns * sizeof(float));
    snprintf(prefix, sizeof prefix, "Encoder.encoderblock_%u", block);
    if (strcmp(stage, "tokens") == 0) {
        compare(stages, dense, "Encoder.posembed_input");
        compare_embedding(stages, dense);
        memcpy(stages->before, dense, n * sizeof *dense);
    } else if (strcmp(stage, "norm_0") == 0 || strcmp(stage, "norm_1") == 0) {
        snprintf(file, sizeof file, "%s.LayerNorm_%c", prefix, stage[5]);
        compare(stages, dense, file);
        if (stage[5] == '1' && !info->moe[block])
            compare_dense_0(stages, block, dense);
    } else if (strcmp(stage, "query") == 0 || strcmp(stage, "key") == 0 ||
               strcmp(stage, "value") == 0) {
        snprintf(file, sizeof file, "%s.SelfAttention.%s", prefix, stage);
        compare(stages, dense, file);
    } else if (strcmp(stage, "attention") == 0) {
        snprintf(file, sizeof file, "%s.SelfAttention", prefix);
        compare_added(stages, dense, n, file);
        memcpy(stages->before, dense, n * sizeof *dense);
    } else if (strcmp(stage, "gates") == 0) {
        compare_gates(stages, block, dense);
    } else if (strcmp(stage, "block") == 0) {
        compare(stages, dense, prefix);
        snprintf(file, sizeof file, "%s.%s", prefix, info->moe[block] ? "Moe" : "Mlp");
        compare_added(stages, dense, n, file);
        memcpy(stages->before, dense, n * sizeof *dense);
    } else if (strcmp(stage, "norm") == 0) {
        compare(stages, dense, "Encoder.encoder_norm");
    } else if (strcmp(stage, "pooled") == 0 && info->classifier == VMOE_CLASSIFIER_MAP) {
        compare(stages, dense, "MapHead");
    }
    free(dense);
}

/* The file holds pre_logits before the tanh. */
static void compare_features(struct stages *stages, const float *features)
{
    struct npy expected;

    if (stages->info.pre_logits == 0)
        return;
    expected = npy_load(golden_path("models/%s/stages/pre_logits.npy", stages->golden.name));
    for (size_t i = 0; i < expected.elements; i++)
        assert_true(fabs(tanh((double)((const float *)expected.data)[i]) - (double)features[i]) <=
                    GOLDEN_TOLERANCE);
    stages->shown++;
    npy_free(&expected);
}

/* Experts per token of the model, which its shapes do not tell. */
static uint32_t golden_picks(const char *name)
{
    struct table table = table_load(golden_path("models/%s/geometry.tsv", name));
    uint32_t picks = 0;

    for (size_t i = 0; i <= table.rows; i++)
        if (strcmp(table.cells[2 * i], "K") == 0)
            picks = (uint32_t)atoi(table.cells[2 * i + 1]);
    table_free(&table);
    return picks;
}

static void check_stages(const char *path)
{
    struct stages stages = { .worst = 0.0 };
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_input input = VMOE_INPUT_INIT;
    vmoe_output output = VMOE_OUTPUT_INIT;
    const vmoe_info *info = &stages.info;
    size_t dense_blocks, heads;

    if (!golden_is_here(path))
        return;
    stages.golden = golden_open(path);
    stages.model = golden_model(&stages.golden, VMOE_PRECISION_F32);
    stages.info = info_of(stages.model);
    stages.before = malloc(2 * (size_t)info->tokens * info->width * sizeof(float));
    stages.model->trace = (struct vmoe_trace){ show, &stages };
    options.experts_per_token = golden_picks(stages.golden.name);
    options.capacity = info->experts; /* nothing dropped */
    input.images = 2;
    input.pixels = stages.golden.pixels.data;
    input.length = 2 * stages.golden.pixels.elements / stages.golden.pixels.dims[0];
    output.features_length = 2 * (size_t)info->features;
    output.features = malloc(output.features_length * sizeof(float));
    output.logits_length = 2 * (size_t)info->classes;
    output.logits = malloc(output.logits_length * sizeof(float));
    if (vmoe_run(stages.model, &input, &options, &output, &error) != VMOE_OK)
        fail_msg("%s: %s", error.where, error.text);
    compare(&stages, output.logits, "head");
    compare_features(&stages, output.features);
    print_message("  %-6s %zu stages, max |difference| %.2e\n", stages.golden.name, stages.shown, stages.worst);
    /* A stage that is no longer shown must not pass unnoticed. */
    dense_blocks = info->layers - info->moe_layers;
    heads = (info->pre_logits != 0 ? 1u : 0u) + (info->classifier == VMOE_CLASSIFIER_MAP ? 1u : 0u);
    assert_int_equal(stages.shown,
                     4 + heads + 8 * info->layers + dense_blocks + info->moe_layers);
    free(stages.before);
    free(output.features);
    free(output.logits);
    vmoe_free(stages.model);
    golden_close(&stages.golden);
}

static void every_stage_matches_upstream(void **state)
{
    (void)state;
    check_stages("models/token");
    check_stages("models/odd");
    check_stages("models/last2");
    check_stages("models/map");
    check_stages("models/gap");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token_cases_match_upstream),
        cmocka_unit_test(odd_cases_match_upstream),
        cmocka_unit_test(last2_cases_match_upstream),
        cmocka_unit_test(map_cases_match_upstream),
        cmocka_unit_test(gap_cases_match_upstream),
        cmocka_unit_test(ensemble_cases_match_upstream),
        cmocka_unit_test(trained_models_match_upstream),
        cmocka_unit_test(every_stage_matches_upstream),
    };

    return cmocka_run_group_tests_name("golden models", tests, NULL, NULL);
}
