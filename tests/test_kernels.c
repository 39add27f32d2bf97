/*
 * The tables of kernels, each that this machine can run: matrix products on small integers, where
 * float sums are exact and a wrong layout cannot hide; on reals against sums in double; and what is
 * read and written besides.  The element-wise operations against libm in double.
 */
#define _GNU_SOURCE
#include "support/support.h"
#include "support/tiles.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernels/kernels.h"
#include "kernels/pack.h"
#include "runtime/cpu.h"

#define GUARD_WORDS 16u
#define GUARD_VALUE 12345.678f
#define LDA 809u /* a prime above every k below */

static const size_t inner_sizes[] = { 1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 72, 100, 768 };

#define INNER_SIZES (sizeof inner_sizes / sizeof inner_sizes[0])

/* Calls `check` with every table that can run here. */
static void for_each_table(void (*check)(const struct vmoe_kernels *kernels))
{
    for (uint32_t isa = VMOE_ISA_REF; vmoe_isa_name(isa) != NULL; isa++)
        if (vmoe_isa_available(isa))
            check(vmoe_kernels_for(isa));
}

static uint32_t random_bits(void)
{
    static uint64_t state = 42;

    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}

static float random_integer(void)
{
    return (float)((int)(random_bits() % 15) - 7);
}

static float random_real(void)
{
    return (float)(random_bits() >> 8) / 8388608.0f - 1.0f;
}

static uint32_t bits_of(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/* ---- Memory that ends where the process may not read ---------------------------------------- */

struct fenced {
    uint8_t *pages;
    size_t bytes; /* readable */
};

static struct fenced fence(size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct fenced fenced = { NULL, (bytes + page - 1) / page * page };

    fenced.pages = mmap(NULL, fenced.bytes + page, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(fenced.pages != MAP_FAILED);
    assert_int_equal(mprotect(fenced.pages + fenced.bytes, page, PROT_NONE), 0);
    return fenced;
}

/* The last `bytes` bytes before the fence. */
static void *last_of(const struct fenced *fenced, size_t bytes)
{
    return fenced->pages + fenced->bytes - bytes;
}

static void unfence(struct fenced *fenced)
{
    munmap(fenced->pages, fenced->bytes + (size_t)sysconf(_SC_PAGESIZE));
}

/* ---- Matrix products ------------------------------------------------------------------------ */

#define PRODUCT_ROWS 17u /* more than any table takes at once, but for AMX */

/* A product of some rows with one panel; both inputs end at a fence. */
struct product {
    struct fenced a_memory, panel_memory;
    uint32_t precision;
    size_t rows, k;
    float *a;    /* NaN between the rows */
    void *panel; /* packed */
    float tile[GUARD_WORDS + PRODUCT_ROWS * VMOE_PANEL + GUARD_WORDS];
};

static struct product *new_product(uint32_t precision, size_t rows, size_t k, float (*value)(void))
{
    const size_t a_bytes = ((rows - 1) * LDA + k) * sizeof(float);
    const size_t panel_bytes = (size_t)vmoe_pack_bytes(precision, k, VMOE_PANEL);
    float *source = malloc(k * VMOE_PANEL * sizeof *source);
    struct product *product = malloc(sizeof *product);
    float scales[VMOE_PANEL];

    product->a_memory = fence(a_bytes);
    product->panel_memory = fence(panel_bytes);
    product->precision = precision;
    product->rows = rows;
    product->k = k;
    product->a = last_of(&product->a_memory, a_bytes);
    product->panel = last_of(&product->panel_memory, panel_bytes);
    for (size_t i = 0; i < (rows - 1) * LDA + k; i++)
        product->a[i] = i % LDA < k ? value() : NAN;
    for (size_t i = 0; i < k * VMOE_PANEL; i++)
        source[i] = value();
    vmoe_pack(precision, k, VMOE_PANEL, source, VMOE_PANEL, 1, product->panel, scales);
    free(source);
    return product;
}

static void free_product(struct product *product)
{
    unfence(&product->a_memory);
    unfence(&product->panel_memory);
    free(product);
}

/* Runs rows first .. first + rows - 1 and returns the tile; fails if its surroundings changed. */
static const float *run(const struct vmoe_kernels *kernels, struct product *product, size_t first,
                        size_t rows)
{
    float *tile = product->tile + GUARD_WORDS;
    const size_t end = GUARD_WORDS + rows * VMOE_PANEL;
    struct vmoe_product call;

    for (size_t i = 0; i < sizeof product->tile / sizeof *tile; i++)
        product->tile[i] = GUARD_VALUE;
    call = (struct vmoe_product){ .rows = rows,
                                  .k = product->k,
                                  .columns = VMOE_PANEL,
                                  .a = product->a + first * LDA,
                                  .lda = LDA * sizeof(float),
                                  .panels = product->panel,
                                  .out = tile,
                                  .ldo = VMOE_PANEL * sizeof(float) };
    kernels->product[VMOE_PRECISION_F32][product->precision](&call);
    for (size_t i = 0; i < GUARD_WORDS; i++)
        assert_true(product->tile[i] == GUARD_VALUE && product->tile[end + i] == GUARD_VALUE);
    return tile;
}

/* Element (r, c) in double, and the sum of the magnitudes of its terms. */
static double expected(const struct product *product, size_t r, size_t c, double *magnitude)
{
    double sum = 0;

    *magnitude = 0;
    for (size_t i = 0; i < product->k; i++) {
        const double term =
            (double)product->a[r * LDA + i] *
            (double)vmoe_pack_value(product->precision, product->k, product->panel, i, c);

        sum += term;
        *magnitude += fabs(term);
    }
    return sum;
}

/* Every row count and inner size; `units` is the bound in 2^-24 sqrt(k) times the magnitude. */
static void check_products(const struct vmoe_kernels *kernels, float (*value)(void), double units)
{
    for (uint32_t precision = VMOE_PRECISION_F32; precision <= VMOE_PRECISION_INT8; precision++)
        for (size_t s = 0; s < INNER_SIZES; s++)
            for (size_t rows = 1; rows <= PRODUCT_ROWS; rows++) {
                struct product *product = new_product(precision, rows, inner_sizes[s], value);
                const double bound = units * 0x1p-24 * sqrt((double)product->k);
                const float *tile = run(kernels, product, 0, rows);

                for (size_t i = 0; i < rows * VMOE_PANEL; i++) {
                    double magnitude;
                    const double sum =
                        expected(product, i / VMOE_PANEL, i % VMOE_PANEL, &magnitude);

                    if (!(fabs(tile[i] - sum) <= bound * magnitude))
                        fail_msg("isa %u precision %u: row %zu of %zu, column %zu, k %zu: "
                                 "%.9g instead of %.9g",
                                 kernels->isa, precision, i / VMOE_PANEL, rows, i % VMOE_PANEL,
                                 product->k, (double)tile[i], sum);
                }
                free_product(product);
            }
}

static void check_integers(const struct vmoe_kernels *kernels)
{
    check_products(kernels, random_integer, 0.0);
}

static void products_of_small_integers_are_exact(void **state)
{
    (void)state;
    for_each_table(check_integers);
}

static void check_reals(const struct vmoe_kernels *kernels)
{
    check_products(kernels, random_real, 4.0);
}

static void products_of_reals_are_close_to_sums_in_double(void **state)
{
    (void)state;
    for_each_table(check_reals);
}

static void check_rows(const struct vmoe_kernels *kernels)
{
    static const size_t sizes[] = { 3, 100, 768 };
    const size_t all = PRODUCT_ROWS;

    for (uint32_t precision = VMOE_PRECISION_F32; precision <= VMOE_PRECISION_INT8; precision++)
        for (size_t s = 0; s < 3; s++) {
            struct product *product = new_product(precision, all, sizes[s], random_real);
            float whole[PRODUCT_ROWS * VMOE_PANEL];

            memcpy(whole, run(kernels, product, 0, all), all * VMOE_PANEL * sizeof *whole);
            for (size_t rows = 1; rows <= all; rows++)
                for (size_t first = 0; first + rows <= all; first++)
                    assert_memory_equal(run(kernels, product, first, rows),
                                        whole + first * VMOE_PANEL,
                                        rows * VMOE_PANEL * sizeof *whole);
            free_product(product);
        }
}

static void a_row_has_the_same_bits_in_every_call(void **state)
{
    (void)state;
    for_each_table(check_rows);
}

/* 2^24 + 1 - 2^24 is 0 in this order and 1 in others, wherever the three terms are. */
static void check_order(const struct vmoe_kernels *kernels)
{
    for (size_t at = 0; at < 768 - 3; at += 51) {
        struct product *product = new_product(VMOE_PRECISION_F32, 1, 768, random_integer);
        float *panel = product->panel;
        const float *tile;

        memset(product->a, 0, 768 * sizeof(float));
        for (size_t i = 0; i < 768 * VMOE_PANEL; i++)
            panel[i] = 1.0f;
        product->a[at] = 0x1p24f;
        product->a[at + 1] = 1.0f;
        product->a[at + 2] = -0x1p24f;
        product->a[767] = 0.5f;
        tile = run(kernels, product, 0, 1);
        for (size_t c = 0; c < VMOE_PANEL; c++)
            assert_true(tile[c] == 0.5f);
        free_product(product);
    }
}

static void a_sum_runs_from_the_first_term_to_the_last(void **state)
{
    (void)state;
    for_each_table(check_order);
}

/* ---- Element-wise operations ---------------------------------------------------------------- */

enum operation { GELU_TANH, GELU_ERF, TANH, SIGMOID, OPERATIONS };

/* Activations are those of a product with a panel of ones in its first row, times one value. */
static void apply(const struct vmoe_kernels *kernels, int operation, size_t n, float *x)
{
    static const uint32_t activations[] = { VMOE_GELU_TANH_OF, VMOE_GELU_ERF_OF, VMOE_TANH_OF };
    float panel[16 * VMOE_PANEL] = { 0 };
    struct vmoe_product call = { .rows = n, .k = 1, .columns = 1, .a = x, .lda = sizeof(float),
                                 .panels = panel, .out = x, .ldo = sizeof(float) };

    if (operation == SIGMOID) {
        kernels->sigmoid(n, x);
        return;
    }
    panel[0] = 1.0f;
    call.activation = activations[operation];
    kernels->product[VMOE_PRECISION_F32][VMOE_PRECISION_F32](&call);
}

/* The function in double, without cancellation. */
static double exact(int operation, double x)
{
    switch (operation) {
    case GELU_TANH:
        return x / (1 + exp(-2 * sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case GELU_ERF:
        return x * erfc(-x / sqrt(2.0)) / 2;
    case TANH:
        return tanh(x);
    default:
        return 1 / (1 + exp(-x));
    }
}

/* Bounds: the error may be `relative` times the result plus `absolute`. */
static const struct {
    double relative, absolute;
} bounds[OPERATIONS] = {
    [GELU_TANH] = { 4e-7, 1e-7 },
    [GELU_ERF] = { 3e-7, 1e-7 },
    [TANH] = { 4e-7, 0 },
    [SIGMOID] = { 4e-7, 1e-30 },
};

/* Finite floats of every size and sign, 1/5000 of all. */
static void check_sweep(const struct vmoe_kernels *kernels)
{
    enum { CHUNK = 1000 };
    static float in[CHUNK], out[CHUNK];

    for (int operation = 0; operation < OPERATIONS; operation++) {
        uint32_t bits = 0;

        while (bits < 0xffffffffu - CHUNK * 5003u) {
            for (size_t i = 0; i < CHUNK; i++, bits += 5003)
                in[i] = (bits & 0x7f800000u) != 0x7f800000u ? float_of(bits) : 1.0f;
            memcpy(out, in, sizeof out);
            apply(kernels, operation, CHUNK, out);
            for (size_t i = 0; i < CHUNK; i++) {
                const double y = exact(operation, (double)in[i]);
                const double bound = bounds[operation].relative * fabs(y) +
                                     bounds[operation].absolute + FLT_MIN;

                if (!(fabs(out[i] - y) <= bound))
                    fail_msg("isa %u operation %d of %.9g: %.9g instead of %.9g", kernels->isa,
                             operation, (double)in[i], (double)out[i], y);
            }
        }
    }
}

static void activations_are_close_to_libm_everywhere(void **state)
{
    (void)state;
    for_each_table(check_sweep);
}

static void check_special(const struct vmoe_kernels *kernels)
{
    const float limits[OPERATIONS][2] = { { 0, INFINITY }, { 0, INFINITY }, { -1, 1 }, { 0, 1 } };

    for (int operation = 0; operation < OPERATIONS; operation++) {
        float x[] = { -INFINITY, INFINITY, NAN, -FLT_MAX, 0.0f, -0.0f };

        apply(kernels, operation, sizeof x / sizeof x[0], x);
        assert_true(fabsf(x[0] - limits[operation][0]) < 1e-30f);
        assert_true(x[1] == limits[operation][1]);
        assert_true(isnan(x[2]));
        assert_true(fabsf(x[3] - limits[operation][0]) < 1e-30f);
        assert_true(x[4] == (operation == SIGMOID ? 0.5f : 0.0f) && x[5] == x[4]);
    }
}

static void activations_of_infinities_zeros_and_nan_are_the_limits(void **state)
{
    (void)state;
    for_each_table(check_special);
}

#define LENGTHS 70u

/* Inputs with everything that is special among ordinary values. */
static void fill_row(float *x)
{
    static const float special[] = { NAN,     INFINITY,  -INFINITY, 0.0f, -0.0f, 1e-40f,
                                     -1e-40f, FLT_MAX, -FLT_MAX,  88.0f, -88.0f };

    for (size_t i = 0; i < LENGTHS; i++)
        x[i] = 20.0f * random_real();
    for (size_t i = 0; i < sizeof special / sizeof special[0]; i++)
        x[random_bits() % LENGTHS] = special[i];
}

static void assert_same_floats(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bits_of(a[i]) != bits_of(b[i]) && !(isnan(a[i]) && isnan(b[i])))
            fail_msg("element %zu of %zu: %.9g and %.9g", i, n, (double)a[i], (double)b[i]);
}

static void check_activation_bits(const struct vmoe_kernels *kernels)
{
    float in[LENGTHS], whole[LENGTHS], out[LENGTHS + 2];

    for (int operation = 0; operation < OPERATIONS; operation++) {
        fill_row(in);
        memcpy(whole, in, sizeof whole);
        apply(&vmoe_kernels_ref, operation, LENGTHS, whole);
        for (size_t n = 1; n <= LENGTHS; n++)
            for (size_t first = 0; first + n <= LENGTHS; first += 3) {
                out[0] = out[n + 1] = GUARD_VALUE;
                memcpy(out + 1, in + first, n * sizeof *in);
                apply(kernels, operation, n, out + 1);
                assert_true(out[0] == GUARD_VALUE && out[n + 1] == GUARD_VALUE);
                assert_same_floats(out + 1, whole + first, n);
            }
    }
}

static void activations_have_the_same_bits_in_every_table_and_place(void **state)
{
    (void)state;
    for_each_table(check_activation_bits);
}

/* The sum that kernels.h prescribes. */
static float sum_in_lanes(const float *x, size_t n)
{
    float lane[16] = { 0 };

    for (size_t i = 0; i < n; i++)
        lane[i % 16] += x[i];
    for (size_t width = 8; width > 0; width /= 2)
        for (size_t i = 0; i < width; i++)
            lane[i] += lane[i + width];
    return lane[0];
}

static void check_softmax(const struct vmoe_kernels *kernels)
{
    enum { N = 2003 };
    static float x[N + 1];
    float sum;

    for (float factor = 0.125f; factor <= 1.0f; factor *= 2.0f) {
        for (size_t i = 0; i < N; i++)
            x[i] = -87.0f / factor * (float)i / (float)N;
        x[N] = GUARD_VALUE;
        sum = kernels->softmax(N, factor, x);
        assert_true(x[N] == GUARD_VALUE && x[0] == 1.0f);
        assert_true(sum == sum_in_lanes(x, N));
        for (size_t i = 0; i < N; i++) {
            const float in = factor * (-87.0f / factor * (float)i / (float)N);
            const double y = exp((double)in);

            assert_true(fabs(x[i] - y) <= 2.4e-7 * y);
        }
    }
}

static void softmax_is_exact_to_two_units_and_sums_in_lanes(void **state)
{
    (void)state;
    for_each_table(check_softmax);
}

static void check_softmax_special(const struct vmoe_kernels *kernels)
{
    float x[] = { -INFINITY, 2.0f, NAN, 3.0f, -1000.0f }, none[] = { -INFINITY, -INFINITY };
    float tiny = 1e-45f;

    assert_true(isnan(kernels->softmax(5, 1.0f, x)));
    assert_true(x[0] == 0.0f && isnan(x[2]) && x[3] == 1.0f && x[4] == 0.0f);
    assert_true(fabs(x[1] - exp(-1.0)) < 1e-7);
    assert_true(kernels->softmax(2, 1.0f, none) == 0.0f && none[0] == 0.0f && none[1] == 0.0f);
    assert_true(kernels->softmax(1, 1.0f, &tiny) == 1.0f && tiny == 1.0f);
}

static void softmax_of_minus_infinity_is_zero_and_of_nan_is_nan(void **state)
{
    (void)state;
    for_each_table(check_softmax_special);
}

static void check_layer_norm(const struct vmoe_kernels *kernels)
{
    static const size_t sizes[] = { 1, 2, 15, 16, 17, 48, 70, 768, 1280 };
    float x[1280], scale[1280], bias[1280], y[1280 + 1];

    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        const size_t n = sizes[s];
        double mean = 0, variance = 0;

        for (size_t i = 0; i < n; i++) {
            x[i] = 3.0f + random_real();
            scale[i] = random_real();
            bias[i] = random_real();
            mean += (double)x[i] / (double)n;
        }
        for (size_t i = 0; i < n; i++)
            variance += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n;
        y[n] = GUARD_VALUE;
        kernels->layer_norm(n, x, 1e-6f, scale, bias, y);
        assert_true(y[n] == GUARD_VALUE);
        for (size_t i = 0; i < n; i++) {
            const double norm = ((double)x[i] - mean) / sqrt(variance + 1e-6);

            assert_true(fabs(y[i] - (norm * (double)scale[i] + (double)bias[i])) < 4e-6);
        }
        kernels->layer_norm(n, x, 1e-6f, scale, bias, x);
        assert_memory_equal(x, y, n * sizeof *x);
    }
}

static void layer_norm_is_close_to_double_and_works_in_place(void **state)
{
    (void)state;
    for_each_table(check_layer_norm);
}

static void check_reduction_bits(const struct vmoe_kernels *kernels)
{
    const struct vmoe_kernels *ref = &vmoe_kernels_ref;
    float x[LENGTHS], y[LENGTHS], scale[LENGTHS], bias[LENGTHS];

    for (size_t n = 1; n <= LENGTHS; n++) {
        float a[LENGTHS + 1], b[LENGTHS + 1], sums[2];

        for (size_t i = 0; i < n; i++) {
            x[i] = 10.0f * random_real();
            scale[i] = random_real();
            bias[i] = random_real();
        }
        a[n] = b[n] = GUARD_VALUE;
        ref->layer_norm(n, x, 1e-6f, scale, bias, a);
        kernels->layer_norm(n, x, 1e-6f, scale, bias, b);
        assert_memory_equal(a, b, (n + 1) * sizeof *a);

        memcpy(a, x, n * sizeof *a);
        memcpy(b, x, n * sizeof *b);
        sums[0] = ref->softmax(n, 0.7f, a);
        sums[1] = kernels->softmax(n, 0.7f, b);
        assert_memory_equal(a, b, (n + 1) * sizeof *a);
        assert_true(sums[0] == sums[1] && sums[0] == sum_in_lanes(a, n));

        fill_row(y);
        memcpy(a, y, n * sizeof *a);
        memcpy(b, y, n * sizeof *b);
        sums[0] = ref->softmax(n, 1.0f, a);
        sums[1] = kernels->softmax(n, 1.0f, b);
        assert_same_floats(a, b, n);
        assert_same_floats(sums, sums + 1, 1);
    }
}

static void reductions_have_the_same_bits_in_every_table(void **state)
{
    (void)state;
    for_each_table(check_reduction_bits);
}

/* ---- The choice of a table ------------------------------------------------------------------ */

static void every_isa_of_the_machine_has_a_table(void **state)
{
    (void)state;
    assert_true(vmoe_cpu_has(VMOE_ISA_REF));
    for (uint32_t isa = VMOE_ISA_REF; vmoe_isa_name(isa) != NULL; isa++) {
        const struct vmoe_kernels *kernels = vmoe_kernels_for(isa);

        if (!vmoe_cpu_has(isa))
            continue;
        assert_non_null(kernels);
        assert_int_equal(kernels->isa, isa);
        for (uint32_t precision = VMOE_PRECISION_F32; precision <= VMOE_PRECISION_INT8; precision++)
            assert_non_null(kernels->product[VMOE_PRECISION_F32][precision]);
        assert_non_null(kernels->attend[VMOE_PRECISION_F32]);
    }
    assert_null(vmoe_kernels_for(VMOE_ISA_DEFAULT));
    assert_null(vmoe_kernels_for(1000));
}

int main(void)
{
    tiles_emulate();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_isa_of_the_machine_has_a_table),
        cmocka_unit_test(products_of_small_integers_are_exact),
        cmocka_unit_test(products_of_reals_are_close_to_sums_in_double),
        cmocka_unit_test(a_row_has_the_same_bits_in_every_call),
        cmocka_unit_test(a_sum_runs_from_the_first_term_to_the_last),
        cmocka_unit_test(activations_are_close_to_libm_everywhere),
        cmocka_unit_test(activations_of_infinities_zeros_and_nan_are_the_limits),
        cmocka_unit_test(activations_have_the_same_bits_in_every_table_and_place),
        cmocka_unit_test(softmax_is_exact_to_two_units_and_sums_in_lanes),
        cmocka_unit_test(softmax_of_minus_infinity_is_zero_and_of_nan_is_nan),
        cmocka_unit_test(layer_norm_is_close_to_double_and_works_in_place),
        cmocka_unit_test(reductions_have_the_same_bits_in_every_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
