/*
 * Pictures as a stream of RGB rows from top to bottom, so that resizing needs a few rows of memory
 * and never a whole decoded picture.
 */
#ifndef VMOE_IMAGE_PICTURE_H
#define VMOE_IMAGE_PICTURE_H

#include <stddef.h>
#include <stdint.h>
#include <vmoe.h>

#include "runtime/status.h"

struct vmoe_rows {
    uint32_t width, height;
    /* Writes the next row, 3 * width bytes.  Called at most `height` times. */
    vmoe_status (*next)(struct vmoe_rows *rows, uint8_t *row, vmoe_error *error);
    /* Ends the stream: reads what is left of a JPEG, so that damage at its end is found.  Frees. */
    vmoe_status (*finish)(struct vmoe_rows *rows, vmoe_error *error);
    /* Frees without reading on; for use after an error. */
    void (*abandon)(struct vmoe_rows *rows);
};

/*
 * Opens a picture of either kind.  `memory` holds the stream's state; VMOE_ROWS_BYTES are enough
 * and it must be aligned to 64.  `*rows` is inside it.  Checks the picture against every limit
 * before anything of its size is allocated.  `where` names the picture in errors; it must live as
 * long as the stream.
 */
#define VMOE_ROWS_BYTES 4096u
vmoe_status vmoe_rows_open(const vmoe_picture *picture, const char *where, void *memory,
                           struct vmoe_rows **rows, vmoe_error *error);

/* Checks that a picture has pixels, and its sides and their product against the limits. */
vmoe_status vmoe_picture_check_size(uint32_t width, uint32_t height, const char *where,
                                    vmoe_error *error);

#endif
