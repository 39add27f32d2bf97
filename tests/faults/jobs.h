/* What a host does with files: jobs in which every allocation and system call may fail. */
#ifndef VMOE_TESTS_JOBS_H
#define VMOE_TESTS_JOBS_H

#include <vmoe.h>

typedef vmoe_status job(const vmoe_allocator *allocator, vmoe_error *error);

struct named_job {
    const char *name;
    job *run;
};

#define FILE_JOBS 8u
extern const struct named_job file_jobs[FILE_JOBS];

/* Those of them that a test singles out. */
job job_read_archive, job_import_shards;

/* Names below the scratch folder: what is loaded, and what is written. */
#define JOB_RAW "raw.vmoe"
#define JOB_COMPACT "compact.vmoe"
#define JOB_TARGET "target.vmoe"

/* Makes what is loaded, a small model, and releases what the jobs share. */
void jobs_begin(void);
void jobs_end(void);

#endif
