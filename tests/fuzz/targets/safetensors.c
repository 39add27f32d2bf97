/* A .safetensors file, opened and read. */
#include <string.h>

#include "fuzz/memory_file.h"
#include "fuzz/source.h"

#define LENGTH_BYTES 8u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    memory_file_clear();
    memory_file_add("f.safetensors", data, size);
    source_check(vmoe_safetensors_open, "f.safetensors", (512u << 10) + 32 * size);
    return 0;
}

/* Decimal digits at `at`, or 0. */
static size_t number_at(const uint8_t *data, size_t size, size_t at)
{
    size_t value = 0;

    for (; at < size && data[at] >= '0' && data[at] <= '9' && value < size * 16; at++)
        value = value * 10 + (data[at] - '0');
    return value;
}

/* The header ends with the last brace, and the data where the last tensor does. */
static size_t repair(uint8_t *data, size_t size, size_t max_size)
{
    static const char key[] = "\"data_offsets\":[";
    size_t header = size, most = 0;

    while (header > LENGTH_BYTES && data[header - 1] != '}')
        header--;
    for (size_t at = LENGTH_BYTES; at + sizeof key < header; at++) {
        const uint8_t *comma;
        size_t end;

        if (memcmp(data + at, key, sizeof key - 1) != 0)
            continue;
        comma = memchr(data + at, ',', header - at);
        end = comma == NULL ? 0 : number_at(data, header, (size_t)(comma - data) + 1);
        most = end > most ? end : most;
    }
    put_le(data, LENGTH_BYTES, header - LENGTH_BYTES);
    if (most > max_size - header)
        return size;
    if (header + most > size)
        memset(data + size, 0, header + most - size);
    return header + most;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    struct dice dice = dice_begin(seed);

    size = LLVMFuzzerMutate(data, size, max_size);
    return size > LENGTH_BYTES && dice_below(&dice, 8) != 0 ? repair(data, size, max_size) : size;
}
