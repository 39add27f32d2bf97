/*
 * Smoothing: what an int8 import does with channels that are far larger than the others.  The model
 * has three such channels, made so that float32 hardly notices: 50 times the norm's scale and bias,
 * and a fiftieth of the rows behind it.  Measured, mean |difference| of logits to the float32
 * model's with its routing forced:
 *
 *                                  without outliers    with    with, not smoothed
 *     weights alone in int8             6.1e-3         5.3e-3         5.4e-2
 *     activations as well, u8           8.7e-3         8.9e-3         1.2e-1
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/import.h"
#include "checkpoint/reader.h"
#include "checkpoint/smooth.h"
#include "kernels/pack.h"
#include "support/answer.h"
#include "support/formula.h"
#include "support/support.h"
#include "support/tiny.h"

#define IMAGES 16u
#define OUTLIER 50.0f
#define MEAN_MOST 1.5e-2

static bool contains(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

/* ---- The arithmetic ------------------------------------------------------------------------- */

static void factors_are_the_powers_of_two_that_balance_best(void **state)
{
    static const struct {
        float scale, bias, weight, factor;
    } cases[] = {
        { -1.0f, 3.0f, -3.0f, 2.0f },    { 1.0f, 1.0f, 1.0f, 2.0f },
        { 1.0f, 0.0f, 3.0f, 1.0f },      { 1.0f, -3.0f, 3.001f, 1.0f },
        { 1.0f, 4.999f, 1.0f, 2.0f },    { 1.0f, 5.0f, 1.0f, 4.0f },
        { 0.0f, 1.0f, 2.0f, 1.0f },      { 0.0f, 1.0f, 2.001f, 0.5f },
        { 0.0f, 1.0f, 8.0f, 0.5f },      { 0.0f, 1.0f, 8.001f, 0.25f },
        { 50.0f, 0.0f, 0.02f, 0x1p6f },  { 1.0f, 1.0f, 0.0f, 0x1p16f },
        { 0.0f, 0.0f, 1.0f, 0x1p-16f },  { 0.0f, 0.0f, 0.0f, 0x1p16f },
        { 3e38f, 3e38f, 1.0f, 0x1p16f }, { 1.0f, 0.0f, 1e-30f, 0x1p16f },
        { 1e-30f, 0.0f, 1e30f, 0x1p-16f },
    };
    enum { CHANNELS = sizeof cases / sizeof cases[0] };
    float scale[CHANNELS], bias[CHANNELS], small[CHANNELS][3], large[CHANNELS][1];
    struct vmoe_smoothing smoothing;
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    assert_ok(vmoe_smoothing_create(&vmoe_memory_default, CHANNELS, &smoothing, &error), error);
    for (size_t j = 0; j < CHANNELS; j++) {
        scale[j] = cases[j].scale;
        bias[j] = cases[j].bias;
        large[j][0] = cases[j].weight;
        for (size_t c = 0; c < 3; c++)
            small[j][c] = -cases[j].weight / 2.0f;
    }
    for (int again = 0; again < 2; again++) {
        vmoe_smoothing_clear(&smoothing);
        vmoe_smoothing_see_matrix(&smoothing, 3, small[0]);
        vmoe_smoothing_see_bias(&smoothing, bias);
        vmoe_smoothing_see_matrix(&smoothing, 1, large[0]);
        vmoe_smoothing_see_scale(&smoothing, scale);
        vmoe_smoothing_decide(&smoothing);
        for (size_t j = 0; j < CHANNELS; j++)
            if (smoothing.factor[j] != cases[j].factor)
                fail_msg("case %zu: %g instead of %g", j, smoothing.factor[j], cases[j].factor);
    }
    assert_true(vmoe_smoothing_change_matrix(&smoothing, 3, small[0]));
    vmoe_smoothing_change_norm(&smoothing, scale);
    for (size_t j = 0; j < CHANNELS; j++) {
        for (size_t c = 0; c < 3; c++)
            assert_true(small[j][c] == -cases[j].weight / 2.0f * cases[j].factor);
        assert_true(scale[j] == cases[j].scale / cases[j].factor);
    }
    vmoe_smoothing_destroy(&smoothing, &vmoe_memory_default);
}

/* ---- A model with outliers ------------------------------------------------------------------ */

/* The channel of value `i` of an array behind a norm or of the norm itself, in medium_info. */
static uint64_t channel_of(const char *name, uint64_t i, bool *norm)
{
    const vmoe_info info = medium_info(VMOE_CLASSIFIER_TOKEN);

    *norm = contains(name, "/LayerNorm_");
    if (!contains(name, "encoderblock"))
        return 0;
    if (*norm)
        return i;
    if (!contains(name, "/kernel"))
        return 0;
    if (contains(name, "/query/") || contains(name, "/key/") || contains(name, "/value/"))
        return i / info.width;
    if (contains(name, "/Dense_0/"))
        return i / info.mlp % info.width;
    return contains(name, "/Router/") ? i / info.experts : 0;
}

static void add_outliers(const char *name, uint64_t first, uint64_t count, float *values)
{
    for (uint64_t i = 0; i < count; i++) {
        bool norm;

        if (channel_of(name, first + i, &norm) % 24 == 5)
            values[i] = norm ? values[i] * OUTLIER : values[i] / OUTLIER;
    }
}

static void leave_alone(const char *name, uint64_t first, uint64_t count, float *values)
{
    (void)name;
    (void)first;
    (void)count;
    (void)values;
}

/* Imports the medium model with a change of its weights. */
static const char *write_changed(weight_change change, uint32_t precision)
{
    static const char *const names[] = { "", "f32.vmoe", "bf16.vmoe", "int8.vmoe" };
    const vmoe_info geometry = medium_info(VMOE_CLASSIFIER_TOKEN);
    const char *path = scratch_path(names[precision]);
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;

    options.precision = precision;
    write_source(changed_source(&geometry, change), &options, path);
    return path;
}

static struct vmoe_checkpoint read_changed(weight_change change, uint32_t precision)
{
    const struct vmoe_read_options options = { 0 };
    struct vmoe_checkpoint checkpoint;
    vmoe_error error = VMOE_ERROR_INIT;

    assert_ok(vmoe_checkpoint_read(write_changed(change, precision), NULL, 0, &options,
                                   &vmoe_memory_default, &checkpoint, &error),
              error);
    return checkpoint;
}

/* ---- The function stays --------------------------------------------------------------------- */

/* The factors between two norms, which must be powers of two, the same for scale and bias. */
static void find_factors(size_t channels, const struct vmoe_norm *plain,
                         const struct vmoe_norm *smoothed, float *factors)
{
    for (size_t j = 0; j < channels; j++) {
        int unused;

        factors[j] = plain->scale[j] / smoothed->scale[j];
        assert_true(frexpf(factors[j], &unused) == 0.5f);
        assert_true(smoothed->bias[j] == plain->bias[j] / factors[j]);
    }
}

/* Half a step of int8 is what a number may have lost beside its factor. */
static void check_matrix(const struct vmoe_linear *plain, const struct vmoe_linear *smoothed,
                         const float *factors)
{
    for (size_t i = 0; i < plain->k; i++)
        for (size_t j = 0; j < plain->n; j++) {
            const float exact =
                vmoe_pack_value(plain->precision, plain->k, plain->panels, i, j) * factors[i];
            const float stored =
                vmoe_pack_value(smoothed->precision, smoothed->k, smoothed->panels, i, j);

            assert_true(fabsf(stored * smoothed->scale[j] - exact) <=
                        0.5001f * smoothed->scale[j]);
        }
}

static void check_block(const vmoe_info *info, uint32_t index, const struct vmoe_block *plain,
                        const struct vmoe_block *smoothed)
{
    float *factors = malloc(info->width * sizeof *factors);

    find_factors(info->width, &plain->norm_0, &smoothed->norm_0, factors);
    check_matrix(&plain->qkv, &smoothed->qkv, factors);
    /* An outlier of 50 and its rows of 1/50 are both brought to about 1. */
    assert_true(factors[5] / factors[0] == 32.0f || factors[5] / factors[0] == 64.0f);
    find_factors(info->width, &plain->norm_1, &smoothed->norm_1, factors);
    assert_true(factors[5] / factors[0] == 32.0f || factors[5] / factors[0] == 64.0f);
    for (uint32_t e = 0; e < (info->moe[index] ? info->experts : 1); e++)
        check_matrix(&plain->mlps[e].fc1, &smoothed->mlps[e].fc1, factors);
    for (size_t i = 0; info->moe[index] && i < info->width * (size_t)info->experts; i++)
        assert_true(smoothed->router[i] == plain->router[i] * factors[i / info->experts]);
    free(factors);
}

static void the_function_of_a_smoothed_model_is_the_same(void **state)
{
    struct vmoe_checkpoint plain = read_changed(add_outliers, VMOE_PRECISION_F32);
    struct vmoe_checkpoint smoothed = read_changed(add_outliers, VMOE_PRECISION_INT8);

    (void)state;
    for (uint32_t i = 0; i < plain.info.layers; i++)
        check_block(&plain.info, i, &plain.weights.blocks[i], &smoothed.weights.blocks[i]);
    assert_memory_equal(plain.weights.norm.scale, smoothed.weights.norm.scale,
                        plain.info.width * sizeof(float));
    vmoe_checkpoint_release(&plain, &vmoe_memory_default);
    vmoe_checkpoint_release(&smoothed, &vmoe_memory_default);
}

static void only_int8_is_smoothed(void **state)
{
    struct vmoe_checkpoint f32 = read_changed(add_outliers, VMOE_PRECISION_F32);
    struct vmoe_checkpoint bf16 = read_changed(add_outliers, VMOE_PRECISION_BF16);
    const size_t row = f32.info.width * sizeof(float);

    (void)state;
    for (uint32_t i = 0; i < f32.info.layers; i++) {
        const struct vmoe_block *a = &f32.weights.blocks[i], *b = &bf16.weights.blocks[i];

        assert_memory_equal(a->norm_0.scale, b->norm_0.scale, row);
        assert_memory_equal(a->norm_0.bias, b->norm_0.bias, row);
        assert_memory_equal(a->norm_1.scale, b->norm_1.scale, row);
        assert_memory_equal(a->norm_1.bias, b->norm_1.bias, row);
        if (f32.info.moe[i])
            assert_memory_equal(a->router, b->router, row * f32.info.experts);
    }
    vmoe_checkpoint_release(&f32, &vmoe_memory_default);
    vmoe_checkpoint_release(&bf16, &vmoe_memory_default);
}

/* Where all channels are alike they get one factor, which the scales of the columns take up. */
static void without_outliers_the_int8_numbers_are_the_usual_ones(void **state)
{
    struct vmoe_checkpoint plain = read_changed(leave_alone, VMOE_PRECISION_F32);
    struct vmoe_checkpoint smoothed = read_changed(leave_alone, VMOE_PRECISION_INT8);
    const struct vmoe_linear *a = &plain.weights.blocks[1].mlps[2].fc1;
    const struct vmoe_linear *b = &smoothed.weights.blocks[1].mlps[2].fc1;
    const size_t bytes = (size_t)vmoe_pack_bytes(VMOE_PRECISION_INT8, a->k, a->n);
    float *values = malloc((size_t)a->k * a->n * sizeof *values);
    float *scales = malloc(a->n * sizeof *scales);
    uint8_t *packed = vmoe_memory_take(&vmoe_memory_default, bytes);

    (void)state;
    for (size_t i = 0; i < a->k; i++)
        for (size_t j = 0; j < a->n; j++)
            values[i * a->n + j] = vmoe_pack_value(a->precision, a->k, a->panels, i, j);
    vmoe_pack(VMOE_PRECISION_INT8, a->k, a->n, values, a->n, 1, packed, scales);
    assert_memory_equal(packed, b->panels, bytes);
    free(values);
    free(scales);
    vmoe_memory_release(&vmoe_memory_default, packed);
    vmoe_checkpoint_release(&plain, &vmoe_memory_default);
    vmoe_checkpoint_release(&smoothed, &vmoe_memory_default);
}

/* ---- What it is for ------------------------------------------------------------------------- */

/* Mean |difference| of the logits of an int8 import, with the routing of the f32 import. */
static double int8_error(weight_change change)
{
    vmoe_model *exact = must_load(write_changed(change, VMOE_PRECISION_F32), NULL);
    vmoe_model *narrow = must_load(write_changed(change, VMOE_PRECISION_INT8), NULL);
    const vmoe_info info = info_of(exact);
    float *images = make_images(&info, IMAGES);
    vmoe_options options = VMOE_OPTIONS_INIT;
    struct answer expected = must_answer(exact, images, IMAGES, &options), found;
    double sum = 0.0;

    options.routes = expected.routes;
    options.routes_length = expected.report.routes_length;
    found = must_answer(narrow, images, IMAGES, &options);
    for (size_t i = 0; i < IMAGES * (size_t)info.classes; i++)
        sum += fabs((double)found.logits[i] - (double)expected.logits[i]);
    answer_free(&expected);
    answer_free(&found);
    free(images);
    vmoe_free(exact);
    vmoe_free(narrow);
    return sum / (IMAGES * (double)info.classes);
}

static void outliers_cost_int8_nothing(void **state)
{
    const double without = int8_error(leave_alone), with = int8_error(add_outliers);

    (void)state;
    print_message("  logits differ by %.2e without outliers, %.2e with them\n", without, with);
    assert_true(without < MEAN_MOST);
    assert_true(with < MEAN_MOST);
}

/* ---- Bad numbers ---------------------------------------------------------------------------- */

/* Rows behind the norm that are nearly nothing, and a router that cannot be multiplied. */
static void make_unbalanced(const char *name, uint64_t first, uint64_t count, float *values)
{
    (void)first;
    for (uint64_t i = 0; i < count; i++) {
        if (contains(name, "Moe/Mlp/Dense_0/kernel"))
            values[i] *= 1e-6f;
        if (contains(name, "Router"))
            values[i] = 3e38f;
    }
}

static void a_number_that_would_become_infinite_is_refused(void **state)
{
    const vmoe_info geometry = medium_info(VMOE_CLASSIFIER_TOKEN);
    struct vmoe_source *source = changed_source(&geometry, make_unbalanced);
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    options.precision = VMOE_PRECISION_INT8;
    assert_refused(vmoe_import_source(source, "formula", scratch_path("no.vmoe"), &options,
                                      &vmoe_memory_default, &error),
                   error, VMOE_ERR_FORMAT, "block.1.router");
    source->close(source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(factors_are_the_powers_of_two_that_balance_best),
        cmocka_unit_test(the_function_of_a_smoothed_model_is_the_same),
        cmocka_unit_test(only_int8_is_smoothed),
        cmocka_unit_test(without_outliers_the_int8_numbers_are_the_usual_ones),
        cmocka_unit_test(outliers_cost_int8_nothing),
        cmocka_unit_test(a_number_that_would_become_infinite_is_refused),
    };

    return cmocka_run_group_tests_name("smoothing", tests, NULL, NULL);
}
