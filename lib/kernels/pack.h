/* Between row-major matrices and the packed layout of kernels.h. */
#ifndef VMOE_KERNELS_PACK_H
#define VMOE_KERNELS_PACK_H

#include <stddef.h>
#include <stdint.h>

/* Rows in a block of the layout: 16 (f32), 32 (bf16) or 64 (int8). */
uint32_t vmoe_pack_block(uint32_t precision);

/* Bytes of a packed k x n matrix.  The caller has bounded k and n by the limits. */
uint64_t vmoe_pack_bytes(uint32_t precision, uint64_t k, uint64_t n);

/*
 * Packs W[i][j] = source[i * row_stride + j * column_stride] for i < k, j < n.  `scales` receives
 * the n column scales for int8 (largest magnitude / 127; 1 for a column of zeros, or of numbers so
 * small that they count as zeros) and is not touched otherwise.  bfloat16 and int8 round to nearest
 * even.
 */
void vmoe_pack(uint32_t precision, size_t k, size_t n, const float *source, size_t row_stride,
               size_t column_stride, void *packed, float *scales);

/* The sums of the n columns of a packed k x n int8 matrix, unscaled; |sum| <= 2^7 * k. */
void vmoe_pack_sums(size_t k, size_t n, const void *packed, int32_t *sums);

/* The value of W[i][j] in a packed matrix (without its int8 scale), for tests and tools. */
float vmoe_pack_value(uint32_t precision, size_t k, const void *packed, size_t i, size_t j);

/* Rounds to bfloat16, to nearest even; a NaN stays a NaN. */
uint16_t vmoe_bf16_from_f32(float value);

#endif
