/* The preprocessing of a picture: opens it, resizes it as the model wants, reads it to its end. */
#include "image/preprocess.h"

#include "image/resize.h"
#include "runtime/memory.h"

uint32_t vmoe_preprocess_side(const vmoe_preprocessing *preprocessing)
{
    return preprocessing->kind == VMOE_PREPROCESS_SMALL_CROP ? preprocessing->crop
                                                             : preprocessing->side;
}

uint64_t vmoe_preprocess_scratch_bytes(const vmoe_preprocessing *preprocessing)
{
    struct vmoe_arena arena = { 0 };

    (void)vmoe_arena_take(&arena, 1, VMOE_ROWS_BYTES);
    if (preprocessing->kind == VMOE_PREPROCESS_SMALL_CROP)
        vmoe_area_measure(&arena, preprocessing->crop);
    else
        vmoe_bilinear_measure(&arena, preprocessing->side);
    return arena.used;
}

vmoe_status vmoe_preprocess_picture(const vmoe_preprocessing *preprocessing,
                                    const vmoe_picture *picture, const char *where, void *scratch,
                                    float *out, vmoe_error *error)
{
    struct vmoe_arena arena = { .base = scratch,
                                .size = vmoe_preprocess_scratch_bytes(preprocessing) };
    struct vmoe_rows *rows;
    vmoe_status status = vmoe_rows_open(
        picture, where, vmoe_arena_take(&arena, 1, VMOE_ROWS_BYTES), &rows, error);

    if (status != VMOE_OK)
        return status;
    if (preprocessing->kind == VMOE_PREPROCESS_SMALL_CROP)
        status = vmoe_area_resize(rows, preprocessing->side, preprocessing->crop, &arena, out,
                                  error);
    else
        status = vmoe_bilinear_resize(rows, preprocessing->side, &arena, out, error);
    if (status != VMOE_OK) {
        rows->abandon(rows);
        return status;
    }
    return rows->finish(rows, error);
}
