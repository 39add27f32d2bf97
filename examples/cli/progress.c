/* Rate and time left come from the whole job so far. */
#define _XOPEN_SOURCE 700
#include "progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define FIRST_SECONDS 1.0
#define NEXT_SECONDS 0.2

double clock_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void progress_begin(struct progress *progress, uint64_t total, const char *unit)
{
    progress->unit = unit;
    progress->total = total;
    progress->begin = clock_seconds();
    progress->shown = 0.0;
    progress->terminal = isatty(STDERR_FILENO);
}

void progress_show(struct progress *progress, uint64_t done)
{
    const double now = clock_seconds(), passed = now - progress->begin;
    uint64_t left;
    double rate;

    if (!progress->terminal || done == 0 || passed < FIRST_SECONDS ||
        now - progress->shown < NEXT_SECONDS)
        return;
    progress->shown = now;
    rate = (double)done / passed;
    left = (uint64_t)((double)(progress->total - done) / rate);
    fprintf(stderr, "\r%" PRIu64 " of %" PRIu64 " %s, %.*f a second, %" PRIu64 ":%02u left\033[K",
            done, progress->total, progress->unit, rate < 10.0 ? 1 : 0, rate, left / 60,
            (unsigned)(left % 60));
    fflush(stderr);
}

void progress_hide(struct progress *progress)
{
    if (progress->shown > 0.0)
        fputs("\r\033[K", stderr);
    progress->shown = 0.0;
}
