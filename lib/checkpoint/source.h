/*
 * A foreign checkpoint as named arrays that can be read piece by piece.  Each importer opens its
 * format into this one shape; import.c does the rest.  A source is for one thread at a time, and
 * the allocator must live as long as it does.
 */
#ifndef VMOE_CHECKPOINT_SOURCE_H
#define VMOE_CHECKPOINT_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/limits.h"
#include "runtime/memory.h"
#include "runtime/status.h"

struct vmoe_array {
    const char *name; /* path with slashes, such as "Encoder/encoder_norm/bias" */
    uint32_t rank;
    uint64_t dims[VMOE_LIMIT_RANK];
    uint64_t elements; /* none if a dimension is 0 */
};

/* Adds an axis to an array, which without any has 1 element; false if a limit is in the way. */
bool vmoe_array_add_axis(struct vmoe_array *array, uint64_t size);

/* Demands that elements first .. first + count - 1 are there. */
vmoe_status vmoe_array_check_range(const struct vmoe_array *array, uint64_t first, uint64_t count,
                                   vmoe_error *error);

struct vmoe_source {
    size_t count;
    const struct vmoe_array *arrays; /* in ascending order of their names' bytes, no name twice */
    /*
     * Reads elements first .. first+count-1 (C order) of an array as float32.  Integers and
     * bfloat16 are converted; other elements are VMOE_ERR_FORMAT or VMOE_ERR_UNSUPPORTED, as is a
     * part of an array that can only be read as a whole; a range beyond the array is
     * VMOE_ERR_ARGUMENT.
     */
    vmoe_status (*read)(struct vmoe_source *source, size_t array, uint64_t first, uint64_t count,
                        float *out, vmoe_error *error);
    /* True if the path leads to one of its files. */
    bool (*has_file)(struct vmoe_source *source, const char *path);
    void (*close)(struct vmoe_source *source); /* frees the source itself */
};

/* PREFIX.index and PREFIX.data-?????-of-????? as google-research/vmoe writes them. */
vmoe_status vmoe_shards_open(const char *prefix, const vmoe_allocator *allocator,
                             struct vmoe_source **source, vmoe_error *error);

/* A `.npz` file: a zip archive of `.npy` arrays, stored or deflated. */
vmoe_status vmoe_npz_open(const char *path, const vmoe_allocator *allocator,
                          struct vmoe_source **source, vmoe_error *error);

/* A `.safetensors` file, whose names are paths with slashes or with dots. */
vmoe_status vmoe_safetensors_open(const char *path, const vmoe_allocator *allocator,
                                  struct vmoe_source **source, vmoe_error *error);

#endif
