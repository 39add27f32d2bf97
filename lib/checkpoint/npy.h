/* The header of a .npy array: type, order and shape as the text of a Python dictionary. */
#ifndef VMOE_CHECKPOINT_NPY_H
#define VMOE_CHECKPOINT_NPY_H

#include <stdint.h>

#include "checkpoint/number.h"
#include "checkpoint/source.h"

/* So many bytes tell how long the header is; no array is shorter. */
#define VMOE_NPY_START_BYTES 12u

/* Where the elements begin: the length of the whole header, at most VMOE_LIMIT_NPY_HEADER_BYTES. */
vmoe_status vmoe_npy_header_bytes(const uint8_t start[VMOE_NPY_START_BYTES], const char *name,
                                  uint32_t *bytes, vmoe_error *error);

/*
 * Reads a whole header: fills rank, dims and elements of `array`, whose name is set, and the type,
 * which is a number.
 */
vmoe_status vmoe_npy_parse(const uint8_t *header, uint32_t bytes, struct vmoe_array *array,
                           enum vmoe_number *type, vmoe_error *error);

#endif
