/*
 * Linear layers over many rows: the cut into tasks for a team of threads.  One call multiplies one
 * matrix, or several of the same shape, each with its own range of the rows: the experts of a
 * layer.
 */
#ifndef VMOE_KERNELS_LINEAR_H
#define VMOE_KERNELS_LINEAR_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"
#include "runtime/team.h"

/* y = x W + bias.  All memory belongs to the model. */
struct vmoe_linear {
    const void *panels; /* packed, see kernels.h */
    const float *scale; /* n column scales, int8 only */
    const int32_t *sum; /* n sums over the int8 numbers of a column, int8 only */
    const float *bias;  /* n */
    uint32_t k, n;
    uint32_t precision; /* of the panels */
};

/* A matrix of activations; `quants` has an entry for each int8 row. */
struct vmoe_matrix {
    uint32_t type; /* vmoe_precision */
    void *data;
    size_t stride; /* bytes */
    struct vmoe_quant *quants;
};

/* Bytes of a row of n numbers, with the padding that kernels.h wants and without bad strides. */
size_t vmoe_matrix_stride(uint32_t type, size_t n);

/* Row r, or the rows from there on. */
static inline void *vmoe_matrix_row(const struct vmoe_matrix *rows, size_t r)
{
    return (uint8_t *)rows->data + r * rows->stride;
}
struct vmoe_matrix vmoe_matrix_from(const struct vmoe_matrix *rows, size_t r);

/* The same rows from column c on; not for int8. */
struct vmoe_matrix vmoe_matrix_columns(const struct vmoe_matrix *rows, size_t c);

/* Writes n float32 values to row r in its type. */
void vmoe_matrix_set(const struct vmoe_kernels *kernels, const struct vmoe_matrix *rows, size_t r,
                     size_t n, const float *values);

/* Row r in another, narrower type: from float32 to any, or from bfloat16 to int8. */
void vmoe_matrix_convert(const struct vmoe_kernels *kernels, const struct vmoe_matrix *from,
                         const struct vmoe_matrix *to, size_t r, size_t n);

/*
 * The narrowest type of rows that a table multiplies with panels of a precision, but nothing less
 * exact than `least`, a vmoe_precision other than AUTO.
 */
uint32_t vmoe_matrix_type(const struct vmoe_kernels *kernels, uint32_t least, uint32_t panels);

/* The layer with columns first .. first + n - 1 alone; `first` is a multiple of VMOE_PANEL. */
struct vmoe_linear vmoe_linear_columns(const struct vmoe_linear *layer, size_t first, size_t n);

/* Rows first .. first + rows - 1 of `a` and of `out` belong to `layer`. */
struct vmoe_linear_part {
    const struct vmoe_linear *layer;
    size_t first, rows;
};

struct vmoe_linear_call {
    const struct vmoe_linear_part *parts;
    size_t count; /* of parts, whose layers have one shape and precision */
    struct vmoe_matrix a;
    void *out;
    size_t ldo;              /* bytes */
    uint32_t activation;     /* vmoe_finish */
    uint32_t store;          /* vmoe_store */
    const int32_t *out_rows; /* row r goes to row out_rows[r] of `out`; NULL: to row r */
    const float *factors;    /* as in struct vmoe_product */
    uint8_t *scratch;        /* of thread t: scratch + t * scratch_bytes; see kernels.h */
    uint64_t scratch_bytes;
};

/* With out_rows, rows of different parts may meet in one row: the parts are added in order. */
void vmoe_linear_run(const struct vmoe_kernels *kernels, struct vmoe_team *team,
                     const struct vmoe_linear_call *call);

#endif
