/*
 * What narrow weights cost.  Upstream's checkpoints are imported as f32, bf16 and int8, and their
 * logits compared with upstream's own over all cases of the dial: once with the routing of the f32
 * model forced, so that only rounding is seen, and once free, to count the decisions that rounding
 * turns.  Measured, for logits of up to 2.2 (max and mean |difference|, routing forced; pairs of
 * token and choice with another expert or fate, routing free):
 *
 *              bf16 max   mean    turned     int8 max   mean    turned
 *     token     1.2e-2   2.8e-3   1.3 %       2.1e-2   5.0e-3   2.2 %
 *     odd       1.3e-2   3.8e-3   0.6 %       4.3e-2   7.7e-3   3.7 %
 *     last2     1.4e-2   2.4e-3   0.7 %       4.3e-2   6.5e-3   1.4 %
 *
 * The bounds are about twice the worst of these.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/answer.h"
#include "support/support.h"
#include "support/tiny.h"

static const struct bound {
    const char *name;
    double most, mean; /* |difference| of logits with forced routing */
    double turned;     /* share of pairs with another expert or fate when free */
} bounds[] = {
    [VMOE_PRECISION_F32] = { "f32", 2e-5, 2e-6, 0.0 },
    [VMOE_PRECISION_BF16] = { "bf16", 3e-2, 8e-3, 0.03 },
    [VMOE_PRECISION_INT8] = { "int8", 9e-2, 1.6e-2, 0.08 },
};

struct measured {
    double most, sum, logit;
    uint64_t logits, pairs, turned;
};

static vmoe_model *import_golden(const char *name, uint32_t precision)
{
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    const char *path = scratch_path("precision.vmoe");

    options.precision = precision;
    assert_ok(vmoe_import(golden_path("models/%s/model", name), path, &options, &error), error);
    return must_load(path, NULL);
}

static void add_case(struct measured *measured, const struct answer *exact,
                     const struct answer *forced, const struct answer *free_run,
                     const float *expected)
{
    const size_t logits = forced->images * forced->info.classes;

    for (size_t i = 0; i < logits; i++) {
        const double difference = fabs((double)forced->logits[i] - (double)expected[i]);

        assert_true(isfinite(difference));
        measured->most = fmax(measured->most, difference);
        measured->sum += difference;
        measured->logit = fmax(measured->logit, fabs((double)expected[i]));
    }
    measured->logits += logits;
    for (size_t i = 0; i < exact->report.routes_length; i++)
        measured->turned += exact->routes[i] != free_run->routes[i];
    measured->pairs += exact->report.routes_length;
}

/* The images as the float tensors that pixels become. */
static float *golden_images(const char *name, size_t *count)
{
    struct npy pixels = npy_load(golden_path("models/%s/images.npy", name));
    float *images = malloc(pixels.elements * sizeof *images);

    for (size_t i = 0; i < pixels.elements; i++)
        images[i] = (float)((const uint8_t *)pixels.data)[i] / 255.0f * 2.0f - 1.0f;
    *count = pixels.dims[0];
    npy_free(&pixels);
    return images;
}

/* One row of cases.tsv with the models of all precisions. */
static void measure_case(vmoe_model *const models[4], const float *images, size_t count,
                         vmoe_options options, const float *expected, struct measured measured[4])
{
    struct answer exact =
        must_answer(models[VMOE_PRECISION_F32], images, count, &options);

    add_case(&measured[VMOE_PRECISION_F32], &exact, &exact, &exact, expected);
    for (uint32_t p = VMOE_PRECISION_BF16; p <= VMOE_PRECISION_INT8; p++) {
        struct answer free_run = must_answer(models[p], images, count, &options), forced;

        options.routes = exact.routes;
        options.routes_length = exact.report.routes_length;
        forced = must_answer(models[p], images, count, &options);
        options.routes = NULL;
        options.routes_length = 0;
        assert_memory_equal(exact.routes, forced.routes,
                            exact.report.routes_length * sizeof *exact.routes);
        add_case(&measured[p], &exact, &forced, &free_run, expected);
        answer_free(&free_run);
        answer_free(&forced);
    }
    answer_free(&exact);
}

static void check_measured(const char *name, uint32_t precision, const struct measured *m)
{
    const struct bound *bound = &bounds[precision];
    const double mean = m->sum / (double)m->logits, turned = (double)m->turned / (double)m->pairs;

    print_message("  %-6s %-4s forced: max %.2e, mean %.2e of logits up to %.1f; free: %llu of "
                  "%llu pairs turned (%.2f %%)\n",
                  name, bound->name, m->most, mean, m->logit, (unsigned long long)m->turned,
                  (unsigned long long)m->pairs, 100.0 * turned);
    assert_true(m->most <= bound->most);
    assert_true(mean <= bound->mean);
    assert_true(turned <= bound->turned);
}

static void check_model(const char *name)
{
    struct measured measured[4] = { { 0 } };
    vmoe_model *models[4] = { NULL };
    struct table cases;
    struct npy expected;
    float *images;
    size_t count;

    if (!golden_exists())
        skip();
    cases = table_load(golden_path("models/%s/cases.tsv", name));
    expected = npy_load(golden_path("models/%s/logits.npy", name));
    images = golden_images(name, &count);
    for (uint32_t p = VMOE_PRECISION_F32; p <= VMOE_PRECISION_INT8; p++)
        models[p] = import_golden(name, p);
    for (size_t row = 0; row < cases.rows; row += SANITIZED ? 11 : 1) {
        vmoe_options options = VMOE_OPTIONS_INIT;

        golden_dial(&options, &cases, row);
        measure_case(models, images, count, options,
                     (const float *)expected.data + row * expected.elements / expected.dims[0],
                     measured);
    }
    for (uint32_t p = VMOE_PRECISION_F32; p <= VMOE_PRECISION_INT8; p++) {
        check_measured(name, p, &measured[p]);
        vmoe_free(models[p]);
    }
    free(images);
    npy_free(&expected);
    table_free(&cases);
}

static void token_stays_within_the_tolerances(void **state)
{
    (void)state;
    check_model("token");
}

static void odd_stays_within_the_tolerances(void **state)
{
    (void)state;
    check_model("odd");
}

static void last2_stays_within_the_tolerances(void **state)
{
    (void)state;
    check_model("last2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token_stays_within_the_tolerances),
        cmocka_unit_test(odd_stays_within_the_tolerances),
        cmocka_unit_test(last2_stays_within_the_tolerances),
    };

    return cmocka_run_group_tests_name("precision", tests, NULL, NULL);
}
