/* vmoe info: what a .vmoe file is. */
#include <inttypes.h>
#include <stdio.h>
#include <vmoe.h>

#include "commands.h"
#include "dial.h"
#include "json.h"
#include "open_model.h"
#include "picture_spec.h"

#define ID_BYTES 16

/* The fields of vmoe_info that are words, as words. */
struct words {
    char classifier[WORD_BYTES], gelu[WORD_BYTES], output[WORD_BYTES], rule[WORD_BYTES];
    char precision[WORD_BYTES], preprocessing[PREPROCESSING_BYTES];
    char id[2 * ID_BYTES + 1];
};

static void find_words(const vmoe_info *info, struct words *words)
{
    word_format(words->classifier, "token|gap|map", info->classifier);
    word_format(words->gelu, "tanh|erf", info->gelu);
    word_format(words->output, "softmax|sigmoid", info->output);
    word_format(words->rule, CAPACITY_RULES, info->capacity_rule);
    word_format(words->precision, PRECISIONS, info->precision);
    preprocessing_format(words->preprocessing, &info->preprocessing);
    for (size_t i = 0; i < ID_BYTES; i++)
        snprintf(words->id + 2 * i, 3, "%02x", info->id[i]);
}

static void print_json(const char *path, const vmoe_model *model, const vmoe_info *info)
{
    struct json json = { stdout, false };
    struct words words;

    find_words(info, &words);
    json_open(&json, NULL, '{');
    json_text(&json, "file", path);
    json_text(&json, "id", words.id);
    json_count(&json, "image_size", info->image_size);
    json_count(&json, "patch_size", info->patch_size);
    json_count(&json, "tokens", info->tokens);
    json_count(&json, "width", info->width);
    json_count(&json, "heads", info->heads);
    json_count(&json, "mlp", info->mlp);
    json_count(&json, "layers", info->layers);
    json_count(&json, "classes", info->classes);
    json_count(&json, "pre_logits", info->pre_logits);
    json_count(&json, "features", info->features);
    json_text(&json, "classifier", words.classifier);
    json_text(&json, "gelu", words.gelu);
    json_text(&json, "output", words.output);
    json_count(&json, "experts", info->experts);
    json_count(&json, "members", info->members);
    json_open(&json, "moe_layers", '[');
    for (uint32_t i = 0; i < info->layers; i++)
        if (info->moe[i])
            json_count(&json, NULL, i);
    json_close(&json, ']');
    json_count_or_null(&json, "experts_per_token", info->experts_per_token);
    json_count_or_null(&json, "group_images", info->group_images);
    json_number_or_null(&json, "capacity_ratio", info->capacity);
    json_text(&json, "capacity_rule", info->experts != 0 ? words.rule : NULL);
    json_count_or_null(&json, "capacity_multiple", info->capacity_multiple);
    json_text(&json, "preprocessing", words.preprocessing);
    json_text(&json, "precision", words.precision);
    json_truth(&json, "compact", info->compact != 0);
    json_truth(&json, "labels", info->labels != 0);
    json_count(&json, "parameters", info->parameters);
    json_count(&json, "weight_bytes", info->weight_bytes);
    json_count(&json, "file_bytes", info->file_bytes);
    json_text(&json, "provenance", vmoe_provenance(model));
    json_close(&json, '}');
    putchar('\n');
}

static void print_experts(const vmoe_info *info)
{
    const char *separator = "";

    printf("experts        %u in each of the blocks ", info->experts);
    for (uint32_t i = 0; i < info->layers; i++)
        if (info->moe[i]) {
            printf("%s%u", separator, i);
            separator = ", ";
        }
    if (info->members > 1)
        printf("\nensemble       %u members with %u experts each", info->members,
               info->experts / info->members);
    printf("\ndial           K = %u, C = %g, groups of %u image%s, "
           "capacity %s to a multiple of %u\n",
           info->experts_per_token, info->capacity, info->group_images,
           info->group_images == 1 ? "" : "s",
           info->capacity_rule == VMOE_CAPACITY_CEIL ? "rounded up" : "rounded to nearest, then up",
           info->capacity_multiple);
}

static void print_text(const vmoe_model *model, const vmoe_info *info)
{
    char parameters[QUANTITY_BYTES], memory[QUANTITY_BYTES], size[QUANTITY_BYTES];
    struct words words;

    find_words(info, &words);
    quantity_format(parameters, (double)info->parameters, "");
    quantity_format(memory, (double)info->weight_bytes, "B");
    quantity_format(size, (double)info->file_bytes, "B");
    printf("input          %u x %u pixels in patches of %u x %u: %u tokens\n", info->image_size,
           info->image_size, info->patch_size, info->patch_size, info->tokens);
    printf("preprocessing  %s\n", words.preprocessing);
    printf("encoder        %u blocks, width %u, %u heads, MLP %u, GELU %s\n", info->layers,
           info->width, info->heads, info->mlp, words.gelu);
    if (info->experts > 0)
        print_experts(info);
    else
        puts("experts        none, a dense model");
    printf("head           %u classes%s, %s of ", info->classes, info->labels ? " with names" : "",
           words.output);
    printf(info->classifier == VMOE_CLASSIFIER_TOKEN ? "the class token"
           : info->classifier == VMOE_CLASSIFIER_GAP ? "the mean of the tokens"
                                                     : "attention pooling");
    if (info->pre_logits > 0)
        printf(", with a tanh layer of %u", info->pre_logits);
    printf("\nweights        %s parameters as %s, %s in memory\n", parameters, words.precision,
           memory);
    printf("file           %s%s\n", size, info->compact ? ", compact" : "");
    printf("id             %s\n", words.id);
    printf("provenance     ");
    text_print(stdout, vmoe_provenance(model));
    putchar('\n');
}

static int run(const struct command *self, int argc, char **argv)
{
    bool as_json = false;
    const struct cli_option options[] = {
        { 0, "json", NULL, "print a JSON object", option_flag, &as_json },
        OPTIONS_END,
    };
    vmoe_info info;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model;
    int operands;
    const int status = options_parse(self, options, argc, argv, &operands);

    if (status != PARSED)
        return status;
    if (model_open_header(argv[0], &model, &info, &error) != VMOE_OK)
        return error_exit(&error);
    if (as_json)
        print_json(argv[0], model, &info);
    else
        print_text(model, &info);
    vmoe_free(model);
    return EXIT_WORKED;
}

const struct command command_info = {
    .name = "info",
    .operands = "FILE",
    .summary = "Shows what a .vmoe file is",
    .notes = "Only the header is checked; 'vmoe verify' checks every byte.",
    .example = "vmoe info model.vmoe",
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
