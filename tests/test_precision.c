/*
 * What narrow weights cost.  Upstream's checkpoints are imported as bf16 and int8, and their logits
 * compared with upstream's own over all cases of the dial, once with the routing of the f32 model
 * forced, so that only rounding is seen, and once free, to count the decisions that rounding turns.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/answer.h"
#include "support/support.h"
#include "support/tiny.h"

struct bound {
    uint32_t precision;
    double most, mean; /* |difference| of logits with forced routing */
    double turned;     /* share of (token, k) pairs with another expert or fate when free */
};

struct measured {
    double most, sum, logit;
    uint64_t logits, pairs, turned;
};

static const char *const precision_names[] = { "", "f32", "bf16", "int8" };

static void set_dial(vmoe_options *options, const struct table *cases, size_t row)
{
    options->capacity = strtod(table_cell(cases, row, "C"), NULL);
    options->experts_per_token = (uint32_t)atoi(table_cell(cases, row, "K"));
    options->priority =
        atoi(table_cell(cases, row, "bpr")) ? VMOE_PRIORITY_BPR_MAX : VMOE_PRIORITY_VANILLA;
    options->group_images = (uint32_t)atoi(table_cell(cases, row, "group_images"));
    options->capacity_rule = strcmp(table_cell(cases, row, "rule"), "round") == 0
                                 ? VMOE_CAPACITY_ROUND
                                 : VMOE_CAPACITY_CEIL;
    options->capacity_multiple = (uint32_t)atoi(table_cell(cases, row, "multiple"));
}

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

static struct measured measure(const char *name, uint32_t precision)
{
    struct table cases = table_load(golden_path("models/%s/cases.tsv", name));
    struct npy expected = npy_load(golden_path("models/%s/logits.npy", name));
    vmoe_model *f32 = import_golden(name, VMOE_PRECISION_F32);
    vmoe_model *narrow = import_golden(name, precision);
    struct measured measured = { 0 };
    size_t count;
    float *images = golden_images(name, &count);

    for (size_t row = 0; row < cases.rows; row++) {
        vmoe_options options = VMOE_OPTIONS_INIT;
        struct answer exact, forced, free_run;

        set_dial(&options, &cases, row);
        exact = must_answer(f32, images, count, &options);
        free_run = must_answer(narrow, images, count, &options);
        options.routes = exact.routes;
        options.routes_length = exact.report.routes_length;
        forced = must_answer(narrow, images, count, &options);
        assert_memory_equal(exact.routes, forced.routes,
                            exact.report.routes_length * sizeof *exact.routes);
        add_case(&measured, &exact, &forced, &free_run,
                 (const float *)expected.data + row * expected.elements / expected.dims[0]);
        answer_free(&exact);
        answer_free(&forced);
        answer_free(&free_run);
    }
    free(images);
    vmoe_free(f32);
    vmoe_free(narrow);
    npy_free(&expected);
    table_free(&cases);
    return measured;
}

static void check_model(const char *name, const struct bound *bounds, size_t count)
{
    if (!golden_exists())
        skip();
    for (size_t i = 0; i < count; i++) {
        const struct measured m = measure(name, bounds[i].precision);
        const double mean = m.sum / (double)m.logits, turned = (double)m.turned / (double)m.pairs;

        print_message("  %-6s %-4s routing forced: max %.2e, mean %.2e of logits up to %.1f; free: "
                      "%llu of %llu pairs turned (%.2f %%)\n",
                      name, precision_names[bounds[i].precision], m.most, mean, m.logit,
                      (unsigned long long)m.turned, (unsigned long long)m.pairs, 100.0 * turned);
        assert_true(m.most <= bounds[i].most);
        assert_true(mean <= bounds[i].mean);
        assert_true(turned <= bounds[i].turned);
    }
}

static void token_stays_within_its_tolerance(void **state)
{
    static const struct bound bounds[] = { { VMOE_PRECISION_F32, 2e-5, 2e-6, 0.0 },
                                           { VMOE_PRECISION_BF16, 1, 1, 1 },
                                           { VMOE_PRECISION_INT8, 1, 1, 1 } };

    (void)state;
    check_model("token", bounds, 3);
}

static void odd_stays_within_its_tolerance(void **state)
{
    static const struct bound bounds[] = { { VMOE_PRECISION_F32, 2e-5, 2e-6, 0.0 },
                                           { VMOE_PRECISION_BF16, 1, 1, 1 },
                                           { VMOE_PRECISION_INT8, 1, 1, 1 } };

    (void)state;
    check_model("odd", bounds, 3);
}

static void last2_stays_within_its_tolerance(void **state)
{
    static const struct bound bounds[] = { { VMOE_PRECISION_F32, 2e-5, 2e-6, 0.0 },
                                           { VMOE_PRECISION_BF16, 1, 1, 1 },
                                           { VMOE_PRECISION_INT8, 1, 1, 1 } };

    (void)state;
    check_model("last2", bounds, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token_stays_within_its_tolerance),
        cmocka_unit_test(odd_stays_within_its_tolerance),
        cmocka_unit_test(last2_stays_within_its_tolerance),
    };

    return cmocka_run_group_tests_name("precision", tests, NULL, NULL);
}
