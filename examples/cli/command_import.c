/* vmoe import: writes a .vmoe file from a foreign checkpoint. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vmoe.h>

#include "commands.h"
#include "dial.h"
#include "files.h"
#include "interrupt.h"
#include "open_model.h"
#include "picture_spec.h"
#include "progress.h"

#define BYTES_SHOWN 1000000u

/* ---- Progress ------------------------------------------------------------------------------- */

struct watch {
    struct progress progress;
    const int32_t *interrupted;
};

static int on_progress(void *context, uint64_t done, uint64_t total)
{
    struct watch *watch = context;

    if (watch->progress.total == 0)
        progress_begin(&watch->progress, total / BYTES_SHOWN, "MB");
    progress_show(&watch->progress, done / BYTES_SHOWN);
    return *(const volatile int32_t *)watch->interrupted;
}

/* ---- Labels --------------------------------------------------------------------------------- */

/*
 * Cuts a text into lines in place.  Both "\n" and "\r\n" end a line; the last one may lack it.  The
 * caller frees `*lines`, which point into `text`.
 */
static vmoe_status split_lines(char *text, size_t bytes, const char ***lines, uint32_t *count,
                               const char *path, vmoe_error *error)
{
    char *const end = text + bytes;
    size_t room = 1;

    if (memchr(text, '\0', bytes) != NULL)
        return error_set(error, VMOE_ERR_FORMAT, path, "a label contains a zero byte");
    if (bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        text += 3; /* the byte order mark that some editors put before UTF-8 */
    for (const char *c = text; c < end; c++)
        room += *c == '\n';
    *lines = malloc(room * sizeof **lines);
    if (*lines == NULL)
        return error_set(error, VMOE_ERR_MEMORY, path, "no memory for the labels");
    *count = 0;
    while (text < end) {
        char *stop = memchr(text, '\n', (size_t)(end - text));

        if (stop == NULL)
            stop = end;
        *stop = '\0';
        if (stop > text && stop[-1] == '\r')
            stop[-1] = '\0';
        (*lines)[(*count)++] = text;
        text = stop + 1;
    }
    return *count > 0 ? VMOE_OK : error_set(error, VMOE_ERR_FORMAT, path, "there are no labels");
}

/* ---- The command ---------------------------------------------------------------------------- */

static vmoe_status import(const char *source, const char *destination, const char *label_path,
                          vmoe_import_options *options, vmoe_error *error)
{
    struct watch watch = { 0 };
    const uint64_t label_limit = UINT64_C(1) << 30;
    char *target = NULL;
    void *text = NULL;
    const char **labels = NULL;
    size_t bytes;
    vmoe_status status = VMOE_OK;

    if (label_path != NULL) {
        status = file_read(label_path, label_limit, &text, &bytes, error);
        if (status == VMOE_OK)
            status = split_lines(text, bytes, &labels, &options->label_count, label_path, error);
        options->labels = labels;
    }
    if (status == VMOE_OK)
        status = file_target(destination, &target, error);
    if (status == VMOE_OK) {
        options->progress = on_progress;
        options->progress_context = &watch;
        watch.interrupted = interrupt_flag();
        status = vmoe_import(source, target, options, error);
        progress_hide(&watch.progress);
        if (strcmp(error->where, "destination") == 0)
            error_locate(error, "options.out");
        else if (strcmp(error->where, "options.labels") == 0)
            error_locate(error, label_path);
        else if (strncmp(error->where, "labels[", 7) == 0)
            error_in_file(error, label_path);
    }
    free(target);
    free(labels);
    free(text);
    return status;
}

static int run(const struct command *self, int argc, char **argv)
{
    vmoe_import_options import_options = VMOE_IMPORT_OPTIONS_INIT;
    vmoe_import_options *const to = &import_options;
    const char *output = NULL, *labels = NULL;
    bool compress = false;
    const struct cli_option options[] = {
        { 'o', "out", "FILE.vmoe", "the file to write (required)", option_text, &output },
        { 0, "preset", "NAME", "settings of a released checkpoint, see 'vmoe presets'", option_text,
          &to->preset },
        { 0, "dtype", PRECISIONS, "type of the stored weights; default bf16", option_choice,
          &to->precision },
        { 0, "compress", NULL, "a smaller file that loads more slowly", option_flag, &compress },
        { 'K', "experts-per-token", "K", "experts that a token is sent to; default 2", dial_experts,
          &to->experts_per_token },
        { 'C', "capacity", "C", "capacity ratio; default 1.05", dial_capacity, &to->capacity },
        { 0, "capacity-rule", CAPACITY_RULES, "rounding of the capacity; default ceil",
          option_choice, &to->capacity_rule },
        { 0, "capacity-multiple", "M", "then up to a multiple of M; default 4", dial_multiple,
          &to->capacity_multiple },
        { 0, "group-images", "N", "images that are routed together; default 1", option_count,
          &to->group_images },
        { 0, "gelu", "tanh|erf", "form of the activation; default tanh", option_choice, &to->gelu },
        { 0, "output", "softmax|sigmoid", "what follows the head; default softmax", option_choice,
          &to->output },
        { 0, "preprocess", PREPROCESSING_VALUE, "default: resize to the model's image size",
          option_preprocessing, &to->preprocessing },
        { 0, "image-size", "PX", "resize the position embeddings to another input", option_count,
          &to->image_size },
        { 0, "labels", "FILE", "names of the classes, one a line, in UTF-8", option_text, &labels },
        OPTIONS_END,
    };
    vmoe_info released = VMOE_INFO_INIT;
    char *read[2];
    vmoe_error error = VMOE_ERROR_INIT;
    int operands;
    const int status = options_parse(self, options, argc, argv, &operands);

    if (status != PARSED)
        return status;
    if (output == NULL)
        return usage_error(self->name, "option --out is missing");
    read[0] = argv[0];
    read[1] = (char *)(uintptr_t)labels;
    if (!files_differ(self->name, read, labels != NULL ? 2 : 1, &output, 1))
        return EXIT_USAGE;
    import_options.compact = compress;
    if (to->preset != NULL && preset_open(to->preset, &released, &error) != VMOE_OK)
        return options_exit(self, options, &error);
    if (import(argv[0], output, labels, &import_options, &error) != VMOE_OK)
        return options_exit(self, options, &error);
    return EXIT_WORKED;
}

const struct command command_import = {
    .name = "import",
    .operands = "SRC -o FILE.vmoe",
    .summary = "Writes a .vmoe file from a released checkpoint",
    .notes =
        "SRC is the prefix of the checkpoint's files (SRC.index, SRC.data-00000-of-0000N), or a\n"
        ".npz or .safetensors file.  What a checkpoint does not say comes from --preset, and single\n"
        "options override the preset.  Both are stored as the model's defaults; K, C and the rest\n"
        "of the dial can be changed in every call.  FILE.vmoe appears complete or not at all.",
    .example = "vmoe import checkpoints/vmoe_s32 -o model.vmoe --dtype int8",
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
