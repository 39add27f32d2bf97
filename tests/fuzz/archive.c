/* Fields by their offsets in APPNOTE.TXT: local header, directory entry, end record. */
#include "fuzz/archive.h"

#include <string.h>
#include <zlib.h>

enum { LOCAL = 30, CENTRAL = 46, END = 22 };

/* A field of at most 4 bytes. */
static size_t get(const uint8_t *from, size_t bytes)
{
    return (size_t)get_le(from, bytes);
}

/* The first entry of the directory, or `size`. */
static size_t directory_of(const uint8_t *data, size_t size)
{
    const size_t at = size < END ? size : get(data + size - END + 16, 4);

    return at < size ? at : size;
}

static bool is_entry(const uint8_t *data, size_t size, size_t at)
{
    return at < size && size - at >= CENTRAL && get(data + at, 4) == 0x02014b50;
}

static size_t next_entry(const uint8_t *data, size_t at)
{
    return at + CENTRAL + get(data + at + 28, 2) + get(data + at + 30, 2) + get(data + at + 32, 2);
}

/* ---- Repair --------------------------------------------------------------------------------- */

/* Checksum and size of what a stream inflates to, as far as it goes. */
static uint32_t inflated(const uint8_t *stored, size_t bytes, size_t *size)
{
    static uint8_t plain[65536];
    z_stream z = { .next_in = (Bytef *)(uintptr_t)stored, .avail_in = (uInt)bytes };

    z.next_out = plain;
    z.avail_out = sizeof plain;
    MUST(inflateInit2(&z, -MAX_WBITS) == Z_OK);
    (void)inflate(&z, Z_FINISH);
    *size = sizeof plain - z.avail_out;
    (void)inflateEnd(&z);
    return (uint32_t)crc32(0, plain, (uInt)*size);
}

static void repair_entry(uint8_t *data, size_t size, size_t entry)
{
    const size_t header = get(data + entry + 42, 4), stored = get(data + entry + 20, 4);
    size_t begin, plain = stored;
    uint32_t crc;

    if (header >= size || size - header < LOCAL)
        return;
    begin = header + LOCAL + get(data + header + 26, 2) + get(data + header + 28, 2);
    if (begin > size || stored > size - begin)
        return;
    crc = get(data + entry + 10, 2) == 8 ? inflated(data + begin, stored, &plain)
                                         : (uint32_t)crc32(0, data + begin, (uInt)stored);
    put_le(data + entry + 16, 4, crc);
    put_le(data + entry + 24, 4, plain);
    memmove(data + header + 6, data + entry + 8, 4); /* flags and method */
    memmove(data + header + 14, data + entry + 16, 12);
}

void archive_repair(uint8_t *data, size_t size)
{
    size_t at = directory_of(data, size);

    for (; is_entry(data, size, at); at = next_entry(data, at))
        repair_entry(data, size, at);
}

/* ---- Mutations ------------------------------------------------------------------------------ */

/* Any entry of the directory, or `size` if there is none. */
static size_t some_entry(struct dice *dice, const uint8_t *data, size_t size)
{
    size_t at = directory_of(data, size), chosen = size;
    uint32_t count = 0;

    for (; is_entry(data, size, at); at = next_entry(data, at))
        if (dice_below(dice, ++count) == 0)
            chosen = at;
    return chosen;
}

/* A field of an entry, of its local header, or of the end record. */
static void change_field(struct dice *dice, uint8_t *data, size_t size)
{
    static const uint8_t central[][2] = { { 8, 2 },  { 10, 2 }, { 16, 4 }, { 20, 4 }, { 24, 4 },
                                          { 28, 2 }, { 30, 2 }, { 32, 2 }, { 34, 2 }, { 42, 4 } };
    static const uint8_t local[][2] = { { 6, 2 },  { 8, 2 },  { 14, 4 }, { 18, 4 },
                                        { 22, 4 }, { 26, 2 }, { 28, 2 }, { 0, 4 } };
    static const uint8_t end[][2] = { { 4, 2 },  { 6, 2 },  { 8, 2 }, { 10, 2 },
                                      { 12, 4 }, { 16, 4 }, { 20, 2 } };
    const size_t entry = some_entry(dice, data, size);
    const uint32_t where = dice_below(dice, 3);
    const uint8_t *field = central[dice_below(dice, 10)];
    size_t at = entry;

    if (where == 0 || entry == size) {
        field = end[dice_below(dice, 7)];
        at = size < END ? size : size - END;
    } else if (where == 1) {
        field = local[dice_below(dice, 8)];
        at = get(data + entry + 42, 4);
    }
    if (at >= size || size - at < field[0] + (size_t)field[1])
        return;
    put_le(data + at + field[0], field[1],
           dice_below(dice, 2) ? get(data + at + field[0], field[1]) + dice_below(dice, 33) - 16
                               : dice_number(dice));
}

/* Bytes of a member's data, without changing how many they are; most often of its header. */
static void change_data(struct dice *dice, uint8_t *data, size_t size)
{
    const size_t entry = some_entry(dice, data, size);
    size_t header, begin, stored;

    if (entry == size)
        return;
    header = get(data + entry + 42, 4);
    stored = get(data + entry + 20, 4);
    if (header >= size || size - header < LOCAL)
        return;
    begin = header + LOCAL + get(data + header + 26, 2) + get(data + header + 28, 2);
    if (begin > size || stored > size - begin)
        return;
    if (stored > 128 && dice_below(dice, 4) != 0)
        stored = 128;
    if (stored > 0)
        (void)LLVMFuzzerMutate(data + begin, stored, stored);
}

/*
 * Makes a member longer or shorter by moving everything behind it, with sizes, offsets and end
 * record as they should then be.
 */
static size_t change_length(struct dice *dice, uint8_t *data, size_t size, size_t max_size)
{
    const size_t entry = some_entry(dice, data, size);
    const size_t more = dice_below(dice, 2) ? 1 + dice_below(dice, 16) : 0;
    size_t header, begin, stored, less, at, shift;

    if (entry == size || size - directory_of(data, size) < END || max_size - size < more)
        return size;
    header = get(data + entry + 42, 4);
    stored = get(data + entry + 20, 4);
    if (header >= size || size - header < LOCAL)
        return size;
    begin = header + LOCAL + get(data + header + 26, 2) + get(data + header + 28, 2);
    if (begin > size || stored > size - begin)
        return size;
    less = more == 0 && stored > 0 ? 1 + dice_below(dice, stored < 16 ? (uint32_t)stored : 16) : 0;
    shift = more - less; /* modulo 2^64 */
    put_le(data + entry + 20, 4, stored + shift);
    for (at = directory_of(data, size); is_entry(data, size, at); at = next_entry(data, at))
        if (get(data + at + 42, 4) > header)
            put_le(data + at + 42, 4, get(data + at + 42, 4) + shift);
    put_le(data + size - END + 16, 4, get(data + size - END + 16, 4) + shift);
    memmove(data + (begin + stored + shift), data + begin + stored, size - begin - stored);
    for (size_t i = 0; i < more; i++)
        data[begin + stored + i] = (uint8_t)dice_below(dice, 256);
    return size + shift;
}

size_t archive_mutate(struct dice *dice, uint8_t *data, size_t size, size_t max_size)
{
    const uint32_t kind = dice_below(dice, 16);

    if (kind < 5)
        change_field(dice, data, size);
    else if (kind < 10)
        change_data(dice, data, size);
    else if (kind < 12)
        size = change_length(dice, data, size, max_size);
    else
        size = LLVMFuzzerMutate(data, size, max_size);
    if (dice_below(dice, 4) != 0)
        archive_repair(data, size);
    return size;
}
