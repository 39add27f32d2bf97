/*
 * The import: what the model will be, then one tensor after the other from the source through the
 * packer to the writer.  Memory is that of the largest tensor.  For int8, matrices behind a norm
 * are read twice: they and the norm decide together about smoothing.
 */
#include "checkpoint/import.h"

#include <stdio.h>
#include <string.h>

#include "checkpoint/describe.h"
#include "checkpoint/position.h"
#include "checkpoint/smooth.h"
#include "checkpoint/writer.h"
#include "kernels/pack.h"
#include "model/config.h"
#include "runtime/cpu.h"
#include "runtime/sizes.h"

struct import {
    struct vmoe_source *source;
    const char *where;
    const vmoe_import_options *options;
    const vmoe_allocator *allocator;
    struct vmoe_description model;
    uint64_t host_float; /* the host's floating-point state, which its callback must see */
    struct vmoe_writer *writer;
    float *values; /* a tensor, row-major */
    float *piece;  /* a part of it that is not contiguous */
    void *packed;
    float *scales; /* of the int8 matrix written last, as are the sums */
    int32_t *sums;
    struct vmoe_smoothing smoothing; /* of the last norm before qkv or fc1, int8 only */
};

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
    const struct vmoe_description *model = &import->model;
    vmoe_status status = vmoe_dialect_pieces(import->source, &model->dialect, &model->info, tensor,
                                             pieces, &count, error);

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
    const vmoe_info *info = &import->model.info;
    uint32_t first = vmoe_config_first_patch(info);
    uint32_t from = import->model.stored_image_size / info->patch_size;
    uint32_t to = info->image_size / info->patch_size;
    const struct vmoe_array *array = vmoe_dialect_position(import->source, &import->model.dialect);
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
    const bool int8 = import->model.info.precision == VMOE_PRECISION_INT8;
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
        vmoe_dialect_position(import->source, &import->model.dialect);
    uint64_t values = 0, packed = 0, columns = 0;
    const uint64_t width = import->model.info.width;
    const uint64_t piece = vmoe_larger(width * width, position->elements);

    for (uint32_t i = 0; i < vmoe_writer_count(import->writer); i++) {
        const struct vmoe_tensor *t = vmoe_writer_tensor(import->writer, i);

        values = vmoe_larger(values, (uint64_t)t->rows * t->columns);
        packed = vmoe_larger(packed, t->part == VMOE_PART_MATRIX ? t->bytes : 0);
        columns = vmoe_larger(columns, t->columns);
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
    if (import->model.info.precision == VMOE_PRECISION_INT8)
        return vmoe_smoothing_create(import->allocator, import->model.info.width,
                                     &import->smoothing, error);
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
    answer = options->progress(options->progress_context, done, import->model.info.weight_bytes);
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
                             (unsigned long long)import->model.info.weight_bytes);
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
    const struct vmoe_description *model = &import->model;
    const char *root = model->dialect.root;
    uint8_t *used = vmoe_memory_take_zeroed(import->allocator, source->count);
    vmoe_status status = VMOE_OK;

    if (used == NULL)
        return vmoe_fail(error, VMOE_ERR_MEMORY, import->where, "no memory for a list of arrays");
    for (uint32_t i = 0; status == VMOE_OK && i < vmoe_writer_count(import->writer); i++) {
        const struct vmoe_tensor *tensor = vmoe_writer_tensor(import->writer, i);
        struct vmoe_piece pieces[VMOE_PIECES_MAX];
        uint32_t count = 0;

        if (tensor->role == VMOE_ROLE_POSITION)
            used[vmoe_dialect_position(source, &model->dialect) - source->arrays] = 1;
        else if (tensor->part != VMOE_PART_SCALE && tensor->part != VMOE_PART_SUM)
            status = vmoe_dialect_pieces(source, &model->dialect, &model->info, tensor, pieces,
                                         &count, error);
        for (uint32_t p = 0; status == VMOE_OK && p < count; p++)
            used[pieces[p].array] = 1;
    }
    for (size_t i = 0; status == VMOE_OK && i < source->count; i++)
        if (!used[i] && strncmp(source->arrays[i].name, root, strlen(root)) == 0)
            status = vmoe_fail(error, VMOE_ERR_UNSUPPORTED, source->arrays[i].name,
                               "a ViT or V-MoE of %u blocks has no such array: this is another "
                               "kind of model, or other arrays are missing", model->info.layers);
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
    const char *root = import->model.dialect.root;
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
                             .host_float = vmoe_cpu_enter_float() };
    char origin[ORIGIN_BYTES];
    vmoe_status status = vmoe_describe(source, where, options, &import.model, error);

    if (status == VMOE_OK) {
        describe_origin(&import, origin);
        status = vmoe_writer_open(destination, &import.model.info, options->labels,
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

vmoe_status vmoe_import_open(const char *path, const vmoe_allocator *allocator,
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
    vmoe_status status = vmoe_import_open(source, allocator, &opened, error);

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
