/*
 * Every allocation of the process fails, the n-th alone or all from it on: also those of libjpeg,
 * zlib and the C library, which the host's allocator does not see.  A status, nothing leaked, and
 * the next attempt works.  Where malloc cannot be replaced (not glibc, sanitizers) this is skipped.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faults/jobs.h"
#include "runtime/memory.h"
#include "support/fault.h"
#include "support/figures.h"
#include "support/support.h"
#include "support/tiny.h"

/* ---- malloc ---------------------------------------------------------------------------------- */

static atomic_bool armed, persistent;
static atomic_size_t calls, fail_at;
static atomic_long live; /* blocks, of all threads */

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define REPLACES_MALLOC 1

#define FOR_ALL __attribute__((visibility("default"))) /* the libraries too */

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *memory, size_t bytes);
extern void *__libc_memalign(size_t alignment, size_t bytes);
extern void __libc_free(void *memory);

static bool fails(void)
{
    size_t number;

    if (!atomic_load(&armed))
        return false;
    number = atomic_fetch_add(&calls, 1) + 1;
    if (number == atomic_load(&fail_at) ||
        (atomic_load(&persistent) && number > atomic_load(&fail_at))) {
        errno = ENOMEM;
        return true;
    }
    return false;
}

static void *counted(void *memory)
{
    if (memory != NULL)
        atomic_fetch_add(&live, 1);
    return memory;
}

FOR_ALL void *malloc(size_t bytes)
{
    return fails() ? NULL : counted(__libc_malloc(bytes));
}

FOR_ALL void *calloc(size_t count, size_t bytes)
{
    return fails() ? NULL : counted(__libc_calloc(count, bytes));
}

FOR_ALL void *aligned_alloc(size_t alignment, size_t bytes)
{
    return fails() ? NULL : counted(__libc_memalign(alignment, bytes));
}

FOR_ALL int posix_memalign(void **memory, size_t alignment, size_t bytes)
{
    *memory = aligned_alloc(alignment, bytes);
    return *memory != NULL ? 0 : ENOMEM;
}

FOR_ALL void *realloc(void *memory, size_t bytes)
{
    void *moved;

    if (fails())
        return NULL;
    moved = __libc_realloc(memory, bytes);
    return memory == NULL ? counted(moved) : moved;
}

FOR_ALL void free(void *memory)
{
    if (memory != NULL)
        atomic_fetch_sub(&live, 1);
    __libc_free(memory);
}
#else
#define REPLACES_MALLOC 0
#endif

/* ---- Jobs ----------------------------------------------------------------------------------- */

static uint8_t *picture;
static size_t picture_bytes;
static vmoe_model *shared;
static vmoe_class expected[3];

static vmoe_status decode(const vmoe_allocator *allocator, vmoe_error *error)
{
    const vmoe_preprocessing how = { VMOE_PREPROCESS_RESIZE, 16, 0 };
    const vmoe_picture from = { VMOE_PICTURE_JPEG, 0, 0, picture, picture_bytes, 0 };
    uint8_t pixels[16 * 16 * 3];

    (void)allocator;
    return vmoe_preprocess(&how, &from, pixels, sizeof pixels, error);
}

static vmoe_status classify(const vmoe_model *model, uint32_t threads, vmoe_error *error)
{
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_class top[3];
    vmoe_status status;

    options.threads = threads;
    status = vmoe_classify_jpeg(model, picture, picture_bytes, &options, top, 3, error);
    for (int i = 0; i < 3 && status == VMOE_OK; i++) {
        assert_int_equal(top[i].index, expected[i].index);
        assert_memory_equal(&top[i].probability, &expected[i].probability, sizeof(float));
    }
    return status;
}

/* With a workspace that is there already: only the decoder allocates. */
static vmoe_status classify_again(const vmoe_allocator *allocator, vmoe_error *error)
{
    (void)allocator;
    return classify(shared, 1, error);
}

/* A first call, whose threads have to be started. */
static vmoe_status load_and_classify(const vmoe_allocator *allocator, vmoe_error *error)
{
    vmoe_model *model = NULL;
    vmoe_status status = vmoe_load_file(scratch_path(JOB_RAW), NULL, &model, error);

    (void)allocator;
    if (status == VMOE_OK)
        status = classify(model, 3, error);
    vmoe_free(model);
    return status;
}

static const struct named_job picture_jobs[] = {
    { "decode", decode },
    { "classify", classify_again },
    { "load and classify", load_and_classify },
};

/* ---- The loop ------------------------------------------------------------------------------- */

static vmoe_status attempt(job *run, size_t n, bool from_then_on, vmoe_error *error)
{
    vmoe_status status;

    *error = (vmoe_error)VMOE_ERROR_INIT;
    atomic_store(&calls, 0);
    atomic_store(&fail_at, n);
    atomic_store(&persistent, from_then_on);
    atomic_store(&armed, n != 0);
    status = run(&vmoe_memory_default, error);
    atomic_store(&armed, false);
    return status;
}

/*
 * Threads that end leave their stacks and what belongs to them with the C library, which reuses
 * them; so each job has run once before blocks are counted.
 */
static size_t fail_every_allocation(job *run, bool from_then_on)
{
    const struct figures before = figures_now();
    vmoe_error error;
    size_t n = 0;
    long blocks;

    assert_ok(attempt(run, 0, false, &error), error);
    figures_settled(before.threads);
    blocks = atomic_load(&live);
    for (;;) {
        const vmoe_status status = attempt(run, n + 1, from_then_on, &error);
        const bool reached = atomic_load(&calls) > n;
        struct figures after = figures_settled(before.threads);

        if (!reached) {
            assert_ok(status, error);
            return n;
        }
        n++;
        if (status != VMOE_OK)
            assert_true(status == VMOE_ERR_MEMORY || status == VMOE_ERR_THREAD);
        assert_int_equal(status, error.status);
        assert_int_equal(after.files, before.files);
        assert_int_equal(after.threads, before.threads);
        assert_int_equal(atomic_load(&live), blocks);
        assert_ok(attempt(run, 0, false, &error), error);
    }
}

static void fail_jobs(const struct named_job *jobs, size_t count)
{
    if (!REPLACES_MALLOC)
        skip_because("malloc cannot be replaced here");
    for (size_t i = 0; i < count; i++) {
        const size_t once = fail_every_allocation(jobs[i].run, false);
        const size_t then_on = fail_every_allocation(jobs[i].run, true);

        print_message("  %-18s %zu allocations failed once, %zu with all after them\n",
                      jobs[i].name, once, then_on);
        assert_true(once >= 2 && then_on >= 2);
    }
}

static void every_failing_allocation_of_a_file_is_a_status(void **state)
{
    (void)state;
    fail_jobs(file_jobs, FILE_JOBS);
}

static void every_failing_allocation_of_a_picture_is_a_status(void **state)
{
    (void)state;
    fail_jobs(picture_jobs, sizeof picture_jobs / sizeof picture_jobs[0]);
}

static int make_input(void **state)
{
    (void)state;
    jobs_begin();
    picture = read_file("examples/demo/pictures/ankle-boot.jpg", &picture_bytes);
    shared = must_load(scratch_path(JOB_RAW), NULL);
    return vmoe_classify_jpeg(shared, picture, picture_bytes, NULL, expected, 3, NULL);
}

static int free_input(void **state)
{
    (void)state;
    vmoe_free(shared);
    free(picture);
    jobs_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failing_allocation_of_a_file_is_a_status),
        cmocka_unit_test(every_failing_allocation_of_a_picture_is_a_status),
    };

    return cmocka_run_group_tests_name("allocations that fail", tests, make_input, free_input);
}
