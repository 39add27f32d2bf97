/*
 * Area averaging and the central crop.  An input row is summed over the columns of every output
 * pixel when it is read; an output row is the weighted sum of a few such rows, and neighbours share
 * at most one of them.  A pixel is computed as four values, of which the next overwrites the last.
 */
#include "image/resize.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "runtime/limits.h"

/*
 * The input pixels first..end-1 under an output pixel on one axis.  Those between the outer two
 * have weight 1; a single one has `first_weight`.  Rounding may put `end` one past the picture:
 * that pixel counts as the last one again.
 */
struct span {
    uint32_t first, end;
    float first_weight, last_weight;
};

/*
 * The columns of all output pixels, each a weighted sum of `taps` neighbours.  A span with fewer
 * pixels has weights 0 before or behind them, which change no bit of a sum: a loop of always the
 * same length is much faster than one that ends now after two and now after three.
 */
struct columns {
    uint32_t taps;
    uint32_t *offsets; /* (crop): the first value of the first neighbour in a row */
    float *weights;    /* (crop, taps) */
};

struct area {
    struct vmoe_line line;
    struct columns columns;
    float *sums; /* (crop, 3) and one float more, of the row that was read last */
};

static struct area take(struct vmoe_arena *arena, uint32_t crop)
{
    struct area area;

    vmoe_line_take(arena, &area.line);
    area.columns.offsets = vmoe_arena_take(arena, crop, sizeof *area.columns.offsets);
    /* A tap for each column of the picture, and at most three more for each output pixel. */
    area.columns.weights = vmoe_arena_take(arena, VMOE_LIMIT_PICTURE_SIDE + (uint64_t)3 * crop,
                                           sizeof *area.columns.weights);
    area.sums = vmoe_arena_take(arena, (uint64_t)3 * crop + 1, sizeof *area.sums);
    return area;
}

/* How much of the pixel that begins at `pixel` lies in begin..end; a whole interval is `scale`. */
static float weight_of(float pixel, float begin, float end, float scale)
{
    if (pixel < begin)
        return pixel + 1.0f > end ? scale : pixel + 1.0f - begin;
    return pixel + 1.0f > end ? end - pixel : 1.0f;
}

static struct span span_at(uint32_t i, float scale)
{
    const float begin = (float)i * scale;
    const float end = (float)(i + 1) * scale;
    const float first = floorf(begin);
    const float behind = ceilf(end);
    struct span span;

    span.first = (uint32_t)first;
    span.end = (uint32_t)behind;
    span.first_weight = weight_of(first, begin, end, scale);
    span.last_weight = weight_of(behind - 1.0f, begin, end, scale);
    return span;
}

static uint32_t at_most(uint32_t value, uint32_t largest)
{
    return value < largest ? value : largest;
}

static float span_weight(struct span span, uint32_t v)
{
    if (v < span.first || v >= span.end)
        return 0.0f;
    if (v == span.first)
        return span.first_weight;
    return v == span.end - 1 ? span.last_weight : 1.0f;
}

/* The spans of `crop` output pixels from `first` on, in a row of `width` input pixels. */
static void set_columns(struct columns *columns, uint32_t first, uint32_t crop, float scale,
                        uint32_t width)
{
    columns->taps = 1;
    for (uint32_t x = 0; x < crop; x++) {
        const struct span span = span_at(first + x, scale);

        if (span.end - span.first > columns->taps)
            columns->taps = span.end - span.first;
    }
    for (uint32_t x = 0; x < crop; x++) {
        const struct span span = span_at(first + x, scale);
        /* The last pixel stands in the row twice. */
        const uint32_t begin = at_most(span.first, width + 1 - columns->taps);
        float *weights = columns->weights + (size_t)x * columns->taps;

        columns->offsets[x] = 3 * begin;
        for (uint32_t k = 0; k < columns->taps; k++)
            weights[k] = span_weight(span, begin + k);
    }
}

static inline void sum_taps(const struct columns *columns, size_t taps, uint32_t crop,
                            const float *restrict row, float *restrict sums)
{
    const float *weights = columns->weights;

    for (size_t x = 0; x < crop; x++, weights += taps) {
        const float *at = row + columns->offsets[x];
        vmoe_pixel sum = vmoe_pixel_load(at) * weights[0];

        for (size_t k = 1; k < taps; k++)
            sum += vmoe_pixel_load(at + 3 * k) * weights[k];
        vmoe_pixel_store(sums + 3 * x, sum);
    }
}

/* The usual numbers of taps are constants for the compiler. */
static void sum_columns(const struct columns *columns, uint32_t crop, const float *row,
                        float *sums)
{
    switch (columns->taps) {
    case 2:
        sum_taps(columns, 2, crop, row, sums);
        break;
    case 3:
        sum_taps(columns, 3, crop, row, sums);
        break;
    case 4:
        sum_taps(columns, 4, crop, row, sums);
        break;
    default:
        sum_taps(columns, columns->taps, crop, row, sums);
    }
}

/* out = (out + sums * weight) * share, where `out` counts as 0 at first. */
static void add_row(const float *restrict sums, float weight, bool first, float share, size_t n,
                    float *restrict out)
{
    if (first)
        for (size_t i = 0; i < n; i++)
            out[i] = sums[i] * weight * share;
    else
        for (size_t i = 0; i < n; i++)
            out[i] = (out[i] + sums[i] * weight) * share;
}

/* One output row of `crop` pixels: what the input rows of `span` contribute, times `share`. */
static vmoe_status sum_rows(struct area *area, uint32_t crop, struct span span, float share,
                            float *out, vmoe_error *error)
{
    const uint32_t height = area->line.rows->height;

    /* Beyond 2^24 rows of output, rounding may leave a row no input at all. */
    if (span.first == span.end)
        memset(out, 0, (size_t)3 * crop * sizeof *out);
    for (uint32_t v = span.first; v < span.end; v++) {
        const uint32_t row = at_most(v, height - 1);

        if (row >= area->line.read) {
            vmoe_status status = vmoe_line_read(&area->line, row, error);

            if (status != VMOE_OK)
                return status;
            sum_columns(&area->columns, crop, area->line.values, area->sums);
        }
        add_row(area->sums, span_weight(span, v), v == span.first,
                v == span.end - 1 ? share : 1.0f, (size_t)3 * crop, out);
    }
    return VMOE_OK;
}

void vmoe_area_measure(struct vmoe_arena *arena, uint32_t crop)
{
    (void)take(arena, crop);
}

vmoe_status vmoe_area_resize(struct vmoe_rows *rows, uint32_t side, uint32_t crop,
                             struct vmoe_arena *arena, float *out, vmoe_error *error)
{
    const uint32_t shorter = at_most(rows->width, rows->height);
    const float ratio = (float)side / (float)shorter;
    /* The shorter of these is exactly `side`, for every side and picture within the limits. */
    const uint32_t width = (uint32_t)rintf((float)rows->width * ratio);
    const uint32_t height = (uint32_t)rintf((float)rows->height * ratio);
    const float scale_x = (float)rows->width / (float)width;
    const float scale_y = (float)rows->height / (float)height;
    const float share = 1.0f / (scale_y * scale_x);
    struct area area = take(arena, crop);

    vmoe_line_begin(&area.line, rows);
    set_columns(&area.columns, (width - crop) / 2, crop, scale_x, rows->width);
    for (uint32_t y = 0; y < crop; y++) {
        const struct span span = span_at((height - crop) / 2 + y, scale_y);
        vmoe_status status =
            sum_rows(&area, crop, span, share, out + (size_t)y * 3 * crop, error);

        if (status != VMOE_OK)
            return status;
    }
    return VMOE_OK;
}
