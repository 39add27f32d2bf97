/*
 * A call among others: it can be watched and cancelled, called from within another, and given its
 * images in three ways; its threads leave the host's signals and CPU alone, and sleep if they can.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "run.h"
#include "runtime/cpu.h"
#include "runtime/team.h"
#include "support/answer.h"
#include "support/call.h"
#include "support/support.h"
#include "support/tiny.h"

/*
 * With 10 tokens an image, a call of this many is worked through in five slices: four of 400 images
 * and one of 399.
 */
#define MANY 1999u
#define SLICES 5u

static float *many_images;

static int make_many(void **state)
{
    call_make(state);
    many_images = make_images(&call.info, MANY);
    return 0;
}

static int free_many(void **state)
{
    free(many_images);
    return call_free(state);
}

/* ---- Progress and cancelling ---------------------------------------------------------------- */

/* What a progress callback does and sees. */
struct watcher {
    uint64_t calls, done;
    bool wrong;
    uint64_t cancel_at; /* the call that sets the flag */
    int32_t cancel;
    bool wait; /* for somebody else to set it */
    pthread_t owner;
    const vmoe_model *reenter;
};

static void watch(void *context, uint64_t done, uint64_t total)
{
    struct watcher *watcher = context;

    watcher->wrong |= done <= watcher->done || done > total || total != MANY ||
                      !pthread_equal(watcher->owner, pthread_self());
    watcher->done = done;
    __atomic_add_fetch(&watcher->calls, 1, __ATOMIC_SEQ_CST);
    if (watcher->calls == watcher->cancel_at)
        watcher->cancel = 1;
    while (watcher->wait && __atomic_load_n(&watcher->cancel, __ATOMIC_SEQ_CST) == 0)
        ;
    if (watcher->reenter != NULL) {
        float logits[5];

        watcher->wrong |= vmoe_logits_f32(watcher->reenter, many_images, 1, NULL, logits, NULL) !=
                              VMOE_OK ||
                          memcmp(logits, call.logits, sizeof logits) != 0;
    }
}

static vmoe_status run_watched(struct watcher *watcher, float *logits, vmoe_error *error)
{
    vmoe_options options = VMOE_OPTIONS_INIT;

    watcher->owner = pthread_self();
    options.threads = 2;
    options.cancel = &watcher->cancel;
    options.progress = watch;
    options.progress_context = watcher;
    return vmoe_logits_f32(call.model, many_images, MANY, &options, logits, error);
}

static void progress_is_told_slice_by_slice(void **state)
{
    struct watcher watcher = { 0 };
    vmoe_error error = VMOE_ERROR_INIT;
    float *logits = malloc(MANY * 5 * sizeof *logits);

    (void)state;
    assert_ok(run_watched(&watcher, logits, &error), error);
    assert_int_equal(watcher.calls, SLICES);
    assert_int_equal(watcher.done, MANY);
    assert_false(watcher.wrong);
    free(logits);
}

static void a_flag_that_is_set_cancels_before_anything_is_done(void **state)
{
    static const int32_t flags[] = { 1, -1, INT32_MIN, INT32_MAX };
    float *logits = malloc(MANY * 5 * sizeof *logits);

    (void)state;
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        struct watcher watcher = { .cancel = flags[i] };
        vmoe_error error = VMOE_ERROR_INIT;

        assert_refused(run_watched(&watcher, logits, &error), error, VMOE_ERR_CANCELLED,
                       "options.cancel");
        assert_int_equal(watcher.calls, 0);
    }
    free(logits);
}

/* Pictures may take longer than the model, so none of them is looked at, not even a bad one. */
static void a_flag_that_is_set_cancels_before_a_picture(void **state)
{
    static const int32_t set = 1;
    static const uint8_t garbage[4] = { 0 };
    const vmoe_picture picture = { VMOE_PICTURE_JPEG, 0, 0, garbage, sizeof garbage, 0 };
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_output output = VMOE_OUTPUT_INIT;
    vmoe_input input = VMOE_INPUT_INIT;
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    input.images = 1;
    input.pictures = &picture;
    assert_refused(vmoe_run(call.model, &input, &options, &output, &error), error, VMOE_ERR_IMAGE,
                   "input.pictures[0]");
    options.cancel = &set;
    assert_refused(vmoe_run(call.model, &input, &options, &output, &error), error,
                   VMOE_ERR_CANCELLED, "options.cancel");
}

static void the_callback_can_cancel(void **state)
{
    float *logits = malloc(MANY * 5 * sizeof *logits);
    float *expected = malloc(MANY * 5 * sizeof *expected);
    vmoe_error error = VMOE_ERROR_INIT;
    struct watcher quiet = { 0 };

    (void)state;
    assert_ok(run_watched(&quiet, expected, &error), error);
    for (uint64_t n = 1; n < SLICES; n++) {
        struct watcher watcher = { .cancel_at = n };

        assert_refused(run_watched(&watcher, logits, &error), error, VMOE_ERR_CANCELLED,
                       "options.cancel");
        assert_int_equal(watcher.calls, n);
        /* The model is as usable as before. */
        watcher = (struct watcher){ 0 };
        assert_ok(run_watched(&watcher, logits, &error), error);
        assert_memory_equal(logits, expected, MANY * 5 * sizeof *logits);
    }
    free(logits);
    free(expected);
}

/* Sets the flag behind stage `last` of a layer, and looks whether anything comes then. */
struct stages {
    uint32_t count, last; /* attention and MLP of each block */
    bool late;
    int32_t cancel;
};

static void cancel_behind(void *context, const char *stage, uint32_t block, const float *rows,
                          size_t count, size_t columns, size_t stride)
{
    struct stages *stages = context;

    (void)block, (void)rows, (void)count, (void)columns, (void)stride;
    stages->late |= stages->cancel != 0;
    if (strcmp(stage, "attention") != 0 && strcmp(stage, "block") != 0)
        return;
    if (++stages->count == stages->last)
        stages->cancel = 1;
}

static void a_call_ends_with_the_stage_that_is_under_way(void **state)
{
    const uint32_t stages_of_layers = 2 * call.info.layers;

    (void)state;
    for (uint32_t last = 1; last <= stages_of_layers; last++) {
        struct stages stages = { .last = last };
        vmoe_error error = VMOE_ERROR_INIT;

        vmoe_status status;

        call.model->trace = (struct vmoe_trace){ cancel_behind, &stages };
        call.options.cancel = &stages.cancel;
        status = call_run(&error);
        call.model->trace = (struct vmoe_trace){ 0 };
        assert_refused(status, error, VMOE_ERR_CANCELLED, "options.cancel");
        assert_int_equal(stages.count, last);
        /* The head is no stage of a layer. */
        assert_true(!stages.late || last == stages_of_layers);
    }
}

static void cancelling_what_is_done_changes_nothing(void **state)
{
    struct watcher watcher = { .cancel_at = SLICES };
    float *logits = malloc(MANY * 5 * sizeof *logits);
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    assert_ok(run_watched(&watcher, logits, &error), error);
    free(logits);
}

static void *cancel_from_elsewhere(void *context)
{
    struct watcher *watcher = context;

    while (__atomic_load_n(&watcher->calls, __ATOMIC_SEQ_CST) == 0)
        ;
    __atomic_store_n(&watcher->cancel, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

/* An allocator that sets a flag at one of its calls. */
struct setter {
    vmoe_allocator allocator;
    size_t calls, live, set_at;
    int32_t cancel;
};

static void *set_and_allocate(void *context, size_t bytes, size_t alignment)
{
    struct setter *setter = context;

    if (++setter->calls == setter->set_at)
        setter->cancel = 1;
    setter->live++;
    return aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

static void release_counted(void *context, void *memory)
{
    struct setter *setter = context;

    setter->live--;
    free(memory);
}

/* Loads with the flag set at allocation `set_at`, or never if that is 0. */
static vmoe_status load_until(struct setter *setter, const char *path, uint32_t flags)
{
    vmoe_load_options options = VMOE_LOAD_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model;
    vmoe_status status;

    setter->allocator = (vmoe_allocator){ set_and_allocate, release_counted, setter };
    options.flags = flags;
    options.allocator = &setter->allocator;
    options.cancel = &setter->cancel;
    status = vmoe_load_file(path, &options, &model, &error);
    assert_true((model != NULL) == (status == VMOE_OK));
    if (status != VMOE_OK)
        assert_refused(status, error, VMOE_ERR_CANCELLED, "options.cancel");
    vmoe_free(model);
    assert_int_equal(setter->live, 0);
    return status;
}

/* The last allocation before the weights are read is that of their place, or of a buffer. */
static void loading_can_be_cancelled(void **state)
{
    const vmoe_info geometry = medium_info(VMOE_CLASSIFIER_TOKEN);
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;

    (void)state;
    for (uint32_t compact = 0; compact <= 1; compact++) {
        const char *path = scratch_path(compact ? "compact.vmoe" : "raw.vmoe");

        options.compact = compact;
        write_model(&geometry, &options, path);
        for (uint32_t flags = 0; flags <= VMOE_LOAD_MMAP; flags += VMOE_LOAD_MMAP) {
            struct setter quiet = { 0 };
            size_t cancelled = 0;

            assert_int_equal(load_until(&quiet, path, flags), VMOE_OK);
            for (size_t at = 1; at <= quiet.calls; at++) {
                struct setter setter = { .set_at = at };
                const vmoe_status status = load_until(&setter, path, flags);

                /* Once it is past the weights, there is nothing left to cancel. */
                assert_true(status == VMOE_ERR_CANCELLED ? cancelled == at - 1 : at > 1);
                cancelled += status == VMOE_ERR_CANCELLED;
            }
            assert_in_range(cancelled, 4, quiet.calls - 1);
        }
    }
}

static void another_thread_can_cancel(void **state)
{
    struct watcher watcher = { .wait = true };
    float *logits = malloc(MANY * 5 * sizeof *logits);
    vmoe_error error = VMOE_ERROR_INIT;
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, cancel_from_elsewhere, &watcher), 0);
    assert_refused(run_watched(&watcher, logits, &error), error, VMOE_ERR_CANCELLED,
                   "options.cancel");
    pthread_join(thread, NULL);
    assert_int_equal(watcher.calls, 1);
    free(logits);
}

/* ---- A flag that comes and goes -------------------------------------------------------------- */

#define PULSED 16u /* pictures of a call, black and white in turn */
#define PULSED_SIDE 400u
#define PULSED_CALLS 100u

struct pulse {
    int32_t flag;
    bool end;
};

static void *set_and_clear(void *context)
{
    static const struct timespec moment = { 0, 1 }, pause = { 0, 1000000 };
    struct pulse *pulse = context;

    while (!__atomic_load_n(&pulse->end, __ATOMIC_SEQ_CST)) {
        nanosleep(&pause, NULL);
        __atomic_store_n(&pulse->flag, 1, __ATOMIC_SEQ_CST);
        nanosleep(&moment, NULL);
        __atomic_store_n(&pulse->flag, 0, __ATOMIC_SEQ_CST);
    }
    return NULL;
}

/* Whoever sees the flag ends the call: no picture is left out of one that is done. */
static void a_flag_that_is_cleared_again_spoils_nothing(void **state)
{
    const size_t bytes = (size_t)PULSED_SIDE * PULSED_SIDE * 3;
    uint8_t *colours[2] = { calloc(bytes, 1), malloc(bytes) };
    float right[2][5], logits[PULSED][5];
    vmoe_picture pictures[PULSED];
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_output output = VMOE_OUTPUT_INIT;
    vmoe_input input = VMOE_INPUT_INIT;
    struct pulse pulse = { 0 };
    size_t wrong = 0;
    pthread_t thread;

    (void)state;
    memset(colours[1], 255, bytes);
    for (size_t i = 0; i < PULSED; i++)
        pictures[i] = (vmoe_picture){ VMOE_PICTURE_RGB8, PULSED_SIDE, PULSED_SIDE, colours[i % 2],
                                      bytes, 0 };
    input.pictures = pictures;
    input.images = 2;
    output.logits = right[0];
    output.logits_length = 2 * 5;
    assert_int_equal(vmoe_run(call.model, &input, &options, &output, NULL), VMOE_OK);
    assert_memory_not_equal(right[0], right[1], sizeof right[0]);
    input.images = PULSED;
    output.logits = logits[0];
    output.logits_length = PULSED * 5;
    options.cancel = &pulse.flag;
    assert_int_equal(pthread_create(&thread, NULL, set_and_clear, &pulse), 0);
    for (size_t i = 0; i < PULSED_CALLS; i++) {
        vmoe_error error = VMOE_ERROR_INIT;
        const vmoe_status status = vmoe_run(call.model, &input, &options, &output, &error);

        if (status != VMOE_OK)
            wrong += status != VMOE_ERR_CANCELLED || strcmp(error.where, "options.cancel") != 0;
        else
            for (size_t j = 0; j < PULSED; j++)
                wrong += memcmp(logits[j], right[(i + j) % 2], sizeof logits[j]) != 0;
        /* What a workspace holds of the last call is wrong for this one. */
        for (size_t j = 0; j < PULSED; j++)
            pictures[j].data = colours[(i + 1 + j) % 2];
    }
    __atomic_store_n(&pulse.end, true, __ATOMIC_SEQ_CST);
    pthread_join(thread, NULL);
    assert_int_equal(wrong, 0);
    free(colours[0]);
    free(colours[1]);
}

static void the_callback_can_call_the_same_model(void **state)
{
    struct watcher watcher = { .reenter = call.model };
    float *logits = malloc(MANY * 5 * sizeof *logits);
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    assert_ok(call_run(&error), error);
    assert_ok(run_watched(&watcher, logits, &error), error);
    assert_int_equal(watcher.calls, SLICES);
    assert_false(watcher.wrong);
    free(logits);
}

/* ---- Three ways to give images -------------------------------------------------------------- */

static void pixels_are_the_tensor_that_they_mean(void **state)
{
    uint8_t pixels[2 * 432];
    float tensor[2 * 432], expected[2 * 5];
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof pixels; i++) {
        pixels[i] = (uint8_t)(i * 37 + i / 256);
        tensor[i] = (float)pixels[i] / 255.0f * 2.0f - 1.0f;
    }
    call.input.tensor = tensor;
    assert_ok(call_run(&error), error);
    memcpy(expected, call.logits, sizeof expected);
    call.input.tensor = NULL;
    call.input.pixels = pixels;
    memset(call.logits, 0, sizeof call.logits);
    assert_ok(call_run(&error), error);
    assert_memory_equal(call.logits, expected, sizeof expected);
}

/* A picture of the model's own size is not resized, so it is the pixels. */
static void a_picture_of_the_right_size_is_its_pixels(void **state)
{
    static const uint32_t size = 12;
    uint8_t pixels[432], prepared[432];
    const vmoe_picture picture = { VMOE_PICTURE_RGB8, size, size, pixels, sizeof pixels, 0 };
    float expected[5];
    vmoe_class top[5];
    vmoe_output output = VMOE_OUTPUT_INIT;
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 59 + i / 256);
    assert_ok(vmoe_preprocess(&call.info.preprocessing, &picture, prepared, sizeof prepared,
                              &error),
              error);
    assert_memory_equal(prepared, pixels, sizeof pixels);
    output.logits = expected;
    output.logits_length = 5;
    output.top = top;
    output.top_count = output.top_length = 5;
    call.input.tensor = NULL;
    call.input.images = 1;
    call.input.pixels = pixels;
    call.input.length = 432;
    assert_ok(vmoe_run(call.model, &call.input, NULL, &output, &error), error);
    call.input.pixels = NULL;
    call.input.pictures = &picture;
    output.logits = call.logits;
    assert_ok(vmoe_run(call.model, &call.input, NULL, &output, &error), error);
    assert_memory_equal(call.logits, expected, sizeof expected);
    for (size_t count = 1; count <= 5; count++) {
        vmoe_class simple[5];

        assert_ok(vmoe_classify_rgb8(call.model, pixels, size, size, 0, NULL, simple, count,
                                     &error),
                  error);
        for (size_t k = 0; k < count; k++) {
            assert_int_equal(simple[k].index, top[k].index);
            assert_true(simple[k].probability == top[k].probability);
            assert_ptr_equal(simple[k].label, top[k].label);
        }
    }
}

static void the_simple_calls_say_what_the_full_one_says(void **state)
{
    size_t bytes;
    void *jpeg = read_file("examples/demo/pictures/bag.jpg", &bytes);
    const vmoe_picture picture = { .kind = VMOE_PICTURE_JPEG, .data = jpeg, .bytes = bytes };
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_class simple[3];
    float logits[2 * 5];

    (void)state;
    options.capacity = 0.5;
    options.capacity_multiple = 1;
    options.priority = VMOE_PRIORITY_BPR_MAX;
    call.options = options;
    assert_ok(call_run(&error), error);
    assert_ok(vmoe_logits_f32(call.model, call.images, 2, &options, logits, &error), error);
    assert_memory_equal(logits, call.logits, sizeof logits);
    call.input.images = 1;
    call.input.tensor = NULL;
    call.input.pictures = &picture;
    call.output = (vmoe_output){ .size = sizeof call.output,
                                 .top = call.top, .top_count = 3, .top_length = 3 };
    assert_ok(call_run(&error), error);
    assert_ok(vmoe_classify_jpeg(call.model, jpeg, bytes, &options, simple, 3, &error), error);
    for (size_t k = 0; k < 3; k++) {
        assert_int_equal(simple[k].index, call.top[k].index);
        assert_true(simple[k].probability == call.top[k].probability);
        assert_string_equal(simple[k].label, "");
    }
    free(jpeg);
}

/* ---- Threads -------------------------------------------------------------------------------- */

#define SECONDS 30.0

struct meeting {
    atomic_uint arrived;
    sigset_t blocked[2]; /* by thread */
    cpu_set_t cpus[2];
};

/* Two tasks that wait for each other, so that each has its thread. */
static void meet(void *context, size_t task, uint32_t thread)
{
    struct meeting *meeting = context;
    const double start = vmoe_cpu_seconds();

    (void)task;
    pthread_sigmask(SIG_SETMASK, NULL, &meeting->blocked[thread]);
    sched_getaffinity(0, sizeof meeting->cpus[thread], &meeting->cpus[thread]);
    atomic_fetch_add(&meeting->arrived, 1);
    while (atomic_load(&meeting->arrived) < 2 && vmoe_cpu_seconds() - start < SECONDS)
        sched_yield();
}

/* The host's handlers run on the host's threads, except where an instruction asks for them. */
static void workers_block_all_signals_but_those_of_instructions(void **unused)
{
    static const int open[] = { SIGILL, SIGSEGV, SIGBUS, SIGFPE, SIGTRAP, SIGSYS };
    static const int closed[] = { SIGINT, SIGTERM, SIGHUP, SIGALRM, SIGUSR1, SIGCHLD, SIGPROF };
    struct meeting meeting = { 0 };
    struct vmoe_team *team;
    sigset_t before, blocked;
    vmoe_error error;

    (void)unused;
    /* What the starting thread blocks is its own matter. */
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGSEGV);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    assert_int_equal(vmoe_team_create(&vmoe_memory_default, &team, &error), VMOE_OK);
    assert_int_equal(vmoe_team_resize(team, 2, &error), VMOE_OK);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    vmoe_team_run(team, 2, meet, &meeting);
    vmoe_team_destroy(team);
    assert_int_equal(atomic_load(&meeting.arrived), 2);
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++)
        assert_int_equal(sigismember(&meeting.blocked[1], open[i]), 0);
    for (size_t i = 0; i < sizeof closed / sizeof closed[0]; i++) {
        assert_int_equal(sigismember(&meeting.blocked[1], closed[i]), 1);
        assert_int_equal(sigismember(&meeting.blocked[0], closed[i]),
                         sigismember(&before, closed[i]));
    }
}

/* Only a worker that sleeps is moved, and only the system knows when it has gone to sleep. */
static void a_worker_is_kept_off_the_cpu_of_its_caller(void **unused)
{
    const struct timespec pause = { .tv_nsec = 20000000 };
    const double start = vmoe_cpu_seconds();
    struct vmoe_team *team;
    cpu_set_t before, both;
    vmoe_error error;
    bool apart = false;

    (void)unused;
    if (vmoe_cpu_count() < 2 || vmoe_cpu_current() < 0)
        skip_because("there is one CPU, or the system does not say which");
    sched_getaffinity(0, sizeof before, &before);
    assert_int_equal(vmoe_team_create(&vmoe_memory_default, &team, &error), VMOE_OK);
    assert_int_equal(vmoe_team_resize(team, 2, &error), VMOE_OK);
    while (!apart && vmoe_cpu_seconds() - start < SECONDS) {
        struct meeting meeting = { 0 };

        nanosleep(&pause, NULL);
        vmoe_team_run(team, 2, meet, &meeting);
        assert_true(CPU_EQUAL(&meeting.cpus[0], &before));
        CPU_AND(&both, &meeting.cpus[1], &before);
        assert_true(CPU_EQUAL(&both, &meeting.cpus[1]));
        apart = CPU_COUNT(&meeting.cpus[1]) == CPU_COUNT(&before) - 1;
    }
    vmoe_team_destroy(team);
    assert_true(apart);
}

/* With no other CPU, it shares that one; where its caller goes, it follows. */
static void a_worker_goes_where_its_caller_may(void **unused)
{
    const struct timespec pause = { .tv_nsec = 20000000 };
    struct vmoe_team *team;
    cpu_set_t before, one;
    vmoe_error error;

    (void)unused;
    if (vmoe_cpu_count() < 2 || vmoe_cpu_current() < 0)
        skip_because("there is one CPU, or the system does not say which");
    sched_getaffinity(0, sizeof before, &before);
    assert_int_equal(vmoe_team_create(&vmoe_memory_default, &team, &error), VMOE_OK);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        const double start = vmoe_cpu_seconds();
        bool there = false;

        if (!CPU_ISSET(cpu, &before))
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        sched_setaffinity(0, sizeof one, &one);
        while (!there && vmoe_cpu_seconds() - start < SECONDS) {
            struct meeting meeting = { 0 };

            assert_int_equal(vmoe_team_resize(team, 2, &error), VMOE_OK);
            vmoe_team_rest(team);
            nanosleep(&pause, NULL);
            vmoe_team_run(team, 2, meet, &meeting);
            there = CPU_EQUAL(&meeting.cpus[1], &one);
        }
        sched_setaffinity(0, sizeof before, &before);
        assert_true(there);
    }
    vmoe_team_destroy(team);
}

#define WORKERS 7u

struct sleeper {
    long id;
    bool asleep;
    unsigned long sleeps; /* so far */
};

/* The other threads of this process, and how they are; answers how many. */
static size_t look_at_sleepers(struct sleeper *sleepers, size_t most)
{
    DIR *tasks = opendir("/proc/self/task");
    const struct dirent *entry;
    size_t count = 0;

    while (tasks != NULL && (entry = readdir(tasks)) != NULL) {
        struct sleeper *sleeper = &sleepers[count];
        char path[64], line[256], state = 0;
        FILE *status;

        if (entry->d_name[0] == '.' || atol(entry->d_name) == (long)getpid() || count == most)
            continue;
        *sleeper = (struct sleeper){ .id = atol(entry->d_name) };
        snprintf(path, sizeof path, "/proc/self/task/%ld/status", sleeper->id);
        status = fopen(path, "r");
        if (status == NULL)
            continue;
        while (fgets(line, sizeof line, status) != NULL) {
            sscanf(line, "State: %c", &state);
            sscanf(line, "voluntary_ctxt_switches: %lu", &sleeper->sleeps);
        }
        fclose(status);
        sleeper->asleep = state == 'S';
        count++;
    }
    if (tasks != NULL)
        closedir(tasks);
    return count;
}

/* The workers, once all sleep.  A look takes a while, so that two have to agree. */
static void settle(struct sleeper *sleepers)
{
    const struct timespec pause = { .tv_nsec = 5000000 };
    const double start = vmoe_cpu_seconds();
    struct sleeper before[WORKERS];
    bool settled = false;

    memset(before, 0, sizeof before);
    while (!settled) {
        assert_true(vmoe_cpu_seconds() - start < SECONDS);
        nanosleep(&pause, NULL);
        assert_int_equal(look_at_sleepers(sleepers, WORKERS), WORKERS);
        settled = memcmp(before, sleepers, sizeof before) == 0;
        for (size_t i = 0; i < WORKERS; i++)
            settled &= sleepers[i].asleep;
        memcpy(before, sleepers, sizeof before);
    }
}

static void do_nothing(void *context, size_t task, uint32_t thread)
{
    (void)context, (void)task, (void)thread;
}

/* How many workers of a team that once had all of them a run wakes. */
static unsigned count_woken(struct vmoe_team *team, uint32_t threads, size_t tasks)
{
    struct sleeper before[WORKERS], after[WORKERS];
    unsigned woken = 0;
    vmoe_error error;

    vmoe_team_rest(team);
    settle(before);
    assert_int_equal(vmoe_team_resize(team, threads, &error), VMOE_OK);
    vmoe_team_run(team, tasks, do_nothing, NULL);
    vmoe_team_rest(team);
    settle(after);
    for (size_t i = 0; i < WORKERS; i++) {
        assert_int_equal(after[i].id, before[i].id);
        woken += after[i].sleeps != before[i].sleeps;
    }
    return woken;
}

static void a_run_wakes_only_workers_that_it_can_use(void **unused)
{
    struct sleeper other;
    struct vmoe_team *team;
    cpu_set_t before, one;
    vmoe_error error;

    (void)unused;
    if (SANITIZED || look_at_sleepers(&other, 1) != 0)
        skip_because("this process has other threads");
    assert_int_equal(vmoe_team_create(&vmoe_memory_default, &team, &error), VMOE_OK);
    assert_int_equal(vmoe_team_resize(team, WORKERS + 1, &error), VMOE_OK);
    if (look_at_sleepers(&other, 1) == 0) {
        vmoe_team_destroy(team);
        skip_because("the system does not tell who sleeps");
    }
    /* The other workers are those of earlier calls. */
    assert_in_range(count_woken(team, 2, 1000), 0, 1);
    assert_in_range(count_woken(team, WORKERS + 1, 2), 0, 1);
    if (vmoe_cpu_current() >= 0) {
        sched_getaffinity(0, sizeof before, &before);
        CPU_ZERO(&one);
        CPU_SET((size_t)vmoe_cpu_current(), &one);
        sched_setaffinity(0, sizeof one, &one);
        assert_in_range(count_woken(team, WORKERS + 1, 1000), 0, 1);
        sched_setaffinity(0, sizeof before, &before);
    }
    vmoe_team_destroy(team);
}

struct inversion {
    atomic_bool begun, raised;
    long sleeps; /* of the caller, before it was raised */
};

static long count_sleeps(void)
{
    struct rusage usage;

    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nvcsw;
}

/* The caller makes itself more important than the worker that it will wait for. */
static void invert(void *context, size_t task, uint32_t thread)
{
    struct inversion *inversion = context;
    const struct sched_param lowest = { .sched_priority = sched_get_priority_min(SCHED_FIFO) };

    (void)task;
    if (thread == 0) {
        while (!atomic_load(&inversion->begun))
            sched_yield();
        sched_setscheduler(0, SCHED_FIFO, &lowest);
        inversion->sleeps = count_sleeps();
        atomic_store(&inversion->raised, true);
    } else {
        atomic_store(&inversion->begun, true);
        while (!atomic_load(&inversion->raised))
            sched_yield();
    }
}

/* Where both share a CPU, a caller that only yields keeps it, and waits for ever or for long. */
static void a_caller_in_real_time_sleeps_while_its_worker_ends(void **unused)
{
    const struct sched_param none = { 0 }, lowest = { sched_get_priority_min(SCHED_FIFO) };
    struct inversion inversion = { .sleeps = 0 };
    struct vmoe_team *team;
    cpu_set_t before, one;
    vmoe_error error;

    (void)unused;
    if (vmoe_cpu_current() < 0 || sched_setscheduler(0, SCHED_FIFO, &lowest) != 0)
        skip_because("this process may not have real-time priority");
    sched_setscheduler(0, SCHED_OTHER, &none);
    sched_getaffinity(0, sizeof before, &before);
    CPU_ZERO(&one);
    CPU_SET((size_t)vmoe_cpu_current(), &one);
    sched_setaffinity(0, sizeof one, &one);
    assert_int_equal(vmoe_team_create(&vmoe_memory_default, &team, &error), VMOE_OK);
    assert_int_equal(vmoe_team_resize(team, 2, &error), VMOE_OK);
    vmoe_team_run(team, 2, invert, &inversion);
    inversion.sleeps = count_sleeps() - inversion.sleeps;
    sched_setscheduler(0, SCHED_OTHER, &none);
    vmoe_team_destroy(team);
    sched_setaffinity(0, sizeof before, &before);
    assert_true(inversion.sleeps > 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, call_reset)
    const struct CMUnitTest tests[] = {
        /* Before there are workers of the other tests. */
        TEST(a_run_wakes_only_workers_that_it_can_use),
        TEST(progress_is_told_slice_by_slice),
        TEST(a_flag_that_is_set_cancels_before_anything_is_done),
        TEST(a_flag_that_is_set_cancels_before_a_picture),
        TEST(the_callback_can_cancel),
        TEST(a_call_ends_with_the_stage_that_is_under_way),
        TEST(cancelling_what_is_done_changes_nothing),
        TEST(loading_can_be_cancelled),
        TEST(another_thread_can_cancel),
        TEST(a_flag_that_is_cleared_again_spoils_nothing),
        TEST(the_callback_can_call_the_same_model),
        TEST(pixels_are_the_tensor_that_they_mean),
        TEST(a_picture_of_the_right_size_is_its_pixels),
        TEST(the_simple_calls_say_what_the_full_one_says),
        TEST(workers_block_all_signals_but_those_of_instructions),
        TEST(a_worker_is_kept_off_the_cpu_of_its_caller),
        TEST(a_worker_goes_where_its_caller_may),
        TEST(a_caller_in_real_time_sleeps_while_its_worker_ends),
    };

    return cmocka_run_group_tests_name("calls", tests, make_many, free_many);
}
