/*
 * Upstream's own checkpoints, imported, and upstream's own answers: the logits and the load of
 * every expert in all 606 cases of the dial, and every intermediate stage of two images.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/linear.h"
#include "run.h"
#include "support/answer.h"
#include "support/support.h"

/* Strict float32 stays this close to upstream's float64 answers. */
#define TOLERANCE 2e-5

struct golden {
    const char *name;
    vmoe_model *model;
    vmoe_info info;
    struct npy images;
};

static struct golden open_golden(const char *name)
{
    struct golden golden = { .name = name, .info = VMOE_INFO_INIT };
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    const char *path = scratch_path("golden.vmoe");

    options.precision = VMOE_PRECISION_F32;
    if (vmoe_import(golden_path("models/%s/model", name), path, &options, &error) != VMOE_OK ||
        vmoe_load_file(path, NULL, &golden.model, &error) != VMOE_OK)
        fail_msg("%s: %s", error.where, error.text);
    vmoe_get_info(golden.model, &golden.info, NULL);
    golden.images = npy_load(golden_path("models/%s/images.npy", name));
    return golden;
}

static void close_golden(struct golden *golden)
{
    vmoe_free(golden->model);
    npy_free(&golden->images);
}

/* ---- Cases ---------------------------------------------------------------------------------- */

/* Runs one row of cases.tsv; returns the largest difference of the logits. */
static double run_case(const struct golden *golden, const struct table *cases, size_t row,
                       uint32_t isa, const float *expected, const int32_t *expected_load)
{
    size_t images = golden->images.dims[0], classes = golden->info.classes;
    size_t loads = (size_t)golden->info.moe_layers * golden->info.experts;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_input input = VMOE_INPUT_INIT;
    vmoe_output output = VMOE_OUTPUT_INIT;
    vmoe_report report = VMOE_REPORT_INIT;
    double difference;

    golden_dial(&options, cases, row);
    options.isa = isa;
    input.images = images;
    input.pixels = golden->images.data;
    input.length = golden->images.elements;
    output.logits_length = images * classes;
    output.logits = malloc(images * classes * sizeof(float));
    output.report = &report;
    report.load_length = loads;
    report.load = malloc(loads * sizeof(uint64_t));
    if (vmoe_run(golden->model, &input, &options, &output, &error) != VMOE_OK)
        fail_msg("%s case %zu: %s: %s", golden->name, row, error.where, error.text);
    assert_int_equal(report.capacity, strtoul(table_cell(cases, row, "capacity"), NULL, 10));
    for (size_t i = 0; i < loads; i++)
        if (report.load[i] != (uint64_t)expected_load[i])
            fail_msg("%s case %zu: expert %zu has %llu tokens, upstream's has %d", golden->name,
                     row, i, (unsigned long long)report.load[i], expected_load[i]);
    difference = max_difference(output.logits, expected, images * classes);
    free(output.logits);
    free(report.load);
    return difference;
}

/* A lone clone has only some of the models. */
static bool is_here(const char *name)
{
    char file[64];

    snprintf(file, sizeof file, "models/%s/model.index", name);
    return golden_has(file);
}

static void check_cases(const char *name, size_t expected_cases)
{
    static const uint32_t isas[] = { VMOE_ISA_REF, VMOE_ISA_AVX2, VMOE_ISA_AVX512 };
    struct golden golden;
    struct table cases;
    struct npy logits, load;

    if (!is_here(name))
        skip();
    golden = open_golden(name);
    cases = table_load(golden_path("models/%s/cases.tsv", name));
    logits = npy_load(golden_path("models/%s/logits.npy", name));
    load = npy_load(golden_path("models/%s/load.npy", name));
    assert_int_equal(cases.rows, expected_cases);
    assert_int_equal(logits.dims[0], expected_cases);
    for (size_t k = 0; k < sizeof isas / sizeof isas[0]; k++) {
        double worst = 0.0;

        if (!vmoe_isa_available(isas[k]))
            continue;
        for (size_t i = 0; i < cases.rows; i++)
            worst = fmax(worst, run_case(&golden, &cases, i, isas[k],
                                         (const float *)logits.data + i * logits.elements /
                                                                          logits.dims[0],
                                         (const int32_t *)load.data +
                                             i * load.elements / load.dims[0]));
        print_message("  %-6s %-6s %zu cases, max |difference| of logits %.2e\n", name,
                      vmoe_isa_name(isas[k]), cases.rows, worst);
        assert_true(worst <= TOLERANCE);
    }
    npy_free(&logits);
    npy_free(&load);
    table_free(&cases);
    close_golden(&golden);
}

static void token_cases_match_upstream(void **state)
{
    (void)state;
    check_cases("token", 192);
}

static void odd_cases_match_upstream(void **state)
{
    (void)state;
    check_cases("odd", 358);
}

static void last2_cases_match_upstream(void **state)
{
    (void)state;
    check_cases("last2", 48);
}

static void map_cases_match_upstream(void **state)
{
    (void)state;
    check_cases("map", 4);
}

static void gap_cases_match_upstream(void **state)
{
    (void)state;
    check_cases("gap", 4);
}

/* ---- Stages --------------------------------------------------------------------------------- */

struct stages {
    struct golden *golden;
    float *before; /* the residual stream that entered the layer at hand */
    double worst;
    size_t shown;
};

static void compare(struct stages *stages, const float *found, const char *file)
{
    struct npy expected =
        npy_load(golden_path("models/%s/stages/%s.npy", stages->golden->name, file));
    double difference = max_difference(found, expected.data, expected.elements);

    if (difference > TOLERANCE)
        fail_msg("%s %s: max |difference| %.2e", stages->golden->name, file, difference);
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
    const vmoe_info *info = &stages->golden->info;
    const float *position = stages->golden->model->checkpoint.weights.position;
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
    const vmoe_info *info = &stages->golden->info;
    size_t rows = 2 * (size_t)info->tokens;
    struct vmoe_team *team;
    const struct vmoe_linear_part part = {
        &stages->golden->model->checkpoint.weights.blocks[block].mlps[0].fc1, 0, rows
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
                             stages->golden->name, block));
    size_t experts = stages->golden->info.experts;

    for (size_t t = 0; t < logits.elements / experts; t++) {
        const float *row = (const float *)logits.data + t * experts;
        double sum = 0.0;

        for (size_t e = 0; e < experts; e++)
            sum += exp((double)row[e]);
        for (size_t e = 0; e < experts; e++)
            assert_true(fabs(exp((double)row[e]) / sum - (double)gates[t * experts + e]) <=
                        TOLERANCE);
    }
    stages->shown++;
    npy_free(&logits);
}

static void show(void *context, const char *stage, uint32_t block, const float *data, size_t rows,
                 size_t columns, size_t stride)
{
    struct stages *stages = context;
    const vmoe_info *info = &stages->golden->info;
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

    if (stages->golden->info.pre_logits == 0)
        return;
    expected = npy_load(golden_path("models/%s/stages/pre_logits.npy", stages->golden->name));
    for (size_t i = 0; i < expected.elements; i++)
        assert_true(fabs(tanh((double)((const float *)expected.data)[i]) - (double)features[i]) <=
                    TOLERANCE);
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

static void check_stages(const char *name)
{
    struct golden golden;
    struct stages stages = { .golden = &golden };
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_input input = VMOE_INPUT_INIT;
    vmoe_output output = VMOE_OUTPUT_INIT;
    const vmoe_info *info = &golden.info;
    size_t dense_blocks, heads;

    if (!is_here(name))
        return;
    golden = open_golden(name);
    stages.before = malloc(2 * (size_t)info->tokens * info->width * sizeof(float));
    golden.model->trace = (struct vmoe_trace){ show, &stages };
    options.experts_per_token = golden_picks(name);
    options.capacity = info->experts; /* nothing dropped */
    input.images = 2;
    input.pixels = golden.images.data;
    input.length = 2 * golden.images.elements / golden.images.dims[0];
    output.features_length = 2 * (size_t)info->features;
    output.features = malloc(output.features_length * sizeof(float));
    output.logits_length = 2 * (size_t)info->classes;
    output.logits = malloc(output.logits_length * sizeof(float));
    if (vmoe_run(golden.model, &input, &options, &output, &error) != VMOE_OK)
        fail_msg("%s: %s", error.where, error.text);
    compare(&stages, output.logits, "head");
    compare_features(&stages, output.features);
    print_message("  %-6s %zu stages, max |difference| %.2e\n", name, stages.shown, stages.worst);
    /* A stage that is no longer shown must not pass unnoticed. */
    dense_blocks = info->layers - info->moe_layers;
    heads = (info->pre_logits != 0 ? 1u : 0u) + (info->classifier == VMOE_CLASSIFIER_MAP ? 1u : 0u);
    assert_int_equal(stages.shown,
                     4 + heads + 8 * info->layers + dense_blocks + info->moe_layers);
    free(stages.before);
    free(output.features);
    free(output.logits);
    close_golden(&golden);
}

static void every_stage_matches_upstream(void **state)
{
    (void)state;
    check_stages("token");
    check_stages("odd");
    check_stages("last2");
    check_stages("map");
    check_stages("gap");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token_cases_match_upstream),
        cmocka_unit_test(odd_cases_match_upstream),
        cmocka_unit_test(last2_cases_match_upstream),
        cmocka_unit_test(map_cases_match_upstream),
        cmocka_unit_test(gap_cases_match_upstream),
        cmocka_unit_test(every_stage_matches_upstream),
    };

    return cmocka_run_group_tests_name("golden models", tests, NULL, NULL);
}
