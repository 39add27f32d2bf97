/* A .npz archive, opened and read. */
#include "fuzz/archive.h"
#include "fuzz/memory_file.h"
#include "fuzz/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    memory_file_clear();
    memory_file_add("f.npz", data, size);
    source_check(vmoe_npz_open, "f.npz", (512u << 10) + 32 * size);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    struct dice dice = dice_begin(seed);

    return archive_mutate(&dice, data, size, max_size);
}
