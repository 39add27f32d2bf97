/* vmoe cost: what a setting of the dial costs, before it is run. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <vmoe.h>

#include "commands.h"
#include "dial.h"
#include "json.h"
#include "open_model.h"

/* The geometry of a preset or of a file, whichever is given. */
static vmoe_status find_geometry(const char *preset, const char *path, vmoe_info *info,
                                 vmoe_error *error)
{
    vmoe_model *model;

    if (preset != NULL)
        return preset_open(preset, info, error);
    if (model_open_header(path, &model, info, error) == VMOE_OK)
        vmoe_free(model);
    return error->status;
}

/* The cost of the ViT with the same geometry and no experts. */
static vmoe_status find_dense(const vmoe_info *info, uint32_t images, vmoe_cost *cost,
                              vmoe_error *error)
{
    const vmoe_options none = VMOE_OPTIONS_INIT;
    vmoe_info dense = *info;

    memset(dense.moe, 0, sizeof dense.moe);
    dense.experts = dense.moe_layers = dense.experts_per_token = dense.members = 0;
    dense.group_images = dense.capacity_rule = dense.capacity_multiple = 0;
    dense.capacity = 0.0;
    return vmoe_get_cost(&dense, &none, images, cost, error);
}

/* What is left of the papers' count when nothing is computed that the head does not need. */
static uint64_t computed(const vmoe_cost *cost)
{
    return cost->macs - cost->macs_saved;
}

static void print_macs(const char *what, uint64_t macs, uint64_t dense)
{
    char quantity[QUANTITY_BYTES];

    quantity_format(quantity, (double)macs, "MAC");
    printf("  %-22s %12s %10.3f\n", what, quantity,
           dense > 0 ? (double)macs / (double)dense : 0.0);
}

static void print_bytes(const char *what, uint64_t bytes)
{
    char quantity[QUANTITY_BYTES];

    quantity_format(quantity, (double)bytes, "B");
    printf("  %-22s %12s\n", what, quantity);
}

static void print_text(const vmoe_options *dial, uint32_t images, const vmoe_info *info,
                       const vmoe_cost *cost, const vmoe_cost *dense)
{
    char call[WORD_BYTES];

    if (info->experts > 0) {
        printf("K = %u, C = %g, ", dial->experts_per_token, dial->capacity);
        if (dial->group_images == VMOE_GROUP_ALL)
            printf("one group");
        else
            printf("groups of %u", dial->group_images);
        printf(": each of the %u experts has %" PRIu64 " slot%s in a group\n", info->experts,
               cost->capacity, cost->capacity == 1 ? "" : "s");
    } else {
        puts("A dense model: the dial changes nothing");
    }
    snprintf(call, sizeof call, "%u image%s", images, images == 1 ? "" : "s");
    printf("\n  %-22s %12s %10s\n", call, "work", "to dense");
    print_macs("this setting", computed(cost), computed(dense));
    print_macs("the dense ViT", computed(dense), computed(dense));
    printf("\n  %-22s %12s %10s\n", "as papers count", "work", "to dense");
    print_macs("this setting", cost->macs, cost->macs_dense);
    print_macs("with empty slots", cost->macs_padded, cost->macs_dense);
    print_macs("the dense ViT", cost->macs_dense, cost->macs_dense);
    putchar('\n');
    print_bytes("weights", cost->weight_bytes);
    print_bytes("workspace of the call", cost->workspace_bytes);
}

static void print_json(const vmoe_options *dial, uint32_t images, const vmoe_cost *cost,
                       const vmoe_cost *dense)
{
    struct json json = { stdout, false };
    char rule[WORD_BYTES];

    word_format(rule, CAPACITY_RULES, dial->capacity_rule);
    json_open(&json, NULL, '{');
    json_count(&json, "images", images);
    json_number_or_null(&json, "capacity_ratio", dial->capacity);
    json_count_or_null(&json, "slots", cost->capacity);
    json_count_or_null(&json, "experts_per_token", dial->experts_per_token);
    json_count_or_null(&json, "group_images",
                       dial->group_images == VMOE_GROUP_ALL ? images : dial->group_images);
    json_text(&json, "capacity_rule", dial->capacity_rule != 0 ? rule : NULL);
    json_count_or_null(&json, "capacity_multiple", dial->capacity_multiple);
    json_count(&json, "macs", computed(cost));
    json_count(&json, "macs_dense", computed(dense));
    json_count(&json, "papers_macs", cost->macs);
    json_count(&json, "papers_macs_padded", cost->macs_padded);
    json_count(&json, "papers_macs_dense", cost->macs_dense);
    json_count(&json, "weight_bytes", cost->weight_bytes);
    json_count(&json, "workspace_bytes", cost->workspace_bytes);
    json_close(&json, '}');
    putchar('\n');
}

static int run(const struct command *self, int argc, char **argv)
{
    vmoe_options dial = VMOE_OPTIONS_INIT;
    const char *preset = NULL;
    bool as_json = false;
    uint32_t images = 0;
    const struct cli_option options[] = {
        { 0, "preset", "NAME", "a released checkpoint, see 'vmoe presets'", option_text, &preset },
        { 0, "images", "N", "images of the call; default: one group", option_count, &images },
        { 0, "json", NULL, "print a JSON object", option_flag, &as_json },
        DIAL_OPTIONS(&dial),
        OPTIONS_END,
    };
    vmoe_info info = VMOE_INFO_INIT;
    vmoe_cost cost = VMOE_COST_INIT, dense = VMOE_COST_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    int operands;
    const int status = options_parse(self, options, argc, argv, &operands);

    if (status != PARSED)
        return status;
    if ((operands == 1) == (preset != NULL))
        return usage_error(self->name, "expected either a FILE or --preset NAME");
    if (find_geometry(preset, argv[0], &info, &error) != VMOE_OK)
        return options_exit(self, options, &error);
    dial_complete(&dial, &info);
    if (images == 0)
        images = info.experts == 0 || dial.group_images == VMOE_GROUP_ALL ? 1 : dial.group_images;
    if (vmoe_get_cost(&info, &dial, images, &cost, &error) != VMOE_OK ||
        find_dense(&info, images, &dense, &error) != VMOE_OK)
        return options_exit(self, options, &error);
    if (as_json)
        print_json(&dial, images, &cost, &dense);
    else
        print_text(&dial, images, &info, &cost, &dense);
    return EXIT_WORKED;
}

const struct command command_cost = {
    .name = "cost",
    .operands = "FILE|--preset NAME",
    .summary = "Tells what a setting of the dial will cost",
    .notes =
        "A MAC is one multiply-add of a matrix product.  'This setting' counts the most pairs of\n"
        "a token and an expert that can be processed; 'the dense ViT' has the same shape and no\n"
        "experts.  What the last block need not do, as the head reads one token, is left out;\n"
        "papers count it, too.  'With empty slots' computes every slot, full or not, as the\n"
        "original implementation does.",
    .example = "vmoe cost model.vmoe -C 0.5 -K 2",
    .operands_min = 0,
    .operands_max = 1,
    .run = run,
};
