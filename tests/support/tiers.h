/* The instruction sets that this machine can run, AMX included if it is only emulated. */
#ifndef VMOE_TESTS_TIERS_H
#define VMOE_TESTS_TIERS_H

#include <stdint.h>

/* Values of vmoe_isa, REF first; behind the last stands VMOE_ISA_DEFAULT, which is 0. */
const uint32_t *tiers(void);

/*
 * Those that multiply rows and panels of these types, vmoe_precision, each with another kernel than
 * those before it.
 */
const uint32_t *tiers_with(uint32_t rows, uint32_t panels);

#endif
