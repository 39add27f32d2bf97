/*
 * The reader of `.vmoe` files.  It trusts nothing: the header is checked against its hash and then,
 * field by field, against what its own config block implies; every byte of the data is covered by a
 * chunk's hash or checked to be zero.
 */
#ifndef VMOE_CHECKPOINT_READER_H
#define VMOE_CHECKPOINT_READER_H

#include "model/weights.h"
#include "runtime/memory.h"

/* A checkpoint in memory.  All zeros is an empty one. */
struct vmoe_checkpoint {
    vmoe_info info;
    struct vmoe_weights weights;
    const char *provenance;
    const char **labels; /* info.classes of them, or NULL */
    /* What the pointers above point into. */
    uint8_t *strings;
    void *data;          /* owned block, or NULL */
    const void *mapping; /* owned mapping, or NULL */
    uint64_t mapping_bytes;
};

struct vmoe_read_options {
    uint32_t flags;     /* VMOE_LOAD_... */
    uint64_t max_bytes; /* of weights; 0: the default limit */
    bool verify_only;   /* check everything, keep nothing */
    const int32_t *cancel; /* ends the reading when it is not 0, or NULL */
};

/*
 * From a file, or from memory if `data` is not NULL; `where` is the path or another name for
 * errors.
 */
vmoe_status vmoe_checkpoint_read(const char *where, const void *data, size_t bytes,
                                 const struct vmoe_read_options *options,
                                 const vmoe_allocator *allocator,
                                 struct vmoe_checkpoint *checkpoint, vmoe_error *error);

/* Frees what a checkpoint holds, complete or not. */
void vmoe_checkpoint_release(struct vmoe_checkpoint *checkpoint, const vmoe_allocator *allocator);

#endif
