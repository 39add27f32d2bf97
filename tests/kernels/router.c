/*
 * The router, to the bit: every table adds over the width from its beginning and rounds products
 * before they are added, which these few lines do, too.
 */
#include <stdio.h>

#include "kernels/harness.h"

enum memory { X, WEIGHTS, LOGITS, MEMORIES };

static struct fenced memory[MEMORIES];

struct routing {
    size_t tokens, width, experts, ldx, ldw;
    float *x, *weights, *expected; /* (tokens, width), (width, experts), (tokens, experts) */
};

static float draw(int kind)
{
    static const float special[] = { NAN, INFINITY, -INFINITY, 1e-40f, FLT_MAX, 0.0f };

    if (kind == 2 && random_chance(50))
        return special[random_below(sizeof special / sizeof special[0])];
    return kind == 0 ? (float)random_integer(-7, 7) : random_real();
}

static struct routing draw_routing(size_t tokens, size_t width, size_t experts, int kind)
{
    struct routing r = { .tokens = tokens, .width = width, .experts = experts };

    case_begin("router, %zu tokens, width %zu, %zu experts, kind %d", tokens, width, experts, kind);
    r.ldx = width + (size_t[]){ 0, 1, 7, 16 }[random_below(4)];
    r.ldw = experts * (size_t[]){ 1, 1, 2, 3 }[random_below(4)];
    r.x = case_memory(tokens * width * sizeof *r.x);
    r.weights = case_memory(width * experts * sizeof *r.weights);
    r.expected = case_memory(tokens * experts * sizeof *r.expected);
    for (size_t i = 0; i < tokens * width; i++)
        r.x[i] = draw(kind);
    for (size_t i = 0; i < width * experts; i++)
        r.weights[i] = draw(kind);
    for (size_t t = 0; t < tokens; t++)
        for (size_t e = 0; e < experts; e++) {
            float sum = 0.0f;

            for (size_t i = 0; i < width; i++)
                sum += r.x[t * width + i] * r.weights[i * experts + e];
            r.expected[t * experts + e] = sum;
        }
    return r;
}

/* Rows with NaN in between. */
static float *lay(enum memory where, size_t rows, size_t n, size_t stride, const float *from,
                  enum side side)
{
    float *to = fenced_place(&memory[where], ((rows - 1) * stride + n) * sizeof *to, side);

    for (size_t i = 0; i < rows; i++)
        memcpy(to + i * stride, from + i * n, n * sizeof *to);
    return to;
}

static float *lay_x(const struct routing *r, enum side side)
{
    return lay(X, r->tokens, r->width, r->ldx, r->x, side);
}

/* With a stride, they are the columns of one member of an ensemble. */
static float *lay_weights(const struct routing *r, enum side side)
{
    return lay(WEIGHTS, r->width, r->experts, r->ldw, r->weights, side);
}

static void check_on(const struct vmoe_kernels *kernels, const struct routing *r)
{
    const size_t n = r->tokens * r->experts;

    case_target(kernels);
    for (enum side side = AT_END; side < SIDES; side++) {
        float *logits = fenced_place(&memory[LOGITS], n * sizeof *logits, side);

        kernels->router(r->tokens, r->width, r->experts, lay_x(r, side), r->ldx,
                        lay_weights(r, side), r->ldw, logits);
        check_same_floats(logits, r->expected, n, "logits");
    }
}

static void check_case(const struct entry *entry, size_t tokens, size_t width, size_t experts,
                       int kind)
{
    const struct routing r = draw_routing(tokens, width, experts, kind);

    for (const struct vmoe_kernels *const *t = targets(entry); *t != NULL; t++)
        check_on(*t, &r);
}

static void edges(const struct entry *entry)
{
    for (size_t experts = 1; experts <= 40; experts++)
        for (size_t tokens = 1; tokens <= 20; tokens++)
            check_case(entry, tokens, random_size(40), experts, random_integer(0, 2));
    for (size_t width = 1; width <= 100; width++)
        check_case(entry, random_size(20), width, random_size(40), random_integer(0, 2));
}

static void random_case(const struct entry *entry)
{
    check_case(entry, random_size(100), random_size(400), random_size(130), random_integer(0, 2));
}

struct timed {
    const struct vmoe_kernels *kernels;
    const struct routing *routing;
    const float *x, *weights;
    float *logits;
};

static void work(void *context, size_t i)
{
    const struct timed *t = context;
    const struct routing *r = t->routing;

    (void)i;
    t->kernels->router(r->tokens, r->width, r->experts, t->x, r->ldx, t->weights, r->ldw,
                       t->logits);
}

static void bench(const struct entry *entry, const struct vmoe_kernels *kernels)
{
    static const size_t shapes[][3] = {
        { 197, 768, 8 }, { 197, 768, 32 }, { 5, 768, 8 }, { 12, 197, 768 }, { 6, 197, 384 }
    };

    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const size_t *n = shapes[i];
        const struct routing r = draw_routing(n[0], n[1], n[2], 1);
        const struct timed timed = { kernels, &r, lay_x(&r, AT_END), lay_weights(&r, AT_END),
                                     r.expected };
        char shape[40];

        check_on(kernels, &r);
        snprintf(shape, sizeof shape, "%zu x %zu x %zu", n[0], n[1], n[2]);
        bench_print(kernels, entry, shape, 2.0 * (double)(n[0] * n[1] * n[2]), "FLOP", work,
                    (void *)(uintptr_t)&timed);
    }
}

const struct entry router_entries[] = {
    { "router", SLOT(router), 0, 0, edges, random_case, bench },
    { 0 },
};
