/* Linear interpolation between grids of position embeddings, in double, corners aligned. */
#include "checkpoint/position.h"

#include <math.h>

struct tap {
    uint32_t low, high;
    double weight; /* of high */
};

static struct tap tap_at(uint32_t i, uint32_t from, uint32_t to)
{
    double x = to > 1 ? (double)i * (double)(from - 1) / (double)(to - 1) : 0.0;
    double below = floor(x);
    struct tap tap = { (uint32_t)below, (uint32_t)below, x - below };

    if (tap.low + 1 < from)
        tap.high = tap.low + 1;
    return tap;
}

void vmoe_position_resize(const float *grid, uint32_t from, uint32_t to, size_t width, float *out)
{
    for (uint32_t y = 0; y < to; y++) {
        struct tap v = tap_at(y, from, to);

        for (uint32_t x = 0; x < to; x++) {
            struct tap h = tap_at(x, from, to);
            const float *a = grid + ((size_t)v.low * from + h.low) * width;
            const float *b = grid + ((size_t)v.low * from + h.high) * width;
            const float *c = grid + ((size_t)v.high * from + h.low) * width;
            const float *d = grid + ((size_t)v.high * from + h.high) * width;

            for (size_t i = 0; i < width; i++)
                *out++ = (float)((1.0 - v.weight) * ((1.0 - h.weight) * a[i] + h.weight * b[i]) +
                                 v.weight * ((1.0 - h.weight) * c[i] + h.weight * d[i]));
        }
    }
}
