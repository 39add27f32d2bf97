/* Zip archives for mutators: changed, and then made right again, so that changes get deep. */
#ifndef VMOE_TESTS_FUZZ_ARCHIVE_H
#define VMOE_TESTS_FUZZ_ARCHIVE_H

#include "fuzz/fuzz.h"

/*
 * Makes checksums and sizes of every member those of its data, and every local header say what the
 * directory says, as far as the archive can be followed.
 */
void archive_repair(uint8_t *data, size_t size);

/* Changes an archive somewhere, and repairs it most of the time. */
size_t archive_mutate(struct dice *dice, uint8_t *data, size_t size, size_t max_size);

#endif
