/*
 * One call: check it, take a workspace, and work through the images slice by slice: pictures to
 * patches, patches to logits, logits to what the caller asked for.
 */
#include "run.h"

#include <stdio.h>
#include <string.h>

#include "classes.h"
#include "encoder/cost.h"
#include "image/preprocess.h"
#include "runtime/cpu.h"
#include "runtime/limits.h"

/* The first picture that failed, among those that one thread prepared. */
struct failure {
    uint64_t image;
    vmoe_error error;
};

struct run {
    const struct vmoe_model *model; /* NULL if only the workspace is asked for */
    const vmoe_info *info;
    const vmoe_input *input;
    const vmoe_options *options;
    const vmoe_output *output;
    vmoe_report *report; /* or NULL */
    struct vmoe_encoder encoder;
    uint32_t isa, threads;
    uint64_t slice;
    uint64_t host_float; /* the host's floating-point state, which its callbacks must see */
    struct vmoe_workspace *workspace;
    /* Of each thread: */
    uint8_t *image_scratch;
    uint64_t image_scratch_bytes;
    float *image; /* a preprocessed picture */
    struct failure *failures;
    uint64_t first_failed; /* of all pictures, set by any thread; UINT64_MAX: none */
};

/* ---- Checks --------------------------------------------------------------------------------- */

static vmoe_status resolve_isa(const struct run *run, uint32_t *isa, vmoe_error *error)
{
    uint32_t wanted = run->options->isa;
    uint32_t best = run->model != NULL ? run->model->isa : vmoe_isa_default();
    const char *name = vmoe_isa_name(wanted);

    *isa = best;
    if (wanted == VMOE_ISA_DEFAULT || wanted == best)
        return VMOE_OK;
    if (name == NULL)
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, "options.isa", "%u is no vmoe_isa", wanted);
    if (!vmoe_isa_available(wanted))
        return vmoe_fail(error, VMOE_ERR_UNSUPPORTED, "options.isa",
                         "this machine or this build lacks the instruction set %s", name);
    *isa = wanted;
    return VMOE_OK;
}

static vmoe_status resolve_threads(const vmoe_options *options, uint32_t *threads,
                                   vmoe_error *error)
{
    if (options->threads > VMOE_LIMIT_THREADS)
        return vmoe_fail(error, VMOE_ERR_LIMIT, "options.threads", "%u threads are more than %u",
                         options->threads, VMOE_LIMIT_THREADS);
    *threads = options->threads != 0 ? options->threads : vmoe_cpu_count();
    if (*threads > VMOE_LIMIT_THREADS)
        *threads = VMOE_LIMIT_THREADS;
    return VMOE_OK;
}

/* An array of the caller, absent or of exactly the length that the call implies. */
static vmoe_status check_length(const char *where, const void *array, uint64_t length,
                                uint64_t expected, vmoe_error *error)
{
    if (array == NULL && length != 0)
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, where, "a NULL array has %llu elements",
                         (unsigned long long)length);
    if (array != NULL && length != expected)
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, where,
                         "the array has %llu elements, but the call needs %llu",
                         (unsigned long long)length, (unsigned long long)expected);
    return VMOE_OK;
}

static vmoe_status check_input(const vmoe_info *info, const vmoe_input *input, vmoe_error *error)
{
    uint64_t values = 3 * (uint64_t)info->image_size * info->image_size;
    int given = (input->pictures != NULL) + (input->pixels != NULL) + (input->tensor != NULL);

    if (input->images == 0)
        return VMOE_OK;
    if (given != 1)
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, "input",
                         "%d of pictures, pixels and tensor are set, but exactly one must be",
                         given);
    if (input->images > VMOE_LIMIT_IMAGES)
        return vmoe_fail(error, VMOE_ERR_LIMIT, "input.images", "%llu images are more than %llu",
                         (unsigned long long)input->images, (unsigned long long)VMOE_LIMIT_IMAGES);
    if (input->pictures != NULL)
        return VMOE_OK;
    if (input->length != input->images * values)
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, "input.length",
                         "%llu elements were given for %llu images of %u x %u x 3",
                         (unsigned long long)input->length, (unsigned long long)input->images,
                         info->image_size, info->image_size);
    return VMOE_OK;
}

static vmoe_status check_output(const struct run *run, vmoe_error *error)
{
    const vmoe_info *info = run->info;
    const vmoe_output *output = run->output;
    const vmoe_report *report = run->report;
    uint64_t images = run->input->images, layers = info->moe_layers;
    vmoe_status status;

    status = check_length("output.logits", output->logits, output->logits_length,
                          images * info->classes, error);
    if (status == VMOE_OK)
        status = check_length("output.probabilities", output->probabilities,
                              output->probabilities_length, images * info->classes, error);
    if (status == VMOE_OK)
        status = check_length("output.features", output->features, output->features_length,
                              images * info->features, error);
    if (status == VMOE_OK)
        status = check_length("output.member_logits", output->member_logits,
                              output->member_logits_length,
                              images * info->members * info->classes, error);
    if (status == VMOE_OK && output->top != NULL &&
        (output->top_count < 1 || output->top_count > info->classes))
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, "output.top_count",
                         "%zu best classes of %u were asked for", output->top_count, info->classes);
    if (status == VMOE_OK)
        status = check_length("output.top", output->top, output->top_length,
                              images * output->top_count, error);
    if (status != VMOE_OK || report == NULL)
        return status;
    status = check_length("report.layers", report->layers, report->layers_length, layers, error);
    if (status == VMOE_OK)
        status = check_length("report.load", report->load, report->load_length,
                              layers * info->experts, error);
    if (status == VMOE_OK)
        status = check_length("report.routes", report->routes, report->routes_length,
                              layers * images * info->tokens * info->members *
                                  run->encoder.dial.picks,
                              error);
    return status;
}

/* The expert of a route: a pair with expert e that was dropped is -1 - e. */
static int expert_of(int16_t route)
{
    return route < 0 ? -1 - route : route;
}

/* True if route k of a token is one of experts first .. end - 1 that none before it is. */
static bool is_route(const int16_t *routes, size_t k, int first, int end)
{
    const int expert = expert_of(routes[k]);
    bool good = expert >= first && expert < end;

    for (size_t j = 0; j < k; j++)
        good = good && expert_of(routes[j]) != expert;
    return good;
}

/* Routes from outside index memory, so each of them is looked at. */
static vmoe_status check_routes(const struct run *run, vmoe_error *error)
{
    const vmoe_info *info = run->info;
    const int16_t *routes = run->options->routes;
    const int own = (int)vmoe_config_own_experts(info);
    uint64_t picks = run->encoder.dial.picks;
    uint64_t tokens =
        info->moe_layers * (uint64_t)run->input->images * info->tokens * info->members;
    vmoe_status status = check_length("options.routes", routes, run->options->routes_length,
                                      tokens * picks, error);

    if (status != VMOE_OK || routes == NULL)
        return status;
    for (uint64_t t = 0; t < tokens; t++) {
        const int first = (int)(t % info->members) * own;

        for (uint64_t k = 0; k < picks; k++)
            if (!is_route(routes + t * picks, k, first, first + own))
                return vmoe_fail(error, VMOE_ERR_ARGUMENT, "options.routes",
                                 "element %llu names expert %d, which does not exist%s or was "
                                 "named before for the same token",
                                 (unsigned long long)(t * picks + k),
                                 expert_of(routes[t * picks + k]),
                                 info->members > 1 ? ", is another member's" : "");
    }
    return VMOE_OK;
}

/* How the call will be computed: instruction set, types of activations, threads. */
static vmoe_status resolve_machine(struct run *run, vmoe_error *error)
{
    struct vmoe_encoder *encoder = &run->encoder;
    const uint32_t precision = run->options->precision;
    vmoe_status status = resolve_isa(run, &run->isa, error);

    if (status == VMOE_OK)
        status = resolve_threads(run->options, &run->threads, error);
    if (status != VMOE_OK)
        return status;
    if (precision > VMOE_PRECISION_INT8)
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, "options.precision", "%u is no vmoe_precision",
                         precision);
    encoder->kernels = vmoe_kernels_for(run->isa);
    encoder->types = vmoe_types_resolve(encoder->kernels, run->info, precision);
    return VMOE_OK;
}

static vmoe_status check_call(struct run *run, vmoe_error *error)
{
    vmoe_status status = check_input(run->info, run->input, error);

    if (status == VMOE_OK)
        status = vmoe_dial_resolve(run->info, run->options, run->input->images, &run->encoder.dial,
                                   error);
    if (status == VMOE_OK)
        status = resolve_machine(run, error);
    if (status == VMOE_OK)
        status = check_output(run, error);
    if (status == VMOE_OK)
        status = check_routes(run, error);
    return status;
}

/* ---- Workspace ------------------------------------------------------------------------------ */

/* Takes everything a call needs from an arena, which may only be counting. */
static void layout(struct run *run, struct vmoe_arena *arena)
{
    const vmoe_info *info = run->info;
    uint64_t values = 3 * (uint64_t)info->image_size * info->image_size;

    vmoe_buffers_layout(info, &run->encoder.dial, &run->encoder.types, run->slice, run->threads,
                        arena, &run->encoder.buffers);
    run->encoder.tally.used =
        vmoe_arena_take(arena, (uint64_t)info->moe_layers * info->experts, sizeof(uint8_t));
    run->image_scratch_bytes = vmoe_preprocess_scratch_bytes(&info->preprocessing);
    run->image_scratch = vmoe_arena_take(arena, run->threads, run->image_scratch_bytes);
    run->image = vmoe_arena_take(arena, run->threads * values, sizeof(float));
    run->failures = vmoe_arena_take(arena, run->threads, sizeof *run->failures);
}

/* Chooses the slice of a call and tells the bytes of its workspace. */
static vmoe_status measure(struct run *run, uint64_t images, uint64_t *bytes, vmoe_error *error)
{
    struct vmoe_arena arena = { 0 };

    run->slice = vmoe_slice_images(&run->encoder.dial, images);
    layout(run, &arena);
    if (arena.overflow)
        return vmoe_fail(error, VMOE_ERR_LIMIT, "options",
                         "the workspace exceeds the address space");
    *bytes = arena.used;
    return VMOE_OK;
}

vmoe_status vmoe_run_workspace_bytes(const vmoe_info *info, const vmoe_options *options,
                                     const struct vmoe_dial *dial, uint64_t images,
                                     uint64_t *bytes, vmoe_error *error)
{
    struct run run = { .info = info, .options = options, .encoder.dial = *dial };
    vmoe_status status = resolve_machine(&run, error);

    return status == VMOE_OK ? measure(&run, images, bytes, error) : status;
}

static vmoe_status take_workspace(struct run *run, vmoe_error *error)
{
    struct vmoe_encoder *encoder = &run->encoder;
    struct vmoe_arena arena;
    uint64_t bytes = 0;
    vmoe_status status = measure(run, run->input->images, &bytes, error);

    if (status != VMOE_OK)
        return status;
    vmoe_cpu_leave_float(run->host_float);
    status = vmoe_pool_take(run->model->pool, bytes, run->threads, &run->workspace, error);
    vmoe_cpu_enter_float();
    if (status != VMOE_OK)
        return status;
    arena = (struct vmoe_arena){ .base = run->workspace->memory, .size = run->workspace->bytes };
    layout(run, &arena);
    encoder->team = run->workspace->team;
    encoder->info = run->info;
    encoder->weights = &run->model->checkpoint.weights;
    encoder->cancel = run->options->cancel;
    encoder->forced = run->options->routes;
    encoder->call_images = run->input->images;
    encoder->trace = run->model->trace;
    memset(encoder->tally.used, 0, (size_t)run->info->moe_layers * run->info->experts);
    return VMOE_OK;
}

/* ---- Images in ------------------------------------------------------------------------------ */

static bool failed_before(const struct run *run, uint64_t image)
{
    return __atomic_load_n(&run->first_failed, __ATOMIC_RELAXED) < image;
}

static void set_failed(struct run *run, struct failure *failure, uint64_t image)
{
    uint64_t first = __atomic_load_n(&run->first_failed, __ATOMIC_RELAXED);

    failure->image = image;
    while (image < first &&
           !__atomic_compare_exchange_n(&run->first_failed, &first, image, true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED)) {
    }
}

/* Image `task` of the slice to its rows of patches. */
static void load_image(void *context, size_t task, uint32_t thread)
{
    struct run *run = context;
    const vmoe_info *info = run->info;
    const vmoe_input *input = run->input;
    uint64_t index = run->encoder.first_image + task;
    uint32_t side = info->image_size;
    size_t values = (size_t)side * side * 3;
    float *patches = run->encoder.buffers.image_patches + task * values;
    float *image = run->image + thread * values;
    struct failure *failure = &run->failures[thread];
    char where[64];

    if (input->tensor != NULL) {
        vmoe_patches_from_tensor(side, info->patch_size, input->tensor + index * values, patches);
        return;
    }
    if (input->pixels != NULL) {
        vmoe_patches_from_pixels(side, info->patch_size, input->pixels + index * values, patches);
        return;
    }
    /* Of several bad pictures, the first is reported, whatever thread finds it. */
    if (failed_before(run, index))
        return;
    snprintf(where, sizeof where, "input.pictures[%llu]", (unsigned long long)index);
    if (vmoe_encoder_check_cancel(&run->encoder, &failure->error) != VMOE_OK ||
        vmoe_preprocess_picture(&info->preprocessing, &input->pictures[index], where,
                                run->image_scratch + thread * run->image_scratch_bytes, image,
                                &failure->error) != VMOE_OK) {
        set_failed(run, failure, index);
        return;
    }
    vmoe_patches_from_range(side, info->patch_size, image, patches);
}

static vmoe_status load_slice(struct run *run, vmoe_error *error)
{
    const struct failure *first = run->failures;
    double begin = vmoe_cpu_seconds();

    run->first_failed = UINT64_MAX;
    for (uint32_t i = 0; i < run->threads; i++)
        run->failures[i].image = UINT64_MAX;
    vmoe_team_run(run->encoder.team, run->encoder.images, load_image, run);
    run->encoder.seconds[VMOE_STAGE_IMAGE] += vmoe_cpu_seconds() - begin;
    if (run->first_failed == UINT64_MAX)
        return VMOE_OK;
    while (first->image != run->first_failed)
        first++;
    if (error != NULL)
        *error = first->error;
    return first->error.status;
}

/* ---- Results out ---------------------------------------------------------------------------- */

/* The rows of one image, `count` values for each member, from where members stand apart. */
static void store_members(const struct run *run, size_t task, size_t count, const float *from,
                          float *to)
{
    const struct vmoe_encoder *encoder = &run->encoder;
    const size_t members = run->info->members;

    to += (encoder->first_image + task) * members * count;
    for (size_t m = 0; m < members; m++)
        memcpy(to + m * count, from + (m * encoder->images + task) * count, count * sizeof *to);
}

static void store_image(void *context, size_t task, uint32_t thread)
{
    struct run *run = context;
    const vmoe_info *info = run->info;
    const vmoe_output *output = run->output;
    const struct vmoe_buffers *buffers = &run->encoder.buffers;
    const struct vmoe_members members = {
        .kernels = run->encoder.kernels,
        .output = info->output,
        .classes = info->classes,
        .count = info->members,
        .stride = run->encoder.images * info->classes,
        .logits = buffers->logits + task * info->classes,
    };
    size_t classes = info->classes, index = run->encoder.first_image + task;
    float *probabilities = buffers->probabilities + task * classes;

    (void)thread;
    if (output->logits != NULL)
        vmoe_classes_logits(&members, output->logits + index * classes);
    if (output->member_logits != NULL)
        store_members(run, task, classes, buffers->logits, output->member_logits);
    if (output->features != NULL)
        store_members(run, task, vmoe_config_head_width(info), buffers->features,
                      output->features);
    if (output->probabilities == NULL && output->top == NULL)
        return;
    vmoe_classes_probabilities(&members, probabilities);
    if (output->probabilities != NULL)
        memcpy(output->probabilities + index * classes, probabilities, classes * sizeof(float));
    /* Probabilities may be equal where logits are not, but an ensemble has no others to go by. */
    if (output->top != NULL)
        vmoe_classes_top(&run->model->checkpoint,
                         members.count > 1 ? probabilities : members.logits, probabilities,
                         output->top + index * output->top_count, output->top_count);
}

/* ---- Report --------------------------------------------------------------------------------- */

/* A call without images tells the blocks of the layers, too. */
static void begin_layers(const vmoe_info *info, vmoe_layer_report *layers)
{
    memset(layers, 0, info->moe_layers * sizeof *layers);
    for (uint32_t block = 0; block < info->layers; block++)
        if (info->moe[block])
            (layers++)->layer = block;
}

static void begin_report(struct run *run)
{
    vmoe_report *report = run->report;
    struct vmoe_tally *tally = &run->encoder.tally;

    if (report == NULL)
        return;
    tally->layers = report->layers;
    tally->load = report->load;
    tally->routes = report->routes;
    if (report->layers != NULL)
        begin_layers(run->info, report->layers);
    if (report->load != NULL)
        memset(report->load, 0, report->load_length * sizeof *report->load);
}

/* Bytes of the weights that had a part in the result: experts without a token had none. */
static uint64_t used_bytes(const struct run *run)
{
    const vmoe_info *info = run->info;
    uint64_t idle = 0;

    if (run->input->images == 0)
        return 0;
    for (size_t i = 0; i < (size_t)info->moe_layers * info->experts; i++)
        idle += !run->encoder.tally.used[i];
    return info->weight_bytes - idle * vmoe_cost_expert_bytes(info);
}

static void end_report(struct run *run, double begin)
{
    const vmoe_info *info = run->info;
    const struct vmoe_encoder *encoder = &run->encoder;
    const struct vmoe_tally *tally = &encoder->tally;
    vmoe_report *report = run->report;

    if (report == NULL)
        return;
    report->isa = run->isa;
    report->precision = encoder->types.block;
    report->threads = run->workspace != NULL ? vmoe_team_threads(encoder->team) : run->threads;
    report->experts_per_token = encoder->dial.picks;
    report->group_images = encoder->dial.group_images;
    report->groups = encoder->dial.groups;
    report->capacity = encoder->dial.capacity;
    report->assigned = tally->assigned;
    report->processed = tally->processed;
    report->dropped = tally->dropped;
    report->untouched = tally->untouched;
    report->macs = run->input->images * vmoe_cost_shared_macs(info) +
                   tally->processed * vmoe_cost_pair_macs(info);
    report->macs_saved = run->input->images * vmoe_cost_saved_macs(info) +
                         (tally->processed - tally->computed) * vmoe_cost_pair_macs(info);
    report->weight_bytes = used_bytes(run);
    memcpy(report->seconds, encoder->seconds, sizeof report->seconds);
    report->total_seconds = vmoe_cpu_seconds() - begin;
}

/* ---- The call ------------------------------------------------------------------------------- */

static vmoe_status report_progress(const struct run *run, uint64_t done, vmoe_error *error)
{
    if (run->options->progress == NULL)
        return VMOE_OK;
    vmoe_cpu_leave_float(run->host_float);
    run->options->progress(run->options->progress_context, done, run->input->images);
    vmoe_cpu_enter_float();
    /* The callback may have forked, and this be the child, which lacks the workers. */
    return vmoe_team_resize(run->encoder.team, run->threads, error);
}

static vmoe_status run_slices(struct run *run, vmoe_error *error)
{
    struct vmoe_encoder *encoder = &run->encoder;
    uint64_t images = run->input->images;

    for (uint64_t first = 0; first < images; first += run->slice) {
        vmoe_status status;

        encoder->first_image = first;
        encoder->images = vmoe_smaller(images - first, run->slice);
        status = load_slice(run, error);
        if (status == VMOE_OK)
            status = vmoe_encoder_check_cancel(encoder, error);
        if (status == VMOE_OK)
            status = vmoe_encoder_run(encoder, error);
        if (status != VMOE_OK)
            return status;
        vmoe_team_run(encoder->team, encoder->images, store_image, run);
        status = report_progress(run, first + encoder->images, error);
        if (status != VMOE_OK)
            return status;
    }
    return VMOE_OK;
}

vmoe_status vmoe_run_call(const struct vmoe_model *model, const vmoe_input *input,
                          const vmoe_options *options, const vmoe_output *output,
                          vmoe_report *report, vmoe_error *error)
{
    struct run run = { .model = model,
                       .info = &model->checkpoint.info,
                       .input = input,
                       .options = options,
                       .output = output,
                       .report = report,
                       .host_float = vmoe_cpu_enter_float() };
    double begin = vmoe_cpu_seconds();
    vmoe_status status = check_call(&run, error);

    if (status == VMOE_OK)
        begin_report(&run);
    if (status == VMOE_OK && input->images != 0)
        status = take_workspace(&run, error);
    if (status == VMOE_OK)
        status = run_slices(&run, error);
    if (status == VMOE_OK)
        end_report(&run, begin);
    /* The report reads the workspace, which is the next caller's from here on. */
    if (run.workspace != NULL)
        vmoe_pool_give(model->pool, run.workspace);
    vmoe_cpu_leave_float(run.host_float);
    return status;
}
