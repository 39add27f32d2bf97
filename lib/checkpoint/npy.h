/* The header of a .npy array: type, order and shape as the text of a Python dictionary. */
#ifndef VMOE_CHECKPOINT_NPY_H
#define VMOE_CHECKPOINT_NPY_H

#include <stdbool.h>
#include <stdint.h>

#include "checkpoint/number.h"
#include "checkpoint/source.h"

/* So many bytes tell how long the header is; no array is shorter. */
#define VMOE_NPY_START_BYTES 12u

/* What the header of an array says besides its shape. */
struct vmoe_npy {
    enum vmoe_number type; /* VMOE_NUMBER_NONE: one that is not supported */
    bool fortran;          /* the first index runs fastest, and that is another order than C's */
    char descr[32];        /* the name of the type, "[...]" if it is a record */
};

/* Where the elements begin: the length of the whole header, at most VMOE_LIMIT_NPY_HEADER_BYTES. */
vmoe_status vmoe_npy_header_bytes(const uint8_t start[VMOE_NPY_START_BYTES], const char *name,
                                  uint32_t *bytes, vmoe_error *error);

/* Reads a whole header: fills `npy`, and rank, dims and elements of `array`, whose name is set. */
vmoe_status vmoe_npy_parse(const uint8_t *header, uint32_t bytes, struct vmoe_array *array,
                           struct vmoe_npy *npy, vmoe_error *error);

#endif
