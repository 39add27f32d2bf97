/*
 * What narrow numbers cost.  Upstream's models are imported as f32, bf16 and int8 and run in every
 * arithmetic of every instruction set, and their logits compared with upstream's: once with the
 * routing of the f32 model forced, so that only rounding is seen, and once free, to count the
 * decisions that rounding turns.  The shipped model, which is trained, shows the same on many
 * pictures, beside its own answers in portable C.
 *
 *     test_precision [--all]
 *
 * prints a table, in Markdown.  --all: every case of all models, the large geometries included,
 * rather than every eighth of some, and 1,000 pictures rather than 100; where AMX is emulated that
 * takes a while.
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
            const uint32_t *isa = tiers_with(type, weights);

            for (; *isa != VMOE_ISA_DEFAULT; isa++) {
                const struct measured measured = measure(&s, model, *isa, type);

                check_measured(&s, *isa, weights, type, &measured);
            }
        }
        vmoe_free(model);
    }
    close_subject(&s);
}

/* ---- Many pictures -------------------------------------------------------------------------- */

#define SIDE 28u
#define SHIPPED (sizeof shipped / sizeof shipped[0])

static const char *const shipped[] = {
    "ankle-boot", "bag",   "coat",    "dress",       "pullover",
    "sandal",     "shirt", "sneaker", "t-shirt-top", "trouser",
};

static void read_shipped(const char *name, float tensor[SIDE * SIDE * 3])
{
    const vmoe_preprocessing resize = { VMOE_PREPROCESS_RESIZE, SIDE, 0 };
    vmoe_picture picture = { .kind = VMOE_PICTURE_JPEG };
    vmoe_error error = VMOE_ERROR_INIT;
    uint8_t pixels[SIDE * SIDE * 3];
    char path[64];
    void *data;

    snprintf(path, sizeof path, "examples/demo/pictures/%s.jpg", name);
    picture.data = data = read_file(path, &picture.bytes);
    assert_ok(vmoe_preprocess(&resize, &picture, pixels, sizeof pixels, &error), error);
    for (size_t i = 0; i < sizeof pixels; i++)
        tensor[i] = (float)pixels[i] / 127.5f - 1.0f;
    free(data);
}

/* The `variant`-th of 100: moved by up to two pixels, mirrored or not, fainter or not. */
static void vary(const float *picture, size_t variant, float *varied)
{
    const size_t dx = SIDE - 2 + variant % 5, dy = SIDE - 2 + variant / 5 % 5;
    const bool mirrored = variant / 25 % 2;
    const float contrast = variant / 50 ? 0.75f : 1.0f;

    for (size_t y = 0; y < SIDE; y++)
        for (size_t x = 0; x < SIDE; x++)
            for (size_t c = 0; c < 3; c++) {
                const size_t from_x = ((mirrored ? SIDE - 1 - x : x) + dx) % SIDE;
                const size_t from = (y + dy) % SIDE * SIDE + from_x;

                *varied++ = contrast * (1.0f + picture[from * 3 + c]) - 1.0f;
            }
}

static float *many_pictures(size_t variants)
{
    float *tensor = malloc(SHIPPED * variants * SIDE * SIDE * 3 * sizeof *tensor);
    float picture[SIDE * SIDE * 3];

    assert_non_null(tensor);
    for (size_t i = 0; i < SHIPPED; i++) {
        read_shipped(shipped[i], picture);
        for (size_t v = 0; v < variants; v++)
            vary(picture, v, tensor + (i * variants + v) * SIDE * SIDE * 3);
    }
    return tensor;
}

/* Decisions and classes that are others than those of portable C. */
static void check_shipped(const vmoe_model *model, const float *tensor, const struct answer *exact,
                          uint32_t isa, uint32_t activations)
{
    const size_t classes = exact->info.classes;
    vmoe_options options = VMOE_OPTIONS_INIT;
    struct answer answer;
    size_t turned = 0, others = 0;

    options.isa = isa;
    options.precision = activations;
    answer = must_answer(model, tensor, exact->images, &options);
    assert_int_equal(answer.report.precision, activations);
    for (size_t i = 0; i < exact->report.routes_length; i++)
        turned += exact->routes[i] != answer.routes[i];
    for (size_t i = 0; i < exact->images; i++)
        others += exact->top[i * classes].index != answer.top[i * classes].index;
    print_message("| %s | %s | %zu of %zu | %zu of %zu |\n", names[activations],
                  vmoe_isa_name(isa), turned, exact->report.routes_length, others, exact->images);
    assert_true(turned <= (activations == VMOE_PRECISION_F32
                               ? exact->report.routes_length / 10000
                               : exact->report.routes_length / 50));
    assert_true(others <= (activations == VMOE_PRECISION_F32 ? 0 : exact->images / 50));
    answer_free(&answer);
}

static void the_shipped_model_decides_alike_everywhere(void **state)
{
    const size_t variants = all_cases ? 100 : 10;
    float *tensor = many_pictures(variants);
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model = NULL;
    struct answer exact;

    (void)state;
    assert_ok(vmoe_load_file("examples/demo/fashion-mnist.vmoe", NULL, &model, &error), error);
    options.isa = VMOE_ISA_REF;
    exact = must_answer(model, tensor, SHIPPED * variants, &options);
    print_message("| activations | on | pairs turned | other classes |\n|---|---|---|---|\n");
    for (uint32_t type = VMOE_PRECISION_F32; type <= VMOE_PRECISION_BF16; type++) {
        const uint32_t *isa = tiers_with(type, VMOE_PRECISION_BF16);

        for (; *isa != VMOE_ISA_DEFAULT; isa++)
            check_shipped(model, tensor, &exact, *isa, type);
    }
    answer_free(&exact);
    vmoe_free(model);
    free(tensor);
}

int main(int count, char **words)
{
    static const char *const paths[] = {
        "models/token",     "models/odd",       "models/last2",       "models/map",
        "models/gap",       "dense",            "geometry/s32_224",   "geometry/s32_384",
        "geometry/b16_224", "geometry/b16_384", "geometry/h14_slice", "geometry/15b_slice",
    };
    enum { PATHS = sizeof paths / sizeof paths[0], SMALL = 6 };
    struct CMUnitTest tests[1 + PATHS] = {
        cmocka_unit_test(the_shipped_model_decides_alike_everywhere),
    };

    all_cases = count == 2 && strcmp(words[1], "--all") == 0;
    for (size_t i = 0; i < PATHS; i++)
        tests[1 + i] = (struct CMUnitTest){ .name = paths[i], .test_func = check_model,
                                            .initial_state = (void *)(uintptr_t)paths[i] };
    return _cmocka_run_group_tests("precision", tests, 1 + (all_cases ? PATHS : SMALL), NULL, NULL);
}
