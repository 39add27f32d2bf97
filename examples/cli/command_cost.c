/* vmoe cost: what a setting of the dial costs, before it is run. */
#include <inttypes.h>
#include <stdio.h>
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
        return vmoe_preset(preset, info, error);
    if (model_open_header(path, &model, info, error) == VMOE_OK)
        vmoe_free(model);
    return error->status;
}

/* Fills in the defaults, so that the setting can be shown. */
static void complete(vmoe_options *dial, const vmoe_info *info)
{
    if (dial->capacity == 0.0)
        dial->capacity = info->capacity;
    if (dial->experts_per_token == 0)
        dial->experts_per_token = info->experts_per_token;
    if (dial->group_images == 0)
        dial->group_images = info->group_images;
    if (dial->capacity_rule == 0)
        dial->capacity_rule = info->capacity_rule;
    if (dial->capacity_multiple == 0)
        dial->capacity_multiple = info->capacity_multiple;
}

static void print_macs(const char *what, uint64_t macs, const vmoe_cost *cost)
{
    char quantity[QUANTITY_BYTES];

    quantity_format(quantity, (double)macs, "MAC");
    printf("  %-22s %12s %10.3f\n", what, quantity,
           cost->macs_dense > 0 ? (double)macs / (double)cost->macs_dense : 0.0);
}

static void print_bytes(const char *what, uint64_t bytes)
{
    char quantity[QUANTITY_BYTES];

    quantity_format(quantity, (double)bytes, "B");
    printf("  %-22s %12s\n", what, quantity);
}

static void print_text(const vmoe_options *dial, uint32_t images, const vmoe_info *info,
                       const vmoe_cost *cost)
{
    char call[WORD_BYTES];

    if (info->experts > 0) {
        printf("K = %u, C = %g, ", dial->experts_per_token, dial->capacity);
        if (dial->group_images == VMOE_GROUP_ALL)
            printf("one group");
        else
            printf("groups of %u", dial->group_images);
        printf(": each of the %u experts has %" PRIu64 " slots in a group\n", info->experts,
               cost->capacity);
    } else {
        puts("A dense model: the dial changes nothing");
    }
    snprintf(call, sizeof call, "%u image%s", images, images == 1 ? "" : "s");
    printf("\n  %-22s %12s %10s\n", call, "work", "to dense");
    print_macs("this setting", cost->macs, cost);
    print_macs("with empty slots", cost->macs_padded, cost);
    print_macs("the dense ViT", cost->macs_dense, cost);
    putchar('\n');
    print_bytes("weights", cost->weight_bytes);
    print_bytes("workspace of the call", cost->workspace_bytes);
}

static void print_json(const vmoe_options *dial, uint32_t images, const vmoe_cost *cost)
{
    struct json json = { stdout, false };
    char rule[WORD_BYTES];

    word_format(rule, CAPACITY_RULES, dial->capacity_rule);
    json_open(&json, NULL, '{');
    json_count(&json, "images", images);
    json_number(&json, "C", dial->capacity);
    json_count(&json, "experts_per_token", dial->experts_per_token);
    json_count(&json, "group_images",
               dial->group_images == VMOE_GROUP_ALL ? images : dial->group_images);
    json_text(&json, "capacity_rule", rule);
    json_count(&json, "capacity_multiple", dial->capacity_multiple);
    json_count(&json, "capacity", cost->capacity);
    json_count(&json, "macs", cost->macs);
    json_count(&json, "macs_saved", cost->macs_saved);
    json_count(&json, "macs_padded", cost->macs_padded);
    json_count(&json, "macs_dense", cost->macs_dense);
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
    vmoe_cost cost = VMOE_COST_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    int operands;
    const int status = options_parse(self, options, argc, argv, &operands);

    if (status != PARSED)
        return status;
    if ((operands == 1) == (preset != NULL))
        return usage_error(self->name, "expected either a FILE or --preset NAME");
    if (find_geometry(preset, argv[0], &info, &error) != VMOE_OK)
        return error_exit(&error);
    complete(&dial, &info);
    if (images == 0)
        images = info.experts == 0 || dial.group_images == VMOE_GROUP_ALL ? 1 : dial.group_images;
    if (vmoe_get_cost(&info, &dial, images, &cost, &error) != VMOE_OK)
        return error_exit(&error);
    if (as_json)
        print_json(&dial, images, &cost);
    else
        print_text(&dial, images, &info, &cost);
    return EXIT_WORKED;
}

const struct command command_cost = {
    .name = "cost",
    .operands = "FILE|--preset NAME",
    .summary = "Tells what a setting of the dial will cost",
    .notes =
        "A MAC is one multiply-add of a matrix product.  'This setting' counts the most pairs of\n"
        "a token and an expert that can be processed; 'with empty slots' computes every slot,\n"
        "full or not, as the original implementation does; 'the dense ViT' has the same shape and\n"
        "no experts.",
    .example = "vmoe cost model.vmoe -C 0.5 -K 2",
    .operands_min = 0,
    .operands_max = 1,
    .run = run,
};
