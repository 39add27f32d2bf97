/*
 * What the parts of the shard importer share.  shard_index.c reads which arrays there are and
 * shard_slices.c how they are cut, shard_scan.c finds where in the data shards each slice lies, and
 * shards.c reads the numbers.
 */
#ifndef VMOE_CHECKPOINT_SHARDS_H
#define VMOE_CHECKPOINT_SHARDS_H

#include <stdint.h>

#include "checkpoint/list.h"
#include "checkpoint/msgpack.h"
#include "checkpoint/number.h"
#include "checkpoint/source.h"
#include "runtime/file.h"

/* ext types of the files */
enum { VMOE_SHARDS_NDARRAY = 1, VMOE_SHARDS_SLICE_ND = 6, VMOE_SHARDS_INDEX_INFO = 8 };

/* A run of a slice's elements in a file. */
struct vmoe_shards_piece {
    uint64_t offset; /* in the shard */
    uint64_t first;  /* elements of the slice before it */
};

/*
 * A slice of an array.  The sorted slices of an array form a tree: the middle one is the root, and
 * those before and behind it are trees again.
 */
struct vmoe_shards_slice {
    uint64_t reach;  /* where the last of the slices ends whose tree this one is the root of */
    uint32_t bounds; /* where its box begins in `bounds` */
    uint32_t shard;
    uint32_t first_piece, pieces; /* 0 pieces: not found yet */
};

/* What is known of an array besides its vmoe_array. */
struct vmoe_shards_leaf {
    enum vmoe_number type;
    uint32_t first_slice, slices; /* in the order of vmoe_box_compare */
    uint32_t scanned;             /* 1 + the shard that had it last, to find duplicates */
};

#define VMOE_SHARDS_NO_ARRAY UINT32_MAX

struct vmoe_shards {
    struct vmoe_source source; /* the first member, so a pointer to it is one to all */
    const vmoe_allocator *allocator;
    char *prefix;
    char *path; /* of the file in use */
    uint32_t shard_count;
    struct vmoe_array *arrays;
    struct vmoe_shards_leaf *leaves; /* beside the arrays */
    char *names;
    uint32_t *numbered; /* the array that a number means, or VMOE_SHARDS_NO_ARRAY */
    uint32_t numbers;
    struct vmoe_list slices; /* struct vmoe_shards_slice */
    struct vmoe_list bounds; /* uint32_t */
    struct vmoe_list pieces; /* struct vmoe_shards_piece */
    struct vmoe_file file;   /* the shard that was used last */
    uint32_t open_shard;
    uint32_t changes; /* of that shard */
    uint8_t *buffer;
};

/*
 * Fills everything up to `bounds` from the file at `path`; the slices of every array are known to
 * tile it.
 */
vmoe_status vmoe_shards_read_index(struct vmoe_shards *shards, vmoe_error *error);

/* The inside of an index info: what it says of an array, whose slices are added to `slices`. */
void vmoe_shards_read_leaf(struct vmoe_shards *shards, struct vmoe_msgpack *reader, uint64_t bytes,
                           struct vmoe_array *array, struct vmoe_shards_leaf *leaf);

/* Sorts the slices of every array and demands that they tile it. */
vmoe_status vmoe_shards_check_slices(struct vmoe_shards *shards, vmoe_error *error);

/* Finds the pieces of every slice; each is there exactly once. */
vmoe_status vmoe_shards_scan(struct vmoe_shards *shards, vmoe_error *error);

/* Makes `shards->file` and `shards->path` those of a shard. */
vmoe_status vmoe_shards_use(struct vmoe_shards *shards, uint32_t shard, vmoe_error *error);

/* Reads the inside of a slice_nd, which has to lie within the array, as a box. */
void vmoe_shards_read_box(struct vmoe_msgpack *reader, const struct vmoe_array *array,
                          uint32_t box[2 * VMOE_LIMIT_RANK]);

#endif
