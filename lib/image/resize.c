/* The row of a stream that the resizers look at. */
#include "image/resize.h"

#include "runtime/limits.h"

void vmoe_line_take(struct vmoe_arena *arena, struct vmoe_line *line)
{
    line->bytes = vmoe_arena_take(arena, 3 * VMOE_LIMIT_PICTURE_SIDE, sizeof *line->bytes);
    line->values = vmoe_arena_take(arena, 3 * VMOE_LIMIT_PICTURE_SIDE + 1, sizeof *line->values);
}

void vmoe_line_begin(struct vmoe_line *line, struct vmoe_rows *rows)
{
    line->rows = rows;
    line->read = 0;
    line->values[(size_t)3 * rows->width] = 0.0f;
}

vmoe_status vmoe_line_read(struct vmoe_line *line, uint32_t row, vmoe_error *error)
{
    const size_t values = (size_t)3 * line->rows->width;

    if (line->read > row)
        return VMOE_OK;
    for (; line->read <= row; line->read++) {
        vmoe_status status = line->rows->next(line->rows, line->bytes, error);

        if (status != VMOE_OK)
            return status;
    }
    for (size_t i = 0; i < values; i++)
        line->values[i] = (float)line->bytes[i];
    return VMOE_OK;
}
