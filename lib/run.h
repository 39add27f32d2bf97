/* The model handle, and one call of it. */
#ifndef VMOE_RUN_H
#define VMOE_RUN_H

#include "checkpoint/reader.h"
#include "encoder/encoder.h"
#include "runtime/pool.h"

struct vmoe_model {
    vmoe_allocator allocator;
    struct vmoe_checkpoint checkpoint;
    struct vmoe_pool *pool;
    uint32_t isa; /* the default of calls */
    struct vmoe_trace trace; /* for tests; shows nothing in a model that was loaded */
};

/*
 * Runs a call whose structs have the size of this library.  Everything in them is still unchecked.
 */
vmoe_status vmoe_run_call(const struct vmoe_model *model, const vmoe_input *input,
                          const vmoe_options *options, const vmoe_output *output,
                          vmoe_report *report, vmoe_error *error);

/* Workspace bytes of a call with these options, of which `dial` has been resolved. */
vmoe_status vmoe_run_workspace_bytes(const vmoe_info *info, const vmoe_options *options,
                                     const struct vmoe_dial *dial, uint64_t images,
                                     uint64_t *bytes, vmoe_error *error);

#endif
