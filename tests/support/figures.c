/* Figures from /proc/self. */
#define _GNU_SOURCE
#include "support/figures.h"

#include <stdio.h>
#include <unistd.h>

#include "support/fault.h"

#if defined(__GLIBC__)
#if __GLIBC_PREREQ(2, 33)
#include <malloc.h>
#define HAS_MALLINFO
#endif
#endif

/* The first two numbers of statm, as bytes. */
static void read_memory(size_t *space, size_t *resident)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long pages[2] = { 0, 0 };

    if (file != NULL && fscanf(file, "%lu %lu", &pages[0], &pages[1]) != 2)
        pages[0] = pages[1] = 0;
    if (file != NULL)
        fclose(file);
    *space = pages[0] * (size_t)sysconf(_SC_PAGESIZE);
    *resident = pages[1] * (size_t)sysconf(_SC_PAGESIZE);
}

static size_t heap_in_use(void)
{
#if defined(HAS_MALLINFO)
    const struct mallinfo2 heap = mallinfo2();

    return heap.uordblks + heap.hblkhd;
#else
    return 0;
#endif
}

struct figures figures_now(void)
{
    struct figures now = { 0, heap_in_use(), folder_entries("/proc/self/task"), fault_open_files() };
    size_t space;

    read_memory(&space, &now.resident);
    return now;
}

struct figures figures_settled(size_t threads)
{
    for (int i = 0; i < 1000 && folder_entries("/proc/self/task") > threads; i++)
        usleep(1000);
    return figures_now();
}

size_t figures_address_space(void)
{
    size_t space, resident;

    read_memory(&space, &resident);
    return space;
}
