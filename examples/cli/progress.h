/* How far a long job is: a line on a terminal that is rewritten, and nothing anywhere else. */
#ifndef VMOE_CLI_PROGRESS_H
#define VMOE_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *unit; /* "pictures" */
    uint64_t total;
    double begin, shown;
    bool terminal;
};

double clock_seconds(void);

void progress_begin(struct progress *progress, uint64_t total, const char *unit);

/* The line appears after the first second. */
void progress_show(struct progress *progress, uint64_t done);

/* Takes the line away, so that other text can be printed. */
void progress_hide(struct progress *progress);

#endif
