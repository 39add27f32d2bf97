/*
 * The writer of `.vmoe` files.  Tensors are given in the order of vmoe_tensor_list, one at a time,
 * so it needs no memory for the model; the file appears under its name when it is complete.
 */
#ifndef VMOE_CHECKPOINT_WRITER_H
#define VMOE_CHECKPOINT_WRITER_H

#include "checkpoint/format.h"
#include "runtime/memory.h"

struct vmoe_writer;

/*
 * `info` is complete, with precision and compact as wanted; `labels` has info->classes texts, or is
 * NULL. The path must stay until the writer is closed.
 */
vmoe_status vmoe_writer_open(const char *path, const vmoe_info *info, const char *const *labels,
                             const char *provenance, const vmoe_allocator *allocator,
                             struct vmoe_writer **writer, vmoe_error *error);

/* The tensors to write. */
uint32_t vmoe_writer_count(const struct vmoe_writer *writer);
const struct vmoe_tensor *vmoe_writer_tensor(const struct vmoe_writer *writer, uint32_t index);

/* Writes the next tensor: tensor->bytes bytes in the layout of the kernels. */
vmoe_status vmoe_writer_put(struct vmoe_writer *writer, const void *data, vmoe_error *error);

/* Completes the header and the file.  The writer still has to be closed. */
vmoe_status vmoe_writer_commit(struct vmoe_writer *writer, vmoe_error *error);

/* Frees the writer; without a commit nothing remains on the disk.  NULL is fine. */
void vmoe_writer_close(struct vmoe_writer *writer);

#endif
