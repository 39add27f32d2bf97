/*
 * System calls that fail while files are read and written: each call of a job, with everything that
 * it may plausibly answer, once and from then on.  The status and the sentence are exact, nothing
 * is left, the target is the old or the new file, and the next attempt works.
 *
 * Jobs with very many reads are sampled; with `--all` none is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faults/jobs.h"
#include "faults/shim.h"
#include "support/fault.h"
#include "support/support.h"
#include "support/tiny.h"

#define SAMPLES 8u

static bool all;

static const char old_bytes[] = "what was there before";

/* ---- What may fail, and what is said -------------------------------------------------------- */

struct failing {
    enum shim_call call;
    const char *sentence; /* "cannot " and this */
    int errors[9];
};

static const struct failing failings[] = {
    { SHIM_OPEN,
      "open the file",
      { ENOENT, EACCES, EMFILE, ENFILE, ENOMEM, EIO, ELOOP, EEXIST } },
    { SHIM_FSTAT, "examine the file", { EIO, ENOMEM, EOVERFLOW } },
    { SHIM_READ, "read the file", { EIO, EAGAIN, EISDIR, ESTALE, SHIM_NOTHING } },
    { SHIM_MAP, "map the file", { ENOMEM, EACCES, ENODEV, EAGAIN } },
    { SHIM_STAT, "examine the target", { EIO, ENOMEM, EOVERFLOW } },
    { SHIM_CHMOD, "keep the rights of the file", { EPERM, EIO, EROFS } },
    { SHIM_WRITE, "write the file", { ENOSPC, EIO, EDQUOT, EFBIG, SHIM_NOTHING } },
    { SHIM_SYNC, "flush the file", { EIO, ENOSPC, EDQUOT } },
    { SHIM_CLOSE, "close the file", { EIO, ENOSPC, EDQUOT } },
    { SHIM_RENAME, "rename the finished file", { EXDEV, EACCES, ENOSPC, EROFS, EISDIR } },
};

/* What an attempt must answer. */
struct outcome {
    vmoe_status status;
    const char *sentence;
};

/*
 * `clean` has the counts of an attempt in which nothing failed.  Up to the rename, the last open,
 * stat, fstat, flush and close are those of the new file, and the open before is that of its folder,
 * which may be one that cannot be listed; the flush behind is that of the folder too.  Others belong
 * to files that are read.
 */
static struct outcome outcome_of(const struct failing *failing, const struct shim *clean, size_t n,
                                 int error)
{
    const bool writes = clean->counts[SHIM_RENAME] != 0;
    const size_t own = clean->at_rename[failing->call];
    struct outcome outcome = { VMOE_ERR_IO, failing->sentence };

    if (error == SHIM_NOTHING && failing->call == SHIM_READ)
        return (struct outcome){ VMOE_ERR_FORMAT, "shrank" };
    if ((failing->call == SHIM_CLOSE || failing->call == SHIM_STAT) && (!writes || n != own))
        outcome.status = VMOE_OK;
    if (failing->call == SHIM_OPEN && writes && n == own - 1) {
        outcome.status = error == EACCES ? VMOE_OK : VMOE_ERR_IO;
        outcome.sentence = "open the folder of the file";
    }
    if (failing->call == SHIM_OPEN && writes && n == own) {
        outcome.status = error == EEXIST ? VMOE_OK : VMOE_ERR_IO;
        outcome.sentence = "create " JOB_TARGET ".tmp-";
    }
    if (failing->call == SHIM_FSTAT && writes && n == own)
        outcome.sentence = "keep the rights of the file";
    if (failing->call == SHIM_SYNC && n == own + 1)
        outcome.sentence = "flush the folder of the file, which is complete";
    return outcome;
}

/* ---- One attempt ---------------------------------------------------------------------------- */

static bool target_is_old(void)
{
    size_t bytes;
    char *found = read_file(scratch_path(JOB_TARGET), &bytes);
    const bool old = bytes == sizeof old_bytes && memcmp(found, old_bytes, bytes) == 0;

    free(found);
    return old;
}

static void put_old_target(void)
{
    if (access(scratch_path(JOB_TARGET), F_OK) != 0 || !target_is_old())
        write_file(scratch_path(JOB_TARGET), old_bytes, sizeof old_bytes);
}

static vmoe_status attempt(job *run, struct shim plan, vmoe_error *error)
{
    const size_t files = fault_open_files(), there = folder_entries(scratch_folder());
    struct fault fault;
    vmoe_status status;

    *error = (vmoe_error)VMOE_ERROR_INIT;
    fault_init(&fault, 0, false);
    shim_arm(plan);
    status = run(&fault.allocator, error);
    shim_disarm();
    assert_int_equal(status, error->status);
    assert_int_equal(fault.live, 0);
    assert_int_equal(fault_open_files(), files);
    assert_int_equal(folder_entries(scratch_folder()), there);
    return status;
}

/* The attempt succeeds; answers what was counted. */
static struct shim must_work(job *run, struct shim plan)
{
    vmoe_error error;
    struct shim counted;

    put_old_target();
    assert_ok(attempt(run, plan, &error), error);
    counted = shim;
    if (counted.counts[SHIM_RENAME] != 0)
        assert_ok(vmoe_verify_file(scratch_path(JOB_TARGET), &error), error);
    else
        assert_true(target_is_old());
    return counted;
}

static void must_fail(job *run, const struct failing *failing, const struct shim *clean, size_t n,
                      int code, bool persistent)
{
    const struct outcome expected = outcome_of(failing, clean, n, code);
    vmoe_error error;
    vmoe_status status;

    put_old_target();
    status = attempt(run,
                     (struct shim){
                         .call = failing->call, .at = n, .error = code, .persistent = persistent },
                     &error);
    /* What fails from a harmless call on may fail another that is not. */
    if (expected.status == VMOE_OK && persistent && status == VMOE_ERR_IO)
        return;
    if (expected.status == VMOE_OK) {
        assert_ok(status, error);
        return;
    }
    assert_refused(status, error, expected.status, "");
    assert_non_null(strstr(error.text, expected.sentence));
    if (code != SHIM_NOTHING)
        assert_non_null(strstr(error.text, strerror(code)));
    /* The folder is flushed when the new file is in its place. */
    if (failing->call == SHIM_SYNC && clean->counts[SHIM_RENAME] != 0 &&
        n > clean->at_rename[failing->call])
        assert_int_equal(vmoe_verify_file(scratch_path(JOB_TARGET), NULL), VMOE_OK);
    else
        assert_true(target_is_old());
}

/* Every call, or the first and last few and some between. */
static bool is_tried(size_t n, size_t calls)
{
    return all || calls <= SAMPLES || n <= SAMPLES / 2 || n + 2 > calls ||
           n % (calls / SAMPLES) == 0;
}

static size_t fail_every_call(job *run, const struct failing *failing, const struct shim *clean)
{
    const size_t calls = clean->counts[failing->call];
    size_t attempts = 0;

    for (size_t n = 1; n <= calls; n++) {
        for (const int *code = failing->errors; is_tried(n, calls) && *code != 0; code++) {
            must_fail(run, failing, clean, n, *code, false);
            must_fail(run, failing, clean, n, *code, true);
            attempts += 2;
        }
    }
    return attempts;
}

static void every_failing_call_is_reported(void **state)
{
    (void)state;
    for (size_t j = 0; j < FILE_JOBS; j++) {
        const struct shim clean = must_work(file_jobs[j].run, (struct shim){ .at = 0 });
        size_t attempts = 0;

        for (size_t i = 0; i < sizeof failings / sizeof failings[0]; i++)
            attempts += fail_every_call(file_jobs[j].run, &failings[i], &clean);
        must_work(file_jobs[j].run, (struct shim){ .at = 0 });
        print_message("  %-18s %5zu attempts, %zu reads, %zu writes\n", file_jobs[j].name, attempts,
                      clean.counts[SHIM_READ], clean.counts[SHIM_WRITE]);
        assert_true(attempts > 50);
    }
}

static void interruptions_and_short_transfers_change_nothing(void **state)
{
    static const size_t most[] = { 0, 1, 4095 };

    (void)state;
    for (size_t j = 0; j < FILE_JOBS; j++)
        for (size_t i = 0; i < sizeof most / sizeof most[0]; i++)
            for (int interrupted = 0; interrupted <= 1; interrupted++)
                must_work(file_jobs[j].run,
                          (struct shim){ .most = most[i], .interrupted = interrupted });
}

/* The index, the shard, the folder and the temporary file: whatever they contain. */
static void an_import_opens_no_other_file(void **state)
{
    (void)state;
    assert_int_equal(must_work(job_import_shards, (struct shim){ .at = 0 }).counts[SHIM_OPEN], 4);
    assert_int_equal(must_work(job_read_archive, (struct shim){ .at = 0 }).counts[SHIM_OPEN], 1);
}

static int stop_here(void *context, uint64_t done, uint64_t total)
{
    (void)context;
    return done > total / 2;
}

/*
 * The only case but a kill in which something remains; and even what hundreds of killed processes
 * of one number leave, as in a container, is in nobody's way.
 */
static void a_temporary_file_that_cannot_be_removed_remains(void **state)
{
    const char *target = scratch_path(JOB_TARGET);
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    put_old_target();
    options.progress = stop_here;
    for (int i = 0; i < 200; i++) {
        vmoe_status status;

        shim_arm((struct shim){ .call = SHIM_UNLINK, .at = 1, .error = EPERM });
        status = vmoe_import(golden_path("models/gap/model"), target, &options, &error);
        shim_disarm();
        assert_refused(status, error, VMOE_ERR_CANCELLED, "");
        assert_true(target_is_old());
    }
    assert_int_equal(remove_temporaries(target, getpid()), 200);
}

/* Somebody may have left, or laid, files in the way of the temporary one. */
static void temporary_names_that_exist_are_passed_by(void **state)
{
    const char *target = scratch_path(JOB_TARGET), *victim = scratch_path("victim");
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_status status;
    size_t bytes;
    char *found;

    (void)state;
    write_file(victim, old_bytes, sizeof old_bytes);
    shim_arm((struct shim){ .in_the_way = 3, .victim = victim });
    status = vmoe_import(golden_path("models/gap/model"), target, NULL, &error);
    shim_disarm();
    assert_ok(status, error);
    assert_int_equal(shim.in_the_way, 0);
    assert_ok(vmoe_verify_file(target, &error), error);
    found = read_file(victim, &bytes);
    assert_int_equal(bytes, sizeof old_bytes);
    assert_memory_equal(found, old_bytes, bytes);
    free(found);
    assert_int_equal(remove_temporaries(target, getpid()), 3);
    unlink(victim);
}

/* Tried so often, not for ever; and told which file is in the way. */
static void names_that_all_exist_are_reported(void **state)
{
    const struct shim clean = must_work(job_import_shards, (struct shim){ .at = 0 });
    const struct shim plan = { .call = SHIM_OPEN,
                               .at = clean.at_rename[SHIM_OPEN],
                               .error = EEXIST,
                               .persistent = true };
    vmoe_error error;

    (void)state;
    put_old_target();
    assert_refused(attempt(job_import_shards, plan, &error), error, VMOE_ERR_IO, JOB_TARGET);
    assert_non_null(strstr(error.text, "create " JOB_TARGET ".tmp-"));
    assert_non_null(strstr(error.text, strerror(EEXIST)));
    assert_int_equal(shim.counts[SHIM_OPEN], plan.at + 99);
    assert_true(target_is_old());
}

static int begin(void **state)
{
    (void)state;
    jobs_begin();
    return 0;
}

static int end(void **state)
{
    (void)state;
    jobs_end();
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failing_call_is_reported),
        cmocka_unit_test(interruptions_and_short_transfers_change_nothing),
        cmocka_unit_test(an_import_opens_no_other_file),
        cmocka_unit_test(a_temporary_file_that_cannot_be_removed_remains),
        cmocka_unit_test(temporary_names_that_exist_are_passed_by),
        cmocka_unit_test(names_that_all_exist_are_reported),
    };

    all = argc > 1 && strcmp(argv[1], "--all") == 0;
    return cmocka_run_group_tests_name("system calls that fail", tests, begin, end);
}
