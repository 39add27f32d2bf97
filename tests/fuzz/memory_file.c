/* The functions of runtime/file.h over a short list of names. */
#include "fuzz/memory_file.h"

#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "runtime/checked.h"
#include "runtime/file.h"

#define FILES 16

static struct {
    const char *name;
    const uint8_t *data;
    size_t size;
} files[FILES];

static int count, opened;

/* The one file that can be written: its target, its bytes, and whether it was committed. */
static struct {
    char target[32];
    uint8_t *data;
    size_t size, capacity;
    bool complete;
} written;

void memory_file_add(const char *name, const void *data, size_t size)
{
    MUST(count < FILES);
    files[count].name = name;
    files[count].data = data;
    files[count].size = size;
    count++;
}

const uint8_t *memory_file_written(const char *name, size_t *size)
{
    if (!written.complete || strcmp(written.target, name) != 0)
        return NULL;
    *size = written.size;
    return written.data;
}

void memory_file_clear(void)
{
    MUST(opened == 0);
    count = 0;
    written.size = 0;
    written.complete = false;
}

/* ---- Reading -------------------------------------------------------------------------------- */

vmoe_status vmoe_file_open(const char *path, struct vmoe_file *file, vmoe_error *error)
{
    *file = (struct vmoe_file)VMOE_FILE_CLOSED;
    for (int i = 0; i < count; i++) {
        if (strncmp(path, files[i].name, strlen(files[i].name)) != 0)
            continue;
        file->descriptor = i;
        file->size = files[i].size;
        opened++;
        return VMOE_OK;
    }
    return vmoe_fail(error, VMOE_ERR_IO, path, "there is no such file");
}

void vmoe_file_close(struct vmoe_file *file)
{
    if (file->descriptor >= 0)
        opened--;
    file->descriptor = -1;
}

vmoe_status vmoe_file_read(const struct vmoe_file *file, const char *path, uint64_t offset,
                           void *buffer, size_t bytes, vmoe_error *error)
{
    uint64_t end;

    MUST(file->descriptor >= 0 && file->descriptor < count);
    if (!vmoe_add_u64(offset, bytes, &end) || end > file->size)
        return vmoe_fail(error, VMOE_ERR_FORMAT, path,
                         "the file ends at byte %llu, but %zu bytes at %llu were expected",
                         (unsigned long long)file->size, bytes, (unsigned long long)offset);
    if (bytes > 0)
        memcpy(buffer, files[file->descriptor].data + offset, bytes);
    return VMOE_OK;
}

bool vmoe_file_same(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

vmoe_status vmoe_file_map(const struct vmoe_file *file, const char *path, const void **data,
                          vmoe_error *error)
{
    *data = NULL;
    if (file->size == 0)
        return vmoe_fail(error, VMOE_ERR_FORMAT, path, "an empty file cannot be mapped");
    *data = files[file->descriptor].data;
    return VMOE_OK;
}

void vmoe_file_unmap(const void *data, uint64_t size)
{
    (void)data;
    (void)size;
}

/* ---- Writing -------------------------------------------------------------------------------- */

vmoe_status vmoe_file_writer_open(struct vmoe_file_writer *writer, const char *target,
                                  const vmoe_allocator *allocator, vmoe_error *error)
{
    void *path = vmoe_memory_take(allocator, 1);

    *writer = (struct vmoe_file_writer)VMOE_FILE_WRITER_CLOSED;
    if (path == NULL)
        return vmoe_fail(error, VMOE_ERR_MEMORY, target, "no memory for a file name");
    vmoe_memory_release(allocator, path);
    MUST(strlen(target) < sizeof written.target);
    strcpy(written.target, target);
    written.size = 0;
    written.complete = false;
    writer->descriptor = 0;
    opened++;
    return VMOE_OK;
}

vmoe_status vmoe_file_writer_write(struct vmoe_file_writer *writer, uint64_t offset,
                                   const void *bytes, size_t size, vmoe_error *error)
{
    const size_t end = (size_t)offset + size;

    (void)error;
    MUST(writer->descriptor >= 0);
    if (end > written.capacity) {
        written.capacity = 2 * end;
        written.data = realloc(written.data, written.capacity);
        MUST(written.data != NULL);
    }
    if (end > written.size) {
        memset(written.data + written.size, 0, end - written.size);
        written.size = end;
    }
    memcpy(written.data + offset, bytes, size);
    return VMOE_OK;
}

vmoe_status vmoe_file_writer_commit(struct vmoe_file_writer *writer, vmoe_error *error)
{
    (void)error;
    MUST(writer->descriptor >= 0);
    written.complete = true;
    vmoe_file_writer_abandon(writer);
    return VMOE_OK;
}

void vmoe_file_writer_abandon(struct vmoe_file_writer *writer)
{
    if (writer->descriptor >= 0)
        opened--;
    writer->descriptor = -1;
}
