/*
 * The source that a .safetensors file is: the length of a header in 8 bytes, the header in JSON,
 * and the numbers of all tensors back to back, for instance
 *
 *     {"__metadata__": {"format": "np"},
 *      "Encoder/encoder_norm/bias": {"dtype": "F32", "shape": [64], "data_offsets": [0, 256]}}
 *
 * Offsets count from the end of the header.  Every byte behind it must belong to exactly one
 * tensor.  The format's own reader also takes names that come twice, names with other than ASCII,
 * and keys of a tensor that it does not know, which may change what its numbers mean.  It refuses
 * what does not matter here: unknown types of tensors that nobody reads, and malformed texts of the
 * metadata.
 */
#include <string.h>

#include "checkpoint/bytes.h"
#include "checkpoint/heapsort.h"
#include "checkpoint/json.h"
#include "checkpoint/list.h"
#include "checkpoint/number.h"
#include "checkpoint/source.h"
#include "runtime/file.h"
#include "runtime/sizes.h"

#define LENGTH_BYTES 8u
#define BUFFER_BYTES ((size_t)64 << 10)

struct tensor {
    struct vmoe_array array;
    const char *dtype; /* a piece of the header, as is the array's name */
    enum vmoe_number type;
    uint64_t begin, end; /* bytes behind the header */
};

struct safetensors {
    struct vmoe_source source; /* the first member, so a pointer to it is one to all */
    const vmoe_allocator *allocator;
    char *path;
    struct vmoe_file file;
    char *header;
    uint64_t data; /* where the header ends */
    struct vmoe_list tensors;
    struct vmoe_array *arrays;
    uint32_t *order; /* of the tensors: array i is tensor order[i] */
    uint8_t buffer[BUFFER_BYTES];
};

static void close_safetensors(struct vmoe_source *source)
{
    struct safetensors *self = (struct safetensors *)source;
    const vmoe_allocator *allocator = self->allocator;

    vmoe_file_close(&self->file);
    vmoe_list_free(&self->tensors);
    vmoe_memory_release(allocator, self->order);
    vmoe_memory_release(allocator, self->arrays);
    vmoe_memory_release(allocator, self->header);
    vmoe_memory_release(allocator, self->path);
    vmoe_memory_release(allocator, self);
}

static bool has_file(struct vmoe_source *source, const char *path)
{
    return vmoe_file_same(((const struct safetensors *)source)->path, path);
}

static const struct tensor *tensor_at(const struct safetensors *self, uint32_t i)
{
    return (const struct tensor *)self->tensors.items + i;
}

static vmoe_status read_array(struct vmoe_source *source, size_t number, uint64_t first,
                              uint64_t count, float *out, vmoe_error *error)
{
    struct safetensors *self = (struct safetensors *)source;
    const struct tensor *tensor = tensor_at(self, self->order[number]);
    const uint32_t bytes = vmoe_number_bytes(tensor->type);
    const bool direct = tensor->type == VMOE_NUMBER_F32;
    uint64_t offset;
    vmoe_status status = vmoe_array_check_range(&tensor->array, first, count, error);

    if (status != VMOE_OK)
        return status;
    /* Other tensors than the model's may be of any type, so it matters only when one is read. */
    if (tensor->type == VMOE_NUMBER_NONE)
        return vmoe_fail(error, VMOE_ERR_UNSUPPORTED, tensor->array.name,
                         "its elements have the type '%s', which is not supported", tensor->dtype);
    offset = self->data + tensor->begin + first * bytes;
    while (count > 0 && status == VMOE_OK) {
        const uint64_t most = direct ? (SIZE_MAX >> 1) / bytes : BUFFER_BYTES / bytes;
        const size_t part = vmoe_smaller(count, most);
        void *raw = direct ? (void *)out : self->buffer;

        status = vmoe_file_read(&self->file, self->path, offset, raw, part * bytes, error);
        if (status == VMOE_OK)
            vmoe_number_to_f32(tensor->type, raw, part, out);
        offset += part * bytes;
        out += part;
        count -= part;
    }
    return status;
}

/* ---- The header ----------------------------------------------------------------------------- */

static void read_shape(struct vmoe_json *json, struct vmoe_array *array)
{
    uint32_t items = 0;

    array->rank = 0;
    array->elements = 1;
    vmoe_json_open(json, '[');
    while (vmoe_json_more(json, ']', &items)) {
        const uint64_t size = vmoe_json_number(json, VMOE_LIMIT_DIMENSION);

        if (!vmoe_array_add_axis(array, size))
            vmoe_json_fail(json, VMOE_ERR_LIMIT, "a shape has too many axes or elements");
    }
}

static void read_offsets(struct vmoe_json *json, struct tensor *tensor)
{
    uint64_t offsets[2] = { 0 };
    uint32_t items = 0;

    vmoe_json_open(json, '[');
    while (vmoe_json_more(json, ']', &items)) {
        if (items > 2)
            vmoe_json_fail(json, VMOE_ERR_FORMAT, "there are more than two offsets");
        else
            offsets[items - 1] = vmoe_json_number(json, INT64_MAX);
    }
    if (items != 2 || offsets[0] > offsets[1])
        vmoe_json_fail(json, VMOE_ERR_FORMAT, "a begin and an end are missing");
    tensor->begin = offsets[0];
    tensor->end = offsets[1];
}

/* What a tensor is; of numbers of a known type it has just as many as the shape says. */
static void read_tensor(struct vmoe_json *json, struct tensor *tensor)
{
    uint32_t items = 0;
    unsigned seen = 0;

    vmoe_json_open(json, '{');
    while (vmoe_json_more(json, '}', &items)) {
        const char *key = vmoe_json_key(json);
        const unsigned bit = strcmp(key, "dtype") == 0          ? 1
                             : strcmp(key, "shape") == 0        ? 2
                             : strcmp(key, "data_offsets") == 0 ? 4
                                                                : 0;

        if (bit == 0 || (seen & bit) != 0)
            vmoe_json_fail(json, VMOE_ERR_FORMAT, "a key is unknown or comes twice");
        seen |= bit;
        if (bit == 1)
            tensor->dtype = vmoe_json_text(json);
        else if (bit == 2)
            read_shape(json, &tensor->array);
        else if (bit == 4)
            read_offsets(json, tensor);
    }
    if (seen != 7)
        vmoe_json_fail(json, VMOE_ERR_FORMAT, "dtype, shape or data_offsets are missing");
    if (json->status != VMOE_OK)
        return;
    tensor->type = vmoe_number_by_tag(tensor->dtype);
    /* At most 2^40 elements of 8 bytes. */
    if (tensor->type != VMOE_NUMBER_NONE &&
        tensor->end - tensor->begin != tensor->array.elements * vmoe_number_bytes(tensor->type))
        vmoe_json_fail(json, VMOE_ERR_FORMAT, "the offsets contradict the shape");
}

/* Free texts, which say nothing about the tensors. */
static void skip_metadata(struct vmoe_json *json)
{
    uint32_t items = 0;

    vmoe_json_open(json, '{');
    while (vmoe_json_more(json, '}', &items))
        vmoe_json_skip_texts(json);
}

/* Transformers joins the names of Flax models by dots, and no part of a model's names has one. */
static void use_slashes(char *name)
{
    for (; *name != '\0'; name++)
        if (*name == '.')
            *name = '/';
}

static vmoe_status parse_header(struct safetensors *self, size_t bytes, vmoe_error *error)
{
    struct vmoe_json json;
    uint32_t items = 0;
    bool metadata = false;

    vmoe_json_init(&json, self->header, bytes, self->path, error);
    vmoe_json_open(&json, '{');
    while (vmoe_json_more(&json, '}', &items)) {
        const char *name = vmoe_json_key(&json);
        struct tensor *tensor;

        if (strcmp(name, "__metadata__") == 0) {
            if (metadata)
                vmoe_json_fail(&json, VMOE_ERR_FORMAT, "\"__metadata__\" comes twice");
            metadata = true;
            skip_metadata(&json);
            continue;
        }
        if (self->tensors.count == VMOE_LIMIT_IMPORT_ARRAYS ||
            strlen(name) > VMOE_LIMIT_NAME_BYTES)
            vmoe_json_fail(&json, VMOE_ERR_LIMIT, "too many tensors, or too long a name");
        if (json.status != VMOE_OK)
            break;
        tensor = vmoe_list_add(&self->tensors, 1);
        if (tensor == NULL)
            return vmoe_fail(error, VMOE_ERR_MEMORY, self->path, "no memory for a list of tensors");
        tensor->array.name = name;
        use_slashes(self->header + (name - self->header));
        read_tensor(&json, tensor);
    }
    vmoe_json_close(&json);
    return json.status;
}

static vmoe_status read_header(struct safetensors *self, vmoe_error *error)
{
    uint8_t length[LENGTH_BYTES];
    uint64_t bytes;
    vmoe_status status =
        vmoe_file_read(&self->file, self->path, 0, length, sizeof length, error);

    if (status != VMOE_OK)
        return status;
    bytes = get_u64(length);
    if (bytes > self->file.size - LENGTH_BYTES)
        return vmoe_fail(error, VMOE_ERR_FORMAT, self->path,
                         "a header of %llu bytes is longer than the file",
                         (unsigned long long)bytes);
    if (bytes > VMOE_LIMIT_INDEX_BYTES)
        return vmoe_fail(error, VMOE_ERR_LIMIT, self->path,
                         "its header has %llu bytes, the limit is %llu", (unsigned long long)bytes,
                         (unsigned long long)VMOE_LIMIT_INDEX_BYTES);
    self->data = LENGTH_BYTES + bytes;
    self->header = vmoe_memory_take(self->allocator, bytes);
    if (self->header == NULL)
        return vmoe_fail(error, VMOE_ERR_MEMORY, self->path, "no memory for a header");
    status = vmoe_file_read(&self->file, self->path, LENGTH_BYTES, self->header, (size_t)bytes,
                            error);
    return status == VMOE_OK ? parse_header(self, (size_t)bytes, error) : status;
}

/* ---- Opening -------------------------------------------------------------------------------- */

static int compare_places(const void *context, uint32_t a, uint32_t b)
{
    const struct tensor *x = tensor_at(context, a), *y = tensor_at(context, b);

    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static int compare_names(const void *context, uint32_t a, uint32_t b)
{
    return strcmp(tensor_at(context, a)->array.name, tensor_at(context, b)->array.name);
}

/* Tensors that share bytes, and bytes that nobody has, are no accident of a writer. */
static vmoe_status check_places(const struct safetensors *self, vmoe_error *error)
{
    const uint64_t size = self->file.size - self->data;
    uint64_t next = 0;

    for (uint64_t i = 0; i < self->tensors.count; i++) {
        const struct tensor *tensor = tensor_at(self, self->order[i]);

        if (tensor->begin != next)
            return vmoe_fail(error, VMOE_ERR_FORMAT, tensor->array.name,
                             "it begins at byte %llu of the data, where %llu was expected",
                             (unsigned long long)tensor->begin, (unsigned long long)next);
        next = tensor->end;
    }
    if (next != size)
        return vmoe_fail(error, VMOE_ERR_FORMAT, self->path,
                         "the tensors have %llu bytes, but %llu follow the header",
                         (unsigned long long)next, (unsigned long long)size);
    return VMOE_OK;
}

static vmoe_status sort_arrays(struct safetensors *self, vmoe_error *error)
{
    const size_t count = (size_t)self->tensors.count;
    vmoe_status status;

    self->order = vmoe_memory_take(self->allocator, count * sizeof *self->order);
    self->arrays = vmoe_memory_take(self->allocator, count * sizeof *self->arrays);
    if (self->order == NULL || self->arrays == NULL)
        return vmoe_fail(error, VMOE_ERR_MEMORY, self->path, "no memory for %zu arrays", count);
    for (size_t i = 0; i < count; i++)
        self->order[i] = (uint32_t)i;
    vmoe_heapsort(self->order, count, compare_places, self);
    status = check_places(self, error);
    if (status != VMOE_OK)
        return status;
    vmoe_heapsort(self->order, count, compare_names, self);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && compare_names(self, self->order[i - 1], self->order[i]) == 0)
            return vmoe_fail(error, VMOE_ERR_FORMAT, self->path, "the array \"%s\" comes twice",
                             tensor_at(self, self->order[i])->array.name);
        self->arrays[i] = tensor_at(self, self->order[i])->array;
    }
    self->source.count = count;
    self->source.arrays = self->arrays;
    return VMOE_OK;
}

vmoe_status vmoe_safetensors_open(const char *path, const vmoe_allocator *allocator,
                                  struct vmoe_source **source, vmoe_error *error)
{
    struct safetensors *self = vmoe_memory_take_zeroed(allocator, sizeof *self);
    vmoe_status status;

    *source = NULL;
    if (self == NULL)
        return vmoe_fail(error, VMOE_ERR_MEMORY, path, "no memory to open the file");
    self->allocator = allocator;
    self->source.read = read_array;
    self->source.has_file = has_file;
    self->source.close = close_safetensors;
    self->file = (struct vmoe_file)VMOE_FILE_CLOSED;
    self->tensors = (struct vmoe_list)VMOE_LIST(struct tensor, allocator);
    self->path = vmoe_memory_copy(allocator, path);
    status = self->path != NULL
                 ? vmoe_file_open(path, &self->file, error)
                 : vmoe_fail(error, VMOE_ERR_MEMORY, path, "no memory to open the file");
    if (status == VMOE_OK)
        status = read_header(self, error);
    if (status == VMOE_OK)
        status = sort_arrays(self, error);
    if (status == VMOE_OK)
        *source = &self->source;
    else
        close_safetensors(&self->source);
    return status;
}
