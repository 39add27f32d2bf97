/*
 * Every exported function but vmoe_status_name and vmoe_preset_name, which stand with their tables:
 * it brings the caller's structs to this library's size, checks what does not depend on the work,
 * and calls down.
 */
#include <string.h>

#include "checkpoint/import.h"
#include "encoder/cost.h"
#include "image/preprocess.h"
#include "model/presets.h"
#include "run.h"
#include "runtime/cpu.h"
#include "runtime/limits.h"

/* Models may be larger than 4 GB, and their weights are used as they lie in the file. */
#if SIZE_MAX < UINT64_MAX || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "libvmoe is for little-endian machines with pointers of 64 bits"
#endif

/* ---- Structs of other versions -------------------------------------------------------------- */

/* No struct of any version is larger; a larger size is a struct that was never initialised. */
#define STRUCT_BYTES_MAX 4096u

static vmoe_status check_size(uint32_t size, const char *name, vmoe_error *error)
{
    if (size < sizeof(uint32_t) || size > STRUCT_BYTES_MAX)
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, name,
                         "its size field is %u: initialise it with its ..._INIT macro", size);
    return VMOE_OK;
}

/*
 * Copies a struct that the caller filled.  Fields that are missing, all of them if `from` is NULL,
 * become zero, which means their default; fields that are newer than the library must be zero.
 */
static vmoe_status take_struct(void *to, size_t known, const void *from, const char *name,
                               vmoe_error *error)
{
    const uint8_t *bytes = from;
    uint32_t size;
    vmoe_status status;

    memset(to, 0, known);
    if (from == NULL)
        return VMOE_OK;
    memcpy(&size, from, sizeof size);
    status = check_size(size, name, error);
    if (status != VMOE_OK)
        return status;
    for (size_t i = known; i < size; i++)
        if (bytes[i] != 0)
            return vmoe_fail(error, VMOE_ERR_UNSUPPORTED, name,
                             "byte %zu is set, but this library knows only %zu bytes", i, known);
    memcpy(to, from, size < known ? size : known);
    return VMOE_OK;
}

/* Fills a struct of the caller as far as it reaches. */
static void give_struct(void *to, const void *from, size_t known)
{
    uint32_t size;

    memcpy(&size, to, sizeof size);
    memcpy((uint8_t *)to + sizeof size, (const uint8_t *)from + sizeof size,
           (size < known ? size : known) - sizeof size);
}

static vmoe_status missing(vmoe_error *error, const char *name)
{
    return vmoe_fail(error, VMOE_ERR_ARGUMENT, name, "the argument is NULL");
}

/* ---- Version and limits --------------------------------------------------------------------- */

uint32_t vmoe_version(void)
{
    return VMOE_VERSION_NUMBER;
}

vmoe_status vmoe_get_limits(vmoe_limits *limits, vmoe_error *error)
{
    const vmoe_limits all = {
        .layers = VMOE_LIMIT_LAYERS,
        .heads = VMOE_LIMIT_HEADS,
        .experts = VMOE_LIMIT_EXPERTS,
        .experts_per_token = VMOE_LIMIT_PICKS,
        .width = VMOE_LIMIT_WIDTH,
        .mlp = VMOE_LIMIT_MLP,
        .classes = VMOE_LIMIT_CLASSES,
        .image_size = VMOE_LIMIT_IMAGE_SIZE,
        .tokens = VMOE_LIMIT_TOKENS,
        .group_tokens = VMOE_LIMIT_GROUP_TOKENS,
        .threads = VMOE_LIMIT_THREADS,
        .capacity = VMOE_LIMIT_CAPACITY,
        .file_bytes = VMOE_LIMIT_FILE_BYTES,
        .header_bytes = VMOE_LIMIT_HEADER_BYTES,
        .tensors = VMOE_LIMIT_TENSORS,
        .label_bytes = VMOE_LIMIT_LABEL_BYTES,
        .jpeg_bytes = VMOE_LIMIT_JPEG_BYTES,
        .picture_side = VMOE_LIMIT_PICTURE_SIDE,
        .picture_pixels = VMOE_LIMIT_PICTURE_PIXELS,
        .jpeg_scans = VMOE_LIMIT_JPEG_SCANS,
        .import_index_bytes = VMOE_LIMIT_INDEX_BYTES,
        .import_shards = VMOE_LIMIT_SHARDS,
        .members = VMOE_LIMIT_MEMBERS,
    };
    vmoe_status status;

    vmoe_error_clear(error);
    if (limits == NULL)
        return missing(error, "limits");
    status = check_size(limits->size, "limits", error);
    if (status == VMOE_OK)
        give_struct(limits, &all, sizeof all);
    return status;
}

/* ---- Instruction sets ----------------------------------------------------------------------- */

const char *vmoe_isa_name(uint32_t isa)
{
    static const char *const names[] = { NULL,  "ref",         "avx2", "avx512",   "avx512-vnni",
                                         "amx", "avx512-bf16", "neon", "neon-dot", "neon-i8mm" };

    return isa < sizeof names / sizeof names[0] ? names[isa] : NULL;
}

int vmoe_isa_available(uint32_t isa)
{
    return isa == VMOE_ISA_DEFAULT || (vmoe_kernels_for(isa) != NULL && vmoe_cpu_has(isa));
}

uint32_t vmoe_isa_default(void)
{
    static const uint32_t order[] = { VMOE_ISA_AMX,    VMOE_ISA_AVX512_BF16, VMOE_ISA_AVX512_VNNI,
                                      VMOE_ISA_AVX512, VMOE_ISA_AVX2,        VMOE_ISA_NEON_I8MM,
                                      VMOE_ISA_NEON_DOT, VMOE_ISA_NEON };

    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
        if (vmoe_isa_available(order[i]) &&
            (order[i] != VMOE_ISA_AVX512_BF16 || vmoe_cpu_gains_by_bf16()))
            return order[i];
    return VMOE_ISA_REF;
}

/* ---- Loading -------------------------------------------------------------------------------- */

static vmoe_status load(const char *where, const void *data, size_t bytes,
                        const vmoe_load_options *options, vmoe_model **model, vmoe_error *error)
{
    vmoe_load_options known;
    vmoe_allocator allocator = vmoe_memory_default;
    struct vmoe_read_options read = { 0 };
    struct vmoe_model *made;
    vmoe_status status = take_struct(&known, sizeof known, options, "options", error);

    if (status != VMOE_OK)
        return status;
    if (known.flags & ~(uint32_t)(VMOE_LOAD_MMAP | VMOE_LOAD_HEADER_ONLY))
        return vmoe_fail(error, VMOE_ERR_UNSUPPORTED, "options.flags", "0x%x has unknown bits",
                         known.flags);
    if (known.allocator != NULL)
        allocator = *known.allocator;
    if (allocator.alloc == NULL || allocator.release == NULL)
        return missing(error, "options.allocator");
    made = vmoe_memory_take_zeroed(&allocator, sizeof *made);
    if (made == NULL)
        return vmoe_fail(error, VMOE_ERR_MEMORY, where, "no memory for a model");
    made->allocator = allocator;
    /* Once, because CPUID traps in virtual machines: each call would pay some 30 us for it. */
    made->isa = vmoe_isa_default();
    read.flags = known.flags;
    read.max_bytes = known.max_bytes;
    read.cancel = known.cancel;
    status = vmoe_checkpoint_read(where, data, bytes, &read, &made->allocator, &made->checkpoint,
                                  error);
    if (status == VMOE_OK)
        status = vmoe_pool_create(&made->allocator, &made->pool, error);
    if (status != VMOE_OK) {
        vmoe_free(made);
        return status;
    }
    *model = made;
    return VMOE_OK;
}

vmoe_status vmoe_load_file(const char *path, const vmoe_load_options *options, vmoe_model **model,
                           vmoe_error *error)
{
    vmoe_error_clear(error);
    if (model == NULL)
        return missing(error, "model");
    *model = NULL;
    if (path == NULL)
        return missing(error, "path");
    return load(path, NULL, 0, options, model, error);
}

vmoe_status vmoe_load_memory(const void *data, size_t bytes, const vmoe_load_options *options,
                             vmoe_model **model, vmoe_error *error)
{
    vmoe_error_clear(error);
    if (model == NULL)
        return missing(error, "model");
    *model = NULL;
    if (data == NULL)
        return missing(error, "data");
    return load("memory", data, bytes, options, model, error);
}

void vmoe_free(vmoe_model *model)
{
    vmoe_allocator allocator;

    if (model == NULL)
        return;
    allocator = model->allocator;
    vmoe_pool_destroy(model->pool);
    vmoe_checkpoint_release(&model->checkpoint, &model->allocator);
    vmoe_memory_release(&allocator, model);
}

vmoe_status vmoe_verify_file(const char *path, vmoe_error *error)
{
    const struct vmoe_read_options read = { .verify_only = true };
    struct vmoe_checkpoint checkpoint;

    vmoe_error_clear(error);
    if (path == NULL)
        return missing(error, "path");
    return vmoe_checkpoint_read(path, NULL, 0, &read, &vmoe_memory_default, &checkpoint, error);
}

vmoe_status vmoe_get_info(const vmoe_model *model, vmoe_info *info, vmoe_error *error)
{
    vmoe_status status;

    vmoe_error_clear(error);
    if (model == NULL || info == NULL)
        return missing(error, model == NULL ? "model" : "info");
    status = check_size(info->size, "info", error);
    if (status == VMOE_OK)
        give_struct(info, &model->checkpoint.info, sizeof model->checkpoint.info);
    return status;
}

const char *vmoe_label(const vmoe_model *model, uint32_t class_index)
{
    if (model == NULL || model->checkpoint.labels == NULL ||
        class_index >= model->checkpoint.info.classes)
        return "";
    return model->checkpoint.labels[class_index];
}

const char *vmoe_provenance(const vmoe_model *model)
{
    return model == NULL ? "" : model->checkpoint.provenance;
}

/* ---- Running -------------------------------------------------------------------------------- */

vmoe_status vmoe_run(const vmoe_model *model, const vmoe_input *input, const vmoe_options *options,
                     const vmoe_output *output, vmoe_error *error)
{
    vmoe_input known_input;
    vmoe_options known_options;
    vmoe_output known_output;
    vmoe_report report;
    vmoe_status status;

    vmoe_error_clear(error);
    if (model == NULL || input == NULL || output == NULL)
        return missing(error, model == NULL ? "model" : input == NULL ? "input" : "output");
    status = take_struct(&known_input, sizeof known_input, input, "input", error);
    if (status == VMOE_OK)
        status = take_struct(&known_options, sizeof known_options, options, "options", error);
    if (status == VMOE_OK)
        status = take_struct(&known_output, sizeof known_output, output, "output", error);
    if (status == VMOE_OK && known_output.report != NULL)
        status = take_struct(&report, sizeof report, known_output.report, "report", error);
    if (status != VMOE_OK)
        return status;
    /* A later version may give them a meaning, which this one would miss. */
    if (known_input.reserved != 0 || known_options.reserved != 0 || known_output.reserved != 0)
        return vmoe_fail(error, VMOE_ERR_UNSUPPORTED, "reserved",
                         "a reserved field of input, options or output is not zero");
    status = vmoe_run_call(model, &known_input, &known_options, &known_output,
                           known_output.report != NULL ? &report : NULL, error);
    if (status == VMOE_OK && known_output.report != NULL)
        give_struct(known_output.report, &report, sizeof report);
    return status;
}

static vmoe_status classify(const vmoe_model *model, const vmoe_picture *picture,
                            const vmoe_options *options, vmoe_class *top, size_t count,
                            vmoe_error *error)
{
    vmoe_input input = VMOE_INPUT_INIT;
    vmoe_output output = VMOE_OUTPUT_INIT;

    vmoe_error_clear(error);
    if (top == NULL)
        return missing(error, "top");
    input.images = 1;
    input.pictures = picture;
    output.top = top;
    output.top_count = count;
    output.top_length = count;
    return vmoe_run(model, &input, options, &output, error);
}

vmoe_status vmoe_classify_jpeg(const vmoe_model *model, const void *jpeg, size_t bytes,
                               const vmoe_options *options, vmoe_class *top, size_t count,
                               vmoe_error *error)
{
    const vmoe_picture picture = { .kind = VMOE_PICTURE_JPEG, .data = jpeg, .bytes = bytes };

    return classify(model, &picture, options, top, count, error);
}

vmoe_status vmoe_classify_rgb8(const vmoe_model *model, const uint8_t *pixels, uint32_t width,
                               uint32_t height, size_t stride, const vmoe_options *options,
                               vmoe_class *top, size_t count, vmoe_error *error)
{
    /* The caller vouches for the extent of its pixels; wrapping sizes are caught by the limits. */
    const vmoe_picture picture = { .kind = VMOE_PICTURE_RGB8,
                                   .width = width,
                                   .height = height,
                                   .data = pixels,
                                   .bytes = SIZE_MAX,
                                   .stride = stride };

    return classify(model, &picture, options, top, count, error);
}

vmoe_status vmoe_logits_f32(const vmoe_model *model, const float *tensor, size_t images,
                            const vmoe_options *options, float *logits, vmoe_error *error)
{
    vmoe_input input = VMOE_INPUT_INIT;
    vmoe_output output = VMOE_OUTPUT_INIT;
    const vmoe_info *info;

    vmoe_error_clear(error);
    if (model == NULL || (images != 0 && (tensor == NULL || logits == NULL)))
        return missing(error, model == NULL ? "model" : tensor == NULL ? "tensor" : "logits");
    info = &model->checkpoint.info;
    if (images > VMOE_LIMIT_IMAGES)
        return vmoe_fail(error, VMOE_ERR_LIMIT, "images", "%zu images are more than %llu", images,
                         (unsigned long long)VMOE_LIMIT_IMAGES);
    input.images = images;
    input.tensor = tensor;
    input.length = images * info->image_size * info->image_size * 3;
    output.logits = logits;
    output.logits_length = images * info->classes;
    return vmoe_run(model, &input, options, &output, error);
}

/* ---- Cost and presets ----------------------------------------------------------------------- */

vmoe_status vmoe_get_cost(const vmoe_info *info, const vmoe_options *options, size_t images,
                          vmoe_cost *cost, vmoe_error *error)
{
    vmoe_info geometry;
    vmoe_options known;
    struct vmoe_dial dial;
    vmoe_cost made = { 0 };
    uint64_t host_float;
    vmoe_status status;

    vmoe_error_clear(error);
    if (info == NULL || cost == NULL)
        return missing(error, info == NULL ? "info" : "cost");
    status = check_size(cost->size, "cost", error);
    if (status == VMOE_OK)
        status = take_struct(&geometry, sizeof geometry, info, "info", error);
    if (status == VMOE_OK)
        status = take_struct(&known, sizeof known, options, "options", error);
    if (status != VMOE_OK)
        return status;
    if (geometry.reserved != 0 || known.reserved != 0)
        return vmoe_fail(error, VMOE_ERR_UNSUPPORTED, "reserved",
                         "a reserved field of info or options is not zero");
    host_float = vmoe_cpu_enter_float();
    status = vmoe_config_complete(&geometry, "info", VMOE_ERR_ARGUMENT, error);
    if (status == VMOE_OK)
        status = vmoe_dial_resolve(&geometry, &known, images, &dial, error);
    if (status == VMOE_OK)
        status = vmoe_run_workspace_bytes(&geometry, &known, &dial, images, &made.workspace_bytes,
                                          error);
    vmoe_cpu_leave_float(host_float);
    if (status != VMOE_OK)
        return status;
    made.capacity = dial.capacity;
    if (!vmoe_cost_count(&geometry, &dial, images, &made))
        return vmoe_fail(error, VMOE_ERR_LIMIT, "images",
                         "the multiply-adds of %zu images exceed 64 bits", images);
    made.weight_bytes = geometry.weight_bytes;
    give_struct(cost, &made, sizeof made);
    return VMOE_OK;
}

vmoe_status vmoe_preset(const char *name, vmoe_info *info, vmoe_error *error)
{
    const struct vmoe_preset_row *row;
    vmoe_info made;
    vmoe_status status;

    vmoe_error_clear(error);
    if (name == NULL || info == NULL)
        return missing(error, name == NULL ? "name" : "info");
    status = check_size(info->size, "info", error);
    if (status != VMOE_OK)
        return status;
    row = vmoe_preset_find(name);
    if (row == NULL)
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, "name", "there is no preset \"%.100s\"", name);
    vmoe_preset_geometry(row, &made);
    status = vmoe_config_complete(&made, "preset", VMOE_ERR_ARGUMENT, error);
    if (status == VMOE_OK)
        give_struct(info, &made, sizeof made);
    return status;
}

/* ---- Pictures ------------------------------------------------------------------------------- */

/* The values of an image, (side, side, 3), in the type that the kind of preprocessing has. */
static void give_image(const vmoe_preprocessing *preprocessing, const float *image, uint64_t values,
                       void *out)
{
    uint8_t *bytes = out;

    if (preprocessing->kind == VMOE_PREPROCESS_SMALL_CROP)
        memcpy(out, image, values * sizeof *image);
    else
        for (uint64_t i = 0; i < values; i++)
            bytes[i] = (uint8_t)image[i];
}

vmoe_status vmoe_preprocess(const vmoe_preprocessing *preprocessing, const vmoe_picture *picture,
                            void *out, size_t bytes, vmoe_error *error)
{
    uint64_t side, values, expected, host_float;
    void *scratch;
    float *image;
    vmoe_status status;

    vmoe_error_clear(error);
    if (preprocessing == NULL || picture == NULL || out == NULL)
        return missing(error, preprocessing == NULL ? "preprocessing"
                              : picture == NULL     ? "picture"
                                                    : "out");
    status = vmoe_config_check_preprocessing(preprocessing, "", VMOE_ERR_ARGUMENT, error);
    if (status != VMOE_OK)
        return status;
    side = vmoe_preprocess_side(preprocessing);
    values = 3 * side * side;
    expected = preprocessing->kind == VMOE_PREPROCESS_RESIZE ? values : values * sizeof(float);
    if (bytes != expected)
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, "bytes",
                         "the output has %zu bytes, but the preprocessing yields %llu", bytes,
                         (unsigned long long)expected);
    scratch = vmoe_memory_take(&vmoe_memory_default, vmoe_preprocess_scratch_bytes(preprocessing));
    image = vmoe_memory_take(&vmoe_memory_default, values * sizeof(float));
    if (scratch == NULL || image == NULL) {
        status = vmoe_fail(error, VMOE_ERR_MEMORY, "picture",
                           "no memory for a picture of %llu values", (unsigned long long)values);
    } else {
        host_float = vmoe_cpu_enter_float();
        status = vmoe_preprocess_picture(preprocessing, picture, "picture", scratch, image, error);
        vmoe_cpu_leave_float(host_float);
    }
    if (status == VMOE_OK)
        give_image(preprocessing, image, values, out);
    vmoe_memory_release(&vmoe_memory_default, image);
    vmoe_memory_release(&vmoe_memory_default, scratch);
    return status;
}

/* ---- Import --------------------------------------------------------------------------------- */

vmoe_status vmoe_import(const char *source, const char *destination,
                        const vmoe_import_options *options, vmoe_error *error)
{
    vmoe_import_options known;
    vmoe_status status;

    vmoe_error_clear(error);
    if (source == NULL || destination == NULL)
        return missing(error, source == NULL ? "source" : "destination");
    status = take_struct(&known, sizeof known, options, "options", error);
    if (status != VMOE_OK)
        return status;
    if (known.label_count != 0 && known.labels == NULL)
        return missing(error, "options.labels");
    return vmoe_import_file(source, destination, &known, &vmoe_memory_default, error);
}
