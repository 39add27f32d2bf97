/* Smoothing by powers of two. */
#include "checkpoint/smooth.h"

#include <math.h>

#include "runtime/memory.h"

/* A normed value rarely goes beyond three standard deviations. */
#define DEVIATIONS 3.0f

/* Factors of 2^-16 to 2^16 are enough for anything that was trained. */
#define EXPONENT_MAX 16
#define RATIO_MAX 0x1p32

vmoe_status vmoe_smoothing_create(const vmoe_allocator *allocator, size_t channels,
                                  struct vmoe_smoothing *smoothing, vmoe_error *error)
{
    float *memory = vmoe_memory_take(allocator, 3 * (uint64_t)channels * sizeof *memory);

    if (memory == NULL)
        return vmoe_fail(error, VMOE_ERR_MEMORY, "import", "no memory for %zu channels", channels);
    *smoothing = (struct vmoe_smoothing){ channels, memory, memory + channels,
                                          memory + 2 * channels };
    return VMOE_OK;
}

void vmoe_smoothing_destroy(struct vmoe_smoothing *smoothing, const vmoe_allocator *allocator)
{
    vmoe_memory_release(allocator, smoothing->weight);
    *smoothing = (struct vmoe_smoothing){ 0 };
}

void vmoe_smoothing_clear(struct vmoe_smoothing *smoothing)
{
    for (size_t j = 0; j < smoothing->channels; j++) {
        smoothing->weight[j] = 0.0f;
        smoothing->activation[j] = 0.0f;
    }
}

void vmoe_smoothing_see_matrix(struct vmoe_smoothing *smoothing, size_t columns,
                               const float *values)
{
    for (size_t j = 0; j < smoothing->channels; j++) {
        float largest = smoothing->weight[j];

        for (size_t c = 0; c < columns; c++, values++)
            largest = fabsf(*values) > largest ? fabsf(*values) : largest;
        smoothing->weight[j] = largest;
    }
}

void vmoe_smoothing_see_scale(struct vmoe_smoothing *smoothing, const float *values)
{
    for (size_t j = 0; j < smoothing->channels; j++)
        smoothing->activation[j] += DEVIATIONS * fabsf(values[j]);
}

void vmoe_smoothing_see_bias(struct vmoe_smoothing *smoothing, const float *values)
{
    for (size_t j = 0; j < smoothing->channels; j++)
        smoothing->activation[j] += fabsf(values[j]);
}

/*
 * The e for which 4^e is next to activation / weight, found without a logarithm, whose last bit may
 * differ between machines.  A channel that nobody reads, or that is always zero, ends up small on
 * its other side, too.
 */
static int exponent(float activation, float weight)
{
    const double ratio = (double)activation / (double)weight;
    int e;

    if (!(ratio < RATIO_MAX))
        return EXPONENT_MAX;
    if (ratio < 1.0 / RATIO_MAX)
        return -EXPONENT_MAX;
    (void)frexp(ratio, &e);
    return (e - (e & 1)) / 2;
}

void vmoe_smoothing_decide(struct vmoe_smoothing *smoothing)
{
    for (size_t j = 0; j < smoothing->channels; j++)
        smoothing->factor[j] =
            ldexpf(1.0f, exponent(smoothing->activation[j], smoothing->weight[j]));
}

bool vmoe_smoothing_change_matrix(const struct vmoe_smoothing *smoothing, size_t columns,
                                  float *values)
{
    bool finite = true;

    for (size_t j = 0; j < smoothing->channels; j++)
        for (size_t c = 0; c < columns; c++, values++) {
            *values *= smoothing->factor[j];
            finite = finite && isfinite(*values);
        }
    return finite;
}

void vmoe_smoothing_change_norm(const struct vmoe_smoothing *smoothing, float *values)
{
    for (size_t j = 0; j < smoothing->channels; j++)
        values[j] /= smoothing->factor[j];
}
