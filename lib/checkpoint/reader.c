/*
 * Reading in two steps: the header, which fixes where every byte of the data must be, and then the
 * data, straight into their final place.
 */
#include "checkpoint/reader.h"

#include <string.h>

#include "checkpoint/chunk.h"
#include "checkpoint/deflate.h"
#include "checkpoint/format.h"
#include "model/config.h"
#include "runtime/file.h"
#include "runtime/limits.h"
#include "runtime/sizes.h"
#include "runtime/team.h"

struct reader {
    const char *where;
    const vmoe_allocator *allocator;
    struct vmoe_file file;
    const uint8_t *memory; /* the whole file, or NULL if it is read piece by piece */
    uint64_t size;
    struct vmoe_preamble preamble;
    uint8_t *header;
    const uint8_t *strings, *entries, *chunks; /* inside the header */
    struct vmoe_tensor *tensors;               /* what the config implies */
    struct vmoe_chunk_coder *coder;            /* of compact files */
    bool check_hashes;
    const int32_t *cancel; /* or NULL */
};

static vmoe_status check_cancel(const struct reader *reader, vmoe_error *error)
{
    if (reader->cancel != NULL && vmoe_team_read_flag(reader->cancel) != 0)
        return vmoe_fail(error, VMOE_ERR_CANCELLED, "options.cancel",
                         "the loading was cancelled");
    return VMOE_OK;
}

static vmoe_status read_bytes(const struct reader *reader, uint64_t offset, void *to, size_t bytes,
                              vmoe_error *error)
{
    if (reader->memory == NULL)
        return vmoe_file_read(&reader->file, reader->where, offset, to, bytes, error);
    if (offset > reader->size || bytes > reader->size - offset)
        return vmoe_fail(error, VMOE_ERR_FORMAT, reader->where,
                         "the data end at byte %llu, but %zu bytes at %llu were expected",
                         (unsigned long long)reader->size, bytes, (unsigned long long)offset);
    memcpy(to, reader->memory + offset, bytes);
    return VMOE_OK;
}

/* ---- Header --------------------------------------------------------------------------------- */

static vmoe_status read_header(struct reader *reader, vmoe_error *error)
{
    uint8_t first[VMOE_FORMAT_PREAMBLE_BYTES] = { 0 };
    uint8_t hash[VMOE_FORMAT_HASH_BYTES];
    struct vmoe_preamble *preamble = &reader->preamble;
    size_t there = vmoe_smaller(reader->size, sizeof first);
    vmoe_status status = read_bytes(reader, 0, first, there, error);

    if (status == VMOE_OK && there < VMOE_FORMAT_MAGIC_BYTES)
        return vmoe_fail(error, VMOE_ERR_FORMAT, reader->where,
                         "%zu bytes are too few for a .vmoe file", there);
    if (status == VMOE_OK)
        status = vmoe_format_get_preamble(first, reader->where, preamble, error);
    if (status != VMOE_OK)
        return status;
    if (preamble->file_bytes != reader->size)
        return vmoe_fail(error, VMOE_ERR_FORMAT, reader->where,
                         "the file has %llu bytes, but its preamble says %llu",
                         (unsigned long long)reader->size,
                         (unsigned long long)preamble->file_bytes);
    if (preamble->header_bytes < VMOE_FORMAT_PREAMBLE_BYTES + VMOE_FORMAT_CONFIG_BYTES ||
        preamble->header_bytes > reader->size)
        return vmoe_fail(error, VMOE_ERR_FORMAT, reader->where,
                         "a header of %u bytes is impossible in a file of %llu",
                         preamble->header_bytes, (unsigned long long)reader->size);
    if (preamble->header_bytes > VMOE_LIMIT_HEADER_BYTES)
        return vmoe_fail(error, VMOE_ERR_LIMIT, reader->where,
                         "the header has %u bytes, the limit is %llu", preamble->header_bytes,
                         (unsigned long long)VMOE_LIMIT_HEADER_BYTES);
    reader->header = vmoe_memory_take(reader->allocator, preamble->header_bytes);
    if (reader->header == NULL)
        return vmoe_fail(error, VMOE_ERR_MEMORY, reader->where,
                         "no memory for a header of %u bytes", preamble->header_bytes);
    status = read_bytes(reader, 0, reader->header, preamble->header_bytes, error);
    if (status != VMOE_OK)
        return status;
    vmoe_format_hash_header(reader->header, preamble->header_bytes, hash);
    if (memcmp(hash, reader->header + VMOE_FORMAT_HASH_OFFSET, sizeof hash) != 0 ||
        memcmp(reader->header, first, sizeof first) != 0)
        return vmoe_fail(error, VMOE_ERR_CHECKSUM, reader->where,
                         "the header of %u bytes does not match its checksum",
                         preamble->header_bytes);
    return VMOE_OK;
}

/* The config block, and with it the closed world of tensors. */
static vmoe_status read_config(struct reader *reader, vmoe_info *info, vmoe_error *error)
{
    const struct vmoe_preamble *preamble = &reader->preamble;
    uint64_t chunks = 0, bytes;
    vmoe_status status =
        vmoe_format_get_config(reader->header + VMOE_FORMAT_PREAMBLE_BYTES, info, error);

    if (status == VMOE_OK)
        status = vmoe_config_complete(info, "config", VMOE_ERR_FORMAT, error);
    if (status != VMOE_OK)
        return status;
    if (preamble->tensors != vmoe_tensor_count(info))
        return vmoe_fail(error, VMOE_ERR_FORMAT, reader->where,
                         "the directory has %u tensors, but the config implies %llu",
                         preamble->tensors, (unsigned long long)vmoe_tensor_count(info));
    bytes = VMOE_FORMAT_PREAMBLE_BYTES + VMOE_FORMAT_CONFIG_BYTES +
            (uint64_t)preamble->string_bytes +
            (uint64_t)preamble->tensors * VMOE_FORMAT_ENTRY_BYTES;
    /* Before memory is taken for tensors, the header must have room for them. */
    if (bytes > preamble->header_bytes)
        return vmoe_fail(error, VMOE_ERR_FORMAT, reader->where,
                         "a header of %u bytes has no room for %u tensors", preamble->header_bytes,
                         preamble->tensors);
    reader->tensors = vmoe_memory_take(reader->allocator,
                                       (uint64_t)preamble->tensors * sizeof *reader->tensors);
    if (reader->tensors == NULL)
        return vmoe_fail(error, VMOE_ERR_MEMORY, reader->where,
                         "no memory for a list of %u tensors", preamble->tensors);
    vmoe_tensor_list(info, reader->tensors);
    for (uint32_t i = 0; i < preamble->tensors; i++)
        chunks += vmoe_format_chunks(&reader->tensors[i]);
    bytes += chunks * VMOE_FORMAT_CHUNK_ENTRY_BYTES;
    if (preamble->chunks != chunks || preamble->header_bytes != bytes)
        return vmoe_fail(
            error, VMOE_ERR_FORMAT, reader->where,
            "the header has %u chunks in %u bytes, but the config implies %llu in %llu",
            preamble->chunks, preamble->header_bytes, (unsigned long long)chunks,
            (unsigned long long)bytes);
    reader->strings =
        reader->header + VMOE_FORMAT_PREAMBLE_BYTES + VMOE_FORMAT_CONFIG_BYTES;
    reader->entries = reader->strings + preamble->string_bytes;
    reader->chunks = reader->entries + (size_t)preamble->tensors * VMOE_FORMAT_ENTRY_BYTES;
    return VMOE_OK;
}

/*
 * The next text of the strings, or NULL if it is not terminated, of a wrong length, or not clean.
 */
static const char *next_text(const uint8_t **at, const uint8_t *end, size_t least, size_t limit)
{
    const uint8_t *text = *at;
    const uint8_t *zero = text == end ? NULL : memchr(text, 0, (size_t)(end - text));

    if (zero == NULL || (size_t)(zero - text) < least || (size_t)(zero - text) > limit ||
        !vmoe_format_text_is_clean((const char *)text, (size_t)(zero - text)))
        return NULL;
    *at = zero + 1;
    return (const char *)text;
}

static vmoe_status read_strings(const struct reader *reader, struct vmoe_checkpoint *checkpoint,
                                vmoe_error *error)
{
    const vmoe_info *info = &checkpoint->info;
    uint32_t bytes = reader->preamble.string_bytes;
    const uint8_t *at, *end;

    /* A label has at least a letter and its zero. */
    if (info->labels && info->classes > bytes / 2)
        return vmoe_fail(error, VMOE_ERR_FORMAT, "labels",
                         "%u bytes of strings cannot hold the names of %u classes", bytes,
                         info->classes);
    checkpoint->strings = vmoe_memory_take(reader->allocator, bytes);
    if (info->labels)
        checkpoint->labels =
            vmoe_memory_take(reader->allocator, (uint64_t)info->classes * sizeof(char *));
    if (checkpoint->strings == NULL || (info->labels && checkpoint->labels == NULL))
        return vmoe_fail(error, VMOE_ERR_MEMORY, reader->where, "no memory for the labels");
    memcpy(checkpoint->strings, reader->strings, bytes);
    at = checkpoint->strings;
    end = at + bytes;
    checkpoint->provenance = next_text(&at, end, 0, VMOE_LIMIT_PROVENANCE_BYTES);
    if (checkpoint->provenance == NULL)
        return vmoe_fail(error, VMOE_ERR_FORMAT, "provenance", "the text is damaged");
    for (uint32_t i = 0; info->labels && i < info->classes; i++) {
        checkpoint->labels[i] = next_text(&at, end, 1, VMOE_LIMIT_LABEL_BYTES);
        if (checkpoint->labels[i] == NULL)
            return vmoe_fail(error, VMOE_ERR_FORMAT, "labels", "the name of class %u is damaged",
                             i);
    }
    if (end - at >= 8 || bytes % 8 != 0)
        return vmoe_fail(error, VMOE_ERR_FORMAT, "labels", "there are %lld bytes behind the texts",
                         (long long)(end - at));
    for (; at < end; at++)
        if (*at != 0)
            return vmoe_fail(error, VMOE_ERR_FORMAT, "labels", "the padding is not zero");
    return VMOE_OK;
}

/* Checks the chunks of one tensor and adds up what they store. */
static vmoe_status check_chunks(const struct reader *reader, const struct vmoe_entry *entry,
                                bool compact, uint64_t *stored, vmoe_error *error)
{
    *stored = 0;
    for (uint32_t i = 0; i < entry->chunks; i++) {
        uint32_t raw = vmoe_format_chunk_bytes(&entry->tensor, i);
        struct vmoe_chunk chunk;

        vmoe_format_get_chunk(
            reader->chunks + (size_t)(entry->first_chunk + i) * VMOE_FORMAT_CHUNK_ENTRY_BYTES,
            &chunk);
        if (chunk.coding == VMOE_CHUNK_RAW
                ? chunk.stored != raw
                : chunk.coding != VMOE_CHUNK_ZLIB || !compact || chunk.stored >= raw ||
                      raw > (uint64_t)chunk.stored * VMOE_DEFLATE_RATIO)
            return vmoe_fail(error, VMOE_ERR_FORMAT, entry->tensor.name,
                             "chunk %u of %u bytes is stored in %u with coding %u", i, raw,
                             chunk.stored, chunk.coding);
        *stored += chunk.stored;
    }
    return VMOE_OK;
}

/* Every entry must be what the config and the entries before it imply, byte for byte. */
static vmoe_status check_directory(const struct reader *reader, bool compact, vmoe_error *error)
{
    uint64_t end = vmoe_format_data_offset(reader->preamble.header_bytes);
    uint32_t chunk = 0;

    for (uint32_t i = 0; i < reader->preamble.tensors; i++) {
        struct vmoe_entry entry = { .tensor = reader->tensors[i], .first_chunk = chunk };
        uint8_t expected[VMOE_FORMAT_ENTRY_BYTES];
        vmoe_status status;

        entry.chunks = vmoe_format_chunks(&entry.tensor);
        entry.offset = vmoe_format_tensor_offset(end);
        status = check_chunks(reader, &entry, compact, &entry.stored, error);
        if (status != VMOE_OK)
            return status;
        vmoe_format_put_entry(&entry, expected);
        if (memcmp(expected, reader->entries + (size_t)i * VMOE_FORMAT_ENTRY_BYTES,
                   sizeof expected) != 0)
            return vmoe_fail(error, VMOE_ERR_FORMAT, entry.tensor.name,
                             "directory entry %u is not the one that the config implies", i);
        end = entry.offset + entry.stored;
        chunk += entry.chunks;
    }
    if (end != reader->size)
        return vmoe_fail(error, VMOE_ERR_FORMAT, reader->where,
                         "the tensors end at byte %llu of %llu", (unsigned long long)end,
                         (unsigned long long)reader->size);
    return VMOE_OK;
}

/* ---- Data ----------------------------------------------------------------------------------- */

/* Bytes between tensors are zero, so that no change of the file goes unnoticed. */
static vmoe_status check_gap(const struct reader *reader, uint64_t begin, uint64_t end,
                             vmoe_error *error)
{
    uint8_t gap[VMOE_FORMAT_DATA_ALIGNMENT];
    vmoe_status status = read_bytes(reader, begin, gap, (size_t)(end - begin), error);

    for (size_t i = 0; status == VMOE_OK && i < end - begin; i++)
        if (gap[i] != 0)
            return vmoe_fail(error, VMOE_ERR_FORMAT, reader->where,
                             "byte %llu between two tensors is %u, not 0",
                             (unsigned long long)(begin + i), gap[i]);
    return status;
}

static vmoe_status read_chunk(const struct reader *reader, const struct vmoe_tensor *tensor,
                              const struct vmoe_chunk *chunk, uint64_t offset, uint32_t index,
                              uint8_t *to, vmoe_error *error)
{
    uint32_t bytes = vmoe_format_chunk_bytes(tensor, index);
    uint8_t *stored =
        chunk->coding == VMOE_CHUNK_RAW ? to : vmoe_chunk_buffer(reader->coder);
    vmoe_status status = read_bytes(reader, offset, stored, chunk->stored, error);

    if (status != VMOE_OK)
        return status;
    /* The hash comes before the decoder: damaged bytes never reach zlib. */
    if (reader->check_hashes && vmoe_chunk_hash(stored, chunk->stored) != chunk->hash)
        return vmoe_fail(error, VMOE_ERR_CHECKSUM, tensor->name,
                         "the %u bytes at %llu of the file do not match their checksum",
                         chunk->stored, (unsigned long long)offset);
    if (chunk->coding != VMOE_CHUNK_RAW)
        status = vmoe_chunk_decode(reader->coder, stored, chunk->stored,
                                   vmoe_format_number_bytes(tensor), to, bytes, tensor->name,
                                   error);
    if (status == VMOE_OK && !vmoe_format_padding_is_zero(
                                 tensor, (uint64_t)index * VMOE_FORMAT_CHUNK_BYTES, to, bytes))
        return vmoe_fail(error, VMOE_ERR_FORMAT, tensor->name,
                         "the padding of the matrix is not zero in chunk %u", index);
    return status;
}

/* Reads every tensor to its place in `block`, or through one buffer if that is NULL. */
static vmoe_status read_data(struct reader *reader, uint8_t *block, struct vmoe_weights *weights,
                             vmoe_error *error)
{
    uint64_t end = reader->preamble.header_bytes;
    uint64_t offset = vmoe_format_data_offset(end);
    const uint8_t *at = reader->chunks;
    uint8_t *sink = block;
    vmoe_status status;

    if (sink == NULL)
        sink = vmoe_memory_take(reader->allocator, VMOE_FORMAT_CHUNK_BYTES);
    if (sink == NULL)
        return vmoe_fail(error, VMOE_ERR_MEMORY, reader->where, "no memory for a chunk");
    for (uint32_t i = 0; i < reader->preamble.tensors; i++) {
        const struct vmoe_tensor *tensor = &reader->tensors[i];
        uint32_t chunks = vmoe_format_chunks(tensor);
        uint8_t *to = sink;

        status = check_gap(reader, end, offset, error);
        for (uint32_t c = 0; status == VMOE_OK && c < chunks; c++) {
            struct vmoe_chunk chunk;

            vmoe_format_get_chunk(at, &chunk);
            at += VMOE_FORMAT_CHUNK_ENTRY_BYTES;
            status = check_cancel(reader, error);
            if (status == VMOE_OK)
                status = read_chunk(reader, tensor, &chunk, offset, c, to, error);
            offset += chunk.stored;
            if (block != NULL)
                to += vmoe_format_chunk_bytes(tensor, c);
        }
        if (status != VMOE_OK)
            goto done;
        end = offset;
        offset = vmoe_format_tensor_offset(end);
        if (block != NULL) {
            vmoe_weights_bind(weights, tensor, sink);
            sink += vmoe_format_tensor_offset(tensor->bytes);
        }
    }
    status = VMOE_OK;
done:
    if (block == NULL)
        vmoe_memory_release(reader->allocator, sink);
    return status;
}

/* Bytes of all tensors, each at its alignment. */
static uint64_t block_bytes(const struct reader *reader)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < reader->preamble.tensors; i++)
        bytes += vmoe_format_tensor_offset(reader->tensors[i].bytes);
    return bytes;
}

/* Uses the tensors where they are in a file that is in memory. */
static vmoe_status bind_in_place(struct reader *reader, struct vmoe_weights *weights,
                                 vmoe_error *error)
{
    const uint8_t *entry = reader->entries;

    if ((uintptr_t)reader->memory % VMOE_FORMAT_TENSOR_ALIGNMENT != 0)
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, reader->where,
                         "data that are used in place must be aligned to %u bytes",
                         VMOE_FORMAT_TENSOR_ALIGNMENT);
    for (uint32_t i = 0; i < reader->preamble.tensors; i++) {
        uint64_t offset = vmoe_format_entry_offset(entry);

        vmoe_weights_bind(weights, &reader->tensors[i], reader->memory + offset);
        entry += VMOE_FORMAT_ENTRY_BYTES;
    }
    return reader->check_hashes ? read_data(reader, NULL, NULL, error) : VMOE_OK;
}

/* Brings a file to memory; what is given as memory is there already. */
static vmoe_status map_file(struct reader *reader, struct vmoe_checkpoint *checkpoint,
                            vmoe_error *error)
{
    vmoe_status status;

    if (reader->memory != NULL)
        return VMOE_OK;
    status = vmoe_file_map(&reader->file, reader->where, &checkpoint->mapping, error);
    checkpoint->mapping_bytes = reader->size;
    reader->memory = checkpoint->mapping;
    return status;
}

/* ---- Together ------------------------------------------------------------------------------- */

static vmoe_status read_weights(struct reader *reader, const struct vmoe_read_options *options,
                                struct vmoe_checkpoint *checkpoint, vmoe_error *error)
{
    const vmoe_info *info = &checkpoint->info;
    uint64_t limit = options->max_bytes != 0 ? options->max_bytes : VMOE_LIMIT_MODEL_BYTES;
    vmoe_status status;

    if (options->verify_only)
        return read_data(reader, NULL, NULL, error);
    if (info->weight_bytes > limit)
        return vmoe_fail(error, VMOE_ERR_LIMIT, reader->where,
                         "the weights have %llu bytes, the limit is %llu",
                         (unsigned long long)info->weight_bytes, (unsigned long long)limit);
    status = vmoe_weights_create(info, reader->allocator, &checkpoint->weights, error);
    if (status != VMOE_OK)
        return status;
    if ((options->flags & VMOE_LOAD_MMAP) && !info->compact) {
        status = map_file(reader, checkpoint, error);
        return status == VMOE_OK ? bind_in_place(reader, &checkpoint->weights, error) : status;
    }
    checkpoint->data = vmoe_memory_take(reader->allocator, block_bytes(reader));
    if (checkpoint->data == NULL)
        return vmoe_fail(error, VMOE_ERR_MEMORY, reader->where,
                         "no memory for %llu bytes of weights",
                         (unsigned long long)info->weight_bytes);
    return read_data(reader, checkpoint->data, &checkpoint->weights, error);
}

static vmoe_status read_all(struct reader *reader, const struct vmoe_read_options *options,
                            struct vmoe_checkpoint *checkpoint, vmoe_error *error)
{
    vmoe_info *info = &checkpoint->info;
    vmoe_status status = check_cancel(reader, error);

    if (status == VMOE_OK)
        status = read_header(reader, error);
    if (status == VMOE_OK)
        status = read_config(reader, info, error);
    if (status == VMOE_OK)
        status = read_strings(reader, checkpoint, error);
    if (status == VMOE_OK)
        status = check_directory(reader, info->compact != 0, error);
    if (status == VMOE_OK && info->compact)
        status = vmoe_chunk_coder_create(reader->allocator, &reader->coder, error);
    if (status == VMOE_OK)
        status = read_weights(reader, options, checkpoint, error);
    if (status != VMOE_OK)
        return status;
    info->file_bytes = reader->size;
    memcpy(info->id, reader->header + VMOE_FORMAT_HASH_OFFSET, sizeof info->id);
    return VMOE_OK;
}

vmoe_status vmoe_checkpoint_read(const char *where, const void *data, size_t bytes,
                                 const struct vmoe_read_options *options,
                                 const vmoe_allocator *allocator,
                                 struct vmoe_checkpoint *checkpoint, vmoe_error *error)
{
    struct reader reader = { .where = where, .allocator = allocator, .file = VMOE_FILE_CLOSED };
    vmoe_status status = VMOE_OK;

    memset(checkpoint, 0, sizeof *checkpoint);
    reader.check_hashes = !(options->flags & VMOE_LOAD_HEADER_ONLY);
    reader.cancel = options->cancel;
    if (data != NULL) {
        reader.memory = data;
        reader.size = bytes;
    } else {
        status = vmoe_file_open(where, &reader.file, error);
        reader.size = reader.file.size;
    }
    if (status == VMOE_OK)
        status = read_all(&reader, options, checkpoint, error);
    vmoe_file_close(&reader.file);
    vmoe_chunk_coder_destroy(reader.coder);
    vmoe_memory_release(allocator, reader.tensors);
    vmoe_memory_release(allocator, reader.header);
    if (status != VMOE_OK || options->verify_only)
        vmoe_checkpoint_release(checkpoint, allocator);
    return status;
}

void vmoe_checkpoint_release(struct vmoe_checkpoint *checkpoint, const vmoe_allocator *allocator)
{
    vmoe_weights_destroy(&checkpoint->weights, allocator);
    vmoe_memory_release(allocator, checkpoint->strings);
    vmoe_memory_release(allocator, (void *)checkpoint->labels);
    vmoe_memory_release(allocator, checkpoint->data);
    vmoe_file_unmap(checkpoint->mapping, checkpoint->mapping_bytes);
    memset(checkpoint, 0, sizeof *checkpoint);
}
