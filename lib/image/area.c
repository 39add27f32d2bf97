/*
 * Area averaging and the central crop.  An input row is summed over the columns of every output
 * pixel when it is read; an output row is the weighted sum of a few such rows, and neighbours share
 * at most one of them.  A pixel is computed as four values, of which the next overwrites the last.
 */
#include "image/resize.h"

#include <math.h>
#include <string.h>

/*
 * The input pixels first..end-1 under an output pixel on one axis.  Those between the outer two
 * have weight 1; a single one has `first_weight`.  Rounding may put `end` one past the picture:
 * that pixel counts as the last one again.
 */
struct span {
    uint32_t first, end;
    float first_weight, last_weight;
};

struct area {
    struct vmoe_line line;
    struct span *columns; /* (crop) */
    float *sums;          /* (crop, 3) and one float more, of the row that was read last */
};

static struct area take(struct vmoe_arena *arena, uint32_t crop)
{
    struct area area;

    vmoe_line_take(arena, &area.line);
    area.columns = vmoe_arena_take(arena, crop, sizeof *area.columns);
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

static void sum_columns(const struct span *columns, uint32_t crop, const float *restrict row,
                        uint32_t width, float *restrict sums)
{
    for (size_t x = 0; x < crop; x++) {
        const struct span span = columns[x];
        const size_t first = at_most(span.first, width - 1);
        const size_t last = at_most(span.end - 1, width - 1);
        const uint32_t middle_end = at_most(span.end - 1, width);
        vmoe_pixel sum = vmoe_pixel_load(row + 3 * first) * span.first_weight;

        for (uint32_t v = span.first + 1; v < middle_end; v++)
            sum += vmoe_pixel_load(row + (size_t)3 * v);
        if (span.first + 1 < span.end)
            sum += vmoe_pixel_load(row + 3 * last) * span.last_weight;
        vmoe_pixel_store(sums + 3 * x, sum);
    }
}

/* Adds what the input rows of `span` contribute to one output row of `crop` pixels. */
static vmoe_status sum_rows(struct area *area, uint32_t crop, struct span span, float *out,
                            vmoe_error *error)
{
    const struct vmoe_rows *rows = area->line.rows;

    for (uint32_t v = span.first; v < span.end; v++) {
        const uint32_t row = at_most(v, rows->height - 1);
        const float weight = v == span.first ? span.first_weight
                             : v == span.end - 1 ? span.last_weight : 1.0f;

        if (row >= area->line.read) {
            vmoe_status status = vmoe_line_read(&area->line, row, error);

            if (status != VMOE_OK)
                return status;
            sum_columns(area->columns, crop, area->line.values, rows->width, area->sums);
        }
        for (size_t i = 0; i < (size_t)3 * crop; i++)
            out[i] += area->sums[i] * weight;
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
    const size_t values = (size_t)3 * crop;
    struct area area = take(arena, crop);

    vmoe_line_begin(&area.line, rows);
    for (uint32_t x = 0; x < crop; x++)
        area.columns[x] = span_at((width - crop) / 2 + x, scale_x);
    memset(out, 0, crop * values * sizeof *out);
    for (uint32_t y = 0; y < crop; y++) {
        const struct span span = span_at((height - crop) / 2 + y, scale_y);
        float *row = out + y * values;
        vmoe_status status = sum_rows(&area, crop, span, row, error);

        if (status != VMOE_OK)
            return status;
        for (size_t i = 0; i < values; i++)
            row[i] *= share;
    }
    return VMOE_OK;
}
