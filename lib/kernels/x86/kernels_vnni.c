/*
 * The AVX-512 table with VNNI: products of int8 rows with int8 panels.  An instruction adds the
 * products of four unsigned bytes of a row and four signed bytes of each column to 16 sums, so the
 * loop is that of float32 with four values at a time.
 */
#if defined(__x86_64__)

#include "kernels/x86/avx512.h"
#include "kernels/x86/fast.h"
#include "kernels/x86/float32x16.h"

#include "kernels/narrow.h"
#include "kernels/x86/dot_tile.h"

const struct vmoe_kernels vmoe_kernels_vnni = {
    .isa = VMOE_ISA_AVX512_VNNI,
    VMOE_AVX512_KERNELS,
    .product[VMOE_PRECISION_INT8][VMOE_PRECISION_INT8] = product_int8,
    .to_int8 = to_int8,
};

#endif
