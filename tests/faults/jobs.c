/* Loading in every form, verifying, reading a foreign archive, writing and importing. */
#include "faults/jobs.h"

#include <stdlib.h>

#include "checkpoint/import.h"
#include "checkpoint/source.h"
#include "runtime/status.h"
#include "support/formula.h"
#include "support/support.h"
#include "support/tiny.h"

static struct vmoe_source *formula; /* of what is written */

static vmoe_status load(const char *name, uint32_t flags, const vmoe_allocator *allocator,
                        vmoe_error *error)
{
    vmoe_load_options options = VMOE_LOAD_OPTIONS_INIT;
    vmoe_model *model = (vmoe_model *)&options; /* to see that it is overwritten */
    vmoe_status status;

    options.flags = flags;
    options.allocator = allocator;
    status = vmoe_load_file(scratch_path(name), &options, &model, error);
    if (status != VMOE_OK)
        assert_null(model);
    vmoe_free(model);
    return status;
}

static vmoe_status load_raw(const vmoe_allocator *allocator, vmoe_error *error)
{
    return load(JOB_RAW, 0, allocator, error);
}

static vmoe_status load_compact(const vmoe_allocator *allocator, vmoe_error *error)
{
    return load(JOB_COMPACT, 0, allocator, error);
}

static vmoe_status load_mapped(const vmoe_allocator *allocator, vmoe_error *error)
{
    return load(JOB_RAW, VMOE_LOAD_MMAP, allocator, error);
}

static vmoe_status load_trusting(const vmoe_allocator *allocator, vmoe_error *error)
{
    return load(JOB_RAW, VMOE_LOAD_HEADER_ONLY, allocator, error);
}

static vmoe_status verify(const vmoe_allocator *allocator, vmoe_error *error)
{
    (void)allocator;
    return vmoe_verify_file(scratch_path(JOB_COMPACT), error);
}

vmoe_status job_read_archive(const vmoe_allocator *allocator, vmoe_error *error)
{
    struct vmoe_source *source = NULL;
    vmoe_status status =
        vmoe_npz_open("tests/data/types_deflated.npz", allocator, &source, error);

    if (status != VMOE_OK)
        return status;
    for (size_t i = 0; i < source->count && status == VMOE_OK; i++) {
        const uint64_t count = source->arrays[i].elements;
        float *values = calloc(count + 1, sizeof *values);

        status = values != NULL ? source->read(source, i, 0, count, values, error)
                                : vmoe_fail(error, VMOE_ERR_MEMORY, "test", "no memory to read to");
        free(values);
    }
    source->close(source);
    return status;
}

static vmoe_status write_plain(const vmoe_allocator *allocator, vmoe_error *error)
{
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;

    return vmoe_import_source(formula, "formula", scratch_path(JOB_TARGET), &options, allocator,
                              error);
}

vmoe_status job_import_shards(const vmoe_allocator *allocator, vmoe_error *error)
{
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;

    (void)allocator;
    options.precision = VMOE_PRECISION_INT8;
    options.compact = 1;
    return vmoe_import(golden_path("models/gap/model"), scratch_path(JOB_TARGET), &options, error);
}

const struct named_job file_jobs[FILE_JOBS] = {
    { "load", load_raw },
    { "load, compact", load_compact },
    { "load, mapped", load_mapped },
    { "load, header only", load_trusting },
    { "verify", verify },
    { "read .npz", job_read_archive },
    { "write", write_plain },
    { "import shards", job_import_shards },
};

void jobs_begin(void)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;

    write_model(&geometry, &options, scratch_path(JOB_RAW));
    options.compact = 1;
    write_model(&geometry, &options, scratch_path(JOB_COMPACT));
    formula = formula_source(&geometry, 11);
    assert_non_null(formula);
}

void jobs_end(void)
{
    formula->close(formula);
}
