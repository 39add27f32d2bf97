/*
 * What narrow numbers cost.  Upstream's models are imported as f32, bf16 and int8 and run in every
 * arithmetic of every instruction set, and their logits compared with upstream's: once with the
 * routing of the f32 model forced, so that only rounding is seen, and once free, to count the
 * decisions that rounding turns.
 *
 *     test_precision [--all]
 *
 * prints a table, in Markdown.  --all: every case of all models, the large geometries included,
 * rather than every eighth of some; where AMX is emulated that takes a while.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/linear.h"
#include "support/answer.h"
#include "support/golden.h"
#include "support/tiers.h"
#include "support/tiny.h"

/* By the type of the weights; about twice the worst that was measured. */
static const struct bound {
    double most, mean; /* |difference| with forced routing, in parts of the largest logit */
    double turned;     /* share of pairs with another expert or fate when free */
} bounds[] = {
    [VMOE_PRECISION_F32] = { 4e-6, 5e-7, 0.0 },
    [VMOE_PRECISION_BF16] = { 2e-2, 5e-3, 0.06 },
    [VMOE_PRECISION_INT8] = { 8e-2, 1e-2, 0.10 },
};

static const char *const names[] = { "auto", "f32", "bf16", "int8" };

struct measured {
    double most, sum, logit;
    uint64_t logits, pairs, turned;
};

/* A model, the cases of it that are run, and the answers of float32. */
struct subject {
    struct golden golden;
    float *tensor;
    size_t images, count;
    size_t *cases;
    struct answer *exact;
    float **expected;
};

static bool all_cases;

static struct subject open_subject(const char *path)
{
    struct subject s = { .golden = golden_open(path) };
    const size_t step = all_cases ? 1 : SANITIZED ? 48 : 8;
    vmoe_model *model = golden_model(&s.golden, VMOE_PRECISION_F32);

    s.tensor = golden_tensor(&s.golden);
    s.images = s.golden.pixels.dims[0];
    s.cases = malloc(s.golden.cases * sizeof *s.cases);
    s.exact = malloc(s.golden.cases * sizeof *s.exact);
    s.expected = malloc(s.golden.cases * sizeof *s.expected);
    for (size_t i = 0; i < s.golden.cases; i += step, s.count++) {
        vmoe_options options = VMOE_OPTIONS_INIT;

        golden_dial(&s.golden, i, &options);
        s.cases[s.count] = i;
        s.exact[s.count] = must_answer(model, s.tensor, s.images, &options);
        s.expected[s.count] = golden_logits(&s.golden, i);
    }
    vmoe_free(model);
    return s;
}

static void close_subject(struct subject *s)
{
    for (size_t i = 0; i < s->count; i++) {
        answer_free(&s->exact[i]);
        free(s->expected[i]);
    }
    free(s->expected);
    free(s->exact);
    free(s->cases);
    free(s->tensor);
    golden_close(&s->golden);
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

/* All cases in one arithmetic. */
static struct measured measure(const struct subject *s, const vmoe_model *model, uint32_t isa,
                               uint32_t activations)
{
    struct measured measured = { 0 };

    for (size_t i = 0; i < s->count; i++) {
        struct answer *exact = &s->exact[i], free_run, forced;
        vmoe_options options = VMOE_OPTIONS_INIT;

        golden_dial(&s->golden, s->cases[i], &options);
        options.isa = isa;
        options.precision = activations;
        free_run = must_answer(model, s->tensor, s->images, &options);
        options.routes = exact->routes;
        options.routes_length = exact->report.routes_length;
        forced = must_answer(model, s->tensor, s->images, &options);
        assert_int_equal(forced.report.precision, activations);
        assert_memory_equal(exact->routes, forced.routes,
                            exact->report.routes_length * sizeof *exact->routes);
        add_case(&measured, exact, &forced, &free_run, s->expected[i]);
        answer_free(&free_run);
        answer_free(&forced);
    }
    return measured;
}

static void check_measured(const struct subject *s, uint32_t isa, uint32_t weights,
                           uint32_t activations, const struct measured *m)
{
    const double mean = m->sum / (double)m->logits;
    const double turned = m->pairs != 0 ? (double)m->turned / (double)m->pairs : 0;

    print_message("| %s | %s | %s | %s | %zu | %.2g | %.1e | %.1e | %llu of %llu | %.2f %% |\n",
                  s->golden.name, names[weights], names[activations], vmoe_isa_name(isa), s->count,
                  m->logit, m->most, mean, (unsigned long long)m->turned,
                  (unsigned long long)m->pairs, 100.0 * turned);
    assert_true(m->most <= bounds[weights].most * m->logit);
    assert_true(mean <= bounds[weights].mean * m->logit);
    assert_true(turned <= bounds[weights].turned);
}

static void check_model(void **state)
{
    const char *path = *state;
    struct subject s;

    if (!golden_is_here(path))
        skip_because("not among the golden data here");
    s = open_subject(path);
    print_message("| model | weights | activations | on | cases | largest logit | forced: most | "
                  "mean | free: pairs turned | |\n|---|---|---|---|---|---|---|---|---|---|\n");
    for (uint32_t weights = VMOE_PRECISION_F32; weights <= VMOE_PRECISION_INT8; weights++) {
        vmoe_model *model = golden_model(&s.golden, weights);

        for (uint32_t type = VMOE_PRECISION_F32; type <= weights; type++) {
            uint32_t isas[16];
            size_t count = 0;

            for (const uint32_t *isa = tiers_with(type, weights); *isa != VMOE_ISA_DEFAULT; isa++)
                isas[count++] = *isa;
            for (size_t i = 0; i < count; i++) {
                const struct measured measured = measure(&s, model, isas[i], type);

                check_measured(&s, isas[i], weights, type, &measured);
            }
        }
        vmoe_free(model);
    }
    close_subject(&s);
}

int main(int count, char **words)
{
    static const char *const paths[] = {
        "models/token",     "models/odd",       "models/last2",       "models/map",
        "models/gap",       "dense",            "geometry/s32_224",   "geometry/s32_384",
        "geometry/b16_224", "geometry/b16_384", "geometry/h14_slice", "geometry/15b_slice",
    };
    enum { PATHS = sizeof paths / sizeof paths[0], SMALL = 6 };
    struct CMUnitTest tests[PATHS];

    all_cases = count == 2 && strcmp(words[1], "--all") == 0;
    for (size_t i = 0; i < PATHS; i++)
        tests[i] = (struct CMUnitTest){ .name = paths[i], .test_func = check_model,
                                        .initial_state = (void *)(uintptr_t)paths[i] };
    return _cmocka_run_group_tests("precision", tests, all_cases ? PATHS : SMALL, NULL, NULL);
}
