/*
 * How upstream names its parameters, and where each of our tensors finds its numbers among them.
 * Nothing else knows such names but geometry.c, which looks at what is there.
 */
#ifndef VMOE_CHECKPOINT_NAMES_H
#define VMOE_CHECKPOINT_NAMES_H

#include <stdbool.h>

#include "checkpoint/source.h"
#include "model/tensors.h"

/* How a checkpoint spells its names: google-research/vmoe's way, or vision_transformer's. */
struct vmoe_dialect {
    const char *root;      /* "", "params/" or "target/" */
    const char *encoder;   /* "Encoder" or "Transformer" */
    const char *attention; /* below a block, as are the next two */
    const char *norm_1;
    const char *mlp;
    bool members_apart; /* routers are (width, members, experts / members), not (width, experts) */
};

/* Finds the dialect from the arrays that are there. */
vmoe_status vmoe_dialect_detect(const struct vmoe_source *source, const char *where,
                                struct vmoe_dialect *dialect, vmoe_error *error);

/* The array whose name is root/format, or NULL. */
const struct vmoe_array *vmoe_dialect_find(const struct vmoe_source *source,
                                           const struct vmoe_dialect *dialect, const char *format,
                                           ...) VMOE_PRINTF(3, 4);

/* The position embeddings, which are there once vmoe_geometry_derive has succeeded. */
const struct vmoe_array *vmoe_dialect_position(const struct vmoe_source *source,
                                               const struct vmoe_dialect *dialect);

/*
 * A part of a tensor: `columns` columns of all its rows, found in `array` from element `first` on,
 * row-major.  A tensor has one part, or up to three that stand side by side.
 */
struct vmoe_piece {
    size_t array;
    uint64_t first;
    uint32_t columns;
};

#define VMOE_PIECES_MAX 3u

/* The pieces of a tensor, whose shapes in the source have been checked. */
vmoe_status vmoe_dialect_pieces(const struct vmoe_source *source,
                                const struct vmoe_dialect *dialect, const vmoe_info *info,
                                const struct vmoe_tensor *tensor,
                                struct vmoe_piece pieces[VMOE_PIECES_MAX], uint32_t *count,
                                vmoe_error *error);

#endif
