/*
 * vmoe_linear_run on every table of this machine against sums in double: shapes round the edges of
 * tiles and panels, every way to finish and to store a row, and the same bits for every team.
 */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/linear.h"
#include "kernels/pack.h"
#include "runtime/cpu.h"
#include "runtime/memory.h"

#define UNTOUCHED 12345.678f
#define ROWS_MAX 197u
#define N_MAX 100u
#define LDO 107u
#define OUT_ROWS_MAX (2 * ROWS_MAX + 1) /* scattered, row r goes to row 2 (rows - r) - 1 */

static float random_real(void)
{
    static uint32_t state = 7;

    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / 8388608.0f - 1.0f;
}

/* A layer, its input, where its results may go, and what they should be. */
struct fixture {
    struct vmoe_linear layer;
    struct vmoe_team *team;
    void *panels;
    float *scale, *bias, *a;
    size_t rows, lda;
    double *sum;   /* rows x n: x W + bias; NULL until compute_sums */
    double *bound; /* of the error of each sum */
    int32_t out_rows[ROWS_MAX];
    float factors[ROWS_MAX];
};

static void compute_sums(struct fixture *f)
{
    const struct vmoe_linear *layer = &f->layer;
    const size_t n = layer->n;

    f->sum = malloc((f->rows * n + 1) * sizeof *f->sum);
    f->bound = malloc((f->rows * n + 1) * sizeof *f->bound);
    for (size_t j = 0; j < n; j++) {
        const double scale = layer->precision == VMOE_PRECISION_INT8 ? (double)f->scale[j] : 1.0;
        double column[768];

        for (size_t i = 0; i < layer->k; i++)
            column[i] =
                scale * (double)vmoe_pack_value(layer->precision, layer->k, f->panels, i, j);
        for (size_t r = 0; r < f->rows; r++) {
            double sum = (double)f->bias[j], magnitude = fabs(sum);

            for (size_t i = 0; i < layer->k; i++) {
                sum += (double)f->a[r * f->lda + i] * column[i];
                magnitude += fabs((double)f->a[r * f->lda + i] * column[i]);
            }
            f->sum[r * n + j] = sum;
            f->bound[r * n + j] = 4 * 0x1p-24 * sqrt((double)layer->k + 4) * magnitude;
        }
    }
}

static struct fixture new_fixture(uint32_t precision, size_t rows, uint32_t k, uint32_t n)
{
    struct fixture f = { .rows = rows, .lda = k + 5 };
    float *source = malloc((size_t)k * n * sizeof *source);
    vmoe_error error;

    f.panels = vmoe_memory_take(&vmoe_memory_default, vmoe_pack_bytes(precision, k, n));
    f.scale = malloc(n * sizeof *f.scale);
    f.bias = malloc(n * sizeof *f.bias);
    f.a = malloc((rows * f.lda + 1) * sizeof *f.a);
    for (size_t i = 0; i < (size_t)k * n; i++)
        source[i] = random_real();
    for (size_t j = 0; j < n; j++)
        f.bias[j] = random_real();
    for (size_t i = 0; i < rows * f.lda; i++)
        f.a[i] = i % f.lda < k ? random_real() : NAN;
    for (size_t r = 0; r < rows; r++) {
        f.out_rows[r] = (int32_t)(2 * (rows - r) - 1);
        f.factors[r] = random_real();
    }
    vmoe_pack(precision, k, n, source, n, 1, f.panels, f.scale);
    free(source);
    f.layer = (struct vmoe_linear){ .panels = f.panels,
                                    .scale = precision == VMOE_PRECISION_INT8 ? f.scale : NULL,
                                    .bias = f.bias, .k = k, .n = n, .precision = precision };
    assert_int_equal(vmoe_team_create(&vmoe_memory_default, &f.team, &error), VMOE_OK);
    return f;
}

static void free_fixture(struct fixture *f)
{
    vmoe_team_destroy(f->team);
    vmoe_memory_release(&vmoe_memory_default, f->panels);
    free(f->scale);
    free(f->bias);
    free(f->a);
    free(f->sum);
    free(f->bound);
}

static double activate(uint32_t activation, double x)
{
    switch (activation) {
    case VMOE_LINEAR_GELU_TANH:
        return x / (1 + exp(-2 * sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case VMOE_LINEAR_GELU_ERF:
        return x * erfc(-x / sqrt(2.0)) / 2;
    case VMOE_LINEAR_TANH:
        return tanh(x);
    default:
        return x;
    }
}

/* One call; every element of `out` is either right or untouched. */
static void check_call(const struct vmoe_kernels *kernels, const struct fixture *f,
                       uint32_t activation, bool add, bool scatter, bool factors)
{
    static float out[OUT_ROWS_MAX * LDO];
    const struct vmoe_linear_call call = { &f->layer, f->rows, f->a, f->lda, out, LDO, activation,
                                           add, scatter ? f->out_rows : NULL,
                                           factors ? f->factors : NULL };
    const size_t n = f->layer.n, out_rows = 2 * f->rows + 1;
    size_t row_of[OUT_ROWS_MAX];

    for (size_t i = 0; i < out_rows * LDO; i++)
        out[i] = UNTOUCHED;
    for (size_t r = 0; r < out_rows; r++)
        row_of[r] = SIZE_MAX;
    for (size_t r = 0; r < f->rows; r++)
        row_of[scatter ? (size_t)f->out_rows[r] : r] = r;
    for (size_t i = 0; add && i < out_rows * LDO; i++)
        if (row_of[i / LDO] != SIZE_MAX && i % LDO < n)
            out[i] = 0.25f;
    vmoe_linear_run(kernels, f->team, &call);
    for (size_t i = 0; i < out_rows * LDO; i++) {
        const size_t r = row_of[i / LDO], j = i % LDO;

        if (r == SIZE_MAX || j >= n) {
            if (out[i] != UNTOUCHED)
                fail_msg("isa %u wrote row %zu column %zu", kernels->isa, i / LDO, j);
        } else {
            const double factor = factors ? (double)f->factors[r] : 1.0;
            const double y = activate(activation, f->sum[r * n + j]) * factor + (add ? 0.25 : 0.0);

            if (!(fabs(out[i] - y) <= 1.2 * f->bound[r * n + j] + 4e-7 * (fabs(y) + 0.5)))
                fail_msg("isa %u precision %u n %zu row %zu of %zu column %zu: %.9g, not %.9g",
                         kernels->isa, f->layer.precision, n, r, f->rows, j, (double)out[i], y);
        }
    }
}

static void every_shape_activation_and_store_is_right(void **state)
{
    static const size_t rows[] = { 0, 1, 5, 14, 50, 197 };
    static const uint32_t n[] = { 1, 31, 32, 33, 72, 100 };

    (void)state;
    for (uint32_t precision = VMOE_PRECISION_F32; precision <= VMOE_PRECISION_INT8; precision++)
        for (size_t m = 0; m < sizeof rows / sizeof rows[0]; m++)
            for (size_t s = 0; s < sizeof n / sizeof n[0]; s++) {
                struct fixture f = new_fixture(precision, rows[m], s % 2 == 0 ? 72 : 97, n[s]);
                vmoe_error error;

                compute_sums(&f);
                assert_int_equal(vmoe_team_resize(f.team, 2, &error), VMOE_OK);
                for (uint32_t isa = VMOE_ISA_REF; isa <= VMOE_ISA_AVX512; isa++)
                    for (uint32_t way = 0; vmoe_cpu_has(isa) && way < 32; way++)
                        check_call(vmoe_kernels_for(isa), &f, way & 3, way & 4, way & 8, way & 16);
                free_fixture(&f);
            }
}

/* Runs a layer of many tasks, `rows` rows from `first`, into `out` of stride n. */
static void run_part(const struct vmoe_kernels *kernels, struct fixture *f, uint32_t threads,
                     size_t first, size_t rows, float *out)
{
    const struct vmoe_linear_call call = { .layer = &f->layer, .rows = rows,
                                           .a = f->a + first * f->lda, .lda = f->lda,
                                           .out = out + first * f->layer.n, .ldo = f->layer.n,
                                           .activation = VMOE_LINEAR_GELU_TANH };
    vmoe_error error;

    assert_int_equal(vmoe_team_resize(f->team, threads, &error), VMOE_OK);
    vmoe_linear_run(kernels, f->team, &call);
}

static void the_bits_do_not_depend_on_threads_or_on_neighbours(void **state)
{
    static const uint32_t shapes[][2] = { { 768, 520 }, { 700, 40 } };

    (void)state;
    for (uint32_t precision = VMOE_PRECISION_F32; precision <= VMOE_PRECISION_INT8; precision++)
        for (size_t s = 0; s < 2; s++) {
            struct fixture f = new_fixture(precision, ROWS_MAX, shapes[s][0], shapes[s][1]);
            const size_t bytes = ROWS_MAX * f.layer.n * sizeof(float);
            float *whole = malloc(bytes), *out = malloc(bytes);

            for (uint32_t isa = VMOE_ISA_REF; isa <= VMOE_ISA_AVX512; isa++) {
                const struct vmoe_kernels *kernels = vmoe_kernels_for(isa);

                if (!vmoe_cpu_has(isa))
                    continue;
                run_part(kernels, &f, 1, 0, ROWS_MAX, whole);
                for (uint32_t threads = 2; threads <= 8; threads++) {
                    memset(out, 0xa5, bytes);
                    run_part(kernels, &f, threads, 0, ROWS_MAX, out);
                    assert_memory_equal(out, whole, bytes);
                }
                memset(out, 0xa5, bytes);
                for (size_t first = 0, rows = 1; first < ROWS_MAX; first += rows, rows += 3) {
                    rows = rows < ROWS_MAX - first ? rows : ROWS_MAX - first;
                    run_part(kernels, &f, 2, first, rows, out);
                }
                assert_memory_equal(out, whole, bytes);
            }
            free(whole);
            free(out);
            free_fixture(&f);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_activation_and_store_is_right),
        cmocka_unit_test(the_bits_do_not_depend_on_threads_or_on_neighbours),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
