/* Foreign checkpoints that were opened: what must hold of their arrays. */
#ifndef VMOE_TESTS_FUZZ_SOURCE_H
#define VMOE_TESTS_FUZZ_SOURCE_H

#include "checkpoint/source.h"
#include "fuzz/fuzz.h"

/*
 * Names are in order, shapes within the limits, and an array has the same numbers whether it is
 * read at once or in pieces, from the front or from the back.
 */
void source_check(struct vmoe_source *source);

#endif
