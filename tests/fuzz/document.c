/*
 * The values of a document, found by one walk that also enters binary and ext values if what they
 * hold is a document.
 */
#include "fuzz/document.h"

#include <string.h>

#define VALUES 4096u
#define DEPTH 40u
#define NONE UINT32_MAX

struct value {
    size_t begin, inside, end; /* the head is begin .. inside */
    uint32_t parent;           /* index, or NONE */
    bool container;            /* array or map: its head counts values */
};

struct walk {
    const uint8_t *data;
    size_t size;
    uint32_t count;
    struct value values[VALUES];
};

static uint64_t big(const uint8_t *from, size_t bytes)
{
    uint64_t number = 0;

    for (size_t i = 0; i < bytes; i++)
        number = number << 8 | from[i];
    return number;
}

/* ---- Heads ---------------------------------------------------------------------------------- */

/* Where in a head its length or count is: `bytes` bytes at `at`, or the low `bits` of the first. */
struct place {
    size_t at, bytes;
    uint32_t bits;
};

struct head {
    size_t bytes;                /* of the head, the type of an ext included */
    uint64_t payload, items;     /* what follows: bytes, or values */
    struct place place;
    bool document;               /* the payload may be one */
};

static struct head counted(size_t field, uint64_t payload, uint64_t items, size_t extra)
{
    return (struct head){ 1 + field + extra, payload, items, { 1, field, 0 }, false };
}

/* The head at the begin of `left` bytes; one of 0 bytes if there is none. */
static struct head read_head(const uint8_t *data, size_t left)
{
    const struct head none = { 0 };
    const unsigned first = left > 0 ? data[0] : 0xc1;
    static const uint8_t numbers[] = { 4, 8, 1, 2, 4, 8, 1, 2, 4, 8 }; /* 0xca .. 0xd3 */
    struct head head;
    size_t field = 0;

    if (first == 0xc1)
        return none;
    if ((first >= 0xc4 && first <= 0xc9) || (first >= 0xd9 && first <= 0xdf))
        field = first <= 0xc6   ? (size_t)1 << (first - 0xc4)
                : first <= 0xc9 ? (size_t)1 << (first - 0xc7)
                : first <= 0xdb ? (size_t)1 << (first - 0xd9)
                                : (size_t)2 << (first & 1);
    if (left < 2 + field && field > 0)
        return none;
    head = counted(field, 0, 0, 0);
    if (first < 0x80 || first >= 0xe0 || (first >= 0xc0 && first <= 0xc3))
        head = (struct head){ .bytes = 1 };
    else if (first < 0xa0)
        head = (struct head){ 1, 0, (first & 15u) << (first < 0x90), { 0, 0, 4 }, false };
    else if (first < 0xc0)
        head = (struct head){ 1, first & 31u, 0, { 0, 0, 5 }, false };
    else if (first <= 0xc6 || (first >= 0xd9 && first <= 0xdb))
        head.payload = big(data + 1, field);
    else if (first <= 0xc9)
        head = counted(field, big(data + 1, field), 0, 1);
    else if (first <= 0xd3)
        head = (struct head){ .bytes = (size_t)1 + numbers[first - 0xca] };
    else if (first <= 0xd8)
        head = (struct head){ .bytes = 2, .payload = UINT64_C(1) << (first - 0xd4) };
    else
        head.items = big(data + 1, field) << (first >= 0xde);
    head.document = first >= 0xc4 && first <= 0xc9;
    return head.bytes <= left && head.payload <= left - head.bytes ? head : none;
}

/* Writes a length or a count into a head; false if it does not fit there. */
static bool put_count(uint8_t *head, struct place place, uint64_t number)
{
    const uint32_t bits = place.bits != 0 ? place.bits : (uint32_t)(8 * place.bytes);

    if (bits == 0 || (bits < 64 && number >> bits != 0))
        return false;
    if (place.bits != 0)
        head[0] = (uint8_t)((head[0] & ~((1u << bits) - 1)) | (unsigned)number);
    for (size_t i = 0; i < place.bytes; i++)
        head[place.at + i] = (uint8_t)(number >> 8 * (place.bytes - 1 - i));
    return true;
}

/* ---- The walk ------------------------------------------------------------------------------- */

/* Walks one value; answers where it ends, or 0 if it is damaged. */
static size_t walk_value(struct walk *walk, size_t at, size_t end, uint32_t parent, uint32_t depth)
{
    const uint32_t number = walk->count;
    const struct head head = read_head(walk->data + at, end - at);
    size_t next;

    if (depth > DEPTH || number == VALUES || head.bytes == 0)
        return 0;
    walk->count++;
    next = at + head.bytes;
    walk->values[number] = (struct value){ at, next, next, parent, false };
    if (head.document && head.payload > 0) {
        const size_t inner = walk_value(walk, next, next + (size_t)head.payload, number, depth + 1);

        if (inner != next + head.payload)
            walk->count = number + 1; /* just bytes */
    }
    walk->values[number].container = head.items > 0;
    next += (size_t)head.payload;
    for (uint64_t i = 0; i < head.items; i++) {
        next = walk_value(walk, next, end, number, depth + 1);
        if (next == 0)
            return 0;
    }
    walk->values[number].end = next;
    return next;
}

/* ---- Changes -------------------------------------------------------------------------------- */

/*
 * Replaces bytes begin .. end by `bytes` new ones, which are at `from`, and corrects the lengths of
 * the values around.  Answers the new size, or the old one if that is not possible.
 */
static size_t splice(struct walk *walk, uint8_t *data, size_t size, size_t max_size,
                     uint32_t parent, size_t begin, size_t end, const uint8_t *from, size_t bytes)
{
    const size_t shift = bytes - (end - begin); /* modulo 2^64 */

    if (size + shift > max_size)
        return size;
    for (uint32_t i = parent; i != NONE; i = walk->values[i].parent) {
        struct value *value = &walk->values[i];
        const struct head head = read_head(data + value->begin, size - value->begin);

        if (!value->container && !put_count(data + value->begin, head.place, head.payload + shift))
            return size;
    }
    memmove(data + begin + bytes, data + end, size - end);
    memcpy(data + begin, from, bytes);
    return size + shift;
}

/* A new value of few bytes. */
static size_t make_value(struct dice *dice, uint8_t to[16])
{
    static const uint8_t plain[] = { 0xc0, 0xc2, 0xc3, 0x90, 0x80, 0xa0, 0x00, 0x01, 0x02, 0xff };
    const uint64_t number = dice_number(dice);
    const size_t field = (size_t)1 << dice_below(dice, 4);

    if (dice_below(dice, 3) == 0) {
        to[0] = plain[dice_below(dice, sizeof plain)];
        return 1;
    }
    to[0] = (uint8_t)((dice_below(dice, 4) ? 0xcc : 0xd0) +
                      (field == 1 ? 0 : field == 2 ? 1 : field == 4 ? 2 : 3));
    for (size_t i = 0; i < field; i++)
        to[1 + i] = (uint8_t)(number >> 8 * (field - 1 - i));
    return 1 + field;
}

/* An array has so many items more. */
static void count_items(const struct walk *walk, uint8_t *data, size_t size, uint32_t i, int more)
{
    struct head head;
    uint8_t *at;

    if (i == NONE || !walk->values[i].container)
        return;
    at = data + walk->values[i].begin;
    head = read_head(at, size - walk->values[i].begin);
    if (head.bytes > 0 && ((*at & 0xf0) == 0x90 || *at == 0xdc || *at == 0xdd))
        (void)put_count(at, head.place, head.items + (uint64_t)more);
}

size_t document_mutate(struct dice *dice, uint8_t *data, size_t size, size_t max_size)
{
    static struct walk walk;
    static uint8_t copy[1 << 12];
    const uint32_t kind = dice_below(dice, 8);
    const struct value *value, *other;
    struct head head;
    uint8_t fresh[16];

    walk.data = data;
    walk.size = size;
    walk.count = 0;
    if (kind >= 6 || size == 0 || walk_value(&walk, 0, size, NONE, 0) == 0)
        return LLVMFuzzerMutate(data, size, max_size);
    value = &walk.values[dice_below(dice, walk.count)];
    other = &walk.values[dice_below(dice, walk.count)];
    switch (kind) {
    case 0:
    case 1: { /* another value */
        const size_t bytes = make_value(dice, fresh);

        return splice(&walk, data, size, max_size, value->parent, value->begin, value->end, fresh,
                      bytes);
    }
    case 2: /* a value from elsewhere, in its place or before it */
    case 3: {
        const size_t end = kind == 2 ? value->end : value->begin, bytes = other->end - other->begin;

        if (bytes > sizeof copy)
            return size;
        memcpy(copy, data + other->begin, bytes);
        size = splice(&walk, data, size, max_size, value->parent, value->begin, end, copy, bytes);
        if (kind == 3 && dice_below(dice, 4) != 0)
            count_items(&walk, data, size, value->parent, 1);
        return size;
    }
    case 4: /* none */
        size = splice(&walk, data, size, max_size, value->parent, value->begin, value->end, fresh,
                      0);
        if (dice_below(dice, 4) != 0)
            count_items(&walk, data, size, value->parent, -1);
        return size;
    default: /* one more or less, or something else, in a head */
        head = read_head(data + value->begin, size - value->begin);
        (void)put_count(data + value->begin, head.place,
                        dice_below(dice, 2) ? dice_number(dice)
                                            : head.payload + head.items + dice_below(dice, 5) - 2);
        return size;
    }
}
