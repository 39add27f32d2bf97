/* `.vmoe` files as fuzz targets see them: what must hold of any bytes, and how to lie well. */
#ifndef VMOE_TESTS_FUZZ_OWN_H
#define VMOE_TESTS_FUZZ_OWN_H

#include "fuzz/fuzz.h"

/*
 * Reads the bytes in every way.  The ways must agree; nothing may leak; memory is taken in
 * proportion to the file; and a raw file that is accepted is what our writer writes.
 */
void own_check(const uint8_t *data, size_t size);

/*
 * Makes the checksums right, as far as the file can be followed: of every chunk that the table
 * lists, then of the header.
 */
void own_sign(uint8_t *data, size_t size);

/* Changes a file somewhere, and signs it, most of the time. */
size_t own_mutate(struct dice *dice, uint8_t *data, size_t size, size_t max_size);

/*
 * A file of the geometry and dial that `info` tells, with formula weights; in a static buffer until
 * the next call.  NULL if there is no such model, or no memory.
 */
const uint8_t *own_make(const vmoe_info *info, const vmoe_allocator *allocator, size_t *size);

/* The smallest models: one number wide, of one layer. */
vmoe_info own_least_info(void);

#endif
