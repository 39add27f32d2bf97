/*
 * Each block has its size in front of it, in as many bytes as the alignment asks for.  Fresh memory
 * holds nothing but NaN, whatever the type of its numbers.  A block ends with its last byte, not
 * with a multiple of the alignment: sanitizers see every step beyond it.
 */
#define _GNU_SOURCE
#include "support/block.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct front {
    size_t bytes, length; /* length: of all that stands in front */
};

#define FRONT 64u

void *block_take(size_t bytes, size_t alignment, size_t garbage)
{
    const size_t length = alignment > FRONT ? alignment : FRONT;
    const struct front front = { bytes, length };
    void *start;
    uint8_t *block;

    if (bytes > SIZE_MAX / 2 || posix_memalign(&start, length, length + bytes) != 0)
        return NULL;
    block = start;
    memcpy(block + length - FRONT, &front, sizeof front);
    memset(block + length, 0xFF, bytes < garbage ? bytes : garbage);
    return block + length;
}

size_t block_release(void *memory, size_t garbage)
{
    uint8_t *block = memory;
    struct front front;

    memcpy(&front, block - FRONT, sizeof front);
    memset(block, 0x5A, front.bytes < garbage ? front.bytes : garbage);
    free(block - front.length);
    return front.bytes;
}
