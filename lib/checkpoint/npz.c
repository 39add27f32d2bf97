/*
 * The source that a .npz file is: a zip archive with one .npy array in each member.  A few members
 * are open at a time, so that reading as many arrays in turns, piece by piece, goes through the
 * data of each once, from front to back, and its checksum is verified at the end.
 */
#include <string.h>

#include "checkpoint/heapsort.h"
#include "checkpoint/npy.h"
#include "checkpoint/number.h"
#include "checkpoint/source.h"
#include "checkpoint/unzip.h"
#include "checkpoint/zip.h"
#include "runtime/sizes.h"

#define SUFFIX ".npy"
#define BUFFER_BYTES VMOE_UNZIP_SCRATCH_BYTES

/* An expert is four arrays, kernels and biases, and their stacks are read expert by expert. */
#define STREAMS 4u

struct member {
    uint32_t entry;        /* of the archive */
    uint32_t header_bytes; /* before the elements */
    struct vmoe_npy npy;
};

struct stream {
    struct vmoe_unzip unzip;
    uint64_t used; /* when it was used last, by the count of uses */
};

struct npz {
    struct vmoe_source source; /* the first member, so a pointer to it is one to all */
    const vmoe_allocator *allocator;
    char *path;
    struct vmoe_file file;
    struct vmoe_zip zip;
    struct vmoe_array *arrays;
    struct member *members; /* beside the arrays */
    struct stream streams[STREAMS];
    uint64_t uses;
    uint8_t buffer[BUFFER_BYTES]; /* the streams' scratch, too */
};

static void close_npz(struct vmoe_source *source)
{
    struct npz *npz = (struct npz *)source;
    const vmoe_allocator *allocator = npz->allocator;

    for (size_t i = 0; i < STREAMS; i++)
        vmoe_unzip_close(&npz->streams[i].unzip);
    vmoe_file_close(&npz->file);
    vmoe_zip_free(&npz->zip);
    vmoe_memory_release(allocator, npz->members);
    vmoe_memory_release(allocator, npz->arrays);
    vmoe_memory_release(allocator, npz->path);
    vmoe_memory_release(allocator, npz);
}

static bool has_file(struct vmoe_source *source, const char *path)
{
    return vmoe_file_same(((const struct npz *)source)->path, path);
}

/* The stream that has the member of an array open; if none has, the one not used for longest. */
static vmoe_status use_member(struct npz *npz, size_t array, struct vmoe_unzip **unzip,
                              vmoe_error *error)
{
    const struct vmoe_zip_entry *entry = vmoe_zip_entry(&npz->zip, npz->members[array].entry);
    struct stream *stream = &npz->streams[0];

    for (size_t i = 1; i < STREAMS && stream->unzip.entry != entry; i++)
        if (npz->streams[i].unzip.entry == entry || npz->streams[i].used < stream->used)
            stream = &npz->streams[i];
    stream->used = ++npz->uses;
    *unzip = &stream->unzip;
    if (stream->unzip.entry == entry)
        return VMOE_OK;
    return vmoe_unzip_open(&stream->unzip, entry, npz->arrays[array].name, error);
}

/*
 * Other arrays than the model's may be of any kind, so it matters only when one is read.  In
 * Fortran order all experts are interleaved, and each would need a walk through the whole stack.
 */
static vmoe_status check_kind(const struct npz *npz, size_t number, bool whole, vmoe_error *error)
{
    const struct vmoe_npy *npy = &npz->members[number].npy;
    const char *name = npz->arrays[number].name;

    if (npy->type == VMOE_NUMBER_NONE)
        return vmoe_fail(error, VMOE_ERR_UNSUPPORTED, name,
                         "its elements have the type '%s', which is not supported", npy->descr);
    if (npy->fortran && !whole)
        return vmoe_fail(error, VMOE_ERR_UNSUPPORTED, name,
                         "it is in Fortran order, and stacks of experts are read in C order only; "
                         "np.ascontiguousarray makes it so");
    return VMOE_OK;
}

/* Reads the next `count` numbers of a member. */
static vmoe_status read_numbers(struct npz *npz, enum vmoe_number type, struct vmoe_unzip *unzip,
                                uint64_t count, float *out, vmoe_error *error)
{
    const uint32_t bytes = vmoe_number_bytes(type);
    vmoe_status status = VMOE_OK;

    while (count > 0 && status == VMOE_OK) {
        const bool direct = type == VMOE_NUMBER_F32;
        const uint64_t most = direct ? (SIZE_MAX >> 1) / bytes : BUFFER_BYTES / bytes;
        const size_t part = vmoe_smaller(count, most);
        void *raw = direct ? (void *)out : npz->buffer;

        status = vmoe_unzip_read(unzip, raw, part * bytes, error);
        if (status == VMOE_OK)
            vmoe_number_to_f32(type, raw, part, out);
        out += part;
        count -= part;
    }
    return status;
}

/* The place in C order of element `index` in Fortran order. */
static uint64_t place_in_c(const struct vmoe_array *array, uint64_t index)
{
    uint64_t place = 0;

    for (uint32_t axis = 0; axis < array->rank; axis++) {
        place = place * array->dims[axis] + index % array->dims[axis];
        index /= array->dims[axis];
    }
    return place;
}

/* Reads all numbers of an array in Fortran order. */
static vmoe_status read_fortran(struct npz *npz, size_t number, struct vmoe_unzip *unzip,
                                float *out, vmoe_error *error)
{
    const struct vmoe_array *array = &npz->arrays[number];
    const enum vmoe_number type = npz->members[number].npy.type;
    const uint32_t bytes = vmoe_number_bytes(type);
    vmoe_status status = VMOE_OK;

    for (uint64_t index = 0; index < array->elements && status == VMOE_OK;) {
        const size_t part = vmoe_smaller(array->elements - index, BUFFER_BYTES / bytes);

        status = vmoe_unzip_read(unzip, npz->buffer, part * bytes, error);
        for (size_t i = 0; i < part && status == VMOE_OK; i++, index++)
            vmoe_number_to_f32(type, npz->buffer + i * bytes, 1, out + place_in_c(array, index));
    }
    return status;
}

static vmoe_status read_array(struct vmoe_source *source, size_t number, uint64_t first,
                              uint64_t count, float *out, vmoe_error *error)
{
    struct npz *npz = (struct npz *)source;
    const struct vmoe_array *array = &npz->arrays[number];
    const struct member *member = &npz->members[number];
    const enum vmoe_number type = member->npy.type;
    struct vmoe_unzip *unzip;
    vmoe_status status = vmoe_array_check_range(array, first, count, error);

    if (status == VMOE_OK)
        status = check_kind(npz, number, count == array->elements, error);
    if (status == VMOE_OK)
        status = use_member(npz, number, &unzip, error);
    if (status != VMOE_OK || count == 0)
        return status;
    status = vmoe_unzip_seek(unzip, member->header_bytes + first * vmoe_number_bytes(type), error);
    if (status != VMOE_OK)
        return status;
    return member->npy.fortran ? read_fortran(npz, number, unzip, out, error)
                               : read_numbers(npz, type, unzip, count, out, error);
}

/* ---- Opening -------------------------------------------------------------------------------- */

static int compare_names(const void *context, uint32_t a, uint32_t b)
{
    return strcmp(vmoe_zip_name(context, a), vmoe_zip_name(context, b));
}

/* Archivers that pack a tree of files write its folders, too. */
static bool is_folder(const struct vmoe_zip_entry *entry, const char *name)
{
    return entry->size == 0 && name[strlen(name) - 1] == '/';
}

/* Takes the suffix from every name and sorts the members; `order` has room for all. */
static vmoe_status sort_members(struct npz *npz, uint32_t *order, vmoe_error *error)
{
    size_t count = 0;

    for (uint32_t i = 0; i < npz->zip.entries.count; i++) {
        const struct vmoe_zip_entry *entry = vmoe_zip_entry(&npz->zip, i);
        char *name = (char *)npz->zip.names.items + entry->name;
        size_t length = strlen(name), suffix = strlen(SUFFIX);

        if (is_folder(entry, name))
            continue;
        if (length <= suffix || strcmp(name + length - suffix, SUFFIX) != 0)
            return vmoe_fail(error, VMOE_ERR_FORMAT, npz->path,
                             "the name of the member \"%s\" does not end in " SUFFIX, name);
        name[length - suffix] = '\0';
        order[count++] = i;
    }
    vmoe_heapsort(order, count, compare_names, &npz->zip);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && compare_names(&npz->zip, order[i - 1], order[i]) == 0)
            return vmoe_fail(error, VMOE_ERR_FORMAT, npz->path, "the array \"%s\" comes twice",
                             vmoe_zip_name(&npz->zip, order[i]));
        npz->members[i].entry = order[i];
        npz->arrays[i].name = vmoe_zip_name(&npz->zip, order[i]);
    }
    npz->source.count = count;
    npz->source.arrays = npz->arrays;
    return VMOE_OK;
}

/* Reads the header of an array; of numbers, the member has just as many as the shape says. */
static vmoe_status read_header(struct npz *npz, size_t number, vmoe_error *error)
{
    struct vmoe_array *array = &npz->arrays[number];
    struct member *member = &npz->members[number];
    const uint64_t size = vmoe_zip_entry(&npz->zip, member->entry)->size;
    uint8_t *header = npz->buffer;
    struct vmoe_unzip *unzip;
    uint64_t bytes;
    vmoe_status status = use_member(npz, number, &unzip, error);

    if (status == VMOE_OK)
        status = vmoe_unzip_read(unzip, header, VMOE_NPY_START_BYTES, error);
    if (status == VMOE_OK)
        status = vmoe_npy_header_bytes(header, array->name, &member->header_bytes, error);
    if (status == VMOE_OK)
        status = vmoe_unzip_read(unzip, header + VMOE_NPY_START_BYTES,
                                 member->header_bytes - VMOE_NPY_START_BYTES, error);
    if (status == VMOE_OK)
        status = vmoe_npy_parse(header, member->header_bytes, array, &member->npy, error);
    if (status != VMOE_OK || member->npy.type == VMOE_NUMBER_NONE)
        return status;
    /* At most 2^40 elements of 8 bytes. */
    bytes = member->header_bytes + array->elements * vmoe_number_bytes(member->npy.type);
    if (bytes != size)
        return vmoe_fail(error, VMOE_ERR_FORMAT, array->name,
                         "its shape needs %llu bytes, the member has %llu",
                         (unsigned long long)bytes, (unsigned long long)size);
    return VMOE_OK;
}

static vmoe_status open_arrays(struct npz *npz, vmoe_error *error)
{
    const uint64_t count = npz->zip.entries.count; /* at most VMOE_LIMIT_ZIP_ENTRIES */
    uint32_t *order = vmoe_memory_take(npz->allocator, count * sizeof *order);
    vmoe_status status;

    npz->arrays = vmoe_memory_take_zeroed(npz->allocator, count * sizeof *npz->arrays);
    npz->members = vmoe_memory_take_zeroed(npz->allocator, count * sizeof *npz->members);
    if (order == NULL || npz->arrays == NULL || npz->members == NULL)
        status = vmoe_fail(error, VMOE_ERR_MEMORY, npz->path, "no memory for %llu arrays",
                           (unsigned long long)count);
    else
        status = sort_members(npz, order, error);
    vmoe_memory_release(npz->allocator, order);
    for (size_t i = 0; i < npz->source.count && status == VMOE_OK; i++)
        status = read_header(npz, i, error);
    return status;
}

vmoe_status vmoe_npz_open(const char *path, const vmoe_allocator *allocator,
                          struct vmoe_source **source, vmoe_error *error)
{
    struct npz *npz = vmoe_memory_take_zeroed(allocator, sizeof *npz);
    vmoe_status status;

    *source = NULL;
    if (npz == NULL)
        return vmoe_fail(error, VMOE_ERR_MEMORY, path, "no memory to open the archive");
    npz->allocator = allocator;
    npz->source.read = read_array;
    npz->source.has_file = has_file;
    npz->source.close = close_npz;
    npz->file = (struct vmoe_file)VMOE_FILE_CLOSED;
    npz->path = vmoe_memory_copy(allocator, path);
    for (size_t i = 0; i < STREAMS; i++)
        vmoe_unzip_init(&npz->streams[i].unzip, &npz->file, npz->path, npz->buffer, allocator);
    status = npz->path != NULL
                 ? vmoe_file_open(path, &npz->file, error)
                 : vmoe_fail(error, VMOE_ERR_MEMORY, path, "no memory to open the archive");
    if (status == VMOE_OK)
        status = vmoe_zip_read(&npz->zip, &npz->file, npz->path, allocator, error);
    if (status == VMOE_OK)
        status = open_arrays(npz, error);
    if (status == VMOE_OK)
        *source = &npz->source;
    else
        close_npz(&npz->source);
    return status;
}
