/* Failures by mask, and a balance that must come out even. */
#define _GNU_SOURCE
#include "fuzz/account.h"

#include <malloc.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "support/block.h"

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
    const uint64_t call = account->calls++;
    void *block;

    MUST(alignment > 0 && (alignment & (alignment - 1)) == 0);
    if (call >= account->last || (call < 64 && (account->mask >> call & 1) != 0)) {
        account->failures++;
        return NULL;
    }
    block = block_take(bytes, alignment, GARBAGE);
    if (block == NULL)
        return NULL;
    account->live += bytes;
    account->peak = account->live > account->peak ? account->live : account->peak;
    return block;
}

static void account_release(void *context, void *memory)
{
    struct account *account = context;
    const size_t bytes = block_release(memory, GARBAGE);

    MUST(account->live >= bytes);
    account->live -= bytes;
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
