/*
 * The forward pass once more, in double and by the plainest loops, from the arrays of a checkpoint
 * by upstream's names.  It shares nothing with the library; the routing is given.
 */
#ifndef VMOE_TESTS_REFERENCE_H
#define VMOE_TESTS_REFERENCE_H

#include <vmoe.h>

#include "checkpoint/source.h"

/*
 * Logits (classes) of one image (side, side, 3) by one member of an ensemble, or member 0 of
 * another model: a forward pass of its own.  Of `info` the geometry and `gelu` are used.  The
 * routes of the image in MoE layer m begin at routes + m * stride and are (tokens, members, picks),
 * as in vmoe_report.  `*worst` grows to the largest amount by which a gate that was not chosen
 * exceeds one that was: rounding apart, 0.
 */
void reference_forward(const vmoe_info *info, struct vmoe_source *source, const float *image,
                       size_t member, const int16_t *routes, size_t stride, size_t picks,
                       double *logits, double *worst);

#endif
