/*
 * Data first, header last: the header holds the hashes of all chunks, and its size is known from
 * the beginning because the list of tensors is.
 */
#include "checkpoint/writer.h"

#include <stdio.h>
#include <string.h>

#include "checkpoint/chunk.h"
#include "runtime/file.h"
#include "runtime/limits.h"

struct vmoe_writer {
    const vmoe_allocator *allocator;
    struct vmoe_file_writer file;
    struct vmoe_chunk_coder *coder;
    struct vmoe_tensor *tensors;
    uint8_t *header;
    struct vmoe_preamble preamble;
    bool compact;
    uint8_t *entries, *chunks; /* inside the header, the next ones to fill */
    uint32_t next, next_chunk;
    uint64_t end; /* of the data written so far */
};

/* ---- Header --------------------------------------------------------------------------------- */

static vmoe_status check_text(const char *text, size_t least, size_t limit, const char *where,
                              size_t *bytes, vmoe_error *error)
{
    size_t length = text == NULL ? 0 : strlen(text);

    if (text == NULL || length < least)
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, where, "a text is %s",
                         text == NULL ? "NULL" : "empty");
    if (length > limit)
        return vmoe_fail(error, VMOE_ERR_LIMIT, where,
                         "a text of %zu bytes is beyond the limit of %zu", length, limit);
    if (!vmoe_format_text_is_clean(text, length))
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, where,
                         "\"%.40s\" is not plain UTF-8 text on one line", text);
    *bytes += length + 1;
    return VMOE_OK;
}

/* Bytes of the strings, with their padding. */
static vmoe_status measure_strings(const vmoe_info *info, const char *const *labels,
                                   const char *provenance, size_t *bytes, vmoe_error *error)
{
    vmoe_status status =
        check_text(provenance, 0, VMOE_LIMIT_PROVENANCE_BYTES, "provenance", bytes, error);

    for (uint32_t i = 0; status == VMOE_OK && labels != NULL && i < info->classes; i++) {
        char where[24];

        snprintf(where, sizeof where, "labels[%u]", i);
        status = check_text(labels[i], 1, VMOE_LIMIT_LABEL_BYTES, where, bytes, error);
    }
    *bytes = (*bytes + 7) / 8 * 8;
    return status;
}

static uint8_t *put_text(uint8_t *to, const char *text)
{
    size_t length = strlen(text) + 1;

    memcpy(to, text, length);
    return to + length;
}

static vmoe_status make_header(struct vmoe_writer *writer, const vmoe_info *info,
                               const char *const *labels, const char *provenance,
                               vmoe_error *error)
{
    struct vmoe_preamble *preamble = &writer->preamble;
    vmoe_info stored = *info;
    size_t strings = 0;
    uint64_t bytes;
    uint8_t *to;
    vmoe_status status = measure_strings(info, labels, provenance, &strings, error);

    if (status != VMOE_OK)
        return status;
    preamble->tensors = (uint32_t)vmoe_tensor_count(info);
    for (uint32_t i = 0; i < preamble->tensors; i++)
        preamble->chunks += vmoe_format_chunks(&writer->tensors[i]);
    bytes = VMOE_FORMAT_PREAMBLE_BYTES + VMOE_FORMAT_CONFIG_BYTES + (uint64_t)strings +
            (uint64_t)preamble->tensors * VMOE_FORMAT_ENTRY_BYTES +
            (uint64_t)preamble->chunks * VMOE_FORMAT_CHUNK_ENTRY_BYTES;
    if (bytes > VMOE_LIMIT_HEADER_BYTES)
        return vmoe_fail(error, VMOE_ERR_LIMIT, writer->file.target,
                         "the header would have %llu bytes, the limit is %llu",
                         (unsigned long long)bytes, (unsigned long long)VMOE_LIMIT_HEADER_BYTES);
    preamble->header_bytes = (uint32_t)bytes;
    preamble->string_bytes = (uint32_t)strings;
    writer->header = vmoe_memory_take_zeroed(writer->allocator, bytes);
    if (writer->header == NULL)
        return vmoe_fail(error, VMOE_ERR_MEMORY, writer->file.target, "no memory for the header");
    stored.labels = labels != NULL;
    vmoe_format_put_config(&stored, writer->header + VMOE_FORMAT_PREAMBLE_BYTES);
    to = writer->header + VMOE_FORMAT_PREAMBLE_BYTES + VMOE_FORMAT_CONFIG_BYTES;
    writer->entries = to + strings;
    writer->chunks = writer->entries + (size_t)preamble->tensors * VMOE_FORMAT_ENTRY_BYTES;
    to = put_text(to, provenance);
    for (uint32_t i = 0; labels != NULL && i < info->classes; i++)
        to = put_text(to, labels[i]);
    writer->end = vmoe_format_data_offset(bytes);
    return VMOE_OK;
}

vmoe_status vmoe_writer_open(const char *path, const vmoe_info *info, const char *const *labels,
                             const char *provenance, const vmoe_allocator *allocator,
                             struct vmoe_writer **writer, vmoe_error *error)
{
    struct vmoe_writer *made = vmoe_memory_take_zeroed(allocator, sizeof *made);
    vmoe_status status;

    *writer = NULL;
    if (made == NULL)
        return vmoe_fail(error, VMOE_ERR_MEMORY, path, "no memory for a writer");
    made->allocator = allocator;
    made->file = (struct vmoe_file_writer)VMOE_FILE_WRITER_CLOSED;
    made->file.target = path;
    made->compact = info->compact != 0;
    made->tensors =
        vmoe_memory_take(allocator, vmoe_tensor_count(info) * sizeof *made->tensors);
    if (made->tensors == NULL) {
        status = vmoe_fail(error, VMOE_ERR_MEMORY, path, "no memory for the list of tensors");
        goto fail;
    }
    vmoe_tensor_list(info, made->tensors);
    status = make_header(made, info, labels, provenance, error);
    if (status == VMOE_OK)
        status = vmoe_chunk_coder_create(allocator, &made->coder, error);
    if (status == VMOE_OK)
        status = vmoe_file_writer_open(&made->file, path, allocator, error);
    if (status != VMOE_OK)
        goto fail;
    *writer = made;
    return VMOE_OK;

fail:
    vmoe_writer_close(made);
    return status;
}

uint32_t vmoe_writer_count(const struct vmoe_writer *writer)
{
    return writer->preamble.tensors;
}

const struct vmoe_tensor *vmoe_writer_tensor(const struct vmoe_writer *writer, uint32_t index)
{
    return &writer->tensors[index];
}

/* ---- Data ----------------------------------------------------------------------------------- */

static vmoe_status put_chunk(struct vmoe_writer *writer, const struct vmoe_tensor *tensor,
                             const uint8_t *raw, uint32_t bytes, vmoe_error *error)
{
    struct vmoe_chunk chunk = { bytes, VMOE_CHUNK_RAW, 0 };
    const uint8_t *stored = NULL;
    size_t stored_bytes = bytes;
    vmoe_status status;

    if (writer->compact) {
        status = vmoe_chunk_encode(writer->coder, raw, bytes, vmoe_format_number_bytes(tensor),
                                   &stored, &stored_bytes, error);
        if (status != VMOE_OK)
            return status;
    }
    if (stored != NULL) {
        chunk.stored = (uint32_t)stored_bytes;
        chunk.coding = VMOE_CHUNK_ZLIB;
    } else {
        stored = raw;
    }
    chunk.hash = vmoe_chunk_hash(stored, chunk.stored);
    vmoe_format_put_chunk(&chunk, writer->chunks);
    writer->chunks += VMOE_FORMAT_CHUNK_ENTRY_BYTES;
    writer->next_chunk++;
    status = vmoe_file_writer_write(&writer->file, writer->end, stored, chunk.stored, error);
    writer->end += chunk.stored;
    return status;
}

vmoe_status vmoe_writer_put(struct vmoe_writer *writer, const void *data, vmoe_error *error)
{
    const struct vmoe_tensor *tensor = &writer->tensors[writer->next];
    struct vmoe_entry entry = { .tensor = *tensor, .first_chunk = writer->next_chunk };
    const uint8_t *raw = data;

    entry.chunks = vmoe_format_chunks(tensor);
    entry.offset = vmoe_format_tensor_offset(writer->end);
    writer->end = entry.offset;
    for (uint32_t i = 0; i < entry.chunks; i++) {
        uint32_t bytes = vmoe_format_chunk_bytes(tensor, i);
        vmoe_status status = put_chunk(writer, tensor, raw, bytes, error);

        if (status != VMOE_OK)
            return status;
        raw += bytes;
    }
    entry.stored = writer->end - entry.offset;
    vmoe_format_put_entry(&entry, writer->entries);
    writer->entries += VMOE_FORMAT_ENTRY_BYTES;
    writer->next++;
    return VMOE_OK;
}

vmoe_status vmoe_writer_commit(struct vmoe_writer *writer, vmoe_error *error)
{
    uint8_t hash[VMOE_FORMAT_HASH_BYTES];
    vmoe_status status;

    writer->preamble.file_bytes = writer->end;
    vmoe_format_put_preamble(&writer->preamble, writer->header);
    vmoe_format_hash_header(writer->header, writer->preamble.header_bytes, hash);
    memcpy(writer->header + VMOE_FORMAT_HASH_OFFSET, hash, sizeof hash);
    status = vmoe_file_writer_write(&writer->file, 0, writer->header,
                                    writer->preamble.header_bytes, error);
    if (status != VMOE_OK)
        return status;
    return vmoe_file_writer_commit(&writer->file, error);
}

void vmoe_writer_close(struct vmoe_writer *writer)
{
    if (writer == NULL)
        return;
    vmoe_file_writer_abandon(&writer->file);
    vmoe_chunk_coder_destroy(writer->coder);
    vmoe_memory_release(writer->allocator, writer->header);
    vmoe_memory_release(writer->allocator, writer->tensors);
    vmoe_memory_release(writer->allocator, writer);
}
