/*
 * The AVX-512 table with BF16: products of bfloat16 and of int8 rows, and attention in bfloat16, by
 * instructions that add two products of bfloat16, or four of int8, to each of 16 sums.  It rounds
 * where AMX does.
 */
#if defined(__x86_64__)

#include "kernels/x86/avx512.h"
#include "kernels/x86/bf16.h"
#include "kernels/x86/dot_tile.h"
#include "kernels/x86/attend_bf16.h"

ALWAYS __m512i dot_bf16(__m512i sums, __m512i row, __m512i line)
{
    return (__m512i)_mm512_dpbf16_ps((__m512)sums, (__m512bh)row, (__m512bh)line);
}

static void gemm_bf16(size_t rows, size_t k, const void *a, size_t lda, const void *panel,
                      void *tile, size_t stride, struct ahead *ahead)
{
    const size_t groups = (k + 1) / 2;

    SWITCH_ROWS(gemm(dot_bf16, ROWS, groups, a, lda, panel, tile, stride, ahead))
}

static void product_bf16(const struct vmoe_product *p)
{
    run_product(p, gemm_bf16, TILE_ROWS, false);
}

static void multiply(size_t count, size_t k, const uint8_t *rows, size_t stride,
                     const uint8_t *panel, void *sums, size_t sums_stride)
{
    const size_t tiles = (count + TILE_ROWS - 1) / TILE_ROWS;
    struct ahead nothing = { 0 };

    for (size_t t = 0; t < tiles; t++) {
        const size_t first = count * t / tiles;

        gemm_bf16(count * (t + 1) / tiles - first, k, rows + first * stride, stride, panel,
                  (uint8_t *)sums + first * sums_stride, sums_stride, &nothing);
    }
}

const struct vmoe_kernels vmoe_kernels_bf16 = {
    .isa = VMOE_ISA_AVX512_BF16,
    VMOE_AVX512_KERNELS,
    .product[VMOE_PRECISION_BF16][VMOE_PRECISION_BF16] = product_bf16,
    .product[VMOE_PRECISION_BF16][VMOE_PRECISION_INT8] = product_widened,
    .product[VMOE_PRECISION_INT8][VMOE_PRECISION_INT8] = product_int8,
    .attend[VMOE_PRECISION_BF16] = attend_bf16,
    .to_bf16 = to_bf16,
    .to_int8 = to_int8,
    .bf16_to_int8 = bf16_to_int8,
};

#endif
