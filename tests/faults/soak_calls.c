/*
 * The calls of a soak.  What is right is known beforehand: the logits of every setting were
 * computed once, and what is damaged may only be refused, or answered if it is a picture.
 */
#define _GNU_SOURCE
#include "faults/soak_calls.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/cpu.h"
#include "support/support.h"
#include "support/tiny.h"

#define DEADLINE_SECONDS 0.05
#define CLASSES_MAX 64u
#define LOGITS_MAX (SOAK_IMAGES * CLASSES_MAX)

uint32_t soak_random(uint64_t *state, uint32_t below)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((*state >> 33) % below);
}

/* ---- What is right -------------------------------------------------------------------------- */

/* What a call is made with, drawn at random, and what came of it. */
struct attempt {
    struct soak_worker *worker;
    const struct soak_model *model;
    const struct soak_setting *setting;
    vmoe_options options; /* of the setting */
    float logits[LOGITS_MAX];
    bool wrong;
};

static vmoe_status run(struct attempt *attempt, const vmoe_model *model)
{
    const struct soak_model *from = attempt->model;
    const size_t images = attempt->setting->images;
    vmoe_input input = VMOE_INPUT_INIT;
    vmoe_output output = VMOE_OUTPUT_INIT;

    input.images = images;
    input.tensor = from->tensor;
    input.length = images * image_values(&from->info);
    output.logits = attempt->logits;
    output.logits_length = images * from->info.classes;
    return vmoe_run(model, &input, &attempt->options, &output, NULL);
}

static bool is_right(const struct attempt *attempt)
{
    const size_t values = attempt->setting->images * attempt->model->info.classes;

    return memcmp(attempt->logits, attempt->setting->logits, values * sizeof(float)) == 0;
}

static void choose_setting(struct soak_setting *setting, const vmoe_info *info, uint64_t *random)
{
    static const double capacities[] = { 0.1, 0.3, 0.5, 1.0, 1.05, 4.0 };
    vmoe_options *options = &setting->options;

    *options = (vmoe_options)VMOE_OPTIONS_INIT;
    setting->images = 1 + soak_random(random, SOAK_IMAGES);
    options->experts_per_token = 1 + soak_random(random, info->experts < 3 ? info->experts : 3);
    options->capacity = capacities[soak_random(random, 6)];
    options->priority = soak_random(random, 4);
    options->group_images = soak_random(random, 3) == 0 ? VMOE_GROUP_ALL : 1;
    options->capacity_multiple = soak_random(random, 2) == 0 ? 1 : 4;
    options->precision = soak_random(random, 3) == 0 ? VMOE_PRECISION_F32 : VMOE_PRECISION_AUTO;
    options->isa = 1 + soak_random(random, VMOE_ISA_AVX512_BF16);
    if (!vmoe_isa_available(options->isa))
        options->isa = VMOE_ISA_DEFAULT;
}

static void open_model(struct soak_model *model, uint64_t *random)
{
    uint8_t *file = read_file(model->path, &model->length);

    model->bytes = aligned_alloc(64, (model->length + 63) / 64 * 64);
    assert_non_null(model->bytes);
    memcpy(model->bytes, file, model->length);
    free(file);
    model->model = must_load(model->path, NULL);
    model->info = info_of(model->model);
    assert_true(model->info.classes <= CLASSES_MAX);
    model->tensor = make_images(&model->info, SOAK_IMAGES);
    for (size_t i = 0; i < SOAK_SETTINGS; i++) {
        struct soak_setting *setting = &model->settings[i];
        struct attempt first = { .model = model, .setting = setting };

        choose_setting(setting, &model->info, random);
        first.options = setting->options;
        assert_int_equal(run(&first, model->model), VMOE_OK);
        setting->logits = malloc(sizeof first.logits);
        assert_non_null(setting->logits);
        memcpy(setting->logits, first.logits, sizeof first.logits);
    }
}

void soak_open(struct soak *soak, const char *demo, const char *picture)
{
    const vmoe_info tiny = tiny_info(VMOE_CLASSIFIER_TOKEN), gap = medium_info(VMOE_CLASSIFIER_GAP),
                    map = medium_info(VMOE_CLASSIFIER_MAP);
    vmoe_import_options narrow = VMOE_IMPORT_OPTIONS_INIT;
    uint64_t random = 1;

    memset(soak, 0, sizeof *soak);
    snprintf(soak->models[0].path, sizeof soak->models[0].path, "%s", demo);
    for (int i = 1; i < (int)SOAK_MODELS; i++) {
        const char name[] = { 'm', (char)('0' + i), '\0' };

        snprintf(soak->models[i].path, sizeof soak->models[i].path, "%s", scratch_path(name));
    }
    write_model(&tiny, NULL, soak->models[1].path);
    narrow.precision = VMOE_PRECISION_BF16;
    write_model(&gap, &narrow, soak->models[2].path);
    narrow.precision = VMOE_PRECISION_INT8;
    narrow.compact = 1;
    write_model(&map, &narrow, soak->models[3].path);
    soak->picture = read_file(picture, &soak->picture_bytes);
    for (size_t i = 0; i < SOAK_MODELS; i++) {
        struct soak_model *model = &soak->models[i];

        open_model(model, &random);
        assert_int_equal(vmoe_classify_jpeg(model->model, soak->picture, soak->picture_bytes, NULL,
                                            &model->top, 1, NULL),
                         VMOE_OK);
    }
}

void soak_close(struct soak *soak)
{
    for (size_t i = 0; i < SOAK_MODELS; i++) {
        struct soak_model *model = &soak->models[i];

        vmoe_free(model->model);
        free(model->bytes);
        free(model->tensor);
        for (size_t j = 0; j < SOAK_SETTINGS; j++)
            free(model->settings[j].logits);
    }
    free(soak->picture);
}

/* ---- The kinds of call ---------------------------------------------------------------------- */

/* Each makes a call, answers its status, and says if it is wrong. */
typedef vmoe_status kind(struct attempt *attempt);

static uint32_t draw(struct attempt *attempt, uint32_t below)
{
    return soak_random(&attempt->worker->random, below);
}

/* A copy of bytes, of which the end is missing or some bits are flipped; free() releases it. */
static uint8_t *damage(struct attempt *attempt, const uint8_t *from, size_t *bytes, bool cut,
                       unsigned flips)
{
    uint8_t *copy = malloc(*bytes);

    attempt->wrong = copy == NULL;
    if (copy == NULL)
        return NULL;
    memcpy(copy, from, *bytes);
    if (cut)
        *bytes = draw(attempt, (uint32_t)*bytes);
    for (unsigned i = 0; !cut && i < flips; i++) {
        const uint32_t at = draw(attempt, (uint32_t)*bytes);

        copy[at] ^= (uint8_t)(1u << draw(attempt, 8));
    }
    return copy;
}

/* The dial, with any number of threads: the same bits as the first time. */
static vmoe_status turn_dial(struct attempt *attempt)
{
    vmoe_status status;

    attempt->options.threads = 1 + draw(attempt, 4);
    status = run(attempt, attempt->model->model);
    attempt->wrong = status != VMOE_OK || !is_right(attempt);
    return status;
}

static vmoe_status classify_picture(struct attempt *attempt)
{
    const struct soak *soak = attempt->worker->soak;
    const struct soak_model *model = attempt->model;
    vmoe_class top;
    const vmoe_status status = vmoe_classify_jpeg(model->model, soak->picture,
                                                  soak->picture_bytes, NULL, &top, 1, NULL);

    attempt->wrong = status != VMOE_OK || top.index != model->top.index ||
                     memcmp(&top.probability, &model->top.probability, sizeof top.probability) != 0;
    return status;
}

/* A few flipped bits may leave a picture; a missing end never does. */
static vmoe_status classify_damaged_picture(struct attempt *attempt)
{
    const struct soak *soak = attempt->worker->soak;
    const bool cut = draw(attempt, 2) == 0;
    size_t bytes = soak->picture_bytes;
    uint8_t *copy = damage(attempt, soak->picture, &bytes, cut, 4);
    vmoe_class top;
    vmoe_status status;

    if (copy == NULL)
        return VMOE_ERR_MEMORY;
    status = vmoe_classify_jpeg(attempt->model->model, copy, bytes, NULL, &top, 1, NULL);
    attempt->wrong = status == VMOE_OK
                         ? cut
                         : status != VMOE_ERR_IMAGE && status != VMOE_ERR_LIMIT &&
                               status != VMOE_ERR_UNSUPPORTED && status != VMOE_ERR_ARGUMENT;
    free(copy);
    return status;
}

/* A load in one of its forms, a call, and a release. */
static vmoe_status load_run_free(struct attempt *attempt)
{
    const struct soak_model *from = attempt->model;
    const bool from_memory = draw(attempt, 2) == 0;
    vmoe_load_options options = VMOE_LOAD_OPTIONS_INIT;
    vmoe_model *model = NULL;
    vmoe_status status;

    options.flags = draw(attempt, 4); /* mapped or not, trusting or not */
    status = from_memory ? vmoe_load_memory(from->bytes, from->length, &options, &model, NULL)
                         : vmoe_load_file(from->path, &options, &model, NULL);
    if (status == VMOE_OK)
        status = run(attempt, model);
    attempt->wrong = status != VMOE_OK || !is_right(attempt);
    vmoe_free(model);
    return status;
}

/* A cut file, or one with a flipped bit; not the large one, which would take all the time. */
static vmoe_status load_damaged_file(struct attempt *attempt)
{
    const struct soak_model *from =
        &attempt->worker->soak->models[1 + draw(attempt, SOAK_MODELS - 1)];
    const bool cut = draw(attempt, 2) == 0;
    size_t bytes = from->length;
    uint8_t *copy = damage(attempt, from->bytes, &bytes, cut, 1);
    vmoe_model *model = NULL;
    vmoe_status status;

    if (copy == NULL)
        return VMOE_ERR_MEMORY;
    status = vmoe_load_memory(copy, bytes, NULL, &model, NULL);
    attempt->wrong = status == VMOE_OK || model != NULL || status == VMOE_ERR_MEMORY ||
                     status == VMOE_ERR_IO || status == VMOE_ERR_THREAD;
    vmoe_free(model);
    free(copy);
    return status;
}

static vmoe_status load_missing_file(struct attempt *attempt)
{
    vmoe_model *model = NULL;
    const vmoe_status status = vmoe_load_file("/nowhere/model.vmoe", NULL, &model, NULL);

    attempt->wrong = status != VMOE_ERR_IO || model != NULL;
    return status;
}

static vmoe_status verify_file(struct attempt *attempt)
{
    const vmoe_status status = vmoe_verify_file(attempt->model->path, NULL);

    attempt->wrong = status != VMOE_OK;
    return status;
}

static vmoe_status make_bad_call(struct attempt *attempt)
{
    vmoe_options *options = &attempt->options;
    vmoe_status status;

    switch (draw(attempt, 5)) {
    case 0: options->capacity = -1.0; break;
    case 1: options->capacity = NAN; break;
    case 2: options->experts_per_token = attempt->model->info.experts + 1; break;
    case 3: options->priority = 99; break;
    default: options->threads = 100000; break;
    }
    status = run(attempt, attempt->model->model);
    attempt->wrong = status != VMOE_ERR_ARGUMENT && status != VMOE_ERR_LIMIT;
    return status;
}

/* Not a number in, not a number out, and nobody else is disturbed. */
static vmoe_status run_special_values(struct attempt *attempt)
{
    static const float specials[] = { NAN, INFINITY, -INFINITY, 1e38f, 1e-40f };
    const struct soak_model *model = attempt->model;
    const size_t values = image_values(&model->info);
    float *tensor = malloc(values * sizeof *tensor);
    vmoe_status status;

    attempt->wrong = tensor == NULL;
    if (tensor == NULL)
        return VMOE_ERR_MEMORY;
    memcpy(tensor, model->tensor, values * sizeof *tensor);
    for (unsigned i = 0; i < 8; i++) {
        const uint32_t at = draw(attempt, (uint32_t)values);

        tensor[at] = specials[draw(attempt, 5)];
    }
    status = vmoe_logits_f32(model->model, tensor, 1, &attempt->options, attempt->logits, NULL);
    attempt->wrong = status != VMOE_OK;
    free(tensor);
    return status;
}

/* Another thread may set the flag at any moment; what is answered nevertheless is right. */
static vmoe_status run_cancelled(struct attempt *attempt)
{
    struct soak_worker *worker = attempt->worker;
    vmoe_status status;

    __atomic_store_n(&worker->cancel, 0, __ATOMIC_SEQ_CST);
    attempt->options.cancel = &worker->cancel;
    attempt->options.threads = 1 + draw(attempt, 3);
    atomic_store(&worker->cancelling, true);
    status = run(attempt, attempt->model->model);
    atomic_store(&worker->cancelling, false);
    attempt->wrong =
        status == VMOE_OK ? !is_right(attempt) : status != VMOE_ERR_CANCELLED;
    return status;
}

/* The controller of the examples on the large model; calls that are late are counted. */
static vmoe_status hold_deadline(struct attempt *attempt)
{
    struct soak_worker *worker = attempt->worker;
    const struct soak_model *model = &worker->soak->models[0];
    const size_t rung = deadline_choose(&worker->deadline);
    vmoe_options options = VMOE_OPTIONS_INIT;
    const double begin = vmoe_cpu_seconds();
    vmoe_status status;

    options.capacity = worker->deadline.rungs[rung].capacity;
    options.threads = 1;
    status = vmoe_logits_f32(model->model, model->tensor, 1, &options, attempt->logits, NULL);
    const double seconds = vmoe_cpu_seconds() - begin;
    deadline_learn(&worker->deadline, rung, seconds);
    worker->late += seconds > DEADLINE_SECONDS;
    attempt->wrong = status != VMOE_OK;
    return status;
}

/* ---- One call ------------------------------------------------------------------------------- */

const char *const soak_kind_names[SOAK_KINDS] = {
    "dial",         "picture",     "damaged picture", "load, run, free", "damaged file", "no file",
    "verification", "bad options", "special values",  "cancelled",       "deadline",
};

static kind *const kinds[SOAK_KINDS] = {
    turn_dial,   classify_picture, classify_damaged_picture, load_run_free, load_damaged_file,
    load_missing_file, verify_file, make_bad_call, run_special_values, run_cancelled, hold_deadline,
};

void soak_worker_init(struct soak_worker *worker, const struct soak *soak, uint64_t seed)
{
    vmoe_error error = VMOE_ERROR_INIT;

    memset(worker, 0, sizeof *worker);
    worker->soak = soak;
    worker->random = seed;
    assert_ok(deadline_begin(&worker->deadline, &soak->models[0].info, DEADLINE_SECONDS, &error),
              error);
}

void soak_call(struct soak_worker *worker)
{
    const uint32_t chosen = soak_random(&worker->random, SOAK_KINDS);
    struct attempt attempt = { .worker = worker };
    vmoe_status status;

    attempt.model = &worker->soak->models[draw(&attempt, SOAK_MODELS)];
    attempt.setting = &attempt.model->settings[draw(&attempt, SOAK_SETTINGS)];
    attempt.options = attempt.setting->options;
    status = kinds[chosen](&attempt);
    worker->outcomes[chosen][(unsigned)status < SOAK_STATUSES ? status : VMOE_OK]++;
    worker->wrong[chosen] += attempt.wrong || (unsigned)status >= SOAK_STATUSES;
}
