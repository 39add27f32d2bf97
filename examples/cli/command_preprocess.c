/* vmoe preprocess: what a model would see of a picture. */
#include <stdlib.h>
#include <vmoe.h>

#include "commands.h"
#include "files.h"
#include "npy_file.h"
#include "open_model.h"
#include "picture_spec.h"

/* The preprocessing by name, or that of a model file. */
static vmoe_status find_preprocessing(const char *text, vmoe_preprocessing *preprocessing,
                                      vmoe_error *error)
{
    vmoe_info info;
    vmoe_model *model;

    if (preprocessing_parse(text, preprocessing))
        return VMOE_OK;
    if (model_open_header(text, &model, &info, error) != VMOE_OK)
        return error->status;
    *preprocessing = info.preprocessing;
    vmoe_free(model);
    return VMOE_OK;
}

static vmoe_status write_array(const char *path, const vmoe_preprocessing *preprocessing,
                               const void *pixels, size_t bytes, vmoe_error *error)
{
    const size_t side = preprocessing_side(preprocessing);
    const uint64_t dims[] = { side, side, 3 };
    struct output_file file = OUTPUT_FILE_NONE;

    if (output_open(&file, path, error) != VMOE_OK)
        return error->status;
    npy_write_header(file.stream, preprocessing_type(preprocessing), 3, dims);
    fwrite(pixels, 1, bytes, file.stream);
    return output_commit(&file, error);
}

static vmoe_status preprocess(const vmoe_preprocessing *preprocessing, const char *from,
                              const char *to, vmoe_error *error)
{
    const size_t side = preprocessing_side(preprocessing);
    const size_t bytes = side * side * 3 * (size_t)preprocessing_type(preprocessing);
    vmoe_picture picture = { 0 };
    vmoe_limits limits = VMOE_LIMITS_INIT;
    void *pixels = NULL;
    vmoe_status status = vmoe_get_limits(&limits, error);

    if (status == VMOE_OK && side > limits.image_size)
        status = error_set(error, VMOE_ERR_LIMIT, from, "a side of %zu pixels; the limit is %u",
                           side, limits.image_size);
    if (status == VMOE_OK)
        status = picture_read(from, &picture, error);
    if (status == VMOE_OK) {
        pixels = malloc(bytes);
        status = pixels == NULL
                     ? error_set(error, VMOE_ERR_MEMORY, from, "no memory for the result")
                     : vmoe_preprocess(preprocessing, &picture, pixels, bytes, error);
        if (status != VMOE_OK)
            error_locate(error, from);
    }
    if (status == VMOE_OK)
        status = write_array(to, preprocessing, pixels, bytes, error);
    free(pixels);
    free((void *)(uintptr_t)picture.data);
    return status;
}

static int run(const struct command *self, int argc, char **argv)
{
    const char *output = NULL;
    const struct cli_option options[] = {
        { 'o', "out", "OUT.npy", "where the result goes (required)", option_text, &output },
        OPTIONS_END,
    };
    vmoe_preprocessing preprocessing = { 0, 0, 0 };
    vmoe_error error = VMOE_ERROR_INIT;
    int operands;
    const int status = options_parse(self, options, argc, argv, &operands);

    if (status != PARSED)
        return status;
    if (output == NULL)
        return usage_error(self->name, "option --out is missing");
    if (find_preprocessing(argv[0], &preprocessing, &error) != VMOE_OK ||
        preprocess(&preprocessing, argv[1], output, &error) != VMOE_OK)
        return error_exit(&error);
    return EXIT_WORKED;
}

const struct command command_preprocess = {
    .name = "preprocess",
    .operands = "FILE|" PREPROCESSING_VALUE " IMAGE -o OUT.npy",
    .summary = "Writes what a model sees of a JPEG",
    .notes =
        "The first operand is a preprocessing, or a .vmoe file for the one of that model.\n"
        "resize-N squashes the picture to N x N and writes uint8; small-A-crop-B brings its\n"
        "shorter side to A pixels, cuts out the central B x B and writes float32 in 0..255.  The\n"
        "shape is (side, side, 3).",
    .example = "vmoe preprocess model.vmoe picture.jpg -o seen.npy",
    .operands_min = 2,
    .operands_max = 2,
    .run = run,
};
