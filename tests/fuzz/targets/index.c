/* The index of upstream's checkpoints, without its shards. */
#include "fuzz/account.h"
#include "fuzz/document.h"
#include "fuzz/memory_file.h"
#include "checkpoint/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vmoe_error error = VMOE_ERROR_INIT;
    struct vmoe_source *source;
    struct account account;
    vmoe_status status;

    memory_file_clear();
    memory_file_add("f.index", data, size);
    account_open(&account);
    status = vmoe_shards_open("f", &account.allocator, &source, &error);
    fuzz_check_error(status, &error);
    MUST((status == VMOE_OK) == (source != NULL));
    /* Lists grow by doubling, and what is tiled is listed once more. */
    MUST(account.peak < (128u << 10) + 256 * size);
    if (source != NULL) {
        MUST(source->count == 0); /* an array has slices, and they would be in a shard */
        source->close(source);
    }
    account_close(&account);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    struct dice dice = dice_begin(seed);

    return document_mutate(&dice, data, size, max_size);
}
