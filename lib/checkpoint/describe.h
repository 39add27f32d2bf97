/* What an imported model will be: its geometry, its dial, and what comes before and behind it. */
#ifndef VMOE_CHECKPOINT_DESCRIBE_H
#define VMOE_CHECKPOINT_DESCRIBE_H

#include "checkpoint/names.h"

struct vmoe_description {
    struct vmoe_dialect dialect;
    vmoe_info info;
    uint32_t stored_image_size; /* of the position embeddings in the source */
};

vmoe_status vmoe_describe(const struct vmoe_source *source, const char *where,
                          const vmoe_import_options *options, struct vmoe_description *description,
                          vmoe_error *error);

#endif
