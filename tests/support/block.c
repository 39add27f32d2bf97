/*
 * Each block has its size in front of it, in as many bytes as the alignment asks for.  Fresh memory
 * holds nothing but NaN, whatever the type of its numbers.
 */
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
    uint8_t *block;

    if (bytes > SIZE_MAX / 2)
        return NULL;
    block = aligned_alloc(length, length + (bytes + length - 1) / length * length);
    if (block == NULL)
        return NULL;
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
