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

#include "faults/figures.h"
#include "support/fault.h"
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

static const char *const raw = "raw.vmoe", *const compact = "compact.vmoe", *const kept = "kept";

static uint8_t *picture;
static size_t picture_bytes;
static vmoe_model *shared;
static vmoe_class expected[3];

typedef vmoe_status job(vmoe_error *error);

static vmoe_status load(const char *name, uint32_t flags, vmoe_error *error)
{
    vmoe_load_options options = VMOE_LOAD_OPTIONS_INIT;
    vmoe_model *model = shared;
    vmoe_status status;

    options.flags = flags;
    status = vmoe_load_file(scratch_path(name), &options, &model, error);
    assert_true(status == VMOE_OK || model == NULL);
    vmoe_free(model);
    return status;
}

static vmoe_status load_raw(vmoe_error *error)
{
    return load(raw, 0, error);
}

static vmoe_status load_compact(vmoe_error *error)
{
    return load(compact, 0, error);
}

static vmoe_status load_mapped(vmoe_error *error)
{
    return load(raw, VMOE_LOAD_MMAP, error);
}

static vmoe_status verify(vmoe_error *error)
{
    return vmoe_verify_file(scratch_path(compact), error);
}

static vmoe_status import(vmoe_error *error)
{
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;

    options.precision = VMOE_PRECISION_INT8;
    options.compact = 1;
    return vmoe_import(golden_path("models/gap/model"), scratch_path(kept), &options, error);
}

static vmoe_status decode(vmoe_error *error)
{
    const vmoe_preprocessing how = { VMOE_PREPROCESS_RESIZE, 16, 0 };
    const vmoe_picture from = { VMOE_PICTURE_JPEG, 0, 0, picture, picture_bytes, 0 };
    uint8_t pixels[16 * 16 * 3];

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
static vmoe_status classify_again(vmoe_error *error)
{
    return classify(shared, 1, error);
}

/* A first call, whose threads have to be started. */
static vmoe_status load_and_classify(vmoe_error *error)
{
    vmoe_model *model = NULL;
    vmoe_status status = vmoe_load_file(scratch_path(raw), NULL, &model, error);

    if (status == VMOE_OK)
        status = classify(model, 3, error);
    vmoe_free(model);
    return status;
}

static const struct {
    const char *name;
    job *run;
} jobs[] = {
    { "load", load_raw },
    { "load, compact", load_compact },
    { "load, mapped", load_mapped },
    { "verify", verify },
    { "import", import },
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
    status = run(error);
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

static void every_failing_allocation_is_a_status(void **state)
{
    (void)state;
    if (!REPLACES_MALLOC)
        skip();
    for (size_t i = 0; i < sizeof jobs / sizeof jobs[0]; i++) {
        const size_t once = fail_every_allocation(jobs[i].run, false);
        const size_t then_on = fail_every_allocation(jobs[i].run, true);

        print_message("  %-18s %zu allocations failed once, %zu with all after them\n",
                      jobs[i].name, once, then_on);
        assert_true(once >= 2 && then_on >= 2);
    }
}

static int make_input(void **state)
{
    const vmoe_info geometry = medium_info(VMOE_CLASSIFIER_TOKEN);
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;

    (void)state;
    write_model(&geometry, &options, scratch_path(raw));
    options.compact = 1;
    write_model(&geometry, &options, scratch_path(compact));
    picture = read_file("examples/demo/pictures/ankle-boot.jpg", &picture_bytes);
    shared = must_load(scratch_path(raw), NULL);
    return vmoe_classify_jpeg(shared, picture, picture_bytes, NULL, expected, 3, NULL);
}

static int free_input(void **state)
{
    (void)state;
    vmoe_free(shared);
    free(picture);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failing_allocation_is_a_status),
    };

    return cmocka_run_group_tests_name("allocations that fail", tests, make_input, free_input);
}
