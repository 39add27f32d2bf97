/* From a foreign checkpoint to a `.vmoe` file. */
#ifndef VMOE_CHECKPOINT_IMPORT_H
#define VMOE_CHECKPOINT_IMPORT_H

#include "checkpoint/source.h"

/* Opens a source of the kind that the end of its name tells. */
vmoe_status vmoe_import_open(const char *path, const vmoe_allocator *allocator,
                             struct vmoe_source **source, vmoe_error *error);

/* vmoe_import without the validation of the options' size. */
vmoe_status vmoe_import_file(const char *source, const char *destination,
                             const vmoe_import_options *options, const vmoe_allocator *allocator,
                             vmoe_error *error);

/* The same from a source that is already open and stays open; `where` names it in errors. */
vmoe_status vmoe_import_source(struct vmoe_source *source, const char *where,
                               const char *destination, const vmoe_import_options *options,
                               const vmoe_allocator *allocator, vmoe_error *error);

#endif
