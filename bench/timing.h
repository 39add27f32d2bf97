/* Best and median of many runs of one piece of work. */
#ifndef VMOE_BENCH_TIMING_H
#define VMOE_BENCH_TIMING_H

#include <stddef.h>

struct figure {
    double best, median; /* seconds */
};

/* Sorts the samples. */
struct figure figure_of(double *samples, size_t count);

/*
 * Calls `work(context, i)`, i = 0, 1, ..., for about `seconds`, at least 5 times after the first;
 * short work is timed many at a time.
 */
struct figure figure_measure(double seconds, void (*work)(void *context, size_t i), void *context);

#endif
