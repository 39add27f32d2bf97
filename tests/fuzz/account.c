/* Each block has its size in front of it, in as many bytes as the alignment asks for. */
#define _GNU_SOURCE
#include "fuzz/account.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"

#define FRONT 64u

/*
 * Garbage at the begin of a block is enough to show a use of what was never written, which
 * MemorySanitizer sees by itself.
 */
#ifdef FUZZ_MSAN
#define GARBAGE 0u
#else
#define GARBAGE 512u
#endif

static void *account_alloc(void *context, size_t bytes, size_t alignment)
{
    struct account *account = context;
    const size_t front = alignment > FRONT ? alignment : FRONT;
    const uint64_t call = account->calls++;
    uint8_t *block;

    MUST(alignment > 0 && (alignment & (alignment - 1)) == 0);
    if (call >= account->last || (call < 64 && (account->mask >> call & 1) != 0)) {
        account->failures++;
        return NULL;
    }
    if (bytes > SIZE_MAX / 2)
        return NULL;
    block = aligned_alloc(front, front + (bytes + front - 1) / front * front);
    if (block == NULL)
        return NULL;
    memset(block + front, 0xA5, bytes < GARBAGE ? bytes : GARBAGE);
    memcpy(block + front - FRONT, &bytes, sizeof bytes);
    memcpy(block + front - FRONT + sizeof bytes, &front, sizeof front);
    account->live += bytes;
    account->peak = account->live > account->peak ? account->live : account->peak;
    return block + front;
}

static void account_release(void *context, void *memory)
{
    struct account *account = context;
    uint8_t *block = memory;
    size_t bytes, front;

    memcpy(&bytes, block - FRONT, sizeof bytes);
    memcpy(&front, block - FRONT + sizeof bytes, sizeof front);
    memset(block, 0x5A, bytes < GARBAGE ? bytes : GARBAGE);
    MUST(account->live >= bytes);
    account->live -= bytes;
    free(block - front);
}

void account_open(struct account *account)
{
    static bool first = true;

    if (first) {
        /* Large blocks come and go at every input; the C library should keep them. */
        mallopt(M_MMAP_THRESHOLD, 32 << 20);
        mallopt(M_TRIM_THRESHOLD, 128 << 20);
        first = false;
    }
    memset(account, 0, sizeof *account);
    account->allocator.alloc = account_alloc;
    account->allocator.release = account_release;
    account->allocator.context = account;
    account->last = UINT64_MAX;
}

void account_close(const struct account *account)
{
    MUST(account->live == 0);
}
