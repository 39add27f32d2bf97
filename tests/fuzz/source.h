/* Foreign checkpoints: what must hold of them and of their arrays. */
#ifndef VMOE_TESTS_FUZZ_SOURCE_H
#define VMOE_TESTS_FUZZ_SOURCE_H

#include "checkpoint/source.h"
#include "fuzz/fuzz.h"

/* One of the importers of checkpoint/source.h. */
typedef vmoe_status source_open(const char *path, const vmoe_allocator *allocator,
                                struct vmoe_source **source, vmoe_error *error);

/*
 * Opens a checkpoint of memory_file.h, which may take so many bytes of memory, and checks it: names
 * are in order, shapes within the limits, and an array has the same numbers whether it is read at
 * once or in pieces, from the front or from the back.
 */
void source_check(source_open *open, const char *path, size_t memory);

#endif
