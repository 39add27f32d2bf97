/*
 * Panels times a vector, to the bit: every table rounds products, adds them in 16 lanes and these in
 * pairs, which a few plain lines do, too.
 */
#include <stdio.h>

#include "kernels/harness.h"
#include "kernels/pack.h"

enum memory { PANELS, X, Y, MEMORIES };

static struct fenced memory[MEMORIES];

struct panels {
    size_t k, count, ldy;
    size_t bytes;
    uint8_t *packed;
    float *x, *expected; /* (count * VMOE_PANEL), (k) */
};

/* 0: small integers, 1: reals, 2: with values that are special. */
static float draw(int kind)
{
    static const float special[] = { NAN, INFINITY, -INFINITY, 1e-40f, FLT_MAX, 0.0f };

    if (kind == 2 && random_chance(50))
        return special[random_below(sizeof special / sizeof special[0])];
    return kind == 0 ? (float)random_integer(-7, 7) : random_real();
}

static struct panels draw_panels(const struct entry *entry, size_t k, size_t count, int kind)
{
    struct panels p = { .k = k, .count = count, .ldy = (size_t[]){ 1, 3, 12 }[random_below(3)] };
    const size_t n = count * VMOE_PANEL;
    float *weights, *products, *scales;

    case_begin("%s, %zu x %zu panels, kind %d", entry->name, k, count, kind);
    weights = case_memory(k * n * sizeof *weights);
    scales = case_memory(n * sizeof *scales);
    products = case_memory(n * sizeof *products);
    p.bytes = vmoe_pack_bytes(entry->panels, k, n);
    p.packed = case_memory(p.bytes);
    p.x = case_memory(n * sizeof *p.x);
    p.expected = case_memory(k * sizeof *p.expected);
    for (size_t i = 0; i < k * n; i++)
        weights[i] = draw(entry->panels == VMOE_PRECISION_INT8 ? 1 : kind);
    for (size_t c = 0; c < n; c++)
        p.x[c] = draw(kind);
    vmoe_pack(entry->panels, k, n, weights, n, 1, p.packed, scales);
    for (size_t i = 0; i < k; i++) {
        for (size_t c = 0; c < n; c++)
            products[c] = vmoe_pack_value(entry->panels, k, p.packed, i, c) * p.x[c];
        p.expected[i] = sum_in_lanes(products, n);
    }
    return p;
}

static void check_on(const struct entry *entry, const struct vmoe_kernels *kernels,
                     const struct panels *p)
{
    case_target(kernels);
    for (enum side side = AT_END; side < SIDES; side++) {
        const uint8_t *packed = fenced_copy(&memory[PANELS], p->packed, p->bytes, side);
        const float *x =
            fenced_copy(&memory[X], p->x, p->count * VMOE_PANEL * sizeof *p->x, side);
        float *y =
            fenced_place(&memory[Y], ((p->k - 1) * p->ldy + 1) * sizeof *y, side);

        kernels->gemv[entry->panels](p->k, p->count, packed, x, y, p->ldy);
        for (size_t i = 0; i < p->k; i++) {
            check_same_floats(y + i * p->ldy, p->expected + i, 1, "y");
            if (i + 1 < p->k)
                check_untouched(y + i * p->ldy + 1, (p->ldy - 1) * sizeof *y, "between rows");
        }
    }
}

static void check_case(const struct entry *entry, size_t k, size_t count, int kind)
{
    const struct panels p = draw_panels(entry, k, count, kind);

    for (const struct vmoe_kernels *const *t = targets(entry); *t != NULL; t++)
        check_on(entry, *t, &p);
}

static void edges(const struct entry *entry)
{
    for (size_t count = 1; count <= 3; count++)
        for (size_t k = 1; k <= 140; k++)
            check_case(entry, k, count, random_integer(0, 2));
}

static void random_case(const struct entry *entry)
{
    check_case(entry, random_size(1000), random_size(8), random_integer(0, 2));
}

struct timed {
    const struct entry *entry;
    const struct vmoe_kernels *kernels;
    const struct panels *panels;
};

static void work(void *context, size_t i)
{
    const struct timed *t = context;
    const struct panels *p = t->panels;

    (void)i;
    t->kernels->gemv[t->entry->panels](p->k, p->count, p->packed, p->x, p->expected, 1);
}

static void bench(const struct entry *entry, const struct vmoe_kernels *kernels)
{
    const struct panels p = draw_panels(entry, 768, 2, 1);
    const struct timed timed = { entry, kernels, &p };

    check_on(entry, kernels, &p);
    bench_print(kernels, entry, "768 x 64", 2.0 * 768 * 64, "FLOP", work,
                (void *)(uintptr_t)&timed);
}

#define GEMV(name, panels) \
    { name, SLOT(gemv[panels]), 0, panels, edges, random_case, bench }

const struct entry gemv_entries[] = {
    GEMV("gemv f32", VMOE_PRECISION_F32),
    GEMV("gemv bf16", VMOE_PRECISION_BF16),
    GEMV("gemv int8", VMOE_PRECISION_INT8),
    { 0 },
};
