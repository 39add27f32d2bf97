/* Each block has its size in front of it, in as many bytes as the alignment asks for. */
#define _GNU_SOURCE
#include "support/fault.h"

#include <dirent.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FRONT 64u

static void *fault_alloc(void *context, size_t bytes, size_t alignment)
{
    struct fault *fault = context;
    size_t front = alignment > FRONT ? alignment : FRONT;
    uint8_t *block;

    fault->calls++;
    if (fault->fail_at != 0 &&
        (fault->persistent ? fault->calls >= fault->fail_at : fault->calls == fault->fail_at))
        return NULL;
    block = aligned_alloc(front, front + (bytes + front - 1) / front * front);
    if (block == NULL)
        return NULL;
    memset(block, 0xA5, front + bytes);
    memcpy(block + front - FRONT, &bytes, sizeof bytes);
    memcpy(block + front - FRONT + sizeof bytes, &front, sizeof front);
    fault->live += bytes;
    fault->peak = fault->live > fault->peak ? fault->live : fault->peak;
    return block + front;
}

static void fault_release(void *context, void *memory)
{
    struct fault *fault = context;
    uint8_t *block = memory;
    size_t bytes, front;

    memcpy(&bytes, block - FRONT, sizeof bytes);
    memcpy(&front, block - FRONT + sizeof bytes, sizeof front);
    memset(block, 0x5A, bytes);
    fault->live -= bytes;
    free(block - front);
}

void fault_init(struct fault *fault, size_t fail_at, bool persistent)
{
    memset(fault, 0, sizeof *fault);
    fault->allocator.alloc = fault_alloc;
    fault->allocator.release = fault_release;
    fault->allocator.context = fault;
    fault->fail_at = fail_at;
    fault->persistent = persistent;
}

size_t folder_entries(const char *path)
{
    DIR *folder = opendir(path);
    const struct dirent *entry;
    size_t count = 0;

    while (folder != NULL && (entry = readdir(folder)) != NULL)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    if (folder != NULL)
        closedir(folder);
    return count;
}

size_t fault_open_files(void)
{
    return folder_entries("/proc/self/fd");
}
