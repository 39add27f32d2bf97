/*
 * The import: geometry from shapes, the rest from the preset and the options, then one tensor
 * after the other from the source through the packer to the writer.  Memory is that of the largest
 * tensor.  For int8, matrices behind a norm are read twice: they and the norm decide together about
 * smoothing.
 */
#include "checkpoint/import.h"

#include <stdio.h>
#include <string.h>

#include "checkpoint/geometry.h"
#include "checkpoint/names.h"
#include "checkpoint/position.h"
#include "checkpoint/smooth.h"
#include "checkpoint/writer.h"
#include "kernels/pack.h"
#include "model/config.h"
#include "model/presets.h"
#include "runtime/cpu.h"

struct import {
    struct vmoe_source *source;
    const char *where;
    const vmoe_import_options *options;
    const vmoe_allocator *allocator;
    struct vmoe_dialect dialect;
    vmoe_info info;
    uint32_t stored_image_size; /* of the position embeddings in the source */
    uint64_t host_float; /* the host's floating-point state, which its callback must see */
    struct vmoe_writer *writer;
    float *values; /* a tensor, row-major */
    float *piece;  /* a part of it that is not contiguous */
    void *packed;
    float *scales; /* of the int8 matrix written last, as are the sums */
    int32_t *sums;
    struct vmoe_smoothing smoothing; /* of the last norm before qkv or fc1, int8 only */
};

/* ---- What the model is ---------------------------------------------------------------------- */

/* Defaults, then the preset, then the options: the last that says something wins. */
static void apply_dial(const vmoe_import_options *options, const struct vmoe_preset_row *preset,
                       vmoe_info *info)
{
    info->gelu = options->gelu != 0 ? options->gelu : VMOE_GELU_TANH;
    info->output = options->output != 0 ? options->output
                   : preset != NULL     ? preset->output
                                        : VMOE_OUTPUT_SOFTMAX;
    if (info->experts == 0)
        return;
    info->experts_per_token = info->experts < 2 ? info->experts : 2;
    info->capacity = 1.05;
    if (preset != NULL) {
        info->experts_per_token = preset->experts_per_token;
        info->capacity = preset->capacity;
    }
    if (options->experts_per_token != 0)
        info->experts_per_token = options->experts_per_token;
    if (!vmoe_config_is_zero(options->capacity))
        info->capacity = options->capacity;
    info->capacity_rule =
        options->capacity_rule != 0 ? options->capacity_rule : VMOE_CAPACITY_CEIL;
    info->capacity_multiple = options->capacity_multiple != 0 ? options->capacity_multiple : 4;
    info->group_images = options->group_images != 0 ? options->group_images : 1;
}

static void apply_preprocessing(const vmoe_import_options *options,
                                const struct vmoe_preset_row *preset, vmoe_info *info)
{
    const vmoe_preprocessing resize = { VMOE_PREPROCESS_RESIZE, info->image_size, 0 };

    info->preprocessing = resize;
    if (options->preprocessing.kind != 0)
        info->preprocessing = options->preprocessing;
    else if (preset != NULL && preset->preprocessing.kind == VMOE_PREPROCESS_SMALL_CROP)
        info->preprocessing = preset->preprocessing;
}

static vmoe_status find_preset(const vmoe_import_options *options,
                               const struct vmoe_preset_row **preset, vmoe_error *error)
{
    *preset = NULL;
    if (options->preset == NULL)
        return VMOE_OK;
    *preset = vmoe_preset_find(options->preset);
    if (*preset == NULL)
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, "options.preset",
                         "there is no preset \"%.100s\"", options->preset);
    if ((*preset)->members > 1)
        return vmoe_fail(error, VMOE_ERR_UNSUPPORTED, options->preset,
                         "this is an ensemble of experts (E3), which cannot be imported yet");
    return VMOE_OK;
}

/* Classes and image size change when a model is fine-tuned; the rest is the preset's or another's. */
static vmoe_status check_preset(const struct vmoe_preset_row *preset, const vmoe_info *info,
                                vmoe_error *error)
{
    vmoe_info geometry;

    vmoe_preset_geometry(preset, &geometry);
    if (info->patch_size == geometry.patch_size && info->width == geometry.width &&
        info->heads == geometry.heads && info->mlp == geometry.mlp &&
        info->layers == geometry.layers && info->experts == geometry.experts &&
        memcmp(info->moe, geometry.moe, sizeof info->moe) == 0)
        return VMOE_OK;
    return vmoe_fail(error, VMOE_ERR_ARGUMENT, "options.preset",
                     "\"%s\" is another model: it has %u layers of width %u, patches of %u pixels "
                     "and %u experts, the checkpoint %u layers of width %u, patches of %u and %u",
                     preset->name, geometry.layers, geometry.width, geometry.patch_size,
                     geometry.experts, info->layers, info->width, info->patch_size, info->experts);
}

static vmoe_status describe(struct import *import, vmoe_error *error)
{
    const vmoe_import_options *options = import->options;
    const struct vmoe_preset_row *preset;
    vmoe_info *info = &import->info;
    vmoe_status status = find_preset(options, &preset, error);

    if (status == VMOE_OK)
        status = vmoe_dialect_detect(import->source, import->where, &import->dialect, error);
    if (status == VMOE_OK)
        status = vmoe_geometry_derive(import->source, &import->dialect, info, error);
    if (status == VMOE_OK && preset != NULL)
        status = check_preset(preset, info, error);
    if (status != VMOE_OK)
        return status;
    import->stored_image_size = info->image_size;
    if (options->image_size != 0)
        info->image_size = options->image_size;
    info->precision = options->precision != 0 ? options->precision : VMOE_PRECISION_BF16;
    info->compact = options->compact;
    apply_dial(options, preset, info);
    apply_preprocessing(options, preset, info);
    status = vmoe_config_complete(info, "import", VMOE_ERR_ARGUMENT, error);
    if (status != VMOE_OK)
        return status;
    if (options->label_count != 0 && options->label_count != info->classes)
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, "options.labels",
                         "there are %u labels for %u classes", options->label_count, info->classes);
    return VMOE_OK;
}

/* ---- The tensors ---------------------------------------------------------------------------- */

/* The bits of the largest float32, and of the largest that is finite as bfloat16, too. */
#define LARGEST_F32 0x7f7fffffu
#define LARGEST_BF16 0x7f7f7fffu

/* Refuses values that are not finite, or would not be in the precision that is to be stored. */
static vmoe_status check_finite(const struct import *import, const struct vmoe_tensor *tensor,
                                const struct vmoe_piece *piece, const float *values, uint64_t count,
                                vmoe_error *error)
{
    bool narrow = tensor->precision == VMOE_PRECISION_BF16;
    uint32_t largest = narrow ? LARGEST_BF16 : LARGEST_F32;

    for (uint64_t i = 0; i < count; i++) {
        uint32_t bits;

        memcpy(&bits, &values[i], sizeof bits);
        if ((bits & 0x7fffffffu) > largest)
            return vmoe_fail(error, VMOE_ERR_FORMAT, import->source->arrays[piece->array].name,
                             "value %llu is not a finite %s number",
                             (unsigned long long)(piece->first + i),
                             narrow ? "bfloat16" : "float32");
    }
    return VMOE_OK;
}

static vmoe_status read_piece(const struct import *import, const struct vmoe_tensor *tensor,
                              const struct vmoe_piece *piece, uint64_t count, float *to,
                              vmoe_error *error)
{
    vmoe_status status =
        import->source->read(import->source, piece->array, piece->first, count, to, error);

    return status == VMOE_OK ? check_finite(import, tensor, piece, to, count, error) : status;
}

/* Reads a tensor to import->values, putting its pieces side by side. */
static vmoe_status read_tensor(const struct import *import, const struct vmoe_tensor *tensor,
                               vmoe_error *error)
{
    struct vmoe_piece pieces[VMOE_PIECES_MAX];
    uint32_t count, column = 0;
    vmoe_status status = vmoe_dialect_pieces(import->source, &import->dialect, &import->info,
                                             tensor, pieces, &count, error);

    if (status != VMOE_OK)
        return status;
    if (count == 1)
        return read_piece(import, tensor, &pieces[0], (uint64_t)tensor->rows * tensor->columns,
                          import->values, error);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t columns = pieces[i].columns;

        status = read_piece(import, tensor, &pieces[i], (uint64_t)tensor->rows * columns,
                            import->piece, error);
        if (status != VMOE_OK)
            return status;
        for (uint32_t r = 0; r < tensor->rows; r++)
            memcpy(import->values + (size_t)r * tensor->columns + column,
                   import->piece + (size_t)r * columns, columns * sizeof(float));
        column += columns;
    }
    return VMOE_OK;
}

/* Position embeddings may be resized from another input size. */
static vmoe_status read_position(const struct import *import, const struct vmoe_tensor *tensor,
                                 vmoe_error *error)
{
    const vmoe_info *info = &import->info;
    uint32_t first = vmoe_config_first_patch(info);
    uint32_t from = import->stored_image_size / info->patch_size;
    uint32_t to = info->image_size / info->patch_size;
    const struct vmoe_array *array = vmoe_dialect_position(import->source, &import->dialect);
    const struct vmoe_piece piece = { (size_t)(array - import->source->arrays), 0,
                                      tensor->columns };
    size_t width = info->width;
    vmoe_status status =
        read_piece(import, tensor, &piece, array->elements, import->piece, error);

    if (status != VMOE_OK)
        return status;
    memcpy(import->values, import->piece, first * width * sizeof(float));
    vmoe_position_resize(import->piece + first * width, from, to, width,
                         import->values + first * width);
    return VMOE_OK;
}

/* Tensor number `index` is the scale of a norm: decides how it and what follows will change. */
static vmoe_status prepare_smoothing(struct import *import, uint32_t index, vmoe_error *error)
{
    const struct vmoe_tensor *norm = vmoe_writer_tensor(import->writer, index);
    const bool first = norm->role == VMOE_ROLE_NORM_0_SCALE;
    const uint32_t bias = first ? VMOE_ROLE_NORM_0_BIAS : VMOE_ROLE_NORM_1_BIAS;
    const uint32_t matrix = first ? VMOE_ROLE_QKV : VMOE_ROLE_FC1;
    struct vmoe_smoothing *smoothing = &import->smoothing;
    const struct vmoe_tensor *t = norm;

    vmoe_smoothing_clear(smoothing);
    for (uint32_t i = index; t->role < VMOE_ROLE_NORM_SCALE && t->block == norm->block; i++) {
        const bool seen = t == norm || t->role == bias ||
                          (t->role == matrix && t->part == VMOE_PART_MATRIX);
        vmoe_status status = seen ? read_tensor(import, t, error) : VMOE_OK;

        if (status != VMOE_OK)
            return status;
        if (t == norm)
            vmoe_smoothing_see_scale(smoothing, import->values);
        else if (t->role == bias)
            vmoe_smoothing_see_bias(smoothing, import->values);
        else if (seen)
            vmoe_smoothing_see_matrix(smoothing, t->columns, import->values);
        t = vmoe_writer_tensor(import->writer, i + 1);
    }
    vmoe_smoothing_decide(smoothing);
    return VMOE_OK;
}

/* Smooths the tensor in import->values if it is one of those that take part. */
static vmoe_status smooth_tensor(const struct import *import, const struct vmoe_tensor *tensor,
                                 vmoe_error *error)
{
    bool finite = true;

    switch (tensor->role) {
    case VMOE_ROLE_NORM_0_SCALE:
    case VMOE_ROLE_NORM_0_BIAS:
    case VMOE_ROLE_NORM_1_SCALE:
    case VMOE_ROLE_NORM_1_BIAS:
        vmoe_smoothing_change_norm(&import->smoothing, import->values);
        break;
    case VMOE_ROLE_QKV:
    case VMOE_ROLE_FC1:
    case VMOE_ROLE_ROUTER:
        if (tensor->part != VMOE_PART_BIAS)
            finite = vmoe_smoothing_change_matrix(&import->smoothing, tensor->columns,
                                                  import->values);
        break;
    default:
        break;
    }
    if (!finite)
        return vmoe_fail(error, VMOE_ERR_FORMAT, tensor->name,
                         "a number is too large to be balanced with the norm before it");
    return VMOE_OK;
}

static vmoe_status write_tensor(struct import *import, uint32_t index, vmoe_error *error)
{
    const struct vmoe_tensor *tensor = vmoe_writer_tensor(import->writer, index);
    const bool int8 = import->info.precision == VMOE_PRECISION_INT8;
    vmoe_status status = VMOE_OK;

    if (tensor->part == VMOE_PART_SCALE)
        return vmoe_writer_put(import->writer, import->scales, error);
    if (tensor->part == VMOE_PART_SUM)
        return vmoe_writer_put(import->writer, import->sums, error);
    if (int8 && (tensor->role == VMOE_ROLE_NORM_0_SCALE || tensor->role == VMOE_ROLE_NORM_1_SCALE))
        status = prepare_smoothing(import, index, error);
    if (status == VMOE_OK)
        status = tensor->role == VMOE_ROLE_POSITION ? read_position(import, tensor, error)
                                                    : read_tensor(import, tensor, error);
    if (status == VMOE_OK && int8)
        status = smooth_tensor(import, tensor, error);
    if (status != VMOE_OK)
        return status;
    if (tensor->part != VMOE_PART_MATRIX)
        return vmoe_writer_put(import->writer, import->values, error);
    vmoe_pack(tensor->precision, tensor->rows, tensor->columns, import->values, tensor->columns, 1,
              import->packed, import->scales);
    if (tensor->precision == VMOE_PRECISION_INT8)
        vmoe_pack_sums(tensor->rows, tensor->columns, import->packed, import->sums);
    return vmoe_writer_put(import->writer, import->packed, error);
}

/* Buffers for the largest tensor of each kind. */
static vmoe_status make_buffers(struct import *import, vmoe_error *error)
{
    const struct vmoe_array *position =
        vmoe_dialect_position(import->source, &import->dialect);
    uint64_t values = 0, packed = 0, columns = 0;
    uint64_t piece = (uint64_t)import->info.width * import->info.width;

    if (piece < position->elements)
        piece = position->elements;
    for (uint32_t i = 0; i < vmoe_writer_count(import->writer); i++) {
        const struct vmoe_tensor *t = vmoe_writer_tensor(import->writer, i);
        uint64_t n = (uint64_t)t->rows * t->columns;

        values = n > values ? n : values;
        packed = t->part == VMOE_PART_MATRIX && t->bytes > packed ? t->bytes : packed;
        columns = t->columns > columns ? t->columns : columns;
    }
    import->values = vmoe_memory_take(import->allocator, values * sizeof(float));
    import->piece = vmoe_memory_take(import->allocator, piece * sizeof(float));
    import->packed = vmoe_memory_take(import->allocator, packed);
    import->scales = vmoe_memory_take(import->allocator, columns * sizeof(float));
    import->sums = vmoe_memory_take(import->allocator, columns * sizeof(int32_t));
    if (import->values == NULL || import->piece == NULL || import->packed == NULL ||
        import->scales == NULL || import->sums == NULL)
        return vmoe_fail(error, VMOE_ERR_MEMORY, import->where,
                         "no memory for a tensor of %llu numbers", (unsigned long long)values);
    if (import->info.precision == VMOE_PRECISION_INT8)
        return vmoe_smoothing_create(import->allocator, import->info.width, &import->smoothing,
                                     error);
    return VMOE_OK;
}

/* True if the host wants to go on. */
static bool report_progress(const struct import *import, uint64_t done)
{
    const vmoe_import_options *options = import->options;
    int answer;

    if (options->progress == NULL)
        return true;
    vmoe_cpu_leave_float(import->host_float);
    answer = options->progress(options->progress_context, done, import->info.weight_bytes);
    vmoe_cpu_enter_float();
    return answer == 0;
}

static vmoe_status write_all(struct import *import, vmoe_error *error)
{
    uint64_t done = 0;

    for (uint32_t i = 0; i < vmoe_writer_count(import->writer); i++) {
        const struct vmoe_tensor *tensor = vmoe_writer_tensor(import->writer, i);
        vmoe_status status = write_tensor(import, i, error);

        if (status != VMOE_OK)
            return status;
        done += tensor->bytes;
        if (!report_progress(import, done))
            return vmoe_fail(error, VMOE_ERR_CANCELLED, import->where,
                             "the import was cancelled after %llu of %llu bytes",
                             (unsigned long long)done,
                             (unsigned long long)import->info.weight_bytes);
    }
    return vmoe_writer_commit(import->writer, error);
}

/*
 * Every array below the root must be used: one that is not would mean a model that computes
 * something else than we do.
 */
static vmoe_status check_all_used(const struct import *import, vmoe_error *error)
{
    const struct vmoe_source *source = import->source;
    const char *root = import->dialect.root;
    uint8_t *used = vmoe_memory_take_zeroed(import->allocator, source->count);
    vmoe_status status = VMOE_OK;

    if (used == NULL)
        return vmoe_fail(error, VMOE_ERR_MEMORY, import->where, "no memory for a list of arrays");
    for (uint32_t i = 0; status == VMOE_OK && i < vmoe_writer_count(import->writer); i++) {
        const struct vmoe_tensor *tensor = vmoe_writer_tensor(import->writer, i);
        struct vmoe_piece pieces[VMOE_PIECES_MAX];
        uint32_t count = 0;

        if (tensor->role == VMOE_ROLE_POSITION)
            used[vmoe_dialect_position(source, &import->dialect) - source->arrays] = 1;
        else if (tensor->part != VMOE_PART_SCALE && tensor->part != VMOE_PART_SUM)
            status = vmoe_dialect_pieces(source, &import->dialect, &import->info, tensor, pieces,
                                         &count, error);
        for (uint32_t p = 0; status == VMOE_OK && p < count; p++)
            used[pieces[p].array] = 1;
    }
    for (size_t i = 0; status == VMOE_OK && i < source->count; i++)
        if (!used[i] && strncmp(source->arrays[i].name, root, strlen(root)) == 0)
            status = vmoe_fail(error, VMOE_ERR_UNSUPPORTED, source->arrays[i].name,
                               "a ViT or V-MoE has no such array: this is another kind of model");
    vmoe_memory_release(import->allocator, used);
    return status;
}

/* Room for the name of a file and for what was left of it. */
#define ORIGIN_BYTES 512u

/*
 * What a file says of its origin unless the host does: the name of the source without its folder,
 * and how much of a training state is not in it.
 */
static void describe_origin(const struct import *import, char text[ORIGIN_BYTES])
{
    const struct vmoe_source *source = import->source;
    const char *root = import->dialect.root;
    const char *slash = strrchr(import->where, '/');
    const char *name = slash != NULL ? slash + 1 : import->where;
    const size_t length = strlen(name);
    size_t others = 0;

    text[0] = '\0';
    if (length > ORIGIN_BYTES / 2 || !vmoe_format_text_is_clean(name, length))
        return;
    for (size_t i = 0; i < source->count; i++)
        others += strncmp(source->arrays[i].name, root, strlen(root)) != 0;
    if (others == 0)
        memcpy(text, name, length + 1);
    else
        snprintf(text, ORIGIN_BYTES, "%s: %.*s, without %zu other arrays", name,
                 (int)strlen(root) - 1, root, others);
}

vmoe_status vmoe_import_source(struct vmoe_source *source, const char *where,
                               const char *destination, const vmoe_import_options *options,
                               const vmoe_allocator *allocator, vmoe_error *error)
{
    struct import import = { .source = source,
                             .where = where,
                             .options = options,
                             .allocator = allocator,
                             .info = VMOE_INFO_INIT,
                             .host_float = vmoe_cpu_enter_float() };
    char origin[ORIGIN_BYTES];
    vmoe_status status = describe(&import, error);

    if (status == VMOE_OK) {
        describe_origin(&import, origin);
        status = vmoe_writer_open(destination, &import.info,
                                  options->label_count != 0 ? options->labels : NULL,
                                  options->provenance != NULL ? options->provenance : origin,
                                  allocator, &import.writer, error);
    }
    if (status == VMOE_OK)
        status = check_all_used(&import, error);
    if (status == VMOE_OK)
        status = make_buffers(&import, error);
    if (status == VMOE_OK)
        status = write_all(&import, error);
    vmoe_writer_close(import.writer);
    vmoe_memory_release(allocator, import.values);
    vmoe_memory_release(allocator, import.piece);
    vmoe_memory_release(allocator, import.packed);
    vmoe_memory_release(allocator, import.scales);
    vmoe_memory_release(allocator, import.sums);
    vmoe_smoothing_destroy(&import.smoothing, allocator);
    vmoe_cpu_leave_float(import.host_float);
    return status;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);

    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static vmoe_status open_source(const char *path, const vmoe_allocator *allocator,
                               struct vmoe_source **source, vmoe_error *error)
{
    if (ends_with(path, ".npz"))
        return vmoe_npz_open(path, allocator, source, error);
    if (ends_with(path, ".safetensors"))
        return vmoe_safetensors_open(path, allocator, source, error);
    return vmoe_shards_open(path, allocator, source, error);
}

vmoe_status vmoe_import_file(const char *source, const char *destination,
                             const vmoe_import_options *options, const vmoe_allocator *allocator,
                             vmoe_error *error)
{
    struct vmoe_source *opened;
    vmoe_status status = open_source(source, allocator, &opened, error);

    if (status != VMOE_OK)
        return status;
    if (opened->has_file(opened, destination))
        status = vmoe_fail(error, VMOE_ERR_ARGUMENT, "destination",
                           "it is read, so it cannot be written too");
    else
        status = vmoe_import_source(opened, source, destination, options, allocator, error);
    opened->close(opened);
    return status;
}
