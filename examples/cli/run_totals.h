/* The reports of several calls, added up and written as JSON. */
#ifndef VMOE_CLI_RUN_TOTALS_H
#define VMOE_CLI_RUN_TOTALS_H

#include <stdio.h>
#include <vmoe.h>

/* By vmoe_stage. */
extern const char *const stage_names[VMOE_STAGE_COUNT];

struct run_totals {
    uint64_t images, calls;
    uint32_t experts;
    vmoe_report call;  /* for the next call; its arrays are in place */
    vmoe_report total; /* its arrays have the same lengths */
};

/* run_totals_free releases the arrays, also after a failure. */
vmoe_status run_totals_make(struct run_totals *totals, const vmoe_info *info, vmoe_error *error);
void run_totals_free(struct run_totals *totals);

/* Adds `totals->call`, the report of a call with `images` images. */
void run_totals_add(struct run_totals *totals, uint64_t images);

/* `dial` is that of the calls, after dial_complete. */
void run_totals_write(const struct run_totals *totals, const vmoe_options *dial, FILE *stream);

#endif
