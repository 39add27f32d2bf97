/* Stored members are read where they lie; deflated ones go through zlib in pieces. */
#include "checkpoint/unzip.h"

#include <limits.h>

#include "checkpoint/deflate.h"
#include "runtime/sizes.h"

void vmoe_unzip_init(struct vmoe_unzip *unzip, const struct vmoe_file *file, const char *path,
                     uint8_t *scratch, const vmoe_allocator *allocator)
{
    unzip->allocator = allocator;
    unzip->file = file;
    unzip->path = path;
    unzip->scratch = scratch;
    unzip->entry = NULL;
}

void vmoe_unzip_close(struct vmoe_unzip *unzip)
{
    if (unzip->entry != NULL && unzip->entry->method == VMOE_ZIP_DEFLATED)
        (void)inflateEnd(&unzip->inflater);
    unzip->entry = NULL;
}

vmoe_status vmoe_unzip_open(struct vmoe_unzip *unzip, const struct vmoe_zip_entry *entry,
                            const char *name, vmoe_error *error)
{
    vmoe_unzip_close(unzip);
    unzip->name = name;
    unzip->position = 0;
    unzip->fetched = 0;
    unzip->crc = 0;
    unzip->sequential = true;
    if (entry->method == VMOE_ZIP_DEFLATED) {
        unzip->inflater = vmoe_deflate_stream(unzip->allocator);
        if (inflateInit2(&unzip->inflater, -MAX_WBITS) != Z_OK)
            return vmoe_fail(error, VMOE_ERR_MEMORY, name, "no memory to inflate it");
    }
    unzip->entry = entry;
    return VMOE_OK;
}

/* ---- Deflated members ----------------------------------------------------------------------- */

/* Hands the next compressed bytes to zlib if it has none.  At the end of the data it gets none. */
static vmoe_status refill(struct vmoe_unzip *unzip, vmoe_error *error)
{
    size_t bytes = vmoe_smaller(unzip->entry->stored - unzip->fetched, VMOE_UNZIP_INPUT_BYTES);
    vmoe_status status;

    if (unzip->inflater.avail_in > 0 || bytes == 0)
        return VMOE_OK;
    status = vmoe_file_read(unzip->file, unzip->path, unzip->entry->data + unzip->fetched,
                            unzip->input, bytes, error);
    unzip->fetched += bytes;
    unzip->inflater.next_in = unzip->input;
    unzip->inflater.avail_in = (uInt)bytes;
    return status;
}

/* Inflates until `to` is full or, with `last`, until the end of the stream. */
static vmoe_status inflate_into(struct vmoe_unzip *unzip, uint8_t *to, uInt bytes, bool last,
                                vmoe_error *error)
{
    z_stream *inflater = &unzip->inflater;
    int result = Z_OK;

    inflater->next_out = to;
    inflater->avail_out = bytes;
    while (result == Z_OK && (last || inflater->avail_out > 0)) {
        vmoe_status status = refill(unzip, error);

        if (status != VMOE_OK)
            return status;
        result = inflate(inflater, Z_NO_FLUSH);
        if (last && inflater->avail_out < bytes)
            result = Z_DATA_ERROR;
    }
    if (result == Z_MEM_ERROR)
        return vmoe_fail(error, VMOE_ERR_MEMORY, unzip->name, "no memory to inflate it");
    if (last ? result != Z_STREAM_END : inflater->avail_out > 0)
        return vmoe_fail(error, VMOE_ERR_FORMAT, unzip->name,
                         "its deflated data are damaged or have another size than %llu bytes",
                         (unsigned long long)unzip->entry->size);
    return VMOE_OK;
}

static vmoe_status inflate_all(struct vmoe_unzip *unzip, uint8_t *to, size_t bytes,
                               vmoe_error *error)
{
    vmoe_status status = VMOE_OK;

    while (bytes > 0 && status == VMOE_OK) {
        uInt part = (uInt)vmoe_smaller(bytes, INT_MAX);

        status = inflate_into(unzip, to, part, false, error);
        to += part;
        bytes -= part;
    }
    return status;
}

/* ---- Both ----------------------------------------------------------------------------------- */

/* What is known at the last byte of a member. */
static vmoe_status finish(struct vmoe_unzip *unzip, vmoe_error *error)
{
    const struct vmoe_zip_entry *entry = unzip->entry;
    uint8_t more;

    if (entry->method == VMOE_ZIP_DEFLATED) {
        vmoe_status status = inflate_into(unzip, &more, 1, true, error);

        if (status != VMOE_OK)
            return status;
        if (unzip->fetched != entry->stored || unzip->inflater.avail_in > 0)
            return vmoe_fail(error, VMOE_ERR_FORMAT, unzip->name,
                             "its deflated data end before their %llu bytes do",
                             (unsigned long long)entry->stored);
    }
    if (unzip->sequential && unzip->crc != entry->crc)
        return vmoe_fail(error, VMOE_ERR_FORMAT, unzip->name,
                         "its CRC-32 is %08lx, the archive says %08lx", (unsigned long)unzip->crc,
                         (unsigned long)entry->crc);
    return VMOE_OK;
}

vmoe_status vmoe_unzip_read(struct vmoe_unzip *unzip, void *to, size_t bytes, vmoe_error *error)
{
    const struct vmoe_zip_entry *entry = unzip->entry;
    vmoe_status status;

    if (bytes == 0)
        return VMOE_OK;
    if (bytes > entry->size - unzip->position)
        status = vmoe_fail(error, VMOE_ERR_FORMAT, unzip->name, "it has only %llu bytes",
                           (unsigned long long)entry->size);
    else if (entry->method == VMOE_ZIP_STORED)
        status = vmoe_file_read(unzip->file, unzip->path, entry->data + unzip->position, to, bytes,
                                error);
    else
        status = inflate_all(unzip, to, bytes, error);
    if (status == VMOE_OK) {
        unzip->crc = (uint32_t)crc32_z(unzip->crc, to, bytes);
        unzip->position += bytes;
        if (unzip->position == entry->size)
            status = finish(unzip, error);
    }
    if (status != VMOE_OK)
        vmoe_unzip_close(unzip);
    return status;
}

vmoe_status vmoe_unzip_seek(struct vmoe_unzip *unzip, uint64_t position, vmoe_error *error)
{
    vmoe_status status = VMOE_OK;

    if (position < unzip->position)
        status = vmoe_unzip_open(unzip, unzip->entry, unzip->name, error);
    if (status != VMOE_OK)
        return status;
    /* A short way is walked, because then the checksum can be verified at the end. */
    if (unzip->entry->method == VMOE_ZIP_STORED &&
        position - unzip->position > VMOE_UNZIP_SCRATCH_BYTES) {
        unzip->position = position;
        unzip->sequential = false;
    }
    while (unzip->position < position && status == VMOE_OK) {
        size_t part = vmoe_smaller(position - unzip->position, VMOE_UNZIP_SCRATCH_BYTES);

        status = vmoe_unzip_read(unzip, unzip->scratch, part, error);
    }
    return status;
}
