/* The counting allocator, and what is in folders. */
#define _GNU_SOURCE
#include "support/fault.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

size_t remove_temporaries(const char *target, long process)
{
    char path[600], begin[300], rest;
    const char *name = strrchr(target, '/') + 1;
    DIR *folder;
    const struct dirent *entry;
    size_t count = 0;
    unsigned long long number;

    snprintf(path, sizeof path, "%.*s", (int)(name - target), target);
    snprintf(begin, sizeof begin, "%s.tmp-%lx-", name, (unsigned long)process);
    folder = opendir(path);
    while (folder != NULL && (entry = readdir(folder)) != NULL)
        if (strncmp(entry->d_name, begin, strlen(begin)) == 0 &&
            sscanf(entry->d_name + strlen(begin), "%llx%c", &number, &rest) == 1)
            count += unlinkat(dirfd(folder), entry->d_name, 0) == 0;
    if (folder != NULL)
        closedir(folder);
    return count;
}

size_t fault_open_files(void)
{
    return folder_entries("/proc/self/fd");
}
