/*
 * Memory and the allocator of the host: every allocation may fail, nothing leaks, nobody relies on
 * what fresh memory holds, and a second call of the same shape allocates nothing at all.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "runtime/memory.h"
#include "runtime/pool.h"
#include "support/answer.h"
#include "support/fault.h"
#include "support/figures.h"
#include "support/support.h"
#include "support/tiny.h"

#define IMAGES 3u

/* ---- Every allocation of the process -------------------------------------------------------- */

/* Counted where malloc can be replaced: with glibc, and not under a sanitizer. */
static atomic_size_t mallocs;

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COUNTS_MALLOCS 1

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *memory, size_t bytes);
extern void *__libc_memalign(size_t alignment, size_t bytes);

void *malloc(size_t bytes)
{
    atomic_fetch_add(&mallocs, 1);
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    atomic_fetch_add(&mallocs, 1);
    return __libc_calloc(count, bytes);
}

void *realloc(void *memory, size_t bytes)
{
    atomic_fetch_add(&mallocs, 1);
    return __libc_realloc(memory, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    atomic_fetch_add(&mallocs, 1);
    return __libc_memalign(alignment, bytes);
}

int posix_memalign(void **memory, size_t alignment, size_t bytes)
{
    *memory = aligned_alloc(alignment, bytes);
    return *memory != NULL ? 0 : ENOMEM;
}
#else
#define COUNTS_MALLOCS 0
#endif

static size_t own_threads;

static void *do_nothing(void *unused)
{
    return unused;
}

/* Counts the threads there are without the library; some sanitizers add one with the first. */
static int count_own_threads(void **state)
{
    pthread_t thread;

    (void)state;
    if (pthread_create(&thread, NULL, do_nothing, NULL) != 0 || pthread_join(thread, NULL) != 0)
        return -1;
    usleep(50000);
    own_threads = figures_now().threads;
    return 0;
}

static void assert_no_thread_is_left(void)
{
    assert_int_equal(figures_settled(own_threads).threads, own_threads);
}

static void make_all_ones(const char *name, uint64_t first, uint64_t count, float *values)
{
    (void)name;
    (void)first;
    for (uint64_t i = 0; i < count; i++)
        values[i] = 1.0f;
}

/* ---- Loading when memory is short ----------------------------------------------------------- */

struct scenario {
    const char *name, *file;
    uint32_t flags;
    bool from_memory;
};

static const struct scenario scenarios[] = {
    { "raw file", "raw.vmoe", 0, false },
    { "compact file", "compact.vmoe", 0, false },
    { "mapped raw file", "raw.vmoe", VMOE_LOAD_MMAP, false },
    { "mapped compact file", "compact.vmoe", VMOE_LOAD_MMAP, false },
    { "raw memory", "raw.vmoe", 0, true },
    { "compact memory", "compact.vmoe", 0, true },
    { "raw memory in place", "raw.vmoe", VMOE_LOAD_MMAP, true },
};

static void write_files(void)
{
    static const char *const labels[] = { "a", "b", "c", "d", "e" };
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;

    options.labels = labels;
    options.label_count = 5;
    write_model(&geometry, &options, scratch_path("raw.vmoe"));
    options.compact = 1;
    write_model(&geometry, &options, scratch_path("compact.vmoe"));
}

static vmoe_status load_scenario(const struct scenario *scenario, struct fault *fault,
                                 const void *memory, size_t bytes, vmoe_model **model,
                                 vmoe_error *error)
{
    vmoe_load_options options = VMOE_LOAD_OPTIONS_INIT;

    options.flags = scenario->flags;
    options.allocator = &fault->allocator;
    return scenario->from_memory ? vmoe_load_memory(memory, bytes, &options, model, error)
                                 : vmoe_load_file(scratch_path(scenario->file), &options, model,
                                                  error);
}

static void check_load_scenario(const struct scenario *scenario, bool persistent)
{
    const size_t files = fault_open_files();
    vmoe_status status = VMOE_ERR_MEMORY;
    size_t bytes, failures = 0;
    void *file = read_file(scratch_path(scenario->file), &bytes), *memory;

    assert_int_equal(posix_memalign(&memory, 64, bytes), 0);
    memcpy(memory, file, bytes);
    for (size_t n = 1; status != VMOE_OK; n++) {
        vmoe_error error = VMOE_ERROR_INIT;
        vmoe_model *model = NULL;
        struct fault fault;

        fault_init(&fault, n, persistent);
        status = load_scenario(scenario, &fault, memory, bytes, &model, &error);
        if (status == VMOE_OK) {
            vmoe_free(model);
        } else {
            assert_refused(status, error, VMOE_ERR_MEMORY, "");
            assert_null(model);
            failures++;
        }
        assert_int_equal(fault.live, 0);
        assert_int_equal(fault_open_files(), files);
        /* The library was not harmed: the next attempt works. */
        fault_init(&fault, 0, false);
        assert_ok(load_scenario(scenario, &fault, memory, bytes, &model, &error), error);
        vmoe_free(model);
        assert_int_equal(fault.live, 0);
    }
    assert_no_thread_is_left();
    assert_true(failures >= 5);
    print_message("  %-20s %zu allocations, each failed %s\n", scenario->name, failures,
                  persistent ? "with all after it" : "once");
    free(file);
    free(memory);
}

static void loading_survives_every_failing_allocation(void **state)
{
    (void)state;
    write_files();
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
        check_load_scenario(&scenarios[i], false);
        check_load_scenario(&scenarios[i], true);
    }
}

/* ---- Running when memory is short ----------------------------------------------------------- */

static void check_run_failures(bool persistent)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    float *images = make_images(&geometry, IMAGES);
    vmoe_model *plain;
    struct answer expected;
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_status status = VMOE_ERR_MEMORY;
    size_t failures = 0;

    write_files();
    plain = must_load(scratch_path("raw.vmoe"), NULL);
    options.threads = 3;
    expected = must_answer(plain, images, IMAGES, &options);
    vmoe_free(plain);
    for (size_t n = 1; status != VMOE_OK; n++) {
        vmoe_error error = VMOE_ERROR_INIT;
        vmoe_model *model;
        struct answer answer;
        struct fault fault;

        fault_init(&fault, 0, persistent);
        assert_ok(load_scenario(&scenarios[0], &fault, NULL, 0, &model, &error), error);
        fault.fail_at = fault.calls + n;
        status = answer_run(model, images, IMAGES, &options, &answer, &error);
        if (status == VMOE_OK) {
            answer_free(&answer);
        } else {
            assert_refused(status, error, VMOE_ERR_MEMORY, "");
            failures++;
        }
        fault.fail_at = 0;
        answer = must_answer(model, images, IMAGES, &options);
        assert_same_answer(&expected, &answer);
        answer_free(&answer);
        vmoe_free(model);
        assert_int_equal(fault.live, 0);
        assert_no_thread_is_left();
    }
    print_message("  vmoe_run             %zu allocations, each failed %s\n", failures,
                  persistent ? "with all after it" : "once");
    assert_true(failures >= 2);
    answer_free(&expected);
    free(images);
}

static void running_survives_every_failing_allocation(void **state)
{
    (void)state;
    check_run_failures(false);
    check_run_failures(true);
}

/* A workspace that cannot grow for a large call is still there, or replaced, for a small one. */
static void a_call_too_large_for_memory_harms_no_other(void **state)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    float *images = make_images(&geometry, 40);
    vmoe_error error = VMOE_ERROR_INIT;
    struct answer first, again, large;
    struct fault fault;
    vmoe_model *model;

    (void)state;
    write_files();
    fault_init(&fault, 0, false);
    assert_ok(load_scenario(&scenarios[0], &fault, NULL, 0, &model, &error), error);
    first = must_answer(model, images, IMAGES, NULL);
    for (size_t n = 1; n <= 3; n++) {
        fault.fail_at = fault.calls + n;
        if (answer_run(model, images, 40, NULL, &large, &error) == VMOE_OK)
            answer_free(&large);
        else
            assert_refused(error.status, error, VMOE_ERR_MEMORY, "workspace");
        again = must_answer(model, images, IMAGES, NULL);
        assert_same_answer(&first, &again);
        answer_free(&again);
    }
    answer_free(&first);
    vmoe_free(model);
    assert_int_equal(fault.live, 0);
    free(images);
}

/* ---- Mappings ------------------------------------------------------------------------------- */

/* True if a file of this name is mapped into the process. */
static bool is_mapped(const char *name)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    bool found = false;
    char line[1024];

    assert_non_null(maps);
    while (!found && fgets(line, sizeof line, maps) != NULL)
        found = strstr(line, name) != NULL;
    fclose(maps);
    return found;
}

/* What is asked to be mapped is, while the model lives; a compact file has nothing to map. */
static void only_raw_files_are_mapped(void **state)
{
    const size_t files = fault_open_files();
    vmoe_load_options options = VMOE_LOAD_OPTIONS_INIT;
    vmoe_model *model;

    (void)state;
    write_files();
    model = must_load(scratch_path("raw.vmoe"), &options);
    assert_false(is_mapped("raw.vmoe"));
    vmoe_free(model);
    options.flags = VMOE_LOAD_MMAP;
    model = must_load(scratch_path("compact.vmoe"), &options);
    assert_false(is_mapped("compact.vmoe"));
    vmoe_free(model);
    model = must_load(scratch_path("raw.vmoe"), &options);
    assert_true(is_mapped("raw.vmoe"));
    assert_int_equal(fault_open_files(), files);
    vmoe_free(model);
    assert_false(is_mapped("raw.vmoe"));
}

/* The host may replace a mapped file by rename, and remove it. */
static void a_mapped_file_may_be_replaced(void **state)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    float *images = make_images(&geometry, IMAGES);
    vmoe_load_options options = VMOE_LOAD_OPTIONS_INIT;
    struct answer before, after;
    vmoe_model *model;

    (void)state;
    write_files();
    options.flags = VMOE_LOAD_MMAP;
    model = must_load(scratch_path("raw.vmoe"), &options);
    before = must_answer(model, images, IMAGES, NULL);
    write_source(changed_source(&geometry, make_all_ones), NULL, scratch_path("raw.vmoe"));
    after = must_answer(model, images, IMAGES, NULL);
    assert_same_answer(&before, &after);
    answer_free(&after);
    unlink(scratch_path("raw.vmoe"));
    after = must_answer(model, images, IMAGES, NULL);
    assert_same_answer(&before, &after);
    answer_free(&before);
    answer_free(&after);
    vmoe_free(model);
    free(images);
}

/* ---- Threads ------------------------------------------------------------------------------ */

/* No address space for the stacks of 255 threads; sanitizers need more than a limit allows. */
static void start_too_many_threads(void)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    float *images = make_images(&geometry, IMAGES);
    vmoe_model *model = make_model(&geometry, VMOE_PRECISION_F32);
    const vmoe_info info = info_of(model);
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_cost cost = VMOE_COST_INIT;
    struct answer expected, answer;
    struct rlimit old, limit;
    vmoe_status status;

    expected = must_answer(model, images, IMAGES, NULL);
    assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
    limit = old;
    options.threads = 256;
    assert_ok(vmoe_get_cost(&info, &options, IMAGES, &cost, &error), error);
    limit.rlim_cur = figures_address_space() + cost.workspace_bytes + (32 << 20);
    assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
    status = answer_run(model, images, IMAGES, &options, &answer, &error);
    setrlimit(RLIMIT_AS, &old);
    assert_refused(status, error, VMOE_ERR_THREAD, "options.threads");
    assert_no_thread_is_left();
    answer = must_answer(model, images, IMAGES, &options);
    assert_same_answer(&expected, &answer);
    answer_free(&expected);
    answer_free(&answer);
    vmoe_free(model);
    free(images);
    assert_no_thread_is_left();
}

static void threads_that_cannot_start_are_reported(void **state)
{
    (void)state;
    if (SANITIZED)
        skip_because("not under a sanitizer");
    start_too_many_threads();
}

/* ---- What fresh memory holds ---------------------------------------------------------------- */

/* The allocator of the tests fills memory with NaN and what is released with 0x5A. */
static void nobody_relies_on_fresh_memory(void **state)
{
    (void)state;
    for (uint32_t classifier = VMOE_CLASSIFIER_TOKEN; classifier <= VMOE_CLASSIFIER_MAP;
         classifier++) {
        const vmoe_info geometry = medium_info(classifier);
        float *images = make_images(&geometry, IMAGES);
        const char *path = scratch_path("fresh.vmoe");

        for (int compact = 0; compact <= 1; compact++) {
            vmoe_import_options as = VMOE_IMPORT_OPTIONS_INIT;
            vmoe_load_options options = VMOE_LOAD_OPTIONS_INIT;
            struct answer plain, filled;
            vmoe_model *model;
            struct fault fault;

            as.precision = VMOE_PRECISION_INT8;
            as.compact = (uint32_t)compact;
            write_model(&geometry, &as, path);
            model = must_load(path, NULL);
            plain = must_answer(model, images, IMAGES, NULL);
            vmoe_free(model);
            fault_init(&fault, 0, false);
            options.allocator = &fault.allocator;
            model = must_load(path, &options);
            filled = must_answer(model, images, IMAGES, NULL);
            assert_same_answer(&plain, &filled);
            answer_free(&plain);
            answer_free(&filled);
            vmoe_free(model);
            assert_int_equal(fault.live, 0);
        }
        free(images);
    }
}

/* ---- What is asked for ---------------------------------------------------------------------- */

/* Watches the requests of a single-threaded host. */
struct watch {
    vmoe_allocator allocator;
    pthread_t owner;
    size_t requests, largest;
    bool foreign, misaligned;
};

static void *watch_alloc(void *context, size_t bytes, size_t alignment)
{
    struct watch *watch = context;
    void *memory = NULL;

    watch->requests++;
    watch->largest = bytes > watch->largest ? bytes : watch->largest;
    watch->foreign |= !pthread_equal(watch->owner, pthread_self());
    watch->misaligned |= alignment != 64;
    return posix_memalign(&memory, alignment, bytes) == 0 ? memory : NULL;
}

static void watch_release(void *context, void *memory)
{
    struct watch *watch = context;

    watch->foreign |= !pthread_equal(watch->owner, pthread_self());
    free(memory);
}

static void watch_init(struct watch *watch)
{
    memset(watch, 0, sizeof *watch);
    watch->allocator = (vmoe_allocator){ watch_alloc, watch_release, watch };
    watch->owner = pthread_self();
}

/* The call with everything in place, so that only the library allocates. */
struct call {
    const vmoe_model *model;
    vmoe_input input;
    vmoe_options options;
    vmoe_output output;
};

static void run_again(const struct call *call, struct watch *watch, bool allocates)
{
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_status status;
    size_t before;

    watch->requests = 0;
    before = atomic_load(&mallocs);
    status = vmoe_run(call->model, &call->input, &call->options, &call->output, &error);
    before = atomic_load(&mallocs) - before;
    assert_ok(status, error);
    if (allocates) {
        assert_true(watch->requests > 0);
    } else {
        assert_int_equal(watch->requests, 0);
        assert_int_equal(before, 0);
    }
}

static void a_second_call_allocates_nothing(void **state)
{
    const vmoe_info geometry = medium_info(VMOE_CLASSIFIER_TOKEN);
    vmoe_load_options load = VMOE_LOAD_OPTIONS_INIT;
    float *images = make_images(&geometry, 8), logits[8 * 17], features[8 * 40];
    vmoe_class top[8 * 3];
    uint8_t pixels[40 * 30 * 3];
    vmoe_picture pictures[8];
    vmoe_report report = VMOE_REPORT_INIT;
    struct watch watch;
    struct call call = { .input = VMOE_INPUT_INIT,
                         .options = VMOE_OPTIONS_INIT,
                         .output = VMOE_OUTPUT_INIT };
    vmoe_model *model;
    size_t before;

    (void)state;
    write_model(&geometry, NULL, scratch_path("second.vmoe"));
    watch_init(&watch);
    load.allocator = &watch.allocator;
    call.model = model = must_load(scratch_path("second.vmoe"), &load);
    call.options.threads = 3;
    call.input.images = 8;
    call.input.tensor = images;
    call.input.length = 8 * image_values(&geometry);
    call.output.logits = logits;
    call.output.logits_length = 8 * 17;
    call.output.features = features;
    call.output.features_length = 8 * 40;
    call.output.top = top;
    call.output.top_count = 3;
    call.output.top_length = 8 * 3;
    call.output.report = &report;
    run_again(&call, &watch, true);
    for (int i = 0; i < 3; i++)
        run_again(&call, &watch, false);

    /* Nor does one with another dial, with fewer threads, or with pictures. */
    call.options.capacity = 0.5;
    call.options.priority = VMOE_PRIORITY_BPR_MAX;
    call.options.threads = 2;
    run_again(&call, &watch, false);
    memset(pixels, 77, sizeof pixels);
    for (size_t i = 0; i < 8; i++)
        pictures[i] = (vmoe_picture){ VMOE_PICTURE_RGB8, 40, 30, pixels, sizeof pixels, 0 };
    call.input.tensor = NULL;
    call.input.length = 0;
    call.input.pictures = pictures;
    run_again(&call, &watch, false);
    call.input.images = 2;
    call.output.logits_length = 2 * 17;
    call.output.features_length = 2 * 40;
    call.output.top_length = 2 * 3;
    run_again(&call, &watch, false);

    assert_false(watch.foreign);
    assert_false(watch.misaligned);
    before = atomic_load(&mallocs);
    free(make_images(&geometry, 1));
    assert_int_equal(atomic_load(&mallocs) - before, COUNTS_MALLOCS);
    if (!COUNTS_MALLOCS)
        print_message("  (malloc itself was not watched in this build)\n");
    vmoe_free(model);
    assert_false(watch.foreign);
    free(images);
}

struct pair {
    const vmoe_model *model;
    const float *images;
    float *logits;
    size_t inner; /* images of the call in the middle of another, which has 1 */
};

static void call_within(void *context, uint64_t done, uint64_t total)
{
    const struct pair *pair = context;
    vmoe_error error = VMOE_ERROR_INIT;

    (void)done, (void)total;
    assert_ok(vmoe_logits_f32(pair->model, pair->images, pair->inner, NULL, pair->logits, &error),
              error);
}

/* Two calls at a time, the larger within the smaller, leave the smaller workspace on top. */
static void every_call_finds_its_workspace_wherever_it_lies(void **state)
{
    const vmoe_info geometry = medium_info(VMOE_CLASSIFIER_TOKEN);
    vmoe_load_options load = VMOE_LOAD_OPTIONS_INIT;
    float *images = make_images(&geometry, 8), outer[17], inner[8 * 17];
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    struct pair pair = { .images = images, .logits = inner, .inner = 8 };
    struct fault fault;
    vmoe_model *model;
    size_t calls;

    (void)state;
    write_model(&geometry, NULL, scratch_path("pair.vmoe"));
    fault_init(&fault, 0, false);
    load.allocator = &fault.allocator;
    pair.model = model = must_load(scratch_path("pair.vmoe"), &load);
    options.progress = call_within;
    options.progress_context = &pair;
    assert_ok(vmoe_logits_f32(model, images, 1, &options, outer, &error), error);
    calls = fault.calls;
    assert_ok(vmoe_logits_f32(model, images, 8, NULL, inner, &error), error);
    assert_int_equal(fault.calls, calls);
    /* Now the larger is on top, but the smaller call must leave it. */
    assert_ok(vmoe_logits_f32(model, images, 1, &options, outer, &error), error);
    assert_int_equal(fault.calls, calls);
    vmoe_free(model);
    assert_int_equal(fault.live, 0);
    free(images);
}

/* Only the library's own allocator gains by more than a line of the cache, for large blocks. */
static void a_host_is_asked_for_an_alignment_of_64(void **state)
{
    const size_t huge = (size_t)2 << 20;
    vmoe_load_options load = VMOE_LOAD_OPTIONS_INIT;
    vmoe_info geometry = medium_info(VMOE_CLASSIFIER_TOKEN);
    float *images = make_images(&geometry, IMAGES);
    struct answer answer;
    struct watch watch;
    vmoe_model *model;
    void *own;

    (void)state;
    geometry.width = 192;
    geometry.mlp = 768;
    write_model(&geometry, NULL, scratch_path("large.vmoe"));
    watch_init(&watch);
    load.allocator = &watch.allocator;
    model = must_load(scratch_path("large.vmoe"), &load);
    answer = must_answer(model, images, IMAGES, NULL);
    assert_true(watch.largest > huge);
    assert_false(watch.misaligned);
    own = vmoe_memory_take(&vmoe_memory_default, huge);
    assert_non_null(own);
    assert_int_equal((uintptr_t)own % huge, 0);
    vmoe_memory_release(&vmoe_memory_default, own);
    answer_free(&answer);
    vmoe_free(model);
    free(images);
}

/* An allocator that takes the alignment for that of malloc, from some request on. */
struct careless {
    vmoe_allocator allocator;
    size_t requests, careful; /* so far, and those that are met */
    size_t live;
};

#define SHIFT ((size_t)16)

static void *careless_alloc(void *context, size_t bytes, size_t alignment)
{
    struct careless *careless = context;
    char *memory = NULL;

    if (posix_memalign((void **)&memory, alignment, bytes + alignment) != 0)
        return NULL;
    careless->live++;
    return careless->requests++ < careless->careful ? memory : memory + SHIFT;
}

static void careless_release(void *context, void *memory)
{
    struct careless *careless = context;

    careless->live--;
    free((char *)memory - (uintptr_t)memory % 64);
}

static void memory_that_is_not_aligned_is_not_used(void **state)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    float *images = make_images(&geometry, 1), logits[5];
    vmoe_status status = VMOE_ERR_MEMORY;
    unsigned loaded = 0;

    (void)state;
    write_model(&geometry, NULL, scratch_path("careless.vmoe"));
    for (size_t careful = 0; status != VMOE_OK; careful++) {
        struct careless careless = { { careless_alloc, careless_release, &careless }, 0, careful,
                                     0 };
        vmoe_load_options load = VMOE_LOAD_OPTIONS_INIT;
        vmoe_model *model;

        load.allocator = &careless.allocator;
        status = vmoe_load_file(scratch_path("careless.vmoe"), &load, &model, NULL);
        loaded += status == VMOE_OK;
        if (status == VMOE_OK)
            status = vmoe_logits_f32(model, images, 1, NULL, logits, NULL);
        vmoe_free(model);
        assert_int_equal(careless.live, 0);
        assert_true(status == VMOE_OK || status == VMOE_ERR_MEMORY);
        assert_true(status == VMOE_OK || careless.requests == careful + 1);
    }
    assert_true(loaded > 1);
    free(images);
}

/* The smallest that is large enough, or else the largest, which grows. */
static void a_call_gets_the_workspace_that_fits_best(void **state)
{
    static const uint64_t bytes[] = { 4096, 1024, 2048 };
    static const struct {
        uint64_t bytes;
        size_t expected;
    } cases[] = { { 4096, 0 }, { 2048, 2 }, { 1024, 1 }, { 2048, 2 }, { 1025, 2 }, { 4096, 0 },
                  { 1024, 1 }, { 2049, 0 }, { 0, 1 }, { 4097, 0 } };
    struct vmoe_workspace *made[3], *taken;
    struct vmoe_pool *pool;

    (void)state;
    assert_int_equal(vmoe_pool_create(&vmoe_memory_default, &pool, NULL), VMOE_OK);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(vmoe_pool_take(pool, bytes[i], 1, &made[i], NULL), VMOE_OK);
    for (size_t i = 0; i < 3; i++)
        vmoe_pool_give(pool, made[i]);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(vmoe_pool_take(pool, cases[i].bytes, 1, &taken, NULL), VMOE_OK);
        assert_ptr_equal(taken, made[cases[i].expected]);
        assert_true(taken->bytes >= cases[i].bytes);
        vmoe_pool_give(pool, taken);
    }
    vmoe_pool_destroy(pool);
}

/* What malloc(0) answers differs from host to host. */
static void a_host_is_never_asked_for_nothing(void **state)
{
    struct fault fault;
    void *memory;

    (void)state;
    fault_init(&fault, 0, false);
    memory = vmoe_memory_take(&fault.allocator, 0);
    assert_non_null(memory);
    assert_int_equal(fault.live, 1);
    vmoe_memory_release(&fault.allocator, memory);
}

static void a_size_that_would_wrap_is_refused(void **state)
{
    struct vmoe_arena arena = { 0 }, full = { 0 };

    (void)state;
    assert_null(vmoe_memory_take(&vmoe_memory_default, UINT64_MAX));
    assert_null(vmoe_memory_take(&vmoe_memory_default, UINT64_MAX - VMOE_ALIGNMENT));
    (void)vmoe_arena_take(&arena, 1, UINT64_MAX);
    assert_true(arena.overflow);
    (void)vmoe_arena_take(&full, 1, UINT64_MAX - VMOE_ALIGNMENT + 1);
    assert_false(full.overflow);
    (void)vmoe_arena_take(&full, 1, 1);
    assert_true(full.overflow);
}

/*
 * A load never holds a weight twice: its peak is the block of weights, the header and, in a compact
 * file, a few chunks, far below the 16 MB that are promised.
 */
static void a_load_takes_the_weights_and_little_more(void **state)
{
    const size_t extra = (size_t)4 << 20;
    vmoe_info geometry = medium_info(VMOE_CLASSIFIER_TOKEN);
    vmoe_import_options as = VMOE_IMPORT_OPTIONS_INIT;

    (void)state;
    geometry.width = 192;
    geometry.mlp = 768;
    as.precision = VMOE_PRECISION_F32;
    for (uint32_t compact = 0; compact <= 1; compact++) {
        as.compact = compact;
        write_model(&geometry, &as, scratch_path("peak.vmoe"));
        for (uint32_t flags = 0; flags <= VMOE_LOAD_MMAP; flags += VMOE_LOAD_MMAP) {
            const bool maps = flags == VMOE_LOAD_MMAP && !compact;
            vmoe_load_options options = VMOE_LOAD_OPTIONS_INIT;
            vmoe_model *model;
            struct fault fault;
            size_t weights;

            fault_init(&fault, 0, false);
            options.flags = flags;
            options.allocator = &fault.allocator;
            model = must_load(scratch_path("peak.vmoe"), &options);
            weights = (size_t)info_of(model).weight_bytes;
            assert_true(weights > 3 * extra);
            assert_in_range(fault.peak, maps ? 0 : weights, (maps ? 0 : weights) + extra);
            vmoe_free(model);
            assert_int_equal(fault.live, 0);
        }
    }
}

/* A call of the model in cost.vmoe takes what its cost tells. */
static void check_workspace(const float *images, size_t count, const vmoe_options *options)
{
    vmoe_load_options load = VMOE_LOAD_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_cost cost = VMOE_COST_INIT;
    struct answer answer;
    struct watch watch;
    vmoe_model *model;
    vmoe_info info;

    watch_init(&watch);
    load.allocator = &watch.allocator;
    model = must_load(scratch_path("cost.vmoe"), &load);
    info = info_of(model);
    assert_ok(vmoe_get_cost(&info, options, count, &cost, &error), error);
    watch.largest = 0;
    answer = must_answer(model, images, count, options);
    assert_int_equal(watch.largest, cost.workspace_bytes);
    answer_free(&answer);
    vmoe_free(model);
}

static void the_workspace_has_the_size_that_the_cost_tells(void **state)
{
    static const size_t counts[] = { 1, 2, 7, 60, 61, 500 };
    const size_t most = counts[sizeof counts / sizeof counts[0] - 1];

    (void)state;
    for (uint32_t kind = 0; kind < 6; kind++) {
        vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN + kind % 3);
        float *images = make_images(&geometry, most);

        geometry.members = 1 + kind / 3;
        write_model(&geometry, NULL, scratch_path("cost.vmoe"));
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
            for (uint32_t threads = 1; threads <= 4; threads += 3) {
                vmoe_options options = VMOE_OPTIONS_INIT;

                options.threads = threads;
                options.experts_per_token = geometry.members == 1 ? 3 : 2;
                options.group_images = i % 2 ? VMOE_GROUP_ALL : 1;
                check_workspace(images, counts[i], &options);
            }
        }
        free(images);
    }
}

/*
 * A call of many images is worked through in slices of 409 images or fewer, so its workspace stops
 * growing.
 */
static void the_workspace_does_not_grow_with_the_images(void **state)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    vmoe_model *model = make_model(&geometry, VMOE_PRECISION_F32);
    const vmoe_info info = info_of(model);
    vmoe_cost slice = VMOE_COST_INIT;
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    assert_ok(vmoe_get_cost(&info, NULL, 409, &slice, &error), error);
    for (size_t images = 410; images < 2000000; images += images / 7) {
        vmoe_cost cost = VMOE_COST_INIT;

        assert_ok(vmoe_get_cost(&info, NULL, images, &cost, &error), error);
        assert_true(cost.workspace_bytes <= slice.workspace_bytes);
        assert_true(cost.workspace_bytes > slice.workspace_bytes / 2);
    }
    vmoe_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loading_survives_every_failing_allocation),
        cmocka_unit_test(running_survives_every_failing_allocation),
        cmocka_unit_test(a_call_too_large_for_memory_harms_no_other),
        cmocka_unit_test(only_raw_files_are_mapped),
        cmocka_unit_test(a_mapped_file_may_be_replaced),
        cmocka_unit_test(threads_that_cannot_start_are_reported),
        cmocka_unit_test(nobody_relies_on_fresh_memory),
        cmocka_unit_test(a_second_call_allocates_nothing),
        cmocka_unit_test(every_call_finds_its_workspace_wherever_it_lies),
        cmocka_unit_test(a_host_is_asked_for_an_alignment_of_64),
        cmocka_unit_test(memory_that_is_not_aligned_is_not_used),
        cmocka_unit_test(a_call_gets_the_workspace_that_fits_best),
        cmocka_unit_test(a_host_is_never_asked_for_nothing),
        cmocka_unit_test(a_size_that_would_wrap_is_refused),
        cmocka_unit_test(a_load_takes_the_weights_and_little_more),
        cmocka_unit_test(the_workspace_has_the_size_that_the_cost_tells),
        cmocka_unit_test(the_workspace_does_not_grow_with_the_images),
    };

    return cmocka_run_group_tests_name("memory", tests, count_own_threads, NULL);
}
