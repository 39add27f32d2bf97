/*
 * The library as a guest: it leaves the process as it found it, and a process that forks in the
 * middle of calls, or is interrupted a thousand times a second, gets the same answers.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <fenv.h>
#include <locale.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/answer.h"
#include "support/child.h"
#include "support/fault.h"
#include "support/figures.h"
#include "support/support.h"
#include "support/tiny.h"

#define IMAGES 3u
#define PATH_BYTES 512u
#define FORKS 1000u

/* ---- What a process has besides memory ------------------------------------------------------ */

struct host {
    struct sigaction actions[32];
    sigset_t blocked;
    int rounding, exceptions;
    char locale[64], folder[PATH_BYTES];
    mode_t mask;
    cpu_set_t cpus;
    size_t files;
    off_t written[3];
};

static void look_at_host(struct host *host)
{
    memset(host, 0, sizeof *host);
    for (int i = 1; i < 32; i++)
        sigaction(i, NULL, &host->actions[i]);
    pthread_sigmask(SIG_SETMASK, NULL, &host->blocked);
    host->rounding = fegetround();
    host->exceptions = fetestexcept(FE_ALL_EXCEPT);
    snprintf(host->locale, sizeof host->locale, "%s", setlocale(LC_ALL, NULL));
    assert_non_null(getcwd(host->folder, sizeof host->folder));
    host->mask = umask(0);
    umask(host->mask);
    sched_getaffinity(0, sizeof host->cpus, &host->cpus);
    host->files = fault_open_files();
    for (int i = 1; i < 3; i++)
        host->written[i] = lseek(i, 0, SEEK_CUR);
}

static void assert_same_host(const struct host *before, const struct host *after)
{
    for (int i = 1; i < 32; i++)
        assert_ptr_equal(before->actions[i].sa_handler, after->actions[i].sa_handler);
    assert_memory_equal(&before->blocked, &after->blocked, sizeof after->blocked);
    assert_int_equal(before->rounding, after->rounding);
    assert_int_equal(before->exceptions, after->exceptions);
    assert_string_equal(before->locale, after->locale);
    assert_string_equal(before->folder, after->folder);
    assert_int_equal(before->mask, after->mask);
    assert_true(CPU_EQUAL(&before->cpus, &after->cpus));
    assert_int_equal(before->files, after->files);
    assert_memory_equal(before->written, after->written, sizeof after->written);
}

/* Sends stdout and stderr to files while it looks, because a terminal has no position. */
static void nothing_of_the_host_is_changed(void **state)
{
    const vmoe_info geometry = medium_info(VMOE_CLASSIFIER_TOKEN);
    float *images = make_images(&geometry, IMAGES);
    const char *path = scratch_path("model.vmoe");
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model = NULL;
    struct answer answer;
    struct host before, after;
    const int out = dup(1), err = dup(2);

    (void)state;
    write_model(&geometry, NULL, path);
    fflush(NULL);
    assert_non_null(freopen(scratch_path("out"), "w", stdout));
    assert_non_null(freopen(scratch_path("err"), "w", stderr));
    feclearexcept(FE_ALL_EXCEPT);
    look_at_host(&before);
    options.threads = 3;

    const vmoe_status loaded = vmoe_load_file(path, NULL, &model, &error);
    const vmoe_status missing = vmoe_load_file("/nowhere", NULL, &(vmoe_model *){ NULL }, &error);
    const vmoe_status ran = answer_run(model, images, IMAGES, &options, &answer, &error);
    options.capacity = -1.0;
    const vmoe_status refused = answer_run(model, images, IMAGES, &options, &answer, NULL);
    const vmoe_status garbage = vmoe_load_memory(images, 4096, NULL, &(vmoe_model *){ NULL }, NULL);
    vmoe_free(model);

    fflush(NULL);
    look_at_host(&after);
    dup2(out, 1);
    dup2(err, 2);
    close(out);
    close(err);
    assert_same_host(&before, &after);
    assert_int_equal(loaded, VMOE_OK);
    assert_int_equal(missing, VMOE_ERR_IO);
    assert_int_equal(ran, VMOE_OK);
    assert_int_equal(refused, VMOE_ERR_ARGUMENT);
    assert_int_equal(garbage, VMOE_ERR_FORMAT);
    answer_free(&answer);
    free(images);
}

/* In a session without a terminal, as a daemon has; 0 if it has none afterwards either. */
static int load_terminal(void *context)
{
    vmoe_model *model;

    if (setsid() < 0 || vmoe_load_file(context, NULL, &model, NULL) != VMOE_ERR_IO)
        return 1;
    return open("/dev/tty", O_RDWR) >= 0;
}

/* A shard may be a link to one; whose terminal it is could then interrupt the process. */
static void a_file_that_is_a_terminal_is_not_made_the_hosts(void **state)
{
    const int terminal = posix_openpt(O_RDWR | O_NOCTTY);

    (void)state;
    if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0)
        skip_because("there are no terminals to be had");
    assert_int_equal(run_in_child(load_terminal, ptsname(terminal)), 0);
    close(terminal);
}

/* Leases a file until the system says that somebody wants it. */
static void lease(const char *path, int told)
{
    const int file = open(path, O_RDWR);
    sigset_t wanted;
    int number;

    alarm(20);
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGIO);
    sigprocmask(SIG_BLOCK, &wanted, NULL);
    if (fcntl(file, F_SETLEASE, F_WRLCK) != 0 || write(told, "", 1) != 1)
        _exit(1);
    sigwait(&wanted, &number);
    fcntl(file, F_SETLEASE, F_UNLCK);
    _exit(0);
}

/* Servers lease what their clients write, and give it back when it is opened by others. */
static void a_file_that_is_leased_is_waited_for(void **state)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    const char *path = scratch_path("leased.vmoe");
    int ends[2], outcome = -1;
    char byte;
    pid_t child;

    (void)state;
    write_model(&geometry, NULL, path);
    assert_int_equal(pipe(ends), 0);
    child = fork();
    if (child == 0)
        lease(path, ends[1]);
    close(ends[1]);
    if (read(ends[0], &byte, 1) == 1)
        vmoe_free(must_load(path, NULL));
    else
        outcome = 0;
    close(ends[0]);
    if (outcome == 0) {
        waitpid(child, NULL, 0);
        skip_because("files cannot be leased here");
    }
    assert_int_equal(waitpid(child, &outcome, 0), child);
    assert_int_equal(outcome, 0);
}

/* ---- Threads that are cancelled ------------------------------------------------------------- */

struct caller {
    vmoe_model *model;
    const float *images;
    size_t count;
    const vmoe_options *options;
    float expected[5];
    atomic_bool stop;
    atomic_uint calls, failures;
    unsigned forks;
};

/* Its cancellation is pending from the start, and happens where POSIX or the library lets it. */
static void *call_cancelled(void *context)
{
    struct caller *caller = context;
    float logits[IMAGES * 5];

    pthread_cancel(pthread_self());
    if (vmoe_logits_f32(caller->model, caller->images, caller->count, caller->options, logits,
                        NULL) != VMOE_OK)
        atomic_fetch_add(&caller->failures, 1);
    atomic_fetch_add(&caller->calls, 1);
    /* AddressSanitizer takes the end of a thread that is cancelled for an error. */
    if (SANITIZED)
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    pthread_testcancel();
    return NULL;
}

static void a_call_is_no_place_for_cancellation(void **state)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    float *images = make_images(&geometry, 1);
    struct caller caller = { .model = make_model(&geometry, VMOE_PRECISION_F32),
                             .images = images,
                             .count = 1 };

    (void)state;
    for (unsigned i = 1; i <= 2; i++) {
        pthread_t thread;
        void *outcome;

        assert_int_equal(pthread_create(&thread, NULL, call_cancelled, &caller), 0);
        pthread_join(thread, &outcome);
        assert_ptr_equal(outcome, SANITIZED ? NULL : PTHREAD_CANCELED);
        assert_int_equal(atomic_load(&caller.calls), i);
    }
    assert_int_equal(atomic_load(&caller.failures), 0);
    vmoe_free(caller.model);
    free(images);
}

/* The larger workspace is refused, and the smaller one freed with its workers. */
static void neither_is_a_call_that_fails(void **state)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    float *images = make_images(&geometry, IMAGES);
    const char *path = scratch_path("cancelled.vmoe");
    vmoe_load_options load = VMOE_LOAD_OPTIONS_INIT;
    vmoe_options options = VMOE_OPTIONS_INIT;
    struct caller caller = { .images = images, .count = IMAGES, .options = &options };
    struct fault fault;

    (void)state;
    write_model(&geometry, NULL, path);
    fault_init(&fault, 0, false);
    load.allocator = &fault.allocator;
    options.threads = 5;
    caller.model = must_load(path, &load);
    for (unsigned i = 1; i <= 10; i++) {
        float logits[5];
        pthread_t thread;

        assert_int_equal(vmoe_logits_f32(caller.model, images, 1, &options, logits, NULL),
                         VMOE_OK);
        fault.fail_at = fault.calls + 1;
        assert_int_equal(pthread_create(&thread, NULL, call_cancelled, &caller), 0);
        pthread_join(thread, NULL);
        assert_int_equal(atomic_load(&caller.failures), i);
    }
    vmoe_free(caller.model);
    assert_int_equal(fault.live, 0);
    free(images);
}

/* ---- Forks in the middle of calls ----------------------------------------------------------- */

/* Short calls, one after the other, so that the pool's lock is held as often as possible. */
static void *call_until_told(void *context)
{
    struct caller *caller = context;
    float logits[5];

    while (!atomic_load(&caller->stop)) {
        if (vmoe_logits_f32(caller->model, caller->images, 1, NULL, logits, NULL) != VMOE_OK)
            atomic_fetch_add(&caller->failures, 1);
        atomic_fetch_add(&caller->calls, 1);
    }
    return NULL;
}

/* What the child does: it calls, or frees, or both; 0 if that went well. */
static int live_as_child(void *context)
{
    struct caller *caller = context;
    float logits[5];

    if (caller->forks % 3 != 0 &&
        (vmoe_logits_f32(caller->model, caller->images, 1, NULL, logits, NULL) != VMOE_OK ||
         memcmp(logits, caller->expected, sizeof logits) != 0))
        return 1;
    if (caller->forks % 3 != 1)
        vmoe_free(caller->model);
    return 0;
}

static void a_fork_in_the_middle_of_calls_harms_nobody(void **state)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    struct caller caller = { .model = NULL };
    pthread_t threads[3];
    float *images;

    (void)state;
    if (SANITIZED)
        skip_because("not under a sanitizer");
    images = make_images(&geometry, 1);
    caller.model = make_model(&geometry, VMOE_PRECISION_F32);
    caller.images = images;
    assert_int_equal(vmoe_logits_f32(caller.model, images, 1, NULL, caller.expected, NULL),
                     VMOE_OK);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_until_told, &caller), 0);
    for (; caller.forks < FORKS; caller.forks++)
        assert_int_equal(run_in_child(live_as_child, &caller), 0);
    atomic_store(&caller.stop, true);
    for (size_t i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_true(atomic_load(&caller.calls) > 0);
    assert_int_equal(atomic_load(&caller.failures), 0);
    vmoe_free(caller.model);
    free(images);
}

struct parent {
    vmoe_model *model;
    const float *images;
    vmoe_options options;
    struct answer expected;
};

static int answer_as_child(void *context)
{
    const struct parent *parent = context;
    struct answer answer;

    if (answer_run(parent->model, parent->images, IMAGES, &parent->options, &answer, NULL) !=
            VMOE_OK ||
        answer_difference(&parent->expected, 0, &answer, 0, IMAGES) != NULL)
        return 1;
    vmoe_free(parent->model);
    return 0;
}

/* The threads of a parent do not exist in its child, which can work all the same. */
static void a_child_gets_the_answer_of_its_parent(void **state)
{
    const vmoe_info geometry = medium_info(VMOE_CLASSIFIER_TOKEN);
    struct parent parent = { .options = VMOE_OPTIONS_INIT };
    struct answer answer;
    float *images;

    (void)state;
    if (SANITIZED)
        skip_because("not under a sanitizer");
    images = make_images(&geometry, IMAGES);
    parent.model = make_model(&geometry, VMOE_PRECISION_F32);
    parent.images = images;
    parent.options.threads = 3;
    parent.expected = must_answer(parent.model, images, IMAGES, &parent.options);
    for (int i = 0; i < 20; i++)
        assert_int_equal(run_in_child(answer_as_child, &parent), 0);
    answer = must_answer(parent.model, images, IMAGES, &parent.options);
    assert_same_answer(&parent.expected, &answer);
    answer_free(&parent.expected);
    answer_free(&answer);
    vmoe_free(parent.model);
    free(images);
}

/* Answers with two threads, if `expected` says so. */
static int count_threads_as_child(void *context)
{
    const struct parent *parent = context;
    struct answer answer;

    if (answer_run(parent->model, parent->images, IMAGES, &parent->options, &answer, NULL) !=
        VMOE_OK)
        return 1;
    return answer.report.threads != parent->expected.report.threads ||
           figures_now().threads != parent->expected.report.threads;
}

/* A parent that started no threads leaves its child free to start some; others leave it one. */
static void a_child_says_how_many_threads_it_has(void **state)
{
    const vmoe_info geometry = medium_info(VMOE_CLASSIFIER_TOKEN);
    float *images;

    (void)state;
    if (SANITIZED)
        skip_because("not under a sanitizer");
    images = make_images(&geometry, IMAGES);
    for (uint32_t threads = 1; threads <= 2; threads++) {
        struct parent parent = { .images = images, .options = VMOE_OPTIONS_INIT };

        parent.model = make_model(&geometry, VMOE_PRECISION_F32);
        parent.options.threads = threads;
        parent.expected = must_answer(parent.model, images, IMAGES, &parent.options);
        parent.expected.report.threads = 3 - threads;
        parent.options.threads = 2;
        assert_int_equal(run_in_child(count_threads_as_child, &parent), 0);
        answer_free(&parent.expected);
        vmoe_free(parent.model);
    }
    free(images);
}

/* Forks after the first slice, and leaves in `context` what fork answered. */
static void fork_once(void *context, uint64_t done, uint64_t total)
{
    pid_t *child = context;

    (void)done;
    (void)total;
    if (*child < 0)
        *child = fork();
    if (*child == 0)
        alarm(20);
}

/* The child comes back from the callback into the middle of a call, whose threads it lacks. */
static void a_callback_may_fork(void **state)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    const size_t images = 1000; /* several slices */
    float *tensor;
    vmoe_model *model;
    vmoe_options options = VMOE_OPTIONS_INIT;
    struct answer expected, answer;
    pid_t child = -1;
    int outcome = -1;

    (void)state;
    if (SANITIZED)
        skip_because("not under a sanitizer");
    tensor = make_images(&geometry, images);
    model = make_model(&geometry, VMOE_PRECISION_F32);
    options.threads = 3;
    expected = must_answer(model, tensor, images, &options);
    options.progress = fork_once;
    options.progress_context = &child;
    const vmoe_status status = answer_run(model, tensor, images, &options, &answer, NULL);
    const bool same = status == VMOE_OK &&
                      answer_difference(&expected, 0, &answer, 0, images) == NULL;

    if (child == 0)
        _exit(!same || answer.report.threads != 1);
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &outcome, 0), child);
    assert_int_equal(outcome, 0);
    assert_true(same);
    assert_int_equal(answer.report.threads, 3);
    answer_free(&expected);
    answer_free(&answer);
    vmoe_free(model);
    free(tensor);
}

/* ---- Signals -------------------------------------------------------------------------------- */

static atomic_uint interruptions;

static void count_interruption(int number)
{
    (void)number;
    atomic_fetch_add(&interruptions, 1);
}

/* A timer interrupts loading and running, without SA_RESTART, until it has done so 300 times. */
static void a_thousand_signals_a_second_change_nothing(void **state)
{
    const vmoe_info geometry = medium_info(VMOE_CLASSIFIER_TOKEN);
    float *images = make_images(&geometry, IMAGES);
    const char *path = scratch_path("signals.vmoe");
    const struct itimerval fast = { { 0, 1000 }, { 0, 1000 } }, off = { { 0, 0 }, { 0, 0 } };
    struct sigaction action = { .sa_handler = count_interruption }, old;
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    struct answer expected;
    vmoe_model *model;

    (void)state;
    write_model(&geometry, NULL, path);
    model = must_load(path, NULL);
    expected = must_answer(model, images, IMAGES, NULL);
    vmoe_free(model);
    options.threads = 3;
    sigemptyset(&action.sa_mask);
    assert_int_equal(sigaction(SIGALRM, &action, &old), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &fast, NULL), 0);
    while (atomic_load(&interruptions) < 300) {
        struct answer answer;

        assert_ok(vmoe_load_file(path, NULL, &model, &error), error);
        assert_ok(answer_run(model, images, IMAGES, &options, &answer, &error), error);
        assert_same_answer(&expected, &answer);
        answer_free(&answer);
        vmoe_free(model);
    }
    setitimer(ITIMER_REAL, &off, NULL);
    sigaction(SIGALRM, &old, NULL);
    answer_free(&expected);
    free(images);
}

/* The handler runs on the calling thread, in the middle of its call. */
static int32_t cancelled;

static void cancel_from_handler(int number)
{
    (void)number;
    __atomic_store_n(&cancelled, 1, __ATOMIC_SEQ_CST);
}

static void raise_signal(void *context, uint64_t done, uint64_t total)
{
    (void)context;
    if (done > 0 && done < total)
        raise(SIGUSR1);
}

static void a_handler_can_cancel(void **state)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    const size_t images = 1000; /* several slices, between which the signal comes */
    float *tensor = make_images(&geometry, images);
    vmoe_model *model = make_model(&geometry, VMOE_PRECISION_F32);
    struct sigaction action = { .sa_handler = cancel_from_handler }, old;
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    struct answer expected, answer;

    (void)state;
    expected = must_answer(model, tensor, images, NULL);
    options.cancel = &cancelled;
    options.progress = raise_signal;
    sigemptyset(&action.sa_mask);
    assert_int_equal(sigaction(SIGUSR1, &action, &old), 0);
    assert_refused(answer_run(model, tensor, images, &options, &answer, &error), error,
                   VMOE_ERR_CANCELLED, "options.cancel");
    sigaction(SIGUSR1, &old, NULL);
    answer = must_answer(model, tensor, images, NULL);
    assert_same_answer(&expected, &answer);
    answer_free(&expected);
    answer_free(&answer);
    vmoe_free(model);
    free(tensor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_of_the_host_is_changed),
        cmocka_unit_test(a_file_that_is_a_terminal_is_not_made_the_hosts),
        cmocka_unit_test(a_file_that_is_leased_is_waited_for),
        cmocka_unit_test(a_call_is_no_place_for_cancellation),
        cmocka_unit_test(neither_is_a_call_that_fails),
        cmocka_unit_test(a_fork_in_the_middle_of_calls_harms_nobody),
        cmocka_unit_test(a_child_gets_the_answer_of_its_parent),
        cmocka_unit_test(a_child_says_how_many_threads_it_has),
        cmocka_unit_test(a_callback_may_fork),
        cmocka_unit_test(a_thousand_signals_a_second_change_nothing),
        cmocka_unit_test(a_handler_can_cancel),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
