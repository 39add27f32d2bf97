/*
 * Smoothing, which int8 needs where a few channels are far larger than the others.  Between a
 * LayerNorm and the matrices that read its output, channel j may be divided by any number if row j
 * of the matrices is multiplied by it: the function stays.  A token's activations share one scale
 * in int8, as do the weights of a column, so both lose least if no channel stands out on either
 * side.  After SmoothQuant (arXiv 2211.10438), which multiplies by sqrt(activation / weight) of the
 * largest magnitudes, but without data: the activation is judged by the norm's own parameters.  The
 * factors are powers of two, so not a bit of the function changes in floating point, and a model
 * without outliers has the same int8 numbers with and without.
 */
#ifndef VMOE_CHECKPOINT_SMOOTH_H
#define VMOE_CHECKPOINT_SMOOTH_H

#include <stdbool.h>
#include <stddef.h>
#include <vmoe.h>

#include "runtime/status.h"

struct vmoe_smoothing {
    size_t channels;
    float *weight;     /* the largest magnitude in row j of all matrices */
    float *activation; /* what channel j is expected to reach */
    float *factor;     /* row j is multiplied by factor[j], channel j of the norm divided */
};

vmoe_status vmoe_smoothing_create(const vmoe_allocator *allocator, size_t channels,
                                  struct vmoe_smoothing *smoothing, vmoe_error *error);
void vmoe_smoothing_destroy(struct vmoe_smoothing *smoothing, const vmoe_allocator *allocator);

/* Begins with another norm. */
void vmoe_smoothing_clear(struct vmoe_smoothing *smoothing);

/* Looks at a matrix (channels, columns), and at the scale and the bias of the norm (channels). */
void vmoe_smoothing_see_matrix(struct vmoe_smoothing *smoothing, size_t columns,
                               const float *values);
void vmoe_smoothing_see_scale(struct vmoe_smoothing *smoothing, const float *values);
void vmoe_smoothing_see_bias(struct vmoe_smoothing *smoothing, const float *values);

/* Makes the factors from what has been seen. */
void vmoe_smoothing_decide(struct vmoe_smoothing *smoothing);

/* Multiplies the rows of a matrix; false if a number became infinite. */
bool vmoe_smoothing_change_matrix(const struct vmoe_smoothing *smoothing, size_t columns,
                                  float *values);

/* Divides the scale or the bias of the norm. */
void vmoe_smoothing_change_norm(const struct vmoe_smoothing *smoothing, float *values);

#endif
