/*
 * The interface as programs of the first version know it, for program.c: written out, and never
 * changed.
 *
 * Structs are as long as they were before anything was appended to them.  vmoe_options is cut short
 * further, behind C: no header had it so, but by the rule of sizes one might have had.
 */
#include <stddef.h>
#include <stdint.h>

typedef int vmoe_status;
typedef struct vmoe_model vmoe_model;

typedef struct vmoe_error {
    vmoe_status status;
    char where[96];
    char text[320];
} vmoe_error;
#define VMOE_ERROR_INIT { 0, "", "" }

typedef struct vmoe_info {
    uint32_t size;
    uint32_t image_size, patch_size, tokens, width, heads, mlp, layers, classes, pre_logits;
    uint32_t features, classifier, gelu, output, experts, moe_layers;
    uint8_t moe[256];
    uint32_t experts_per_token, group_images;
    double capacity;
    uint32_t capacity_rule, capacity_multiple;
    uint32_t preprocessing[3];
    uint32_t precision, compact, labels;
    uint64_t parameters, weight_bytes, file_bytes;
    uint8_t id[16];
} vmoe_info;
#define VMOE_INFO_INIT { .size = sizeof(vmoe_info) }

typedef struct vmoe_options {
    uint32_t size;
    uint32_t experts_per_token;
    double capacity;
} vmoe_options;
#define VMOE_OPTIONS_INIT { .size = sizeof(vmoe_options) }

typedef struct vmoe_picture {
    uint32_t kind, width, height;
    const void *data;
    size_t bytes, stride;
} vmoe_picture;
enum { VMOE_PICTURE_JPEG = 1 };

typedef struct vmoe_input {
    uint32_t size, reserved;
    size_t images;
    const vmoe_picture *pictures;
    const uint8_t *pixels;
    const float *tensor;
    size_t length;
} vmoe_input;
#define VMOE_INPUT_INIT { .size = sizeof(vmoe_input) }

typedef struct vmoe_report {
    uint32_t size, isa, precision, threads, experts_per_token, group_images;
    uint64_t groups, capacity, assigned, processed, dropped, untouched, macs, weight_bytes;
    double seconds[7], total_seconds;
    void *layers;
    size_t layers_length;
    uint64_t *load;
    size_t load_length;
    int16_t *routes;
    size_t routes_length;
} vmoe_report;
#define VMOE_REPORT_INIT { .size = sizeof(vmoe_report) }

typedef struct vmoe_output {
    uint32_t size, reserved;
    float *logits;
    size_t logits_length;
    float *probabilities;
    size_t probabilities_length;
    float *features;
    size_t features_length;
    void *top;
    size_t top_length, top_count;
    vmoe_report *report;
} vmoe_output;
#define VMOE_OUTPUT_INIT { .size = sizeof(vmoe_output) }

typedef struct vmoe_cost {
    uint32_t size, reserved;
    uint64_t capacity, macs, macs_padded, macs_dense, weight_bytes, workspace_bytes;
} vmoe_cost;
#define VMOE_COST_INIT { .size = sizeof(vmoe_cost) }

vmoe_status vmoe_load_file(const char *path, const void *options, vmoe_model **model,
                           vmoe_error *error);
vmoe_status vmoe_get_info(const vmoe_model *model, vmoe_info *info, vmoe_error *error);
vmoe_status vmoe_get_cost(const vmoe_info *info, const vmoe_options *options, size_t images,
                          vmoe_cost *cost, vmoe_error *error);
vmoe_status vmoe_run(const vmoe_model *model, const vmoe_input *input, const vmoe_options *options,
                     const vmoe_output *output, vmoe_error *error);
const char *vmoe_label(const vmoe_model *model, uint32_t class_index);
void vmoe_free(vmoe_model *model);
