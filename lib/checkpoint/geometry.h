/* What the shapes of a foreign checkpoint say about the model. */
#ifndef VMOE_CHECKPOINT_GEOMETRY_H
#define VMOE_CHECKPOINT_GEOMETRY_H

#include "checkpoint/names.h"

/*
 * Fills the geometry of `info` (not its dial, activations or preprocessing) from the arrays that
 * are there; image_size is that of the stored position embeddings, and members is 0 if the shapes
 * leave it open.  vmoe_dialect_pieces later demands every shape in full, so only what is needed to
 * tell the geometry is looked at here.
 */
vmoe_status vmoe_geometry_derive(const struct vmoe_source *source,
                                 const struct vmoe_dialect *dialect, vmoe_info *info,
                                 vmoe_error *error);

#endif
