/*
 * A checkpoint of upstream: an index and two shards, each behind its length in 4 bytes; where a
 * length lies, what is left.
 */
#include <string.h>

#include "fuzz/document.h"
#include "fuzz/memory_file.h"
#include "fuzz/source.h"

static const char *const names[] = { "f.index", "f.data-00000", "f.data-00001" };

static const uint8_t *part_of(const uint8_t *data, size_t size, uint32_t i, size_t *bytes)
{
    struct feed feed = { data, size };
    const uint8_t *part;

    do {
        const uint32_t length = feed_u32(&feed);

        part = feed_bytes(&feed, length, bytes);
    } while (i-- > 0);
    return part;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    memory_file_clear();
    for (uint32_t i = 0; i < 3; i++) {
        size_t bytes;
        const uint8_t *part = part_of(data, size, i, &bytes);

        memory_file_add(names[i], part, bytes);
    }
    source_check(vmoe_shards_open, "f", (128u << 10) + 256 * size);
    return 0;
}

/* Changes one part and puts it back, with its length. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    static uint8_t changed[1 << 16];
    struct dice dice = dice_begin(seed);
    size_t bytes, begin, room, made;
    const uint8_t *part = part_of(data, size, dice_below(&dice, 3), &bytes);

    begin = (size_t)(part - data);
    room = max_size - size + bytes;
    if (begin < 4 || bytes == 0 || room > sizeof changed || dice_below(&dice, 16) == 0)
        return LLVMFuzzerMutate(data, size, max_size);
    memcpy(changed, part, bytes);
    made = document_mutate(&dice, changed, bytes, room);
    memmove(data + begin + made, data + begin + bytes, size - begin - bytes);
    memcpy(data + begin, changed, made);
    for (size_t i = 0; i < 4; i++)
        data[begin - 4 + i] = (uint8_t)(made >> 8 * i);
    return size - bytes + made;
}
