/*
 * The kernels: one table for each instruction set, the contracts that every table keeps, and the
 * packed layout of weights that all of them read (and that a `.vmoe` file stores).
 *
 * PACKED LAYOUT.  A matrix W of K rows (inputs) and N columns (outputs) is cut into panels of 32
 * columns.  A panel is cut along K into blocks of 16 groups; a group is as many consecutive rows as
 * fit into 4 bytes: 1 for float32, 2 for bfloat16, 4 for int8.  A block holds two tiles, one for
 * columns 0..15 and one for columns 16..31; a tile is 16 lines of 64 bytes, line g holding group g
 * of its 16 columns, the rows of a group side by side:
 *
 *     panel 0                                            panel 1 ...
 *     block 0                              block 1 ...
 *     tile 0              tile 1
 *     line 0: c0 c1 ... c15                              ci = W[group 0][column i], 4 bytes
 *     line 1: c0 c1 ... c15
 *     ...
 *     line 15
 *
 * K is padded to whole blocks (16, 32 or 64 rows) and N to whole panels; the padding is zero.  A
 * line is one 512-bit register, two 256-bit ones or four of NEON, and a tile is an AMX tile, so one
 * layout serves every instruction set and a panel is one sequential stream.  For int8 a column has
 * a float32 scale, stored apart: W[k][n] = scale[n] * int8[k][n].
 *
 * CONTRACTS.  Kernels neither allocate nor start threads nor touch globals.  Within one table a
 * result depends only on the values that go into it, never on its position: an element of a matrix
 * product is the sum over k = 0, 1, ... K-1 in that order in one accumulator, whatever the number
 * of rows in the call; a reduction over a row uses 16 lanes, element i in lane i % 16, that are
 * added pairwise at the end (8 apart, 4 apart, 2 apart, 1 apart).
 */
#ifndef VMOE_KERNELS_KERNELS_H
#define VMOE_KERNELS_KERNELS_H

#include <stddef.h>
#include <stdint.h>
#include <vmoe.h>

#define VMOE_PANEL 32u       /* columns of a panel */
#define VMOE_TILE_ROWS_MAX 16u /* most rows that any table's gemm takes at once */

/*
 * tile[r * 32 + c] = sum over k of a[r * lda + k] * panel[k][c], for r < rows and c < 32.  There
 * are 1..tile_rows rows.  Of the K values of a row of `a`, exactly `k` are read.  For int8 the
 * column scales are not applied.
 */
typedef void (*vmoe_gemm_kernel)(size_t rows, size_t k, const float *a, size_t lda,
                                 const void *panel, float *tile);

struct vmoe_kernels {
    uint32_t isa;
    uint32_t tile_rows;       /* rows that gemm takes at once */
    vmoe_gemm_kernel gemm[4]; /* by vmoe_precision of the panel: F32, BF16, INT8 */

    /*
     * y[i] = (x[i] - mean) / sqrt(variance + epsilon) * scale[i] + bias[i] with the biased
     * variance; y may be x.
     */
    void (*layer_norm)(size_t n, const float *x, float epsilon, const float *scale,
                       const float *bias, float *y);
    /*
     * x[i] = exp(factor * (x[i] - max)) for i < n; returns their sum.  -inf and NaN give 0 and NaN.
     */
    float (*softmax)(size_t n, float factor, float *x);
    /* x[i] = activation(x[i]) in place. */
    void (*gelu_tanh)(size_t n, float *x);
    void (*gelu_erf)(size_t n, float *x);
    void (*tanh)(size_t n, float *x);
    void (*sigmoid)(size_t n, float *x);
};

/* The table of an ISA that is compiled in, or NULL.  The caller has checked vmoe_cpu_has. */
const struct vmoe_kernels *vmoe_kernels_for(uint32_t isa);

/* One declaration for each table. */
extern const struct vmoe_kernels vmoe_kernels_ref;
#if defined(__x86_64__)
extern const struct vmoe_kernels vmoe_kernels_avx2;
extern const struct vmoe_kernels vmoe_kernels_avx512;
#endif

#endif
