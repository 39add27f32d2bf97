/*
 * Bilinear interpolation.  Rows are stretched to the new width once, when they are read; an output
 * row then lies between two stretched rows.  A pixel is computed as four values, of which the next
 * pixel overwrites the last.
 */
#include "image/resize.h"

#include <math.h>

/* An output pixel lies `fraction` of the way from pixel `low` to pixel `high` on one axis. */
struct tap {
    uint32_t low, high;
    float fraction;
};

/* The taps of the columns; `high` is always the pixel behind `low`. */
struct columns {
    uint32_t *offsets;     /* (side): the first value of `low` in a row */
    vmoe_pixel *fractions; /* (side): a fraction for each of the four values */
};

struct bilinear {
    struct vmoe_line line;
    struct columns columns;
    float *stretched[2]; /* (side, 3) and one float more; row r is in [r % 2] */
};

static struct bilinear take(struct vmoe_arena *arena, uint32_t side)
{
    struct bilinear bilinear;

    vmoe_line_take(arena, &bilinear.line);
    bilinear.columns.offsets = vmoe_arena_take(arena, side, sizeof(uint32_t));
    bilinear.columns.fractions = vmoe_arena_take(arena, side, sizeof(vmoe_pixel));
    for (size_t i = 0; i < 2; i++)
        bilinear.stretched[i] = vmoe_arena_take(arena, (uint64_t)3 * side + 1, sizeof(float));
    return bilinear;
}

static uint32_t at_most(float value, uint32_t largest)
{
    const uint32_t whole = (uint32_t)value;

    return whole < largest ? whole : largest;
}

/* The tap of output pixel `i` on an axis of `count` input pixels, `scale` to an output pixel. */
static struct tap tap_at(uint32_t i, float scale, uint32_t count)
{
    const float x = ((float)i + 0.5f) * scale - 0.5f; /* at least -0.5 */
    const float below = floorf(x);
    struct tap tap;

    tap.low = below < 0.0f ? 0 : at_most(below, count - 1);
    tap.high = at_most(ceilf(x), count - 1);
    tap.fraction = x - below;
    return tap;
}

/*
 * Where a tap has one pixel only, at the edges of the picture, its fraction becomes 0: the pixel
 * itself is the result in either case.
 */
static void set_columns(struct columns *columns, uint32_t side, uint32_t width)
{
    const float scale = (float)width / (float)side;

    for (uint32_t x = 0; x < side; x++) {
        const struct tap tap = tap_at(x, scale, width);
        const float fraction = tap.low == tap.high ? 0.0f : tap.fraction;

        columns->offsets[x] = 3 * tap.low;
        columns->fractions[x] = (vmoe_pixel){ fraction, fraction, fraction, fraction };
    }
}

static void stretch(struct columns columns, uint32_t side, const float *restrict row,
                    float *restrict stretched)
{
    for (size_t x = 0; x < side; x++) {
        const vmoe_pixel low = vmoe_pixel_load(row + columns.offsets[x]);
        const vmoe_pixel high = vmoe_pixel_load(row + columns.offsets[x] + 3);

        vmoe_pixel_store(stretched + 3 * x, low + (high - low) * columns.fractions[x]);
    }
}

/* An output row between two stretched rows, truncated to whole numbers. */
static void blend(const float *restrict top, const float *restrict bottom, float fraction,
                  size_t values, float *restrict out)
{
    for (size_t i = 0; i < values; i++) {
        const float value = top[i] + (bottom[i] - top[i]) * fraction;

        out[i] = (float)(int32_t)value;
    }
}

/* Input rows come in ascending order, and those of an output row are equal or neighbours. */
static vmoe_status stretch_row(struct bilinear *bilinear, uint32_t side, uint32_t row,
                               vmoe_error *error)
{
    vmoe_status status;

    if (row < bilinear->line.read)
        return VMOE_OK;
    status = vmoe_line_read(&bilinear->line, row, error);
    if (status == VMOE_OK)
        stretch(bilinear->columns, side, bilinear->line.values, bilinear->stretched[row % 2]);
    return status;
}

void vmoe_bilinear_measure(struct vmoe_arena *arena, uint32_t side)
{
    (void)take(arena, side);
}

vmoe_status vmoe_bilinear_resize(struct vmoe_rows *rows, uint32_t side, struct vmoe_arena *arena,
                                 float *out, vmoe_error *error)
{
    const float scale_y = (float)rows->height / (float)side;
    const size_t values = (size_t)3 * side;
    struct bilinear bilinear = take(arena, side);

    vmoe_line_begin(&bilinear.line, rows);
    set_columns(&bilinear.columns, side, rows->width);
    for (uint32_t y = 0; y < side; y++) {
        const struct tap tap = tap_at(y, scale_y, rows->height);
        const float *top = bilinear.stretched[tap.low % 2];
        const float *bottom = bilinear.stretched[tap.high % 2];
        vmoe_status status = stretch_row(&bilinear, side, tap.low, error);

        if (status == VMOE_OK)
            status = stretch_row(&bilinear, side, tap.high, error);
        if (status != VMOE_OK)
            return status;
        blend(top, bottom, tap.fraction, values, out + y * values);
    }
    return VMOE_OK;
}
