/*
 * One member of a zip archive as a stream of its uncompressed bytes.  What is read from front to
 * back is verified at the end: size, end of the compressed data, CRC-32.
 */
#ifndef VMOE_CHECKPOINT_UNZIP_H
#define VMOE_CHECKPOINT_UNZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zlib.h>

#include "checkpoint/zip.h"
#include "runtime/file.h"

#define VMOE_UNZIP_INPUT_BYTES ((size_t)16 << 10)
#define VMOE_UNZIP_SCRATCH_BYTES ((size_t)64 << 10)

struct vmoe_unzip {
    const vmoe_allocator *allocator;
    const struct vmoe_file *file;
    const char *path;
    const struct vmoe_zip_entry *entry; /* NULL: closed */
    const char *name;
    uint64_t position; /* uncompressed bytes so far */
    uint64_t fetched;  /* compressed bytes so far */
    uint32_t crc;
    bool sequential; /* nothing was left out */
    z_stream inflater;
    uint8_t input[VMOE_UNZIP_INPUT_BYTES]; /* compressed bytes */
    uint8_t *scratch;                      /* bytes to be forgotten */
};

/* `scratch` has VMOE_UNZIP_SCRATCH_BYTES, is used by vmoe_unzip_seek only, and may be shared. */
void vmoe_unzip_init(struct vmoe_unzip *unzip, const struct vmoe_file *file, const char *path,
                     uint8_t *scratch, const vmoe_allocator *allocator);

/* Begins a member, which must stay where it is, from its first byte. */
vmoe_status vmoe_unzip_open(struct vmoe_unzip *unzip, const struct vmoe_zip_entry *entry,
                            const char *name, vmoe_error *error);
void vmoe_unzip_close(struct vmoe_unzip *unzip);

/* Reads exactly `bytes` bytes.  Any error closes the stream. */
vmoe_status vmoe_unzip_read(struct vmoe_unzip *unzip, void *to, size_t bytes, vmoe_error *error);

/*
 * Goes to a byte of the open member: onwards by reading, or with a jump if the member is stored;
 * backwards by beginning again.
 */
vmoe_status vmoe_unzip_seek(struct vmoe_unzip *unzip, uint64_t position, vmoe_error *error);

#endif
