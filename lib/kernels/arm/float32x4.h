/* The vector of vector.h. */
#ifndef VMOE_KERNELS_ARM_FLOAT32X4_H
#define VMOE_KERNELS_ARM_FLOAT32X4_H

#include <arm_neon.h>

#define WIDTH 4
typedef float32x4_t vec;

/* The instructions for this would give NaN, or never. */
static inline vec larger(vec a, vec b)
{
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}

static inline vec smaller(vec a, vec b)
{
    return vbslq_f32(vcltq_f32(a, b), a, b);
}

#endif
