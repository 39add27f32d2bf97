/*
 * program MODEL.vmoe PICTURE.jpg: prints what a call with K = 1 and C = 0.3 gives.
 *
 * It is compiled with the first header and with today's; both programs must print the same.  What
 * lies behind a struct is not the library's: it is filled with 0xEE and looked at afterwards.
 */
#include HEADER
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GUARDED(type) struct { type it; unsigned char guard[256]; }

static unsigned char jpeg[1 << 20];
static float logits[1000];

static void check(vmoe_status status, const vmoe_error *error)
{
    if (status == 0)
        return;
    printf("%d %s: %s\n", (int)status, error->where, error->text);
    exit(1);
}

static void set_guard(unsigned char guard[256])
{
    memset(guard, 0xEE, 256);
}

static void check_guard(const unsigned char guard[256], const char *name)
{
    for (int i = 0; i < 256; i++)
        if (guard[i] != 0xEE) {
            printf("the library wrote behind %s\n", name);
            exit(1);
        }
}

int main(int argc, char **argv)
{
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model = NULL;
    GUARDED(vmoe_options) options = { VMOE_OPTIONS_INIT, { 0 } };
    GUARDED(vmoe_info) info = { VMOE_INFO_INIT, { 0 } };
    GUARDED(vmoe_cost) cost = { VMOE_COST_INIT, { 0 } };
    GUARDED(vmoe_report) report = { VMOE_REPORT_INIT, { 0 } };
    GUARDED(vmoe_input) input = { VMOE_INPUT_INIT, { 0 } };
    GUARDED(vmoe_output) output = { VMOE_OUTPUT_INIT, { 0 } };
    vmoe_picture picture = { 0 };
    FILE *file = argc == 3 ? fopen(argv[2], "rb") : NULL;

    if (file == NULL)
        return 2;
    set_guard(options.guard);
    set_guard(info.guard);
    set_guard(cost.guard);
    set_guard(report.guard);
    set_guard(input.guard);
    set_guard(output.guard);

    check(vmoe_load_file(argv[1], NULL, &model, &error), &error);
    check(vmoe_get_info(model, &info.it, &error), &error);
    options.it.experts_per_token = 1;
    options.it.capacity = 0.3;
    check(vmoe_get_cost(&info.it, &options.it, 1, &cost.it, &error), &error);

    picture.kind = VMOE_PICTURE_JPEG;
    picture.data = jpeg;
    picture.bytes = fread(jpeg, 1, sizeof jpeg, file);
    fclose(file);
    input.it.images = 1;
    input.it.pictures = &picture;
    output.it.logits = logits;
    output.it.logits_length = info.it.classes;
    output.it.report = &report.it;
    check(vmoe_run(model, &input.it, &options.it, &output.it, &error), &error);

    for (uint32_t i = 0; i < info.it.classes; i++)
        printf("%s %a\n", vmoe_label(model, i), (double)logits[i]);
    printf("capacity %llu, macs %llu, workspace %llu\n", (unsigned long long)cost.it.capacity,
           (unsigned long long)cost.it.macs, (unsigned long long)cost.it.workspace_bytes);
    printf("assigned %llu, processed %llu, dropped %llu\n", (unsigned long long)report.it.assigned,
           (unsigned long long)report.it.processed, (unsigned long long)report.it.dropped);
    check_guard(info.guard, "info");
    check_guard(cost.guard, "cost");
    check_guard(report.guard, "report");
    vmoe_free(model);
    return 0;
}
