/*
 * Address space, open files and stacks that are too small: whatever the limit, each step works or
 * answers with a status; nobody is killed by a signal, and what is enough is found.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "support/child.h"
#include "support/figures.h"
#include "support/support.h"
#include "support/tiny.h"

#define STACK_PROMISE ((size_t)64 << 10) /* that every function works with */

static uint8_t *picture;
static size_t picture_bytes;

/* What a host does below a limit. */
struct use {
    const char *file;
    uint32_t flags, threads;
    bool verifies;
};

static const struct use compact = { "compact.vmoe", 0, 1, true };
static const struct use raw = { "raw.vmoe", 0, 5, false };
static const struct use mapped = { "raw.vmoe", VMOE_LOAD_MMAP, 1, false };

/* The first status that is not VMOE_OK. */
static vmoe_status use_library(const struct use *use)
{
    vmoe_load_options load = VMOE_LOAD_OPTIONS_INIT;
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    const char *path = scratch_path(use->file);
    vmoe_model *model = NULL;
    vmoe_class top[3];
    vmoe_status status = VMOE_OK;

    load.flags = use->flags;
    options.threads = use->threads;
    if (use->verifies)
        status = vmoe_verify_file(path, &error);
    if (status == VMOE_OK)
        status = vmoe_load_file(path, &load, &model, &error);
    if (status == VMOE_OK)
        status = vmoe_classify_jpeg(model, picture, picture_bytes, &options, top, 3, &error);
    vmoe_free(model);
    return status;
}

/* ---- Limits of a process -------------------------------------------------------------------- */

struct limit {
    int resource;
    rlim_t value;
    const struct use *use;
};

static int use_limited(void *context)
{
    const struct limit *limit = context;
    const struct rlimit low = { limit->value, limit->value };

    if (setrlimit((__rlimit_resource_t)limit->resource, &low) != 0)
        return 99;
    return (int)use_library(limit->use);
}

/* The status in a child under a limit; fails the test if the child does not end by itself. */
static vmoe_status use_below(int resource, rlim_t value, const struct use *use)
{
    struct limit limit = { resource, value, use };
    const int outcome = run_in_child(use_limited, &limit);

    if (!WIFEXITED(outcome))
        fail_msg("limit %d of resource %d: signal %d", (int)value, resource, WTERMSIG(outcome));
    assert_int_not_equal(WEXITSTATUS(outcome), 99);
    return (vmoe_status)WEXITSTATUS(outcome);
}

/* From what the process has on, in steps of 64 KiB, until all works. */
static void sweep_address_space(const struct use *use)
{
    const rlim_t begin = figures_address_space();
    unsigned counts[12] = { 0 }, steps = 0;
    vmoe_status status;

    do {
        const rlim_t value = begin + ((rlim_t)steps++ << 16);

        status = use_below(RLIMIT_AS, value, use);
        assert_true(status == VMOE_OK || status == VMOE_ERR_MEMORY || status == VMOE_ERR_THREAD ||
                    status == VMOE_ERR_IO);
        /* Only a mapping is refused by the system as such. */
        assert_true(status != VMOE_ERR_IO || (use->flags & VMOE_LOAD_MMAP));
        counts[status]++;
    } while (status != VMOE_OK && steps < 4000);
    assert_int_equal(status, VMOE_OK);
    assert_true(steps > 2);
    print_message("  %s%s: %u limits; no memory %u, no thread %u, no mapping %u times\n", use->file,
                  use->flags != 0 ? ", mapped" : "", steps, counts[VMOE_ERR_MEMORY],
                  counts[VMOE_ERR_THREAD], counts[VMOE_ERR_IO]);
}

static void any_address_space_is_survived(void **state)
{
    (void)state;
    if (SANITIZED)
        skip_because("not under a sanitizer");
    sweep_address_space(&compact);
    sweep_address_space(&raw);
    sweep_address_space(&mapped);
}

static void any_number_of_files_is_survived(void **state)
{
    vmoe_status status = VMOE_ERR_IO;
    rlim_t files = 0;

    (void)state;
    while (status != VMOE_OK && files < 1000) {
        status = use_below(RLIMIT_NOFILE, files++, &raw);
        assert_true(status == VMOE_OK || status == VMOE_ERR_IO);
    }
    assert_int_equal(status, VMOE_OK);
    assert_true(files > 1);
}

/* The library's own threads have stacks that are large enough, whatever the limit for new ones. */
static void the_stack_limit_does_not_matter(void **state)
{
    (void)state;
    for (rlim_t bytes = 1 << 17; bytes <= 1 << 23; bytes *= 2)
        assert_int_equal(use_below(RLIMIT_STACK, bytes, &raw), VMOE_OK);
}

/* ---- Stacks of the caller ------------------------------------------------------------------- */

static void *use_on_small_stack(void *context)
{
    static const struct use *const uses[] = { &compact, &raw, &mapped };
    vmoe_status status = VMOE_OK;

    for (size_t i = 0; i < 3 && status == VMOE_OK; i++)
        status = use_library(uses[i]);
    if (status == VMOE_OK)
        status = vmoe_import(golden_path("models/gap/model"), scratch_path("imported.vmoe"), NULL,
                             NULL);
    *(vmoe_status *)context = status;
    return context;
}

/* The calling thread of a child has a stack of so many bytes. */
static int use_with_stack(void *context)
{
    const size_t *bytes = context;
    pthread_attr_t attributes;
    pthread_t thread;
    vmoe_status status;

    if (pthread_attr_init(&attributes) != 0 ||
        pthread_attr_setstacksize(&attributes, *bytes) != 0 ||
        pthread_create(&thread, &attributes, use_on_small_stack, &status) != 0 ||
        pthread_join(thread, NULL) != 0)
        return 99;
    return (int)status;
}

static void a_small_stack_is_enough(void **state)
{
    size_t bytes = STACK_PROMISE, less;

    (void)state;
    if (SANITIZED)
        skip_because("not under a sanitizer");
    assert_int_equal(run_in_child(use_with_stack, &bytes), 0);
    for (less = bytes - 4096; less >= (size_t)PTHREAD_STACK_MIN; less -= 4096) {
        if (run_in_child(use_with_stack, &less) != 0)
            break;
        bytes = less;
    }
    print_message("  a stack of %zu KiB was enough\n", bytes >> 10);
}

static int make_input(void **state)
{
    const vmoe_info geometry = medium_info(VMOE_CLASSIFIER_MAP);
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;

    (void)state;
    write_model(&geometry, &options, scratch_path(raw.file));
    options.compact = 1;
    write_model(&geometry, &options, scratch_path(compact.file));
    picture = read_file("examples/demo/pictures/ankle-boot.jpg", &picture_bytes);
    return 0;
}

static int free_input(void **state)
{
    (void)state;
    free(picture);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_address_space_is_survived),
        cmocka_unit_test(any_number_of_files_is_survived),
        cmocka_unit_test(the_stack_limit_does_not_matter),
        cmocka_unit_test(a_small_stack_is_enough),
    };

    return cmocka_run_group_tests_name("limits of the process", tests, make_input, free_input);
}
