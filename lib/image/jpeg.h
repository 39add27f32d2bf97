/* JPEG files as rows, decoded as TensorFlow does it: fast integer DCT, fancy upsampling. */
#ifndef VMOE_IMAGE_JPEG_H
#define VMOE_IMAGE_JPEG_H

#include "image/picture.h"

/* As vmoe_rows_open, for VMOE_PICTURE_JPEG. */
vmoe_status vmoe_jpeg_open(const void *data, size_t bytes, const char *where, void *memory,
                           struct vmoe_rows **rows, vmoe_error *error);

#endif
