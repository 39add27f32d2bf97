/* The index of upstream's checkpoints, without its shards. */
#include "fuzz/document.h"
#include "fuzz/memory_file.h"
#include "fuzz/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    memory_file_clear();
    memory_file_add("f.index", data, size);
    /* Lists grow by doubling, and what is tiled is listed once more. */
    source_check(vmoe_shards_open, "f", (128u << 10) + 256 * size);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    struct dice dice = dice_begin(seed);

    return document_mutate(&dice, data, size, max_size);
}
