/* Calls of the library whose every argument comes from a feed. */
#ifndef VMOE_TESTS_FUZZ_CALL_H
#define VMOE_TESTS_FUZZ_CALL_H

#include "fuzz/fuzz.h"

/* Options: some that are good, some that are not. */
vmoe_options call_options(struct feed *feed);

/*
 * Runs the model on an input out of the feed, for all outputs, if that is little work.  The results
 * of a call that succeeds agree with each other, and in one thread or along the routes that it told
 * are the same bits.
 */
vmoe_status call_run(const vmoe_model *model, struct feed *feed);

#endif
