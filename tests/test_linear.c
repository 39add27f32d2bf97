/*
 * The cut of linear layers into tasks.  What a call has to give is what one product of each part
 * gives, part by part, to the bit, or with long float32 rows to the rounding: for every table and
 * every type of rows, for one layer and for several that meet in the same rows of the output, for
 * every team.  (test_kernels tests products.)
 */
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/linear.h"
#include "kernels/pack.h"
#include "runtime/cpu.h"
#include "runtime/memory.h"
#include "support/random.h"
#include "support/support.h"
#include "support/tiers.h"
#include "support/tiny.h"

#define PARTS_MAX 5u
#define THREADS_MAX 8u

/* Layers of one shape, each with a range of rows, and what becomes of the results. */
struct problem {
    size_t k, n, rows, count; /* rows of all parts together */
    uint32_t precision, activation, store;
    struct vmoe_linear layers[PARTS_MAX];
    struct vmoe_linear_part parts[PARTS_MAX];
    float *values;      /* (rows, k) */
    float *factors;     /* or NULL */
    int32_t *out_rows;  /* or NULL */
    size_t ldo, out_bytes;
    struct vmoe_matrix a; /* the values in some type; padding is NaN in every type that has it */
    uint8_t *scratch;
    uint64_t scratch_bytes;
};

static size_t below(size_t n)
{
    return random_u32() % n;
}

static float *random_floats(size_t n)
{
    float *x = malloc((n + 1) * sizeof *x);

    for (size_t i = 0; i < n; i++)
        x[i] = (float)(random_u32() >> 8) / 8388608.0f - 1.0f;
    return x;
}

static void *take(uint64_t bytes)
{
    return vmoe_memory_take(&vmoe_memory_default, bytes);
}

static void release(const void *memory)
{
    vmoe_memory_release(&vmoe_memory_default, (void *)(uintptr_t)memory);
}

/* ---- Problems ------------------------------------------------------------------------------- */

static struct vmoe_linear new_layer(uint32_t precision, size_t k, size_t n)
{
    float *source = random_floats(k * n), *scale = random_floats(n);
    void *panels = take(vmoe_pack_bytes(precision, k, n));
    int32_t *sums = calloc(n, sizeof *sums);

    vmoe_pack(precision, k, n, source, n, 1, panels, scale);
    if (precision == VMOE_PRECISION_INT8)
        vmoe_pack_sums(k, n, panels, sums);
    free(source);
    return (struct vmoe_linear){ .panels = panels, .scale = scale, .sum = sums,
                                 .bias = random_floats(n), .k = (uint32_t)k, .n = (uint32_t)n,
                                 .precision = precision };
}

static void free_layer(const struct vmoe_linear *layer)
{
    release(layer->panels);
    free((void *)(uintptr_t)layer->scale);
    free((void *)(uintptr_t)layer->sum);
    free((void *)(uintptr_t)layer->bias);
}

/* Rows of a part go to other rows, never two to one; those of several parts do meet. */
static void scatter(struct problem *p)
{
    p->out_rows = malloc((p->rows + 1) * sizeof *p->out_rows);
    for (size_t i = 0; i < p->count; i++)
        for (size_t r = 0; r < p->parts[i].rows; r++)
            p->out_rows[p->parts[i].first + r] =
                (int32_t)(2 * (p->parts[i].rows - r) - 1 - below(2));
}

/* Between the parts, and behind the last, there may be rows that belong to nobody. */
static void draw_problem(struct problem *p, uint32_t precision, size_t count, size_t most, size_t k,
                         size_t n)
{
    const size_t width = (n + VMOE_PANEL - 1) / VMOE_PANEL * VMOE_PANEL * sizeof(float);

    *p = (struct problem){ .k = k, .n = n, .count = count, .precision = precision };
    p->activation = (uint32_t)below(4);
    p->store = below(2) ? VMOE_ADD_F32 : VMOE_STORE_F32;
    for (size_t i = 0; i < count; i++) {
        p->layers[i] = new_layer(precision, k, n);
        p->parts[i] = (struct vmoe_linear_part){ &p->layers[i], p->rows + below(2),
                                                 count == 1 ? most : below(most + 1) };
        p->rows = p->parts[i].first + p->parts[i].rows;
    }
    p->values = random_floats(p->rows * k);
    p->factors = below(2) ? random_floats(p->rows) : NULL;
    /* Where several parts meet they are added. */
    if (count > 1 ? p->store == VMOE_ADD_F32 : below(2) == 0)
        scatter(p);
    p->ldo = width + 4 * below(8);
    p->out_bytes = (p->rows + 2 * most + 1) * p->ldo;
}

static void free_rows(struct problem *p)
{
    release(p->a.data);
    release(p->scratch);
    free(p->a.quants);
}

static void free_problem(struct problem *p)
{
    for (size_t i = 0; i < p->count; i++)
        free_layer(&p->layers[i]);
    free(p->values);
    free(p->factors);
    free(p->out_rows);
}

/* Brings the values into rows of a type, as a table does it. */
static void set_rows(struct problem *p, const struct vmoe_kernels *kernels, uint32_t type)
{
    const size_t stride = vmoe_matrix_stride(type, p->k) + VMOE_ROW_BYTES;
    const size_t bytes = (p->rows + VMOE_ROW_COUNT) * stride;

    p->a = (struct vmoe_matrix){ .type = type, .data = take(bytes), .stride = stride };
    p->a.quants = malloc((p->rows + 1) * sizeof *p->a.quants);
    memset(p->a.data, 0xff, bytes);
    for (size_t r = 0; r < p->rows; r++)
        vmoe_matrix_set(kernels, &p->a, r, p->k, p->values + r * p->k);
    p->scratch_bytes = vmoe_product_scratch_bytes(type, p->precision, p->k);
    p->scratch = take(THREADS_MAX * p->scratch_bytes);
}

/* ---- Calls ---------------------------------------------------------------------------------- */

/* One product for each part. */
static void run_products(const struct vmoe_kernels *kernels, const struct problem *p,
                         uint32_t store, uint8_t *out)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct vmoe_linear *layer = p->parts[i].layer;
        const size_t first = p->parts[i].first;
        const struct vmoe_matrix a = vmoe_matrix_from(&p->a, first);
        const struct vmoe_product product = {
            .rows = p->parts[i].rows,
            .k = p->k,
            .columns = p->n,
            .a = a.data,
            .lda = a.stride,
            .quants = a.quants,
            .panels = layer->panels,
            .panel_stride = vmoe_pack_bytes(p->precision, p->k, VMOE_PANEL),
            .panel_bytes = vmoe_pack_bytes(p->precision, p->k, VMOE_PANEL),
            .scale = p->precision == VMOE_PRECISION_INT8 ? layer->scale : NULL,
            .sums = layer->sum,
            .bias = layer->bias,
            .activation = p->activation,
            .store = store,
            .out = p->out_rows != NULL ? out : out + first * p->ldo,
            .ldo = p->ldo,
            .out_rows = p->out_rows != NULL ? p->out_rows + first : NULL,
            .factors = p->factors != NULL ? p->factors + first : NULL,
            .scratch = p->scratch
        };

        if (product.rows != 0)
            kernels->product[p->a.type][p->precision](&product);
    }
}

static void run_linear(const struct vmoe_kernels *kernels, const struct problem *p, uint32_t store,
                       struct vmoe_team *team, void *out)
{
    const struct vmoe_linear_call call = {
        .parts = p->parts,
        .count = p->count,
        .a = p->a,
        .out = out,
        .ldo = p->ldo,
        .activation = p->activation,
        .store = store,
        .out_rows = p->out_rows,
        .factors = p->factors,
        .scratch = p->scratch,
        .scratch_bytes = p->scratch_bytes
    };

    vmoe_linear_run(kernels, team, &call);
}

/* Long float32 rows are added in sections, whose sums round otherwise than that of one product. */
static bool in_sections(const struct problem *p, uint32_t store)
{
    return p->a.type == VMOE_PRECISION_F32 && store == VMOE_ADD_F32 &&
           p->activation == VMOE_IDENTITY && p->out_rows == NULL && p->k > 1536;
}

static void check_near(const void *found, const void *expected, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float a, b;

        memcpy(&a, (const uint8_t *)found + i * sizeof a, sizeof a);
        memcpy(&b, (const uint8_t *)expected + i * sizeof b, sizeof b);
        if (!(fabs((double)a - (double)b) < 1e-3))
            fail_msg("sum %zu of %zu is %g, but %g of one product", i, count, (double)a, (double)b);
    }
}

/* Everything that was stored, and everything that was not. */
static void check_teams(const struct vmoe_kernels *kernels, const struct problem *p, uint32_t store)
{
    static const uint32_t threads[] = { 1, 2, 3, THREADS_MAX };
    const size_t floats = p->out_bytes / sizeof(float);
    float *before = random_floats(floats);
    uint8_t *expected = malloc(p->out_bytes), *out = malloc(p->out_bytes);
    struct vmoe_team *team;
    vmoe_error error;

    assert_int_equal(vmoe_team_create(&vmoe_memory_default, &team, &error), VMOE_OK);
    memcpy(expected, before, p->out_bytes);
    run_products(kernels, p, store, expected);
    for (size_t t = 0; t < sizeof threads / sizeof threads[0]; t++) {
        assert_int_equal(vmoe_team_resize(team, threads[t], &error), VMOE_OK);
        memcpy(out, before, p->out_bytes);
        run_linear(kernels, p, store, team, out);
        if (t == 0 && in_sections(p, store)) {
            check_near(out, expected, floats);
            memcpy(expected, out, p->out_bytes);
        }
        if (memcmp(out, expected, p->out_bytes) != 0)
            fail_msg("%s, rows %u, panels %u, store %u: %zu parts of %zu rows, %zu x %zu, %u "
                     "threads: not what one product of each part gives",
                     vmoe_isa_name(kernels->isa), p->a.type, p->precision, store, p->count, p->rows,
                     p->k, p->n, threads[t]);
    }
    vmoe_team_destroy(team);
    free(before);
    free(expected);
    free(out);
}

static void check_problem(struct problem *p)
{
    for (const uint32_t *isa = tiers(); *isa != VMOE_ISA_DEFAULT; isa++)
        for (uint32_t type = VMOE_PRECISION_F32; type <= VMOE_PRECISION_INT8; type++) {
            const struct vmoe_kernels *kernels = vmoe_kernels_for(*isa);

            if (kernels->product[type][p->precision] == NULL)
                continue;
            set_rows(p, kernels, type);
            check_teams(kernels, p, p->store);
            if (type != VMOE_PRECISION_F32 && kernels->to_bf16 != NULL &&
                p->store == VMOE_STORE_F32)
                check_teams(kernels, p, VMOE_STORE_BF16);
            free_rows(p);
        }
}

/* ---- Tests ---------------------------------------------------------------------------------- */

static void check_shape(size_t count, size_t most, size_t k, size_t n)
{
    for (uint32_t precision = VMOE_PRECISION_F32; precision <= VMOE_PRECISION_INT8; precision++) {
        struct problem p;

        draw_problem(&p, precision, count, most, k, n);
        check_problem(&p);
        free_problem(&p);
    }
}

static void a_layer_gives_what_one_product_gives(void **state)
{
    static const size_t rows[] = { 1, 5, 14, 50, 197 };
    static const size_t n[] = { 1, 32, 33, 100, 520 };

    (void)state;
    random_seed(1);
    check_shape(1, 0, 72, 100);
    for (size_t m = 0; m < sizeof rows / sizeof rows[0]; m++)
        for (size_t s = 0; s < sizeof n / sizeof n[0]; s += SANITIZED ? 2 : 1)
            check_shape(1, rows[m], 60 + below(700), n[s]);
}

static void rows_of_more_than_one_block_are_cut(void **state)
{
    (void)state;
    random_seed(2);
    check_shape(1, 700, 3072, 40); /* rows alone fill the second-level cache twice and more */
    check_shape(3, 500, 3072, 33);
}

/* The last of `rows` rows alone gives what it gives among the others. */
static void check_last_row(const struct vmoe_kernels *kernels, struct problem *p)
{
    const struct vmoe_linear_part whole = p->parts[0];
    const size_t last = whole.first + whole.rows - 1;
    float *all = random_floats(p->out_bytes / sizeof(float));
    uint8_t *alone = malloc(p->out_bytes);
    struct vmoe_team *team;
    vmoe_error error;

    assert_int_equal(vmoe_team_create(&vmoe_memory_default, &team, &error), VMOE_OK);
    memcpy(alone, all, p->out_bytes);
    run_linear(kernels, p, VMOE_ADD_F32, team, all);
    p->parts[0] = (struct vmoe_linear_part){ whole.layer, last, 1 };
    run_linear(kernels, p, VMOE_ADD_F32, team, alone);
    p->parts[0] = whole;
    assert_memory_equal(alone + last * p->ldo, (uint8_t *)all + last * p->ldo,
                        p->n * sizeof(float));
    vmoe_team_destroy(team);
    free(all);
    free(alone);
}

static void long_rows_are_added_in_sections(void **state)
{
    static const size_t k[] = { 1537, 3072, 3100, 6400 };

    (void)state;
    random_seed(4);
    for (uint32_t precision = VMOE_PRECISION_F32; precision <= VMOE_PRECISION_INT8; precision++)
        for (size_t i = 0; i < sizeof k / sizeof k[0]; i++) {
            struct problem p;

            draw_problem(&p, precision, 1, 197, k[i], 70);
            free(p.out_rows);
            p.out_rows = NULL;
            p.activation = VMOE_IDENTITY;
            p.store = VMOE_ADD_F32;
            check_problem(&p);
            for (const uint32_t *isa = tiers(); *isa != VMOE_ISA_DEFAULT; isa++) {
                set_rows(&p, vmoe_kernels_for(*isa), VMOE_PRECISION_F32);
                check_last_row(vmoe_kernels_for(*isa), &p);
                free_rows(&p);
            }
            p.activation = VMOE_GELU_TANH_OF; /* which sections have no sum for */
            check_problem(&p);
            free_problem(&p);
        }
}

static void parts_are_added_in_order(void **state)
{
    (void)state;
    random_seed(3);
    for (size_t i = 0; i < (SANITIZED ? 5 : 25); i++)
        check_shape(2 + below(PARTS_MAX - 1), 1 + below(120), 1 + below(300), 1 + below(300));
}

/* Some columns of a layer as a layer of their own. */
static void check_columns(const struct vmoe_kernels *kernels, struct problem *p,
                          struct vmoe_team *team)
{
    static const uint32_t ranges[][2] = { { 0, 33 }, { 32, 68 }, { 64, 36 }, { 96, 4 } };
    const struct vmoe_linear layer = p->layers[0];
    uint8_t *whole = calloc(1, p->out_bytes), *some = calloc(1, p->out_bytes);

    run_linear(kernels, p, VMOE_STORE_F32, team, whole);
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        p->layers[0] = vmoe_linear_columns(&layer, ranges[i][0], ranges[i][1]);
        run_linear(kernels, p, VMOE_STORE_F32, team, some);
        for (size_t row = 0; row < p->out_bytes; row += p->ldo)
            assert_memory_equal(some + row, whole + row + ranges[i][0] * sizeof(float),
                                ranges[i][1] * sizeof(float));
    }
    p->layers[0] = layer;
    free(whole);
    free(some);
}

static void columns_of_a_layer_are_those_of_the_whole(void **state)
{
    struct vmoe_team *team;

    (void)state;
    random_seed(6);
    assert_int_equal(vmoe_team_create(&vmoe_memory_default, &team, NULL), VMOE_OK);
    for (uint32_t precision = VMOE_PRECISION_F32; precision <= VMOE_PRECISION_INT8; precision++) {
        struct problem p;

        draw_problem(&p, precision, 1, 7, 70, 100);
        for (const uint32_t *isa = tiers(); *isa != VMOE_ISA_DEFAULT; isa++)
            for (uint32_t type = VMOE_PRECISION_F32; type <= VMOE_PRECISION_INT8; type++) {
                const struct vmoe_kernels *kernels = vmoe_kernels_for(*isa);

                if (kernels->product[type][precision] == NULL)
                    continue;
                set_rows(&p, kernels, type);
                check_columns(kernels, &p, team);
                free_rows(&p);
            }
        free_problem(&p);
    }
    vmoe_team_destroy(team);
}

/* ---- What is fetched ahead ------------------------------------------------------------------ */

/* The products of a call, as they were asked for. */
static struct product_seen {
    size_t part, first, panel; /* its first row, and its first panel */
    const void *panels, *next;
} seen[4096];
static atomic_size_t seen_count;
static const struct problem *seen_problem;
static bool seen_by_panels; /* a list is sorted by panels, then by rows, or the other way round */

static void see_product(const struct vmoe_product *product)
{
    const struct problem *p = seen_problem;
    const size_t first = (size_t)((const uint8_t *)product->a - (const uint8_t *)p->a.data) /
                         p->a.stride;
    struct product_seen *one = &seen[atomic_fetch_add(&seen_count, 1)];

    *one = (struct product_seen){ 0, first, 0, product->panels, product->next };
    while (first >= p->parts[one->part].first + p->parts[one->part].rows)
        one->part++;
    one->panel = (size_t)((const uint8_t *)product->panels -
                          (const uint8_t *)p->layers[one->part].panels) / product->panel_stride;
}

static int compare_seen(const void *a, const void *b)
{
    const struct product_seen *x = a, *y = b;
    const int panels = (x->panel > y->panel) - (x->panel < y->panel);
    const int rows = (x->first > y->first) - (x->first < y->first);

    return seen_by_panels && panels != 0 ? panels : rows != 0 ? rows : panels;
}

/* Each product is told the panels of the one behind it, and the last one that there are none. */
static void check_next(size_t count, size_t most, size_t k, size_t n, uint32_t threads, bool meet)
{
    struct vmoe_kernels kernels = vmoe_kernels_ref;
    struct vmoe_team *team;
    struct problem p;
    void *out;

    draw_problem(&p, VMOE_PRECISION_BF16, count, most, k, n);
    free(p.out_rows);
    p.out_rows = NULL;
    if (meet)
        scatter(&p);
    set_rows(&p, &kernels, VMOE_PRECISION_F32);
    seen_problem = &p;
    seen_by_panels = meet && count > 1;
    atomic_store(&seen_count, 0);
    kernels.product[VMOE_PRECISION_F32][VMOE_PRECISION_BF16] = see_product;
    assert_int_equal(vmoe_team_create(&vmoe_memory_default, &team, NULL), VMOE_OK);
    assert_int_equal(vmoe_team_resize(team, threads, NULL), VMOE_OK);
    out = malloc(p.out_bytes);
    run_linear(&kernels, &p, VMOE_STORE_F32, team, out);
    free(out);
    vmoe_team_destroy(team);
    qsort(seen, seen_count, sizeof seen[0], compare_seen);
    assert_true(seen_count > threads);
    for (size_t i = 0; i + 1 < seen_count; i++)
        assert_ptr_equal(seen[i].next, seen[i + 1].panels);
    assert_null(seen[seen_count - 1].next);
    free_rows(&p);
    free_problem(&p);
}

static void the_next_panels_are_those_of_the_next_product(void **state)
{
    (void)state;
    random_seed(5);
    for (uint32_t threads = 1; threads <= THREADS_MAX; threads++) {
        check_next(1, 300, 3072, 400, threads, false);
        check_next(4, 300, 3072, 400, threads, false);
        check_next(4, 300, 3072, 400, threads, true);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_layer_gives_what_one_product_gives),
        cmocka_unit_test(rows_of_more_than_one_block_are_cut),
        cmocka_unit_test(long_rows_are_added_in_sections),
        cmocka_unit_test(parts_are_added_in_order),
        cmocka_unit_test(columns_of_a_layer_are_those_of_the_whole),
        cmocka_unit_test(the_next_panels_are_those_of_the_next_product),
    };

    vmoe_cpu_enter_float(); /* as the threads of a team do */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
