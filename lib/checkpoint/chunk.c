/*
 * Weights compress because their high bytes (sign and exponent) repeat; splitting a chunk into
 * planes puts those bytes side by side where zlib can find them.
 */
#include "checkpoint/chunk.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "checkpoint/deflate.h"
#include "checkpoint/format.h"

#define MEMORY_LEVEL 8 /* zlib's default, which has no name */

struct vmoe_chunk_coder {
    const vmoe_allocator *allocator;
    z_stream deflate, inflate;
    bool deflating, inflating;
    uint8_t planes[VMOE_FORMAT_CHUNK_BYTES];
    uint8_t buffer[VMOE_FORMAT_CHUNK_BYTES];
};

vmoe_status vmoe_chunk_coder_create(const vmoe_allocator *allocator,
                                    struct vmoe_chunk_coder **coder, vmoe_error *error)
{
    struct vmoe_chunk_coder *made = vmoe_memory_take(allocator, sizeof *made);

    *coder = made;
    if (made == NULL)
        return vmoe_fail(error, VMOE_ERR_MEMORY, "checkpoint", "no memory for a chunk of 1 MiB");
    made->allocator = allocator;
    made->deflate = made->inflate = vmoe_deflate_stream(allocator);
    made->deflating = made->inflating = false;
    return VMOE_OK;
}

void vmoe_chunk_coder_destroy(struct vmoe_chunk_coder *coder)
{
    if (coder == NULL)
        return;
    if (coder->deflating)
        deflateEnd(&coder->deflate);
    if (coder->inflating)
        inflateEnd(&coder->inflate);
    vmoe_memory_release(coder->allocator, coder);
}

uint8_t *vmoe_chunk_buffer(struct vmoe_chunk_coder *coder)
{
    return coder->buffer;
}

uint64_t vmoe_chunk_hash(const void *bytes, size_t count)
{
    return XXH3_64bits(bytes, count);
}

/* Number i of a chunk has its byte p at place i of plane p. */
static inline void split_by(size_t width, size_t numbers, const uint8_t *restrict chunk,
                            uint8_t *restrict planes)
{
    for (size_t p = 0; p < width; p++)
        for (size_t i = 0; i < numbers; i++)
            planes[p * numbers + i] = chunk[i * width + p];
}

static inline void join_by(size_t width, size_t numbers, const uint8_t *restrict planes,
                           uint8_t *restrict chunk)
{
    for (size_t i = 0; i < numbers; i++)
        for (size_t p = 0; p < width; p++)
            chunk[i * width + p] = planes[p * numbers + i];
}

/* Widths are constants here, so that the compiler can use vectors. */
static void split(const uint8_t *chunk, size_t bytes, size_t width, uint8_t *planes)
{
    switch (width) {
    case 1:
        memcpy(planes, chunk, bytes);
        return;
    case 2:
        split_by(2, bytes / 2, chunk, planes);
        return;
    default:
        split_by(4, bytes / 4, chunk, planes);
        return;
    }
}

static void join(const uint8_t *planes, size_t bytes, size_t width, uint8_t *chunk)
{
    switch (width) {
    case 1:
        memcpy(chunk, planes, bytes);
        return;
    case 2:
        join_by(2, bytes / 2, planes, chunk);
        return;
    default:
        join_by(4, bytes / 4, planes, chunk);
        return;
    }
}

vmoe_status vmoe_chunk_encode(struct vmoe_chunk_coder *coder, const void *chunk, size_t bytes,
                              size_t width, const uint8_t **stored, size_t *stored_bytes,
                              vmoe_error *error)
{
    z_stream *z = &coder->deflate;
    int code;

    /*
     * Nothing but runs repeats in weights.  A search for more takes ten times as long, and what it
     * finds by accident costs more bits than the bytes do.
     */
    if (!coder->deflating && deflateInit2(z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, MAX_WBITS,
                                          MEMORY_LEVEL, Z_RLE) != Z_OK)
        return vmoe_fail(error, VMOE_ERR_MEMORY, "checkpoint", "no memory for zlib");
    if (coder->deflating)
        deflateReset(z);
    coder->deflating = true;
    split(chunk, bytes, width, coder->planes);
    z->next_in = coder->planes;
    z->avail_in = (uInt)bytes;
    z->next_out = coder->buffer;
    z->avail_out = (uInt)(bytes - 1); /* anything longer is stored raw */
    code = deflate(z, Z_FINISH);
    *stored = code == Z_STREAM_END ? coder->buffer : NULL;
    *stored_bytes = code == Z_STREAM_END ? bytes - 1 - z->avail_out : bytes;
    return VMOE_OK;
}

vmoe_status vmoe_chunk_decode(struct vmoe_chunk_coder *coder, const uint8_t *stored,
                              size_t stored_bytes, size_t width, void *chunk, size_t bytes,
                              const char *where, vmoe_error *error)
{
    z_stream *z = &coder->inflate;
    int code;

    if (!coder->inflating && inflateInit(z) != Z_OK)
        return vmoe_fail(error, VMOE_ERR_MEMORY, where, "no memory for zlib");
    if (coder->inflating)
        inflateReset(z);
    coder->inflating = true;
    z->next_in = (Bytef *)(uintptr_t)stored;
    z->avail_in = (uInt)stored_bytes;
    z->next_out = coder->planes;
    z->avail_out = (uInt)bytes;
    code = inflate(z, Z_FINISH);
    if (code == Z_MEM_ERROR)
        return vmoe_fail(error, VMOE_ERR_MEMORY, where, "no memory for zlib");
    if (code != Z_STREAM_END || z->avail_in != 0 || z->avail_out != 0)
        return vmoe_fail(error, VMOE_ERR_FORMAT, where,
                         "a chunk of %zu stored bytes is no zlib stream of %zu bytes",
                         stored_bytes, bytes);
    join(coder->planes, bytes, width, chunk);
    return VMOE_OK;
}
