/* What logits say about classes. */
#ifndef VMOE_CLASSES_H
#define VMOE_CLASSES_H

#include "checkpoint/reader.h"
#include "kernels/kernels.h"

/* Turns the logits of an image into probabilities; `output` is a vmoe_activation. */
void vmoe_classes_probabilities(const struct vmoe_kernels *kernels, uint32_t output,
                                uint32_t classes, float *logits);

/* The best `count` classes, best first. */
void vmoe_classes_top(const struct vmoe_checkpoint *checkpoint, const float *logits,
                      const float *probabilities, vmoe_class *top, size_t count);

#endif
