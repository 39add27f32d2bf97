/*
 * Resizing a stream of rows to float32, bit for bit as TensorFlow does it.  Both resizers read each
 * row once and keep one or two of them.
 */
#ifndef VMOE_IMAGE_RESIZE_H
#define VMOE_IMAGE_RESIZE_H

#include <stdint.h>
#include <string.h>

#include "image/picture.h"
#include "runtime/memory.h"

/* Red, green, blue, and whatever float follows them: a vector for the compiler. */
typedef float vmoe_pixel __attribute__((vector_size(16)));

static inline vmoe_pixel vmoe_pixel_load(const float *at)
{
    vmoe_pixel pixel;

    memcpy(&pixel, at, sizeof pixel);
    return pixel;
}

/* Writes four floats, too. */
static inline void vmoe_pixel_store(float *at, vmoe_pixel pixel)
{
    memcpy(at, &pixel, sizeof pixel);
}

/* The row of a stream that was read last, as floats. */
struct vmoe_line {
    struct vmoe_rows *rows;
    uint32_t read;  /* rows so far */
    uint8_t *bytes; /* (width, 3) */
    /*
     * (width + 1, 3) and one float more, so that a pixel can be read as four.  The last pixel is
     * there twice.
     */
    float *values;
};

/* Takes the memory of a line as wide as a picture may be. */
void vmoe_line_take(struct vmoe_arena *arena, struct vmoe_line *line);
void vmoe_line_begin(struct vmoe_line *line, struct vmoe_rows *rows);

/* Reads on until `row`, which was not read yet, is the current row. */
vmoe_status vmoe_line_read(struct vmoe_line *line, uint32_t row, vmoe_error *error);

/*
 * The whole picture squashed to (side, side, 3) by bilinear interpolation between pixel centres,
 * without antialiasing, truncated to whole numbers.
 */
void vmoe_bilinear_measure(struct vmoe_arena *arena, uint32_t side);
vmoe_status vmoe_bilinear_resize(struct vmoe_rows *rows, uint32_t side, struct vmoe_arena *arena,
                                 float *out, vmoe_error *error);

/*
 * The central (crop, crop, 3), crop <= side, of the picture whose shorter side was brought to
 * `side` by averaging areas.
 */
void vmoe_area_measure(struct vmoe_arena *arena, uint32_t crop);
vmoe_status vmoe_area_resize(struct vmoe_rows *rows, uint32_t side, uint32_t crop,
                             struct vmoe_arena *arena, float *out, vmoe_error *error);

#endif
