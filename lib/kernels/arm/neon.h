/*
 * What the files with more than the baseline's instructions give to the tables of kernels_neon.c.
 */
#ifndef VMOE_KERNELS_ARM_NEON_H
#define VMOE_KERNELS_ARM_NEON_H

#include "kernels/kernels.h"

/* In kernels_dot.c and kernels_i8mm.c; the names are those of the rows, which have panels alike. */
void vmoe_dot_product_int8(const struct vmoe_product *product);
void vmoe_i8mm_product_int8(const struct vmoe_product *product);
void vmoe_i8mm_product_bf16(const struct vmoe_product *product);
void vmoe_i8mm_to_bf16(size_t n, const float *x, uint16_t *y);

#endif
