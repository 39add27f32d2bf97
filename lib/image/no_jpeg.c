/* What stands for jpeg.c in a build without libjpeg (make JPEG=no). */
#ifdef VMOE_NO_JPEG

#include "image/jpeg.h"

vmoe_status vmoe_jpeg_open(const void *data, size_t bytes, const char *where, void *memory,
                           struct vmoe_rows **rows, vmoe_error *error)
{
    (void)data;
    (void)bytes;
    (void)memory;
    (void)rows;
    return vmoe_fail(error, VMOE_ERR_UNSUPPORTED, where,
                     "this build of libvmoe has no JPEG decoder; pixels and tensors work");
}

#endif
