/*
 * The table of contents of a zip archive.  Only archives that one writer has written from front to
 * back are accepted: members that are stored or deflated, one behind the other without holes, then
 * the central directory, then the end record, and nothing else.
 */
#ifndef VMOE_CHECKPOINT_ZIP_H
#define VMOE_CHECKPOINT_ZIP_H

#include <stdint.h>

#include "checkpoint/list.h"
#include "runtime/file.h"

enum { VMOE_ZIP_STORED = 0, VMOE_ZIP_DEFLATED = 8 };

struct vmoe_zip_entry {
    uint64_t name;   /* where it begins in `names` */
    uint64_t header; /* offset of the local header */
    uint64_t data;   /* offset of the compressed bytes */
    uint64_t stored; /* bytes, compressed */
    uint64_t size;   /* bytes, uncompressed */
    uint32_t crc;
    uint16_t method; /* VMOE_ZIP_STORED or VMOE_ZIP_DEFLATED */
    uint16_t flags;
};

struct vmoe_zip {
    struct vmoe_list entries; /* struct vmoe_zip_entry, as in the directory */
    struct vmoe_list names;   /* char, zero-terminated */
};

/* Reads and checks the directory and every local header.  vmoe_zip_free even after an error. */
vmoe_status vmoe_zip_read(struct vmoe_zip *zip, const struct vmoe_file *file, const char *path,
                          const vmoe_allocator *allocator, vmoe_error *error);
void vmoe_zip_free(struct vmoe_zip *zip);

static inline struct vmoe_zip_entry *vmoe_zip_entry(const struct vmoe_zip *zip, uint64_t i)
{
    return (struct vmoe_zip_entry *)zip->entries.items + i;
}

static inline const char *vmoe_zip_name(const struct vmoe_zip *zip, uint64_t i)
{
    return (const char *)zip->names.items + vmoe_zip_entry(zip, i)->name;
}

#endif
