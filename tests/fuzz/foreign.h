/* Small checkpoints in foreign formats, written from a source: seeds for the importers. */
#ifndef VMOE_TESTS_FUZZ_FOREIGN_H
#define VMOE_TESTS_FUZZ_FOREIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "checkpoint/source.h"

struct foreign {
    uint8_t *data; /* free() it */
    size_t size, capacity;
};

/* A .npz archive of float32 arrays. */
struct foreign foreign_npz(struct vmoe_source *source, bool deflated);

/*
 * Upstream's files as one: index, shard 0, shard 1, each behind its length in 4 bytes.  Arrays of
 * more than one row are cut in two, the second half being in shard 1.
 */
struct foreign foreign_shards(struct vmoe_source *source);

/* Part `i` of such a file, or of anything: what is left when lengths lie. */
const uint8_t *foreign_part(const uint8_t *data, size_t size, uint32_t i, size_t *bytes);

#endif
