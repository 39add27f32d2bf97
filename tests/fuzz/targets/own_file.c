/* A raw `.vmoe` file, whole; its checksums are signed again behind most mutations. */
#include "fuzz/own.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    own_check(data, size);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    struct dice dice = dice_begin(seed);

    return own_mutate(&dice, data, size, max_size);
}
