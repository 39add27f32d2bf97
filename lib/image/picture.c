/* Opening a picture of either kind, and pixels of the caller as a stream of rows. */
#include "image/picture.h"

#include <string.h>

#include "image/jpeg.h"
#include "runtime/checked.h"
#include "runtime/limits.h"

struct pixel_rows {
    struct vmoe_rows rows; /* first, so that the two pointers are one */
    const uint8_t *pixels;
    size_t stride;
    uint32_t done;
};

_Static_assert(sizeof(struct pixel_rows) <= VMOE_ROWS_BYTES, "VMOE_ROWS_BYTES is too small");

static vmoe_status pixels_next(struct vmoe_rows *rows, uint8_t *row, vmoe_error *error)
{
    struct pixel_rows *pixels = (struct pixel_rows *)rows;

    (void)error;
    memcpy(row, pixels->pixels + pixels->done * pixels->stride, (size_t)rows->width * 3);
    pixels->done++;
    return VMOE_OK;
}

static vmoe_status pixels_finish(struct vmoe_rows *rows, vmoe_error *error)
{
    (void)rows;
    (void)error;
    return VMOE_OK;
}

static void pixels_abandon(struct vmoe_rows *rows)
{
    (void)rows;
}

static vmoe_status check_layout(const vmoe_picture *picture, uint64_t stride, const char *where,
                                vmoe_error *error)
{
    const uint64_t row = UINT64_C(3) * picture->width;
    uint64_t needed;

    if (stride < row)
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, where,
                         "the stride is %llu bytes, less than the %llu of a row",
                         (unsigned long long)stride, (unsigned long long)row);
    if (!vmoe_mul_u64(stride, picture->height - 1, &needed) ||
        !vmoe_add_u64(needed, row, &needed) || picture->bytes < needed)
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, where,
                         "the picture has %zu bytes, too few for %u rows with a stride of %llu",
                         picture->bytes, picture->height, (unsigned long long)stride);
    return VMOE_OK;
}

static vmoe_status open_pixels(const vmoe_picture *picture, const char *where, void *memory,
                               struct vmoe_rows **rows, vmoe_error *error)
{
    struct pixel_rows *pixels = memory;
    const uint64_t stride = picture->stride != 0 ? picture->stride : UINT64_C(3) * picture->width;
    vmoe_status status =
        vmoe_picture_check_size(picture->width, picture->height, where, error);

    if (status == VMOE_OK)
        status = check_layout(picture, stride, where, error);
    if (status != VMOE_OK)
        return status;
    pixels->rows.width = picture->width;
    pixels->rows.height = picture->height;
    pixels->rows.next = pixels_next;
    pixels->rows.finish = pixels_finish;
    pixels->rows.abandon = pixels_abandon;
    pixels->pixels = picture->data;
    pixels->stride = (size_t)stride;
    pixels->done = 0;
    *rows = &pixels->rows;
    return VMOE_OK;
}

vmoe_status vmoe_picture_check_size(uint32_t width, uint32_t height, const char *where,
                                    vmoe_error *error)
{
    if (width == 0 || height == 0)
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, where,
                         "the picture has %u x %u pixels, expected at least one", width, height);
    if (width > VMOE_LIMIT_PICTURE_SIDE || height > VMOE_LIMIT_PICTURE_SIDE)
        return vmoe_fail(error, VMOE_ERR_LIMIT, where,
                         "the picture has %u x %u pixels, more than the limit of %u a side", width,
                         height, VMOE_LIMIT_PICTURE_SIDE);
    if ((uint64_t)width * height > VMOE_LIMIT_PICTURE_PIXELS)
        return vmoe_fail(error, VMOE_ERR_LIMIT, where,
                         "the picture has %u x %u pixels, more than the limit of %llu in all",
                         width, height, (unsigned long long)VMOE_LIMIT_PICTURE_PIXELS);
    return VMOE_OK;
}

vmoe_status vmoe_rows_open(const vmoe_picture *picture, const char *where, void *memory,
                           struct vmoe_rows **rows, vmoe_error *error)
{
    if (picture->data == NULL)
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, where, "the picture's data is NULL");
    switch (picture->kind) {
    case VMOE_PICTURE_JPEG:
        return vmoe_jpeg_open(picture->data, picture->bytes, where, memory, rows, error);
    case VMOE_PICTURE_RGB8:
        return open_pixels(picture, where, memory, rows, error);
    default:
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, where,
                         "the picture's kind is %u, expected %d (JPEG) or %d (RGB8)",
                         picture->kind, VMOE_PICTURE_JPEG, VMOE_PICTURE_RGB8);
    }
}
