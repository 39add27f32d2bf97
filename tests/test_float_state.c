/*
 * The host's floating-point state: whatever rounding, flushing and trapping the host has chosen, all
 * calls give the same bits, nothing traps, and the state is what it was, to the last flag; also while
 * the host's callbacks run.
 */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "support/call.h"
#include "support/forge.h"
#include "support/support.h"
#include "support/tiny.h"

/* ---- States --------------------------------------------------------------------------------- */

/*
 * Bits 0 and 1 choose the rounding, 2 flushes denormal results, 3 denormal operands, 4 unmasks every
 * exception; state 0 is the usual one.  Where the host traps nothing, flags are already raised in
 * some states.
 */
#define STATES 32u
#define USUAL 0u
#define TRAPPING 16u

struct float_state {
    uint64_t control, flags;
};

#if defined(__x86_64__)
#include <xmmintrin.h>

/* MXCSR and its elder, of which the library does not use a bit; a short precision would show. */
static void set_state(unsigned state)
{
    const unsigned rounding = state & 3, flush = state >> 2 & 1, zeros = state >> 3 & 1;
    const bool traps = state & TRAPPING;
    const uint16_t x87 = (uint16_t)(rounding << 10 | (traps ? 0x0040u : 0x037fu));

    __asm__ volatile("fnclex\n\tfldcw %0" : : "m"(x87));
    _mm_setcsr(rounding << 13 | flush << 15 | zeros << 6 |
               (traps ? 0u : 0x1f80u | (rounding == 3 ? 0x3fu : 0u)));
}

static struct float_state get_state(void)
{
    uint16_t control, flags;

    __asm__ volatile("fnstcw %0\n\tfnstsw %1" : "=m"(control), "=m"(flags));
    return (struct float_state){ _mm_getcsr(), (uint64_t)flags << 16 | control };
}
#elif defined(__aarch64__)
/* Which traps there are is the machine's choice; flushing results flushes operands too. */
static void set_state(unsigned state)
{
    static const uint64_t roundings[] = { 0, 2, 1, 3 };
    const bool traps = state & TRAPPING;
    const uint64_t control = roundings[state & 3] << 22 | (uint64_t)(state >> 2 & 1) << 24 |
                             (traps ? UINT64_C(0x9f00) : 0);
    const uint64_t flags = !traps && (state & 3) == 3 ? 0x9f : 0;

    __asm__ volatile("msr fpsr, %0\n\tmsr fpcr, %1" : : "r"(flags), "r"(control));
}

static struct float_state get_state(void)
{
    struct float_state state;

    __asm__ volatile("mrs %0, fpcr\n\tmrs %1, fpsr" : "=r"(state.control), "=r"(state.flags));
    return state;
}
#endif

static bool same_state(struct float_state a, struct float_state b)
{
    return a.control == b.control && a.flags == b.flags;
}

/* ---- What the host sees in the meantime ------------------------------------------------------ */

struct watcher {
    struct float_state expected;
    unsigned looks;
    bool wrong;
};

static void look(struct watcher *watcher)
{
    watcher->looks++;
    watcher->wrong |= !same_state(get_state(), watcher->expected);
}

static void watch_run(void *context, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    look(context);
}

static int watch_import(void *context, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    look(context);
    return 0;
}

static void *watch_alloc(void *context, size_t bytes, size_t alignment)
{
    look(context);
    return aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

static void watch_release(void *context, void *memory)
{
    look(context);
    free(memory);
}

/* ---- Jobs ----------------------------------------------------------------------------------- */

static const char *const raw = "raw.vmoe", *const compact = "compact.vmoe", *const made = "made";

static uint8_t *picture;
static size_t picture_bytes;
static struct forged file;

/* What a job gave, to the bit. */
struct result {
    uint8_t bytes[4096];
    size_t count;
};

static void put(struct result *result, const void *data, size_t bytes)
{
    assert_true(result->count + bytes <= sizeof result->bytes);
    memcpy(result->bytes + result->count, data, bytes);
    result->count += bytes;
}

typedef vmoe_status job(struct watcher *watcher, struct result *result, vmoe_error *error);

/*
 * Denormal and signalling values are what flushing and trapping would show in.  C = 0.2 gives
 * 20 * 0.2 / 4 = 1 slot, or 2 if any of it is rounded up.
 */
static vmoe_status run(const vmoe_model *model, struct watcher *watcher, struct result *result,
                       vmoe_error *error)
{
    vmoe_status status;

    call_reset(NULL);
    call.options.capacity = 0.2;
    call.options.capacity_multiple = 1;
    call.options.threads = 3;
    call.options.progress = watch_run;
    call.options.progress_context = watcher;
    status = vmoe_run(model, &call.input, &call.options, &call.output, error);
    put(result, call.logits, sizeof call.logits);
    put(result, call.probabilities, sizeof call.probabilities);
    put(result, call.features, sizeof call.features);
    put(result, call.top, sizeof call.top);
    put(result, call.routes, call.report.routes_length * sizeof call.routes[0]);
    put(result, &call.report.capacity, sizeof call.report.capacity);
    put(result, &call.report.macs, sizeof call.report.macs);
    return status;
}

static vmoe_status run_again(struct watcher *watcher, struct result *result, vmoe_error *error)
{
    return run(call.model, watcher, result, error);
}

/* A first call, whose threads inherit the state of the one that starts them. */
static vmoe_status load_and_run(const char *name, uint32_t flags, struct watcher *watcher,
                                struct result *result, vmoe_error *error)
{
    const vmoe_allocator allocator = { watch_alloc, watch_release, watcher };
    vmoe_load_options options = VMOE_LOAD_OPTIONS_INIT;
    vmoe_model *model = NULL;
    vmoe_status status;

    options.flags = flags;
    options.allocator = &allocator;
    status = name != NULL ? vmoe_load_file(scratch_path(name), &options, &model, error)
                          : vmoe_load_memory(file.bytes, file.size, &options, &model, error);
    if (status == VMOE_OK)
        status = run(model, watcher, result, error);
    vmoe_free(model);
    return status;
}

static vmoe_status use_raw(struct watcher *watcher, struct result *result, vmoe_error *error)
{
    return load_and_run(raw, 0, watcher, result, error);
}

static vmoe_status use_mapped(struct watcher *watcher, struct result *result, vmoe_error *error)
{
    return load_and_run(raw, VMOE_LOAD_MMAP, watcher, result, error);
}

static vmoe_status use_compact(struct watcher *watcher, struct result *result, vmoe_error *error)
{
    return load_and_run(compact, 0, watcher, result, error);
}

static vmoe_status use_memory(struct watcher *watcher, struct result *result, vmoe_error *error)
{
    return load_and_run(NULL, 0, watcher, result, error);
}

static vmoe_status verify(struct watcher *watcher, struct result *result, vmoe_error *error)
{
    (void)watcher;
    (void)result;
    return vmoe_verify_file(scratch_path(compact), error);
}

/* Of the file its end and a sum are kept. */
static vmoe_status import(uint32_t precision, struct watcher *watcher, struct result *result,
                          vmoe_error *error)
{
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    vmoe_status status;

    options.precision = precision;
    options.compact = precision == VMOE_PRECISION_INT8;
    options.image_size = 24; /* position embeddings are interpolated */
    options.progress = watch_import;
    options.progress_context = watcher;
    status = vmoe_import(golden_path("models/gap/model"), scratch_path(made), &options, error);
    if (status == VMOE_OK) {
        size_t bytes;
        uint8_t *found = read_file(scratch_path(made), &bytes);
        uint64_t sum = bytes;

        for (size_t i = 0; i < bytes; i++)
            sum = (sum ^ found[i]) * UINT64_C(0x100000001b3);
        put(result, &sum, sizeof sum);
        free(found);
    }
    return status;
}

static vmoe_status import_f32(struct watcher *watcher, struct result *result, vmoe_error *error)
{
    return import(VMOE_PRECISION_F32, watcher, result, error);
}

static vmoe_status import_bf16(struct watcher *watcher, struct result *result, vmoe_error *error)
{
    return import(VMOE_PRECISION_BF16, watcher, result, error);
}

static vmoe_status import_int8(struct watcher *watcher, struct result *result, vmoe_error *error)
{
    return import(VMOE_PRECISION_INT8, watcher, result, error);
}

static vmoe_status classify(struct watcher *watcher, struct result *result, vmoe_error *error)
{
    vmoe_class top[5];
    vmoe_status status;

    (void)watcher;
    memset(top, 0, sizeof top);
    status = vmoe_classify_jpeg(call.model, picture, picture_bytes, NULL, top, 5, error);
    for (size_t i = 0; i < 5; i++) {
        put(result, &top[i].index, sizeof top[i].index);
        put(result, &top[i].probability, sizeof top[i].probability);
    }
    return status;
}

static vmoe_status decode(struct watcher *watcher, struct result *result, vmoe_error *error)
{
    const vmoe_preprocessing resize = { VMOE_PREPROCESS_RESIZE, 17, 0 };
    const vmoe_preprocessing crop = { VMOE_PREPROCESS_SMALL_CROP, 11, 9 };
    const vmoe_picture from = { VMOE_PICTURE_JPEG, 0, 0, picture, picture_bytes, 0 };
    uint8_t squashed[17 * 17 * 3];
    float cropped[9 * 9 * 3];
    vmoe_status status = vmoe_preprocess(&resize, &from, squashed, sizeof squashed, error);

    (void)watcher;
    if (status == VMOE_OK)
        status = vmoe_preprocess(&crop, &from, cropped, sizeof cropped, error);
    put(result, squashed, sizeof squashed);
    put(result, cropped, sizeof cropped);
    return status;
}

static vmoe_status tell_cost(struct watcher *watcher, struct result *result, vmoe_error *error)
{
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_info info = VMOE_INFO_INIT;
    vmoe_cost cost = VMOE_COST_INIT;
    vmoe_status status =
        vmoe_preset("vmoe_b16_imagenet21k_randaug_strong_ft_ilsvrc2012", &info, error);

    (void)watcher;
    options.capacity = 0.2;
    if (status == VMOE_OK)
        status = vmoe_get_cost(&info, &options, 3, &cost, error);
    put(result, &info, sizeof info);
    put(result, &cost, sizeof cost);
    return status;
}

static const struct {
    const char *name;
    job *run;
    bool watched; /* the host is called back */
} jobs[] = {
    { "load, run", use_raw, true },
    { "map, run", use_mapped, true },
    { "load compact, run", use_compact, true },
    { "load from memory, run", use_memory, true },
    { "run", run_again, true },
    { "verify", verify, false },
    { "import f32", import_f32, true },
    { "import bf16", import_bf16, true },
    { "import int8, compact", import_int8, true },
    { "classify a JPEG", classify, false },
    { "decode and resize", decode, false },
    { "preset and cost", tell_cost, false },
};

#define JOBS (sizeof jobs / sizeof jobs[0])

/* A job in a state, which must be the same afterwards. */
static vmoe_status run_in_state(job *run_job, unsigned state, struct watcher *watcher,
                                struct result *result, vmoe_error *error)
{
    struct float_state after;
    vmoe_status status;

    memset(result, 0, sizeof *result);
    *watcher = (struct watcher){ .looks = 0 };
    set_state(state);
    watcher->expected = get_state();
    status = run_job(watcher, result, error);
    after = get_state();
    set_state(USUAL);
    assert_true(same_state(after, watcher->expected));
    assert_false(watcher->wrong);
    return status;
}

static void every_call_gives_the_same_bits_in_every_state(void **state)
{
    (void)state;
    for (size_t j = 0; j < JOBS; j++) {
        struct result expected, found;
        struct watcher watcher;
        vmoe_error error = VMOE_ERROR_INIT;

        assert_ok(run_in_state(jobs[j].run, USUAL, &watcher, &expected, &error), error);
        for (unsigned s = 1; s < STATES; s++) {
            assert_ok(run_in_state(jobs[j].run, s, &watcher, &found, &error), error);
            if (found.count != expected.count ||
                memcmp(found.bytes, expected.bytes, found.count) != 0)
                fail_msg("\"%s\" in state %u gives other bits", jobs[j].name, s);
            assert_int_equal(watcher.looks != 0, jobs[j].watched);
        }
    }
}

/* ---- Calls that fail ------------------------------------------------------------------------- */

static vmoe_status be_cancelled(struct watcher *watcher, struct result *result, vmoe_error *error)
{
    static const int32_t cancelled = 1;

    (void)watcher;
    (void)result;
    call_reset(NULL);
    call.options.cancel = &cancelled;
    return call_run(error);
}

static vmoe_status ask_too_much(struct watcher *watcher, struct result *result, vmoe_error *error)
{
    (void)watcher;
    (void)result;
    call_reset(NULL);
    call.options.capacity = 65.0;
    return call_run(error);
}

static vmoe_status bring_a_bad_picture(struct watcher *watcher, struct result *result,
                                       vmoe_error *error)
{
    vmoe_class top;

    (void)watcher;
    (void)result;
    return vmoe_classify_jpeg(call.model, picture, picture_bytes / 2, NULL, &top, 1, error);
}

/* A signalling NaN, which comparing or printing would raise, in each place for a double. */
static const uint64_t signalling = UINT64_C(0x7ff0000000000001);

static vmoe_status ask_with_signalling_nan(struct watcher *watcher, struct result *result,
                                           vmoe_error *error)
{
    (void)watcher;
    (void)result;
    call_reset(NULL);
    memcpy(&call.options.capacity, &signalling, sizeof signalling);
    return call_run(error);
}

static vmoe_status cost_with_signalling_nan(struct watcher *watcher, struct result *result,
                                            vmoe_error *error)
{
    vmoe_info info = call.info;
    vmoe_cost cost = VMOE_COST_INIT;

    (void)watcher;
    (void)result;
    memcpy(&info.capacity, &signalling, sizeof signalling);
    return vmoe_get_cost(&info, NULL, 1, &cost, error);
}

static vmoe_status load_signalling_nan(struct watcher *watcher, struct result *result,
                                       vmoe_error *error)
{
    struct forged bad = forge_copy(&file);
    vmoe_model *model = NULL;
    vmoe_status status;

    (void)watcher;
    (void)result;
    forge_put_u64(&bad, FORGE_CONFIG + 96, signalling);
    forge_sign(&bad);
    status = vmoe_load_memory(bad.bytes, bad.size, NULL, &model, error);
    forge_free(&bad);
    return status;
}

static void failing_calls_fail_alike_in_every_state(void **state)
{
    static const struct {
        job *run;
        vmoe_status status;
        const char *where;
    } cases[] = {
        { be_cancelled, VMOE_ERR_CANCELLED, "cancel" },
        { ask_too_much, VMOE_ERR_ARGUMENT, "capacity" },
        { bring_a_bad_picture, VMOE_ERR_IMAGE, "picture" },
        { ask_with_signalling_nan, VMOE_ERR_ARGUMENT, "capacity" },
        { cost_with_signalling_nan, VMOE_ERR_ARGUMENT, "capacity" },
        { load_signalling_nan, VMOE_ERR_FORMAT, "capacity" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct watcher watcher;
        struct result result;
        vmoe_error first, error = VMOE_ERROR_INIT;

        for (unsigned s = 0; s < STATES; s++) {
            assert_refused(run_in_state(cases[i].run, s, &watcher, &result, &error), error,
                           cases[i].status, cases[i].where);
            if (s == USUAL)
                first = error;
            assert_string_equal(error.text, first.text);
        }
    }
}

/* ---- Callers with states of their own -------------------------------------------------------- */

#define CALLERS 8u
#define CALLS 30u

struct caller {
    unsigned state;
    const float *expected;
    unsigned wrong;
};

/* Whose threads a call works with is chance: those of a workspace that another caller left. */
static void *call_in_state(void *context)
{
    struct caller *caller = context;
    vmoe_options options = VMOE_OPTIONS_INIT;

    options.capacity = 0.2;
    options.capacity_multiple = 1;
    options.threads = 2;
    set_state(caller->state);
    for (unsigned i = 0; i < CALLS; i++) {
        const struct float_state before = get_state();
        float logits[2 * 5];

        caller->wrong += vmoe_logits_f32(call.model, call.images, 2, &options, logits, NULL) !=
                             VMOE_OK ||
                         memcmp(logits, caller->expected, sizeof logits) != 0 ||
                         !same_state(get_state(), before);
    }
    set_state(USUAL);
    return NULL;
}

static void callers_of_one_model_keep_their_own_states(void **state)
{
    struct watcher watcher;
    struct result result;
    vmoe_error error = VMOE_ERROR_INIT;
    struct caller callers[CALLERS];
    pthread_t threads[CALLERS];
    float expected[2 * 5];

    (void)state;
    assert_ok(run_in_state(run_again, USUAL, &watcher, &result, &error), error);
    memcpy(expected, call.logits, sizeof expected);
    for (unsigned i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){ .state = i * 13 % STATES, .expected = expected };
        assert_int_equal(pthread_create(&threads[i], NULL, call_in_state, &callers[i]), 0);
    }
    for (unsigned i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].wrong, 0);
    }
}

/* ---- The group ------------------------------------------------------------------------------- */

static int make_input(void **state)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;

    call_make(state);
    call.images[1] = 1e-40f;
    call.images[2] = -1e-45f;
    write_model(&geometry, &options, scratch_path(raw));
    file = forge_read(scratch_path(raw));
    options.compact = 1;
    write_model(&geometry, &options, scratch_path(compact));
    picture = read_file("examples/demo/pictures/bag.jpg", &picture_bytes);
    return 0;
}

static int free_input(void **state)
{
    free(picture);
    forge_free(&file);
    return call_free(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_gives_the_same_bits_in_every_state),
        cmocka_unit_test(failing_calls_fail_alike_in_every_state),
        cmocka_unit_test(callers_of_one_model_keep_their_own_states),
    };

    return cmocka_run_group_tests_name("the floating-point state", tests, make_input, free_input);
}
