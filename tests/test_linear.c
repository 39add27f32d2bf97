/*
 * vmoe_linear_run on every table of this machine against sums in double: every type of rows that a
 * table multiplies with every precision of weights, shapes round the edges of tiles and panels,
 * every way to finish and to store a row, several layers in one call, and the same bits for every
 * team.
 */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/linear.h"
#include "kernels/pack.h"
#include "runtime/cpu.h"
#include "runtime/memory.h"
#include "support/tiers.h"

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
    float *scale, *bias, *values; /* (rows, k) */
    int32_t *weight_sums;
    size_t rows;
    struct vmoe_matrix a; /* the values in some type; padding rows are NaN */
    uint8_t *scratch;
    double *sum;   /* rows x n: x W + bias with the rows as they were rounded; see set_rows */
    double *bound; /* of the error of each sum */
    int32_t out_rows[ROWS_MAX];
    float factors[ROWS_MAX];
};

#define THREADS_MAX 8u

static void free_rows(struct fixture *f)
{
    vmoe_memory_release(&vmoe_memory_default, f->a.data);
    vmoe_memory_release(&vmoe_memory_default, f->scratch);
    free(f->a.quants);
    free(f->sum);
    free(f->bound);
    f->a = (struct vmoe_matrix){ 0 };
    f->scratch = NULL;
    f->sum = f->bound = NULL;
}

/* What element i of row r stands for. */
static double row_value(const struct fixture *f, size_t r, size_t i)
{
    const void *row = vmoe_matrix_row(&f->a, r);
    uint32_t bits;
    float value;

    switch (f->a.type) {
    case VMOE_PRECISION_INT8:
        return (double)f->a.quants[r].scale *
               (((const uint8_t *)row)[i] - f->a.quants[r].zero);
    case VMOE_PRECISION_BF16:
        bits = (uint32_t)((const uint16_t *)row)[i] << 16;
        memcpy(&value, &bits, sizeof value);
        return (double)value;
    default:
        return (double)((const float *)row)[i];
    }
}

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
                const double term = row_value(f, r, i) * column[i];

                sum += term;
                magnitude += fabs(term);
            }
            f->sum[r * n + j] = sum;
            f->bound[r * n + j] = 4 * 0x1p-24 * sqrt((double)layer->k + 4) * magnitude;
        }
    }
}

/* Brings the values into rows of a type, as a table does it. */
static void set_rows(struct fixture *f, const struct vmoe_kernels *kernels, uint32_t type)
{
    const size_t k = f->layer.k, stride = vmoe_matrix_stride(type, k) + VMOE_ROW_BYTES;
    const size_t bytes = (f->rows + VMOE_ROW_COUNT) * stride;
    const uint64_t scratch = vmoe_product_scratch_bytes(type, f->layer.precision, k);

    free_rows(f);
    f->a = (struct vmoe_matrix){ .type = type, .stride = stride };
    f->a.data = vmoe_memory_take(&vmoe_memory_default, bytes);
    f->a.quants = malloc((f->rows + 1) * sizeof *f->a.quants);
    memset(f->a.data, 0xff, bytes); /* NaN in every type that has one */
    for (size_t r = 0; r < f->rows; r++)
        vmoe_matrix_set(kernels, &f->a, r, k, f->values + r * k);
    if (scratch != 0)
        f->scratch = vmoe_memory_take(&vmoe_memory_default, THREADS_MAX * scratch);
    compute_sums(f);
}

static struct fixture new_fixture(uint32_t precision, size_t rows, uint32_t k, uint32_t n)
{
    struct fixture f = { .rows = rows };
    float *source = malloc((size_t)k * n * sizeof *source);
    vmoe_error error;

    f.panels = vmoe_memory_take(&vmoe_memory_default, vmoe_pack_bytes(precision, k, n));
    f.scale = malloc(n * sizeof *f.scale);
    f.bias = malloc(n * sizeof *f.bias);
    f.weight_sums = malloc(n * sizeof *f.weight_sums);
    f.values = malloc((rows * k + 1) * sizeof *f.values);
    for (size_t i = 0; i < (size_t)k * n; i++)
        source[i] = random_real();
    for (size_t j = 0; j < n; j++)
        f.bias[j] = random_real();
    for (size_t i = 0; i < rows * k; i++)
        f.values[i] = random_real() + 0.25f;
    for (size_t r = 0; r < rows; r++) {
        f.out_rows[r] = (int32_t)(2 * (rows - r) - 1);
        f.factors[r] = random_real();
    }
    vmoe_pack(precision, k, n, source, n, 1, f.panels, f.scale);
    f.layer = (struct vmoe_linear){ .panels = f.panels, .bias = f.bias, .k = k, .n = n,
                                    .precision = precision };
    if (precision == VMOE_PRECISION_INT8) {
        vmoe_pack_sums(k, n, f.panels, f.weight_sums);
        f.layer.scale = f.scale;
        f.layer.sum = f.weight_sums;
    }
    free(source);
    assert_int_equal(vmoe_team_create(&vmoe_memory_default, &f.team, &error), VMOE_OK);
    return f;
}

static void free_fixture(struct fixture *f)
{
    free_rows(f);
    vmoe_team_destroy(f->team);
    vmoe_memory_release(&vmoe_memory_default, f->panels);
    free(f->scale);
    free(f->bias);
    free(f->weight_sums);
    free(f->values);
}

/* Calls `check` with every table and every type of rows that it multiplies with these weights. */
static void for_each_pair(struct fixture *f,
                          void (*check)(const struct vmoe_kernels *kernels, struct fixture *f))
{
    for (const uint32_t *isa = tiers(); *isa != VMOE_ISA_DEFAULT; isa++)
        for (uint32_t type = VMOE_PRECISION_F32; type <= VMOE_PRECISION_INT8; type++) {
            const struct vmoe_kernels *kernels = vmoe_kernels_for(*isa);

            if (kernels->product[type][f->layer.precision] == NULL)
                continue;
            set_rows(f, kernels, type);
            check(kernels, f);
        }
}

static struct vmoe_linear_call call_of(const struct fixture *f, const struct vmoe_linear_part *part,
                                       float *out, size_t ldo)
{
    return (struct vmoe_linear_call){
        .parts = part,
        .count = 1,
        .a = f->a,
        .out = out,
        .ldo = ldo * sizeof *out,
        .scratch = f->scratch,
        .scratch_bytes = vmoe_product_scratch_bytes(f->a.type, f->layer.precision, f->layer.k),
    };
}

static double activate(uint32_t activation, double x)
{
    switch (activation) {
    case VMOE_GELU_TANH_OF:
        return x / (1 + exp(-2 * sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case VMOE_GELU_ERF_OF:
        return x * erfc(-x / sqrt(2.0)) / 2;
    case VMOE_TANH_OF:
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
    const struct vmoe_linear_part part = { &f->layer, 0, f->rows };
    struct vmoe_linear_call call = call_of(f, &part, out, LDO);
    /* Behind narrow rows, GELU is as exact as a bfloat16 result needs it. */
    const double loose = f->a.type != VMOE_PRECISION_F32 &&
                                 (activation == VMOE_GELU_TANH_OF || activation == VMOE_GELU_ERF_OF)
                             ? 4e-4
                             : 4e-7;
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
    call.activation = activation;
    call.store = add ? VMOE_ADD_F32 : VMOE_STORE_F32;
    call.out_rows = scatter ? f->out_rows : NULL;
    call.factors = factors ? f->factors : NULL;
    vmoe_linear_run(kernels, f->team, &call);
    for (size_t i = 0; i < out_rows * LDO; i++) {
        const size_t r = row_of[i / LDO], j = i % LDO;

        if (r == SIZE_MAX || j >= n) {
            if (out[i] != UNTOUCHED)
                fail_msg("isa %u wrote row %zu column %zu", kernels->isa, i / LDO, j);
        } else {
            const double factor = factors ? (double)f->factors[r] : 1.0;
            const double y = activate(activation, f->sum[r * n + j]) * factor + (add ? 0.25 : 0.0);

            if (!(fabs(out[i] - y) <= 1.2 * f->bound[r * n + j] + loose * (fabs(y) + 0.5)))
                fail_msg("isa %u rows %u precision %u n %zu row %zu of %zu column %zu: %.9g, not %.9g",
                         kernels->isa, f->a.type, f->layer.precision, n, r, f->rows, j, (double)out[i], y);
        }
    }
}

static void check_ways(const struct vmoe_kernels *kernels, struct fixture *f)
{
    for (uint32_t way = 0; way < 32; way++)
        check_call(kernels, f, way & 3, way & 4, way & 8, way & 16);
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

                assert_int_equal(vmoe_team_resize(f.team, 2, &error), VMOE_OK);
                for_each_pair(&f, check_ways);
                free_fixture(&f);
            }
}

/* Runs a layer of many tasks, `rows` rows from `first`, into `out` of stride n. */
static void run_part(const struct vmoe_kernels *kernels, struct fixture *f, uint32_t threads,
                     size_t first, size_t rows, float *out)
{
    const struct vmoe_linear_part part = { &f->layer, first, rows };
    struct vmoe_linear_call call = call_of(f, &part, out, f->layer.n);
    vmoe_error error;

    call.activation = VMOE_GELU_TANH_OF;
    assert_int_equal(vmoe_team_resize(f->team, threads, &error), VMOE_OK);
    vmoe_linear_run(kernels, f->team, &call);
}

static void check_bits(const struct vmoe_kernels *kernels, struct fixture *f)
{
    const size_t bytes = ROWS_MAX * f->layer.n * sizeof(float);
    float *whole = malloc(bytes), *out = malloc(bytes);

    run_part(kernels, f, 1, 0, ROWS_MAX, whole);
    for (uint32_t threads = 2; threads <= THREADS_MAX; threads += 3) {
        memset(out, 0xa5, bytes);
        run_part(kernels, f, threads, 0, ROWS_MAX, out);
        assert_memory_equal(out, whole, bytes);
    }
    memset(out, 0xa5, bytes);
    for (size_t first = 0, rows = 1; first < ROWS_MAX; first += rows, rows += 3) {
        rows = rows < ROWS_MAX - first ? rows : ROWS_MAX - first;
        run_part(kernels, f, 2, first, rows, out);
    }
    assert_memory_equal(out, whole, bytes);
    free(whole);
    free(out);
}

static void the_bits_do_not_depend_on_threads_or_on_neighbours(void **state)
{
    static const uint32_t shapes[][2] = { { 768, 520 }, { 700, 40 } };

    (void)state;
    for (uint32_t precision = VMOE_PRECISION_F32; precision <= VMOE_PRECISION_INT8; precision++)
        for (size_t s = 0; s < 2; s++) {
            struct fixture f = new_fixture(precision, ROWS_MAX, shapes[s][0], shapes[s][1]);

            for_each_pair(&f, check_bits);
            free_fixture(&f);
        }
}

/* Three layers in one call, whose results meet in the same rows in the order of the layers. */
static void check_parts(const struct vmoe_kernels *kernels, struct fixture *f)
{
    enum { COUNT = 3 };
    const size_t n = f->layer.n, bytes = f->rows * n * sizeof(float);
    struct vmoe_linear_part parts[COUNT];
    float *one_by_one = calloc(1, bytes), *together = calloc(1, bytes);
    struct vmoe_linear_call call = call_of(f, parts, one_by_one, n);
    int32_t rows[ROWS_MAX];
    vmoe_error error;

    /* All layers write rows 0 .. rows / 3 - 1. */
    for (size_t r = 0; r < f->rows; r++)
        rows[r] = (int32_t)(r % (f->rows / COUNT));
    call.store = VMOE_ADD_F32;
    call.out_rows = rows;
    call.factors = f->factors;
    for (size_t i = 0; i < COUNT; i++) {
        const size_t first = i * (f->rows / COUNT);

        parts[0] = (struct vmoe_linear_part){ &f->layer, first, f->rows / COUNT };
        assert_int_equal(vmoe_team_resize(f->team, 1, &error), VMOE_OK);
        vmoe_linear_run(kernels, f->team, &call);
    }
    for (size_t i = 0; i < COUNT; i++)
        parts[i] = (struct vmoe_linear_part){ &f->layer, i * (f->rows / COUNT), f->rows / COUNT };
    call.count = COUNT;
    call.out = together;
    assert_int_equal(vmoe_team_resize(f->team, 4, &error), VMOE_OK);
    vmoe_linear_run(kernels, f->team, &call);
    assert_memory_equal(together, one_by_one, bytes);
    free(one_by_one);
    free(together);
}

static void layers_of_one_call_are_added_in_order(void **state)
{
    (void)state;
    for (uint32_t precision = VMOE_PRECISION_F32; precision <= VMOE_PRECISION_INT8; precision++) {
        struct fixture f = new_fixture(precision, 150, 200, 270);

        for_each_pair(&f, check_parts);
        free_fixture(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_activation_and_store_is_right),
        cmocka_unit_test(the_bits_do_not_depend_on_threads_or_on_neighbours),
        cmocka_unit_test(layers_of_one_call_are_added_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
