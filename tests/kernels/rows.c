/*
 * Norm, softmax and sigmoid of a row, against double, and to the bit against the first table: all
 * tables add in the same lanes and round after each operation.
 */
#include <stdio.h>

#include "kernels/harness.h"

#define N_MAX 2000u
#define TAILS 130u

enum memory { X, Y, SCALE, BIAS, MEMORIES };

static struct fenced memory[MEMORIES];

static float *place(enum memory which, const float *data, size_t n, enum side side)
{
    return fenced_copy(&memory[which], data, n * sizeof *data, side);
}

/* Something that is not an ordinary number. */
static float special(void)
{
    static const float values[] = { NAN,    INFINITY, -INFINITY, FLT_MAX, -FLT_MAX,
                                    1e-40f, -1e-40f,  0.0f,      -0.0f,   -1000.0f };

    return values[random_below(sizeof values / sizeof values[0])];
}

static float *draw_reals(size_t n)
{
    float *x = case_memory(n * sizeof *x);

    for (size_t i = 0; i < n; i++)
        x[i] = random_real();
    return x;
}

struct timed {
    const struct vmoe_kernels *kernels;
    float *x, *y, *scale, *bias;
    size_t n;
};

/* ---- Layer norm ----------------------------------------------------------------------------- */

struct norm {
    size_t n;
    float epsilon;
    float *x, *scale, *bias;
    double *expected, *bound; /* NULL: bits alone are compared */
};

/*
 * A sum of n terms in 16 lanes rounds n / 16 + 4 times; several such sums do less.  The error of the
 * mean shifts all values, and adds its square to the variance.
 */
static void expect_norm(struct norm *norm)
{
    const double n = (double)norm->n, depth = ceil(n / 16) + 5;
    double mean = 0, magnitude = 0, variance = 0, shift, change, factor;

    for (size_t i = 0; i < norm->n; i++) {
        mean += (double)norm->x[i];
        magnitude += fabs((double)norm->x[i]) / n;
    }
    mean /= n;
    for (size_t i = 0; i < norm->n; i++)
        variance += ((double)norm->x[i] - mean) * ((double)norm->x[i] - mean);
    variance /= n;
    shift = depth * UNIT_F32 * magnitude + UNIT_F32 * fabs(mean);
    factor = 1 / sqrt(variance + (double)norm->epsilon);
    change = shift * shift + (depth + 4) * UNIT_F32 * variance;
    change = change * factor * factor / 2 + 3 * UNIT_F32; /* relative, of the factor */
    norm->expected = case_memory(norm->n * sizeof *norm->expected);
    norm->bound = case_memory(norm->n * sizeof *norm->bound);
    for (size_t i = 0; i < norm->n; i++) {
        const double d = (double)norm->x[i] - mean, scale = (double)norm->scale[i];
        const double y = d * factor * scale + (double)norm->bias[i];

        norm->expected[i] = y;
        norm->bound[i] = 1.01 * fabs(factor * scale) *
                             (shift + fabs(d) * (change + 3 * UNIT_F32)) +
                         UNIT_F32 * fabs(y) + (double)FLT_MIN;
    }
}

/* Values are a number more or less a power of two, as often the one as the other, or all alike. */
static void draw_integers(struct norm *norm)
{
    const float middle = (float)random_integer(-20, 20);
    const float step = norm->n % 2 == 0 ? ldexpf(1.0f, random_integer(0, 2)) : 0.0f;
    size_t up = norm->n / 2;

    norm->epsilon = norm->n % 2 == 0 ? 0.0f : 0.25f;
    for (size_t i = 0; i < norm->n; i++) {
        const bool more = random_below(norm->n - i) < up;

        up -= more;
        norm->x[i] = middle + (more ? step : -step);
        norm->scale[i] = (float)random_integer(-7, 7);
        norm->bias[i] = (float)random_integer(-7, 7);
    }
    expect_norm(norm);
    for (size_t i = 0; i < norm->n; i++)
        norm->bound[i] = 0;
}

static struct norm draw_norm(size_t n, bool integers)
{
    struct norm norm = { .n = n, .epsilon = 1e-6f };
    const float middle = random_chance(2) ? 0.0f : 10.0f * random_real();
    const float size = ldexpf(1.0f, random_integer(-8, 4));

    case_begin("layer_norm of %zu%s", n, integers ? ", integers" : "");
    norm.x = case_memory(n * sizeof *norm.x);
    norm.scale = case_memory(n * sizeof *norm.scale);
    norm.bias = case_memory(n * sizeof *norm.bias);
    if (integers) {
        draw_integers(&norm);
        return norm;
    }
    for (size_t i = 0; i < n; i++) {
        norm.x[i] = middle + size * random_real();
        norm.scale[i] = random_real();
        norm.bias[i] = random_real();
    }
    expect_norm(&norm);
    return norm;
}

static void run_norm(const struct vmoe_kernels *kernels, const struct norm *norm, enum side side,
                     bool in_place, float *result)
{
    float *x = place(X, norm->x, norm->n, side);
    float *y = in_place ? x : fenced_place(&memory[Y], norm->n * sizeof *y, side);

    kernels->layer_norm(norm->n, x, norm->epsilon, place(SCALE, norm->scale, norm->n, side),
                        place(BIAS, norm->bias, norm->n, side), y);
    memcpy(result, y, norm->n * sizeof *y);
}

static void check_norm(const struct entry *entry, const struct norm *norm)
{
    float *first = case_memory(norm->n * sizeof *first);
    float *again = case_memory(norm->n * sizeof *again);
    const struct vmoe_kernels *const *t = targets(entry);

    case_target(*t);
    run_norm(*t, norm, AT_END, false, first);
    for (; *t != NULL; t++) {
        case_target(*t);
        run_norm(*t, norm, AT_END, false, again);
        for (size_t i = 0; norm->bound != NULL && i < norm->n; i++)
            check_close(again[i], norm->expected[i], norm->bound[i], "the norm", 0, i);
        check_same_floats(again, first, norm->n, "on another table");
        run_norm(*t, norm, AT_START, true, again);
        check_same_floats(again, first, norm->n, "in place");
    }
}

static void norm_edges(const struct entry *entry)
{
    for (size_t n = 1; n <= TAILS; n++)
        for (int integers = 0; integers < 2; integers++) {
            const struct norm norm = draw_norm(n, integers);

            check_norm(entry, &norm);
        }
    /* One value that is not finite spoils the row. */
    for (size_t n = 1; n <= TAILS; n++) {
        struct norm norm = draw_norm(n, false);

        norm.x[random_below(n)] = (float[]){ NAN, INFINITY, -INFINITY }[n % 3];
        for (size_t i = 0; i < n; i++)
            norm.expected[i] = NAN;
        check_norm(entry, &norm);
    }
    /* Of zeros, and of numbers that count as zeros, the bias remains. */
    for (size_t n = 1; n <= TAILS; n++) {
        struct norm norm = draw_norm(n, false);

        for (size_t i = 0; i < n; i++) {
            norm.x[i] = n % 2 ? 1e-40f : 0.0f;
            norm.expected[i] = (double)norm.bias[i];
            norm.bound[i] = n % 2 ? 1e-36 : 0;
        }
        check_norm(entry, &norm);
    }
    /* Squares that are too large. */
    for (size_t n = 1; n <= TAILS; n++) {
        struct norm norm = draw_norm(n, false);

        for (size_t i = 0; i < n; i++)
            norm.x[i] *= 1e30f;
        norm.bound = NULL;
        check_norm(entry, &norm);
    }
}

static void norm_random(const struct entry *entry)
{
    const struct norm norm = draw_norm(random_size(N_MAX), random_chance(3));

    check_norm(entry, &norm);
}

static void norm_work(void *context, size_t i)
{
    const struct timed *t = context;

    (void)i;
    t->kernels->layer_norm(t->n, t->x, 1e-6f, t->scale, t->bias, t->y);
}

static void norm_bench(const struct entry *entry, const struct vmoe_kernels *kernels)
{
    const struct norm norm = draw_norm(768, false);
    struct timed timed = { kernels, norm.x, case_memory(768 * sizeof(float)), norm.scale, norm.bias,
                           768 };

    check_norm(entry, &norm);
    bench_print(kernels, entry, "768", 16.0 * 768, "B", norm_work, &timed);
}

/* ---- Softmax -------------------------------------------------------------------------------- */

/* What exp(factor * (x - max)) may be, both operations rounded: the exponential is off by 4 units. */
static void check_exponentials(size_t n, float factor, const float *x, const float *y)
{
    float most = -FLT_MAX;

    for (size_t i = 0; i < n; i++)
        most = x[i] > most ? x[i] : most;
    for (size_t i = 0; i < n; i++) {
        const float argument = (x[i] - most) * factor;
        const double expected = exp((double)argument);

        check_close(y[i], expected, 4 * UNIT_F32 * expected + (double)FLT_MIN, "exp", 0, i);
    }
}

static float run_softmax(const struct vmoe_kernels *kernels, size_t n, float factor, const float *x,
                         enum side side, float *result)
{
    float *in_place = place(X, x, n, side);
    const float sum = kernels->softmax(n, factor, in_place);

    memcpy(result, in_place, n * sizeof *result);
    return sum;
}

static void check_softmax(const struct entry *entry, size_t n, float factor, const float *x)
{
    float *first = case_memory(n * sizeof *first), *again = case_memory(n * sizeof *again);
    const struct vmoe_kernels *const *t = targets(entry);
    float sum;

    case_target(*t);
    sum = run_softmax(*t, n, factor, x, AT_END, first);
    check_exponentials(n, factor, x, first);
    if (!same_float(sum, sum_in_lanes(first, n)))
        case_fail("the sum is %.9g, not %.9g", (double)sum, (double)sum_in_lanes(first, n));
    for (; *t != NULL; t++)
        for (enum side side = AT_END; side < SIDES; side++) {
            float other;

            case_target(*t);
            other = run_softmax(*t, n, factor, x, side, again);
            check_same_floats(again, first, n, "on another table");
            check_same_floats(&other, &sum, 1, "the sum on another table");
        }
}

static void softmax_case(const struct entry *entry, size_t n, int kind)
{
    const float factor = kind == 0 ? 1.0f : ldexpf(1.5f + 0.5f * random_real(), random_integer(-6, 0));
    float *x;

    case_begin("softmax of %zu, kind %d", n, kind);
    x = case_memory(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = kind == 0 ? 3.0f - 1000.0f * (float)random_below(2) : 90.0f / factor * random_real();
    if (kind == 2)
        for (size_t i = 0; i < 1 + n / 16; i++)
            x[random_below(n)] = special();
    check_softmax(entry, n, factor, x);
}

/* The limits that kernels.h names, and a row of nothing but -inf. */
static void softmax_limits(const struct entry *entry)
{
    const float x[] = { -INFINITY, 2.0f, NAN, 3.0f, -1000.0f };
    const float none[] = { -INFINITY, -INFINITY }, tiny = 1e-45f;
    const struct vmoe_kernels *const *t = targets(entry);
    float y[5];

    for (; *t != NULL; t++) {
        case_begin("softmax at its limits");
        case_target(*t);
        if (!isnan(run_softmax(*t, 5, 1.0f, x, AT_END, y)) || y[0] != 0.0f || !isnan(y[2]) ||
            y[3] != 1.0f || y[4] != 0.0f)
            case_fail("-inf does not give 0, or NaN not NaN");
        if (run_softmax(*t, 2, 1.0f, none, AT_END, y) != 0.0f || y[0] != 0.0f || y[1] != 0.0f)
            case_fail("nothing but -inf does not give 0");
        if (run_softmax(*t, 1, 1.0f, &tiny, AT_END, y) != 1.0f || y[0] != 1.0f)
            case_fail("one number does not give 1");
    }
}

static void softmax_edges(const struct entry *entry)
{
    for (size_t n = 1; n <= TAILS; n++)
        for (int kind = 0; kind < 3; kind++)
            softmax_case(entry, n, kind);
    softmax_limits(entry);
}

static void softmax_random(const struct entry *entry)
{
    softmax_case(entry, random_size(N_MAX), random_integer(0, 2));
}

static void softmax_work(void *context, size_t i)
{
    const struct timed *t = context;

    (void)i;
    t->kernels->softmax(t->n, 1.0f, t->x);
}

/* In place, so that all calls but the first get exponentials. */
static void softmax_bench(const struct entry *entry, const struct vmoe_kernels *kernels)
{
    struct timed timed = { .kernels = kernels, .n = 768 };

    case_begin("softmax of 768");
    timed.x = draw_reals(768);
    check_softmax(entry, 768, 1.0f, timed.x);
    bench_print(kernels, entry, "768", 8.0 * 768, "B", softmax_work, &timed);
}

/* ---- Sigmoid -------------------------------------------------------------------------------- */

#define SWEEP 1003u

static void run_sigmoid(const struct vmoe_kernels *kernels, size_t n, const float *x,
                        enum side side, float *result)
{
    float *in_place = place(X, x, n, side);

    kernels->sigmoid(n, in_place);
    memcpy(result, in_place, n * sizeof *result);
}

/* Four units for the exponential, the sum and the division; 1e-30 where exp(-x) is cut off. */
static void check_sigmoid(const struct entry *entry, size_t n, const float *x)
{
    float *first = case_memory(n * sizeof *first), *again = case_memory(n * sizeof *again);
    const struct vmoe_kernels *const *t = targets(entry);

    case_target(*t);
    run_sigmoid(*t, n, x, AT_END, first);
    for (size_t i = 0; i < n; i++) {
        const double expected = 1 / (1 + exp(-(double)x[i]));

        check_close(first[i], expected, 6 * UNIT_F32 * expected + 1e-30, "the sigmoid", 0, i);
    }
    for (; *t != NULL; t++)
        for (enum side side = AT_END; side < SIDES; side++) {
            case_target(*t);
            run_sigmoid(*t, n, x, side, again);
            check_same_floats(again, first, n, "on another table");
        }
    /* Its place in the row is nothing to a value. */
    run_sigmoid(*targets(entry), n - n / 2, x + n / 2, AT_END, again);
    check_same_floats(again, first + n / 2, n - n / 2, "in a shorter row");
}

static void sigmoid_case(const struct entry *entry, size_t n, bool specials)
{
    float *x;

    case_begin("sigmoid of %zu%s", n, specials ? " with special values" : "");
    x = case_memory(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = specials && random_chance(4) ? special() : 100.0f * random_real();
    check_sigmoid(entry, n, x);
}

static void sigmoid_edges(const struct entry *entry)
{
    const uint32_t step = 8009;

    for (size_t n = 1; n <= TAILS; n++) {
        sigmoid_case(entry, n, false);
        sigmoid_case(entry, n, true);
    }
    for (uint64_t bits = 0; bits < UINT64_C(1) << 32; bits += SWEEP * step) {
        float *x;

        case_begin("sigmoid of the floats from %08x on", (uint32_t)bits);
        x = case_memory(SWEEP * sizeof *x);
        for (size_t i = 0; i < SWEEP; i++)
            x[i] = float_of((uint32_t)(bits + i * step));
        check_sigmoid(entry, SWEEP, x);
    }
}

static void sigmoid_random(const struct entry *entry)
{
    sigmoid_case(entry, random_size(N_MAX), random_chance(2));
}

static void sigmoid_work(void *context, size_t i)
{
    const struct timed *t = context;

    (void)i;
    t->kernels->sigmoid(t->n, t->x);
}

static void sigmoid_bench(const struct entry *entry, const struct vmoe_kernels *kernels)
{
    struct timed timed = { .kernels = kernels, .n = 768 };

    case_begin("sigmoid of 768");
    timed.x = draw_reals(768);
    check_sigmoid(entry, 768, timed.x);
    bench_print(kernels, entry, "768", 8.0 * 768, "B", sigmoid_work, &timed);
}

const struct entry row_entries[] = {
    { "layer_norm", SLOT(layer_norm), 0, 0, norm_edges, norm_random, norm_bench },
    { "softmax", SLOT(softmax), 0, 0, softmax_edges, softmax_random, softmax_bench },
    { "sigmoid", SLOT(sigmoid), 0, 0, sigmoid_edges, sigmoid_random, sigmoid_bench },
    { 0 },
};
