/*
 * Logits of an image to probabilities and to the best classes, chosen by a heap that stands in the
 * caller's array.
 */
#include "classes.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "runtime/limits.h"

/* ---- Probabilities -------------------------------------------------------------------------- */

void vmoe_classes_probabilities(const struct vmoe_members *members, float *probabilities)
{
    const struct vmoe_kernels *kernels = members->kernels;
    const uint32_t classes = members->classes;

    for (size_t m = 0; m < members->count; m++) {
        float *of_member = probabilities + m * members->stride;

        memcpy(of_member, members->logits + m * members->stride, classes * sizeof(float));
        if (members->output == VMOE_OUTPUT_SIGMOID) {
            kernels->sigmoid(classes, of_member);
        } else {
            const float sum = kernels->softmax(classes, 1.0f, of_member);

            for (uint32_t i = 0; i < classes; i++)
                of_member[i] /= sum;
        }
        for (uint32_t i = 0; m != 0 && i < classes; i++)
            probabilities[i] += of_member[i];
    }
    for (uint32_t i = 0; members->count > 1 && i < classes; i++)
        probabilities[i] /= (float)members->count;
}

/* ---- Logits of an ensemble ------------------------------------------------------------------ */

/* The C library's exp and log differ between machines, so these are our own, to about 1e-10. */

/* The value at x of a polynomial, whose coefficients begin with that of the highest power. */
static double polynomial(const double *coefficients, size_t count, double x)
{
    double value = coefficients[0];

    for (size_t i = 1; i < count; i++)
        value = value * x + coefficients[i];
    return value;
}

#define POLYNOMIAL(coefficients, x)                                                                \
    polynomial(coefficients, sizeof(coefficients) / sizeof(coefficients)[0], x)

/* exp(x) for x <= 0; NaN stays NaN. */
static double exp_of_negative(double x)
{
    static const double series[] = { 1.0 / 3628800.0, 1.0 / 362880.0, 1.0 / 40320.0, 1.0 / 5040.0,
                                     1.0 / 720.0,     1.0 / 120.0,    1.0 / 24.0,    1.0 / 6.0,
                                     0.5,             1.0,            1.0 };
    const double n = rint(x * 1.4426950408889634);
    const double r = x - n * 0.6931471805599453;

    if (!(x >= -700.0))
        return x < 0.0 ? 0.0 : x;
    return ldexp(POLYNOMIAL(series, r), (int)n);
}

/* log(1 + x) for x = 0 .. 1, as 2 artanh(s) with s = x / (2 + x) of 1/3 at most. */
static double log_of_one_and(double x)
{
    static const double series[] = { 1.0 / 19.0, 1.0 / 17.0, 1.0 / 15.0, 1.0 / 13.0, 1.0 / 11.0,
                                     1.0 / 9.0,  1.0 / 7.0,  1.0 / 5.0,  1.0 / 3.0,  1.0 };
    const double s = x / (2.0 + x);

    return 2.0 * s * POLYNOMIAL(series, s * s);
}

/*
 * log(exp(a) + exp(b)): addition, for numbers of which only the logarithms are known.  Nine copies,
 * one for each call, would take another kilobyte.
 */
__attribute__((noinline)) static double add_logs(double a, double b)
{
    const double larger = a > b ? a : b;

    return larger + log_of_one_and(exp_of_negative(-fabs(a - b)));
}

/* The logarithms of the mean of the members' softmax. */
static void mix_softmax(const struct vmoe_members *members, float *logits)
{
    double sums[VMOE_LIMIT_MEMBERS], count = 0.0; /* logarithms, as all numbers here */

    for (size_t m = 0; m < members->count; m++) {
        const float *row = members->logits + m * members->stride;

        sums[m] = (double)row[0];
        for (size_t i = 1; i < members->classes; i++)
            sums[m] = add_logs(sums[m], (double)row[i]);
        count = m == 0 ? 0.0 : add_logs(count, 0.0);
    }
    for (size_t i = 0; i < members->classes; i++) {
        double mixed = (double)members->logits[i] - sums[0];

        for (size_t m = 1; m < members->count; m++)
            mixed = add_logs(mixed, (double)members->logits[m * members->stride + i] - sums[m]);
        logits[i] = (float)(mixed - count);
    }
}

/* log(p / (1 - p)) of the mean p of the members' sigmoid. */
static void mix_sigmoid(const struct vmoe_members *members, float *logits)
{
    for (size_t i = 0; i < members->classes; i++) {
        double yes = -add_logs(0.0, -(double)members->logits[i]);
        double no = -add_logs(0.0, (double)members->logits[i]);

        for (size_t m = 1; m < members->count; m++) {
            const double logit = (double)members->logits[m * members->stride + i];

            yes = add_logs(yes, -add_logs(0.0, -logit));
            no = add_logs(no, -add_logs(0.0, logit));
        }
        logits[i] = (float)(yes - no);
    }
}

void vmoe_classes_logits(const struct vmoe_members *members, float *logits)
{
    if (members->count == 1)
        memcpy(logits, members->logits, members->classes * sizeof *logits);
    else if (members->output == VMOE_OUTPUT_SIGMOID)
        mix_sigmoid(members, logits);
    else
        mix_softmax(members, logits);
}

/* ---- The best classes ----------------------------------------------------------------------- */

/* Largest score first, NaN last, ties to the lower index: a total order. */
static bool ranks_before(const float *scores, uint32_t a, uint32_t b)
{
    float x = scores[a], y = scores[b];

    if (x != x || y != y)
        return x != x ? y != y && a < b : true;
    return x > y || (x == y && a < b);
}

/* Moves the entry at `i` of a heap down whose root is the one that ranks last. */
static void sift_down(const float *scores, vmoe_class *heap, size_t count, size_t i)
{
    for (;;) {
        size_t last = i, left = 2 * i + 1;
        vmoe_class moved;

        for (size_t child = left; child < left + 2 && child < count; child++)
            if (ranks_before(scores, heap[last].index, heap[child].index))
                last = child;
        if (last == i)
            return;
        moved = heap[i];
        heap[i] = heap[last];
        heap[last] = moved;
        i = last;
    }
}

void vmoe_classes_top(const struct vmoe_checkpoint *checkpoint, const float *scores,
                      const float *probabilities, vmoe_class *top, size_t count)
{
    const uint32_t classes = checkpoint->info.classes;

    for (size_t i = 0; i < count; i++)
        top[i].index = (uint32_t)i;
    for (size_t i = count; i-- > 0;)
        sift_down(scores, top, count, i);
    for (uint32_t i = (uint32_t)count; i < classes; i++) {
        if (ranks_before(scores, i, top[0].index)) {
            top[0].index = i;
            sift_down(scores, top, count, 0);
        }
    }
    for (size_t end = count; end-- > 1;) {
        vmoe_class last = top[0];

        top[0] = top[end];
        top[end] = last;
        sift_down(scores, top, end, 0);
    }
    for (size_t i = 0; i < count; i++) {
        top[i].probability = probabilities[top[i].index];
        top[i].label = checkpoint->labels != NULL ? checkpoint->labels[top[i].index] : "";
    }
}
