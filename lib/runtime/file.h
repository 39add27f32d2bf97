/*
 * Files: positioned reads, mappings, and a writer whose target appears complete or not at all.
 * Descriptors are close-on-exec; only regular files are accepted.
 */
#ifndef VMOE_RUNTIME_FILE_H
#define VMOE_RUNTIME_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/memory.h"
#include "runtime/status.h"

struct vmoe_file {
    int descriptor; /* -1 when closed */
    uint64_t size;
};

#define VMOE_FILE_CLOSED { -1, 0 }

/* `where` of errors is the path. */
vmoe_status vmoe_file_open(const char *path, struct vmoe_file *file, vmoe_error *error);
void vmoe_file_close(struct vmoe_file *file);

/* Reads exactly `bytes` bytes at `offset`; a file that ends before is VMOE_ERR_FORMAT. */
vmoe_status vmoe_file_read(const struct vmoe_file *file, const char *path, uint64_t offset,
                           void *buffer, size_t bytes, vmoe_error *error);

/* True if both paths lead to one file. */
bool vmoe_file_same(const char *a, const char *b);

/* Maps the whole file read-only. */
vmoe_status vmoe_file_map(const struct vmoe_file *file, const char *path, const void **data,
                          vmoe_error *error);
void vmoe_file_unmap(const void *data, uint64_t size);

/* Of a target's name, so much that there is room for more on every file system. */
#define VMOE_NAME_KEPT 100u
/* ".tmp-" and two hexadecimal numbers. */
#define VMOE_SUFFIX_BYTES 48u

/*
 * A new file beside its target: write, then commit (fsync, rename, fsync of the folder) or abandon.
 * The folder is held open, so nothing but its flush can fail once the target is replaced, and the
 * process may go to another folder meanwhile.
 */
struct vmoe_file_writer {
    int folder, descriptor; /* -1 when closed */
    const char *target;     /* the caller's, until commit or abandon */
    char temporary[VMOE_NAME_KEPT + VMOE_SUFFIX_BYTES]; /* a name in the folder, or empty */
};

#define VMOE_FILE_WRITER_CLOSED { -1, -1, NULL, "" }

vmoe_status vmoe_file_writer_open(struct vmoe_file_writer *writer, const char *target,
                                  const vmoe_allocator *allocator, vmoe_error *error);
vmoe_status vmoe_file_writer_write(struct vmoe_file_writer *writer, uint64_t offset,
                                   const void *bytes, size_t count, vmoe_error *error);
vmoe_status vmoe_file_writer_commit(struct vmoe_file_writer *writer, vmoe_error *error);

/* Removes the temporary file.  Harmless after commit or on a writer that never opened. */
void vmoe_file_writer_abandon(struct vmoe_file_writer *writer);

#endif
