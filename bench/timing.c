/* Samples of one piece of work. */
#include "timing.h"

#include <stdlib.h>

#include "runtime/cpu.h"

#define SAMPLES_MAX 4000u

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

struct figure figure_of(double *samples, size_t count)
{
    struct figure figure;

    qsort(samples, count, sizeof samples[0], compare_doubles);
    figure.best = samples[0];
    figure.median = samples[count / 2];
    return figure;
}

struct figure figure_measure(double seconds, void (*work)(void *context, size_t i), void *context)
{
    double samples[SAMPLES_MAX];
    const double begin = vmoe_cpu_seconds();
    double start, once;
    size_t at = 0, count = 0, repeat;

    work(context, at++);
    start = vmoe_cpu_seconds();
    work(context, at++);
    once = vmoe_cpu_seconds() - start;
    repeat = once < 2e-5 ? (size_t)(2e-5 / (once + 1e-9)) + 1 : 1;
    do {
        start = vmoe_cpu_seconds();
        for (size_t r = 0; r < repeat; r++)
            work(context, at++);
        samples[count++] = (vmoe_cpu_seconds() - start) / (double)repeat;
    } while (count < SAMPLES_MAX && (count < 5 || vmoe_cpu_seconds() - begin < seconds));
    return figure_of(samples, count);
}
