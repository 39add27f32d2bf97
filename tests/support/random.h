/* Random numbers that are the same in every run. */
#ifndef VMOE_TESTS_RANDOM_H
#define VMOE_TESTS_RANDOM_H

#include <stdint.h>

/* Begins a sequence; each test begins its own, so that tests do not depend on each other. */
void random_seed(uint64_t seed);

uint32_t random_u32(void);

#endif
