/*
 * Logits of an image to probabilities and to the best classes, chosen by a heap that stands in the
 * caller's array.
 */
#include "classes.h"

#include <stdbool.h>

void vmoe_classes_probabilities(const struct vmoe_kernels *kernels, uint32_t output,
                                uint32_t classes, float *logits)
{
    float sum;

    if (output == VMOE_OUTPUT_SIGMOID) {
        kernels->sigmoid(classes, logits);
        return;
    }
    sum = kernels->softmax(classes, 1.0f, logits);
    for (uint32_t i = 0; i < classes; i++)
        logits[i] /= sum;
}

/* Largest logit first, NaN last, ties to the lower index: a total order. */
static bool ranks_before(const float *logits, uint32_t a, uint32_t b)
{
    float x = logits[a], y = logits[b];

    if (x != x || y != y)
        return x != x ? y != y && a < b : true;
    return x > y || (x == y && a < b);
}

/* Moves the entry at `i` of a heap down whose root is the one that ranks last. */
static void sift_down(const float *logits, vmoe_class *heap, size_t count, size_t i)
{
    for (;;) {
        size_t last = i, left = 2 * i + 1;
        vmoe_class moved;

        for (size_t child = left; child < left + 2 && child < count; child++)
            if (ranks_before(logits, heap[last].index, heap[child].index))
                last = child;
        if (last == i)
            return;
        moved = heap[i];
        heap[i] = heap[last];
        heap[last] = moved;
        i = last;
    }
}

void vmoe_classes_top(const struct vmoe_checkpoint *checkpoint, const float *logits,
                      const float *probabilities, vmoe_class *top, size_t count)
{
    const uint32_t classes = checkpoint->info.classes;

    for (size_t i = 0; i < count; i++)
        top[i].index = (uint32_t)i;
    for (size_t i = count; i-- > 0;)
        sift_down(logits, top, count, i);
    for (uint32_t i = (uint32_t)count; i < classes; i++) {
        if (ranks_before(logits, i, top[0].index)) {
            top[0].index = i;
            sift_down(logits, top, count, 0);
        }
    }
    for (size_t end = count; end-- > 1;) {
        vmoe_class last = top[0];

        top[0] = top[end];
        top[end] = last;
        sift_down(logits, top, end, 0);
    }
    for (size_t i = 0; i < count; i++) {
        top[i].probability = probabilities[top[i].index];
        top[i].label = checkpoint->labels != NULL ? checkpoint->labels[top[i].index] : "";
    }
}
