/*
 * Rows of float32 to int8 rows.  A row covers 0 and everything between its smallest and its
 * largest value, so the zero is exact and values that are never negative lose no range.  The file
 * of a table includes this text after vector.h and its own
 *
 *     store_numbers(x, inverse, zero, y)
 *
 * which stores the numbers of as many values as a row is padded to: x * inverse + zero, rounded to
 * nearest even, from 0 to 255.
 */
#ifndef VMOE_KERNELS_NARROW_H
#define VMOE_KERNELS_NARROW_H

#include "kernels/kernels.h"
#include "kernels/vector.h"

/* What a row has to cover.  `bad` is 0, or NaN if a value is not finite. */
struct span {
    vec low, high, bad;
};

static inline void widen_span(struct span *span, vec x)
{
    span->low = smaller(x, span->low);
    span->high = larger(x, span->high);
    span->bad += x - x;
}

static inline void join_span(struct span *span, const struct span *other)
{
    span->low = smaller(other->low, span->low);
    span->high = larger(other->high, span->high);
    span->bad += other->bad;
}

static inline struct vmoe_quant quant_of(const struct span *span)
{
    float low[WIDTH], high[WIDTH], bad[WIDTH];
    float least = 0.0f, most = 0.0f, sum = 0.0f, scale, zero;

    store(low, span->low);
    store(high, span->high);
    store(bad, span->bad);
    for (size_t i = 0; i < WIDTH; i++) {
        least = low[i] < least ? low[i] : least;
        most = high[i] > most ? high[i] : most;
        sum += bad[i];
    }
    scale = (most - least) / 255.0f;
    if (!(scale >= FLT_MIN))
        scale = 1.0f; /* nothing but zeros, or as good as */
    zero = -least / scale + 0.5f;
    /* A row that is not finite has no scale either, and so are its products. */
    return (struct vmoe_quant){ scale + sum, zero < 256.0f ? (int32_t)zero : 0 };
}

static struct vmoe_quant to_int8(size_t n, const float *x, uint8_t *y)
{
    struct span span = { { 0 }, { 0 }, { 0 } }, other = span;
    float rest[VMOE_ROW_BYTES] = { 0.0f };
    struct vmoe_quant quant;
    float inverse;
    size_t i;

    /* Two spans, because each is a chain of operations that wait for each other. */
    for (i = 0; i + 2 * WIDTH <= n; i += 2 * WIDTH) {
        widen_span(&span, load(x + i));
        widen_span(&other, load(x + i + WIDTH));
    }
    join_span(&span, &other);
    for (; i + WIDTH <= n; i += WIDTH)
        widen_span(&span, load(x + i));
    if (i < n)
        widen_span(&span, load(pad(rest, n - i, x + i, 0.0f)));
    quant = quant_of(&span);
    inverse = 1.0f / quant.scale;
    for (i = 0; i + VMOE_ROW_BYTES <= n; i += VMOE_ROW_BYTES)
        store_numbers(x + i, inverse, (float)quant.zero, y + i);
    if (i < n) {
        memcpy(rest, x + i, (n - i) * sizeof *x);
        store_numbers(rest, inverse, (float)quant.zero, y + i);
    }
    return quant;
}

#endif
