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
 * ROWS.  What a product multiplies with weights are rows of float32, bfloat16 or int8 numbers.  An
 * int8 row is unsigned and has a scale and a zero of its own: x = scale * (q - zero).  The buffers
 * of bfloat16 and int8 rows are padded: a row is finite up to a multiple of VMOE_ROW_BYTES, and
 * there are readable rows up to a multiple of VMOE_ROW_COUNT, so that a kernel may load whole
 * tiles.  Of float32 rows exactly k values are read.
 *
 * CONTRACTS.  Kernels neither allocate nor start threads nor touch globals.  Within one table a
 * result depends only on the values that go into it, never on its position: an element of a matrix
 * product is a sum over k in one fixed order, whatever the number of rows and panels in the call
 * (for float32 rows k = 0, 1, ... K-1 in one accumulator; int8 sums are exact up to
 * VMOE_INT8_INPUTS rows); a reduction over a row uses 16 lanes, element i in lane i % 16, that are
 * added pairwise at the end (8 apart, 4 apart, 2 apart, 1 apart).  Means of layer_norm have four
 * such sums, to which 16 elements go in turn, while 64 are left, and then the first alone.
 */
#ifndef VMOE_KERNELS_KERNELS_H
#define VMOE_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vmoe.h>

#define VMOE_PANEL 32u     /* columns of a panel */
#define VMOE_ROW_BYTES 64u /* narrow rows are padded to a multiple of this ... */
#define VMOE_ROW_COUNT 16u /* ... and their number to a multiple of this */
#define VMOE_INT8_INPUTS 66311u /* 255 * 127 times this is below 2^31 */

/* How an int8 row stands for real numbers. */
struct vmoe_quant {
    float scale;
    int32_t zero;
};

enum vmoe_finish {
    VMOE_IDENTITY = 0,
    VMOE_GELU_TANH_OF,
    VMOE_GELU_ERF_OF,
    VMOE_TANH_OF
};

enum vmoe_store {
    VMOE_STORE_F32 = 0, /* out = y */
    VMOE_ADD_F32,       /* out += y */
    VMOE_STORE_BF16     /* out = y, rounded, and zeros up to a whole panel */
};

/*
 * A product of some rows with some neighbouring panels of one matrix, and what becomes of it:
 *
 *     y[r][c] = activation(scale[c] * sum over k of a[r][k] * w[k][c] + bias[c])
 *
 * goes to row out_rows[r] (NULL: r) of `out`.  Without an activation, y may be multiplied by
 * factors[r].  Strides are in bytes.
 */
struct vmoe_product {
    size_t rows, k, columns;
    const void *a;
    size_t lda;
    const struct vmoe_quant *quants; /* of the rows, if they are int8 */
    const void *panels;
    size_t panel_stride; /* from panel to panel */
    size_t panel_bytes;  /* of a panel, k rows of it */
    const float *scale;  /* (columns) of int8 weights, else NULL */
    const int32_t *sums; /* (columns) of the int8 weights of a column; for int8 rows */
    const float *bias;   /* (columns), or NULL */
    uint32_t activation; /* vmoe_finish */
    uint32_t store;      /* vmoe_store */
    void *out;
    size_t ldo;
    const int32_t *out_rows; /* or NULL */
    const float *factors;    /* or NULL: 1; only with VMOE_IDENTITY */
    const void *next;        /* the panel that will be wanted after these, or NULL */
    void *scratch;           /* vmoe_product_scratch_bytes, aligned to a cache line, or NULL if 0 */
};

/*
 * Attention of one head: out = softmax(q k' * factor) v over all tokens.  q, k, v and out are of
 * one type, F32 or BF16, with strides in bytes.  Narrow q, k and v are padded like rows, counted
 * from the head's own first column: what follows may be another head, but has to be there, and of q
 * it has to be finite.  `out` receives exactly `width` columns.
 */
struct vmoe_attend {
    size_t queries, tokens, width;
    float factor;
    const void *q, *k, *v;
    size_t ldq, ldkv;
    void *out;
    size_t ldo;
    void *scratch;          /* aligned to a cache line */
    uint64_t scratch_bytes; /* vmoe_attend_bytes or more */
};

struct vmoe_kernels {
    uint32_t isa;
    /* By the vmoe_precision of the rows and of the panels; NULL if the table has no such kernel. */
    void (*product[4][4])(const struct vmoe_product *product);
    /* By the vmoe_precision of q, k, v and out; NULL likewise. */
    void (*attend[4])(const struct vmoe_attend *attend);
    /*
     * y[i * ldy] = sum over c of W[i][c] * x[c] for i < k: neighbouring panels of k rows, by their
     * vmoe_precision, times 32 values for each panel.  Scales of int8 weights are the caller's.
     */
    void (*gemv[4])(size_t k, size_t panels, const void *packed, const float *x, float *y,
                    size_t ldy);
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
    /* x[i] = sigmoid(x[i]) in place. */
    void (*sigmoid)(size_t n, float *x);
    /*
     * logits (tokens, experts) = x (tokens, width) with row stride ldx times weights (width,
     * experts) with row stride ldw.  Which experts a token gets may hang on the last bit, so all
     * tables add in one order, over the width from its beginning, and round products before they
     * are added.
     */
    void (*router)(size_t tokens, size_t width, size_t experts, const float *x, size_t ldx,
                   const float *weights, size_t ldw, float *logits);
    /* To a narrow row with its padding: to nearest, ties to even. */
    void (*to_bf16)(size_t n, const float *x, uint16_t *y);
    struct vmoe_quant (*to_int8)(size_t n, const float *x, uint8_t *y);
    /* The same from bfloat16. */
    struct vmoe_quant (*bf16_to_int8)(size_t n, const uint16_t *x, uint8_t *y);
};

/* Scratch of a product: a panel that has to be widened to the type of the rows; 0 for float32. */
uint64_t vmoe_product_scratch_bytes(uint32_t rows, uint32_t panels, uint64_t k);

/* Bytes from row to row of scores, float32 and padded to whole panels. */
size_t vmoe_attend_stride(size_t tokens);

/* Scratch of an attend kernel for q, k and v of a type, the same for every table. */
uint64_t vmoe_attend_bytes(uint32_t type, uint64_t tokens, uint64_t width);

/* The table of an ISA that is compiled in, or NULL.  The caller has checked vmoe_cpu_has. */
const struct vmoe_kernels *vmoe_kernels_for(uint32_t isa);

/* One declaration for each table. */
extern const struct vmoe_kernels vmoe_kernels_ref;
#if defined(__x86_64__)
extern const struct vmoe_kernels vmoe_kernels_avx2;
extern const struct vmoe_kernels vmoe_kernels_avx512;
extern const struct vmoe_kernels vmoe_kernels_vnni;
extern const struct vmoe_kernels vmoe_kernels_bf16;
extern const struct vmoe_kernels vmoe_kernels_amx;
#elif defined(__aarch64__)
extern const struct vmoe_kernels vmoe_kernels_neon;
extern const struct vmoe_kernels vmoe_kernels_neon_dot;
extern const struct vmoe_kernels vmoe_kernels_neon_i8mm;
#endif

#endif
