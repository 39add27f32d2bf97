/* xorshift64* by Vigna: small, and good enough for tests. */
#include "support/random.h"

static uint64_t state = 1;

void random_seed(uint64_t seed)
{
    state = seed != 0 ? seed : 1;
}

uint32_t random_u32(void)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)(state * UINT64_C(0x2545f4914f6cdd1d) >> 32);
}
