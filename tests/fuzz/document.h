/* msgpack documents for mutators: a value is changed, and the lengths around it follow. */
#ifndef VMOE_TESTS_FUZZ_DOCUMENT_H
#define VMOE_TESTS_FUZZ_DOCUMENT_H

#include "fuzz/fuzz.h"

size_t document_mutate(struct dice *dice, uint8_t *data, size_t size, size_t max_size);

#endif
