/* Arrays are as long as they have to be, so that tools see whoever goes beyond. */
#include "fuzz/call.h"

#include <stdlib.h>
#include <string.h>

#define WORK_MAX (UINT64_C(1) << 22) /* of a call: multiply-adds, and bytes */
#define VALUES_MAX ((size_t)1 << 16) /* of an array */
#define IMAGES_MAX 3u

vmoe_options call_options(struct feed *feed)
{
    static const double capacities[] = { 0.0, 0.1, 0.5, 1.0, 1.05, 2.0, 64.0, -1.0 };
    vmoe_options options = VMOE_OPTIONS_INIT;
    const uint8_t which = feed_u8(feed);

    options.threads = 1 + (which >> 7);
    if (which & 1)
        options.capacity = capacities[feed_below(feed, 8)];
    if (which & 2)
        options.experts_per_token = feed_below(feed, 18);
    if (which & 4)
        options.priority = feed_below(feed, 5);
    if (which & 8)
        options.group_images = feed_below(feed, 4) ? feed_below(feed, 4) : VMOE_GROUP_ALL;
    if (which & 16)
        options.capacity_rule = feed_below(feed, 4);
    if (which & 32)
        options.capacity_multiple = feed_u32(feed) >> feed_below(feed, 32);
    if (which & 64) {
        options.precision = feed_below(feed, 5);
        options.isa = feed_below(feed, 11);
    }
    return options;
}

/* ---- Arrays --------------------------------------------------------------------------------- */

struct results {
    size_t images;
    vmoe_output output;
    vmoe_report report;
};

static void *array(size_t count, size_t size)
{
    void *memory = malloc(count * size + (count == 0));

    MUST(memory != NULL);
    memset(memory, 0xff, count * size); /* floats that are not numbers */
    return memory;
}

static void open_results(struct results *results, const vmoe_info *info, size_t images, uint32_t k)
{
    vmoe_output *output = &results->output;
    vmoe_report *report = &results->report;

    results->images = images;
    *output = (vmoe_output)VMOE_OUTPUT_INIT;
    *report = (vmoe_report)VMOE_REPORT_INIT;
    output->logits_length = output->probabilities_length = images * info->classes;
    output->features_length = images * info->features;
    output->member_logits_length = images * info->members * info->classes;
    output->top_count = info->classes < 3 ? info->classes : 3;
    output->top_length = images * output->top_count;
    output->logits = array(output->logits_length, sizeof *output->logits);
    output->probabilities = array(output->probabilities_length, sizeof *output->probabilities);
    output->features = array(output->features_length, sizeof *output->features);
    output->member_logits = array(output->member_logits_length, sizeof *output->member_logits);
    output->top = array(output->top_length, sizeof *output->top);
    output->report = report;
    report->layers_length = info->moe_layers;
    report->load_length = (size_t)info->moe_layers * info->experts;
    report->routes_length = info->moe_layers * images * info->tokens * info->members * k;
    report->layers = array(report->layers_length, sizeof *report->layers);
    report->load = array(report->load_length, sizeof *report->load);
    report->routes = array(report->routes_length, sizeof *report->routes);
}

static void close_results(struct results *results)
{
    free(results->output.logits);
    free(results->output.probabilities);
    free(results->output.features);
    free(results->output.member_logits);
    free(results->output.top);
    free(results->report.layers);
    free(results->report.load);
    free(results->report.routes);
}

/* ---- What must hold ------------------------------------------------------------------------- */

/* Classes and routes are in range, whatever the numbers are; the report adds up. */
static void check_results(const struct results *results, const vmoe_info *info, uint32_t k)
{
    const vmoe_report *report = &results->report;
    const int own = (int)(info->experts / info->members);
    uint64_t load = 0, kept = 0;

    for (size_t i = 0; i < results->output.top_length; i++)
        MUST(results->output.top[i].index < info->classes &&
             results->output.top[i].label != NULL);
    for (size_t i = 0; i < report->load_length; i++)
        load += report->load[i];
    for (size_t i = 0; i < report->routes_length; i++) {
        const int route = report->routes[i];

        MUST((route < 0 ? -1 - route : route) / own == (int)(i / k % info->members));
        kept += route >= 0;
    }
    MUST(report->processed + report->dropped == report->assigned);
    MUST(load == report->processed && kept == report->processed);
    MUST(report->assigned == report->routes_length);
}

static void check_same(const struct results *a, const struct results *b)
{
    MUST(memcmp(a->output.logits, b->output.logits, a->output.logits_length * sizeof(float)) == 0);
    MUST(memcmp(a->output.member_logits, b->output.member_logits,
                a->output.member_logits_length * sizeof(float)) == 0);
    MUST(memcmp(a->output.features, b->output.features,
                a->output.features_length * sizeof(float)) == 0);
    MUST(memcmp(a->report.routes, b->report.routes,
                a->report.routes_length * sizeof *a->report.routes) == 0);
}

static vmoe_status run(const vmoe_model *model, const vmoe_input *input,
                       const vmoe_options *options, struct results *results)
{
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_status status = vmoe_run(model, input, options, &results->output, &error);

    fuzz_check_error(status, &error);
    MUST(status != VMOE_ERR_CHECKSUM && status != VMOE_ERR_IO && status != VMOE_ERR_FORMAT);
    return status;
}

/* The same call in one thread, and one that had no other along its own routes: the same again. */
static void run_again(const vmoe_model *model, const vmoe_info *info, const vmoe_input *input,
                      const vmoe_options *options, const struct results *first, uint32_t k)
{
    vmoe_options single = *options;
    struct results results;

    single.threads = 1;
    if (options->threads == 1) {
        single.routes = first->report.routes;
        single.routes_length = first->report.routes_length;
    }
    open_results(&results, info, input->images, k);
    if (run(model, input, &single, &results) == VMOE_OK)
        check_same(first, &results);
    close_results(&results);
}

vmoe_status call_run(const vmoe_model *model, struct feed *feed)
{
    const vmoe_options options = call_options(feed);
    const size_t images = (feed_u8(feed) + 1u) % (IMAGES_MAX + 1); /* mostly some */
    vmoe_info info = VMOE_INFO_INIT;
    vmoe_input input = VMOE_INPUT_INIT;
    vmoe_cost cost = VMOE_COST_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    struct results results;
    vmoe_status status;
    float *tensor;
    uint32_t k;

    MUST(vmoe_get_info(model, &info, &error) == VMOE_OK);
    status = vmoe_get_cost(&info, &options, images, &cost, &error);
    fuzz_check_error(status, &error);
    if (status != VMOE_OK || cost.macs > WORK_MAX || cost.workspace_bytes > WORK_MAX)
        return status;
    k = options.experts_per_token != 0 ? options.experts_per_token : info.experts_per_token;
    k = info.experts != 0 ? k : 0;
    input.images = images;
    input.length = images * info.image_size * info.image_size * 3;
    if (input.length > VALUES_MAX || images * info.members * info.classes > VALUES_MAX)
        return VMOE_OK;
    tensor = array(input.length, sizeof *tensor);
    for (size_t i = 0; i < input.length; i++)
        tensor[i] = feed_float(feed);
    input.tensor = tensor;
    open_results(&results, &info, images, k);
    status = run(model, &input, &options, &results);
    if (status == VMOE_OK) {
        check_results(&results, &info, k);
        run_again(model, &info, &input, &options, &results, k);
    }
    close_results(&results);
    free(tensor);
    return status;
}
