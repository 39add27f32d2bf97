/*
 * A linear layer over many rows: the loops around gemm, split over a team, with bias, activation
 * and the way the result is stored done while a tile is in the first-level cache.
 */
#ifndef VMOE_KERNELS_LINEAR_H
#define VMOE_KERNELS_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"
#include "runtime/team.h"

/* y = x W + bias.  All memory belongs to the model. */
struct vmoe_linear {
    const void *panels; /* packed, see kernels.h */
    const float *scale; /* n column scales, int8 only */
    const int32_t *sum; /* n sums of the int8 numbers of a column, int8 only */
    const float *bias;  /* n */
    uint32_t k, n;
    uint32_t precision; /* of the panels */
};

enum vmoe_linear_activation {
    VMOE_LINEAR_IDENTITY = 0,
    VMOE_LINEAR_GELU_TANH,
    VMOE_LINEAR_GELU_ERF,
    VMOE_LINEAR_TANH
};

struct vmoe_linear_call {
    const struct vmoe_linear *layer;
    size_t rows;
    const float *a; /* (rows, k) */
    size_t lda;
    float *out; /* (.., n) */
    size_t ldo;
    uint32_t activation;
    bool add;                 /* add to `out` instead of storing */
    const int32_t *out_rows;  /* row r goes to row out_rows[r] of `out`; NULL: to row r */
    const float *out_factors; /* row r is multiplied by out_factors[r] first; NULL: by 1 */
};

void vmoe_linear_run(const struct vmoe_kernels *kernels, struct vmoe_team *team,
                     const struct vmoe_linear_call *call);

#endif
