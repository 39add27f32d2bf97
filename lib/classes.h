/* What logits say about classes. */
#ifndef VMOE_CLASSES_H
#define VMOE_CLASSES_H

#include "checkpoint/reader.h"
#include "kernels/kernels.h"

/* The logits of an image: those of each member of an ensemble, or of the one that others have. */
struct vmoe_members {
    const struct vmoe_kernels *kernels;
    uint32_t output; /* vmoe_activation */
    uint32_t classes, count;
    size_t stride;       /* from member to member */
    const float *logits; /* (count, classes) with this stride */
};

/*
 * The mean of the members' probabilities (classes).  `probabilities` has room for all members, with
 * the stride of the logits.
 */
void vmoe_classes_probabilities(const struct vmoe_members *members, float *probabilities);

/*
 * The logits (classes) of which softmax or sigmoid makes that mean; a single member's are its own.
 * They are finite where the members' are, however small a probability is.
 */
void vmoe_classes_logits(const struct vmoe_members *members, float *logits);

/* The best `count` classes, best first: those with the largest scores. */
void vmoe_classes_top(const struct vmoe_checkpoint *checkpoint, const float *scores,
                      const float *probabilities, vmoe_class *top, size_t count);

#endif
