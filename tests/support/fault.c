/* The counting allocator and a count of open files. */
#define _GNU_SOURCE
#include "support/fault.h"

#include <dirent.h>
#include <stdint.h>
#include <string.h>

#include "support/block.h"

static void *fault_alloc(void *context, size_t bytes, size_t alignment)
{
    struct fault *fault = context;
    void *block;

    fault->calls++;
    if (fault->fail_at != 0 &&
        (fault->persistent ? fault->calls >= fault->fail_at : fault->calls == fault->fail_at))
        return NULL;
    block = block_take(bytes, alignment, SIZE_MAX);
    if (block == NULL)
        return NULL;
    fault->live += bytes;
    fault->peak = fault->live > fault->peak ? fault->live : fault->peak;
    return block;
}

static void fault_release(void *context, void *memory)
{
    struct fault *fault = context;

    fault->live -= block_release(memory, SIZE_MAX);
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
