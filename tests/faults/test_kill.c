/*
 * A writer that is killed, and a disk that is full: the target is the old or the new file, to the
 * byte, and what else remains has a name that tells whose it was.
 *
 * A number as the argument says how many writers are killed.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checkpoint/import.h"
#include "runtime/cpu.h"
#include "support/fault.h"
#include "support/formula.h"
#include "support/random.h"
#include "support/support.h"
#include "support/tiny.h"

static unsigned kills = 50;

static vmoe_status write_version(const char *path, unsigned version, vmoe_error *error)
{
    const vmoe_info geometry = medium_info(VMOE_CLASSIFIER_TOKEN);
    struct vmoe_source *source = formula_source(&geometry, 11 + version % 2);
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    vmoe_status status;

    options.precision = VMOE_PRECISION_F32;
    status = vmoe_import_source(source, "formula", path, &options, &vmoe_memory_default, error);
    source->close(source);
    return status;
}

/* ---- Kills ---------------------------------------------------------------------------------- */

struct version {
    char *bytes;
    size_t size;
};

/* Which of the two versions the target is; fails the test if it is neither. */
static unsigned version_of(const char *path, const struct version versions[2])
{
    size_t size;
    char *found = read_file(path, &size);
    unsigned i;

    for (i = 0; i < 2; i++)
        if (size == versions[i].size && memcmp(found, versions[i].bytes, size) == 0)
            break;
    free(found);
    assert_in_range(i, 0, 1);
    return i;
}

static void a_killed_writer_leaves_the_old_or_the_new_file(void **state)
{
    const char *target = scratch_path("target.vmoe");
    struct version versions[2];
    unsigned found[2] = { 0, 0 };
    size_t left = 0;
    double begin, seconds;

    (void)state;
    random_seed(1);
    begin = vmoe_cpu_seconds();
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(write_version(target, i, NULL), VMOE_OK);
        versions[i].bytes = read_file(target, &versions[i].size);
    }
    seconds = (vmoe_cpu_seconds() - begin) / 2;
    for (unsigned i = 0; i < kills; i++) {
        /* The child writes until it is killed, at some moment of its first three writes. */
        const pid_t child = fork();
        int outcome;

        assert_true(child >= 0);
        for (unsigned n = i; child == 0; n++)
            if (write_version(target, n, NULL) != VMOE_OK)
                _exit(1);
        usleep((useconds_t)(seconds * 3e6 * (random_u32() % 1000) / 1000));
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &outcome, 0), child);
        assert_true(WIFSIGNALED(outcome));
        found[version_of(target, versions)]++;
        left += remove_temporaries(target, child);
        assert_int_equal(folder_entries(scratch_folder()), 1);
    }
    print_message("  %u writers killed: %u and %u times one version, %zu temporary files\n", kills,
                  found[0], found[1], left);
    assert_true(left > 0);
    free(versions[0].bytes);
    free(versions[1].bytes);
    unlink(target);
}

/* ---- A full disk ---------------------------------------------------------------------------- */

/* On a disk of so many pages; nothing but the old or the new target may remain on it. */
static vmoe_status write_to_disk(const char *folder, unsigned pages, vmoe_error *error)
{
    char options[32], target[300];
    struct stat info;
    vmoe_status status;

    snprintf(options, sizeof options, "size=%u,mode=700", pages * 4096u);
    snprintf(target, sizeof target, "%s/kept.vmoe", folder);
    if (mount("none", folder, "tmpfs", 0, options) != 0)
        _exit(77);
    write_file(target, "old", 3);
    status = write_version(target, 0, error);
    if (status == VMOE_OK ? vmoe_verify_file(target, NULL) != VMOE_OK
                          : stat(target, &info) != 0 || info.st_size != 3)
        _exit(2);
    if (folder_entries(folder) != 1 || umount(folder) != 0)
        _exit(3);
    return status;
}

/* In a child with mounts of its own; ends with 77 if it may not mount. */
static void fill_disks(const char *folder)
{
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_status status = VMOE_ERR_IO;
    unsigned pages;

    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        _exit(77);
    for (pages = 2; status != VMOE_OK && pages < 1000; pages += 3) {
        error = (vmoe_error)VMOE_ERROR_INIT;
        status = write_to_disk(folder, pages, &error);
        if (status != VMOE_OK &&
            (status != VMOE_ERR_IO || strstr(error.text, "No space left") == NULL))
            _exit(4);
    }
    _exit(status == VMOE_OK && pages > 20 ? 0 : 5);
}

static void a_full_disk_is_reported_and_left_clean(void **state)
{
    const char *folder = scratch_path("disk");
    int outcome;
    pid_t child;

    (void)state;
    assert_int_equal(mkdir(folder, 0700), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        fill_disks(folder);
    assert_int_equal(waitpid(child, &outcome, 0), child);
    rmdir(folder);
    if (WIFEXITED(outcome) && WEXITSTATUS(outcome) == 77)
        skip_because("this user may not mount a small disk");
    assert_int_equal(outcome, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_writer_leaves_the_old_or_the_new_file),
        cmocka_unit_test(a_full_disk_is_reported_and_left_clean),
    };

    kills = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : kills;
    return cmocka_run_group_tests_name("writers that end early", tests, NULL, NULL);
}
