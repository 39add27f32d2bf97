/* The row of a stream that the resizers look at. */
#include "image/resize.h"

#include "runtime/limits.h"

void vmoe_line_take(struct vmoe_arena *arena, struct vmoe_line *line)
{
    uint8_t *bytes = vmoe_arena_take(arena, 3 * VMOE_LIMIT_PICTURE_SIDE + 1, sizeof *bytes);

    /* To aligned rows libjpeg-turbo writes past the caches, from which we want to read at once. */
    line->bytes = bytes == NULL ? NULL : bytes + 1;
    line->values = vmoe_arena_take(arena, 3 * VMOE_LIMIT_PICTURE_SIDE + 4, sizeof *line->values);
}

void vmoe_line_begin(struct vmoe_line *line, struct vmoe_rows *rows)
{
    line->rows = rows;
    line->read = 0;
    line->values[(size_t)3 * rows->width + 3] = 0.0f;
}

static void to_floats(const uint8_t *restrict bytes, size_t n, float *restrict values)
{
    for (size_t i = 0; i < n; i++)
        values[i] = (float)(int32_t)(uint32_t)bytes[i];
}

vmoe_status vmoe_line_read(struct vmoe_line *line, uint32_t row, vmoe_error *error)
{
    const size_t values = (size_t)3 * line->rows->width;

    for (; line->read <= row; line->read++) {
        vmoe_status status = line->rows->next(line->rows, line->bytes, error);

        if (status != VMOE_OK)
            return status;
    }
    to_floats(line->bytes, values, line->values);
    memcpy(line->values + values, line->values + values - 3, 3 * sizeof *line->values);
    return VMOE_OK;
}
