/*
 * The pull reader.  Nothing here recurses: skipping keeps the counts of the open containers in an
 * array as long as the depth limit.  A count of items can never exceed the bytes that are left,
 * because every value takes at least one, so loops over counts end with the file.
 */
#include "checkpoint/msgpack.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "runtime/limits.h"
#include "runtime/sizes.h"

void vmoe_msgpack_init(struct vmoe_msgpack *reader, const struct vmoe_file *file, const char *path,
                       uint64_t offset, vmoe_error *error)
{
    reader->file = file;
    reader->path = path;
    reader->error = error;
    reader->status = VMOE_OK;
    reader->offset = offset;
    reader->value = offset;
    reader->end = file->size;
    reader->depth = 0;
    reader->window_offset = 0;
    reader->window_bytes = 0;
}

void vmoe_msgpack_fail(struct vmoe_msgpack *reader, vmoe_status status, const char *format, ...)
{
    char text[sizeof reader->error->text];
    va_list arguments;

    if (reader->status != VMOE_OK)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    reader->status = vmoe_fail(reader->error, status, reader->path, "at byte %llu: %s",
                               (unsigned long long)reader->value, text);
}

/* The next `bytes` bytes, at most a window full, or NULL. */
static const uint8_t *take(struct vmoe_msgpack *reader, size_t bytes)
{
    const uint8_t *taken;

    if (reader->status != VMOE_OK)
        return NULL;
    if (bytes > reader->end - reader->offset) {
        vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT, "the document ends inside a value");
        return NULL;
    }
    if (reader->offset < reader->window_offset ||
        reader->offset + bytes > reader->window_offset + reader->window_bytes) {
        reader->window_offset = reader->offset;
        reader->window_bytes =
            vmoe_smaller(reader->file->size - reader->offset, VMOE_MSGPACK_WINDOW);
        reader->status = vmoe_file_read(reader->file, reader->path, reader->offset, reader->window,
                                        reader->window_bytes, reader->error);
        if (reader->status != VMOE_OK) {
            reader->window_bytes = 0;
            return NULL;
        }
    }
    taken = reader->window + (reader->offset - reader->window_offset);
    reader->offset += bytes;
    return taken;
}

/* A big-endian number of 1, 2, 4 or 8 bytes. */
static uint64_t take_number(struct vmoe_msgpack *reader, size_t bytes)
{
    const uint8_t *p = take(reader, bytes);
    uint64_t number = 0;

    for (size_t i = 0; p != NULL && i < bytes; i++)
        number = number << 8 | p[i];
    return number;
}

/* ---- Heads ---------------------------------------------------------------------------------- */

static struct vmoe_msgpack_head head_of(enum vmoe_msgpack_kind kind, uint64_t number)
{
    struct vmoe_msgpack_head head = { kind, 0, number };

    return head;
}

static struct vmoe_msgpack_head signed_integer(struct vmoe_msgpack *reader, size_t bytes)
{
    uint64_t number = take_number(reader, bytes);
    bool negative = (number >> (8 * bytes - 1)) != 0;

    return head_of(negative ? VMOE_MSGPACK_NEGATIVE : VMOE_MSGPACK_UNSIGNED, number);
}

static struct vmoe_msgpack_head ext(struct vmoe_msgpack *reader, uint64_t bytes)
{
    struct vmoe_msgpack_head head = head_of(VMOE_MSGPACK_EXT, bytes);
    int type = (int)take_number(reader, 1);

    head.type = type < 128 ? type : type - 256;
    return head;
}

/* Heads whose first byte is 0xc0..0xdf. */
static struct vmoe_msgpack_head long_head(struct vmoe_msgpack *reader, unsigned first)
{
    switch (first) {
    case 0xc0: return head_of(VMOE_MSGPACK_NIL, 0);
    case 0xc2:
    case 0xc3: return head_of(VMOE_MSGPACK_BOOL, first & 1);
    case 0xc4:
    case 0xc5:
    case 0xc6: return head_of(VMOE_MSGPACK_BINARY, take_number(reader, 1u << (first - 0xc4)));
    case 0xc7:
    case 0xc8:
    case 0xc9: return ext(reader, take_number(reader, 1u << (first - 0xc7)));
    case 0xca:
    case 0xcb: return head_of(VMOE_MSGPACK_FLOAT, take_number(reader, 4u << (first - 0xca)));
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf: return head_of(VMOE_MSGPACK_UNSIGNED, take_number(reader, 1u << (first - 0xcc)));
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3: return signed_integer(reader, 1u << (first - 0xd0));
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8: return ext(reader, UINT64_C(1) << (first - 0xd4));
    case 0xd9:
    case 0xda:
    case 0xdb: return head_of(VMOE_MSGPACK_TEXT, take_number(reader, 1u << (first - 0xd9)));
    case 0xdc:
    case 0xdd: return head_of(VMOE_MSGPACK_ARRAY, take_number(reader, 2u << (first - 0xdc)));
    case 0xde:
    case 0xdf: return head_of(VMOE_MSGPACK_MAP, take_number(reader, 2u << (first - 0xde)));
    default:
        vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT, "0x%02x begins no msgpack value", first);
        return head_of(VMOE_MSGPACK_ERROR, 0);
    }
}

/* What a head promises has to fit into the rest of the document. */
static bool fits(const struct vmoe_msgpack *reader, struct vmoe_msgpack_head head)
{
    uint64_t left = reader->end - reader->offset;

    switch (head.kind) {
    case VMOE_MSGPACK_TEXT:
    case VMOE_MSGPACK_BINARY:
    case VMOE_MSGPACK_EXT:
    case VMOE_MSGPACK_ARRAY: return head.number <= left;
    case VMOE_MSGPACK_MAP: return head.number <= left / 2;
    default: return true;
    }
}

struct vmoe_msgpack_head vmoe_msgpack_next(struct vmoe_msgpack *reader)
{
    struct vmoe_msgpack_head head;
    unsigned first;

    if (reader->status == VMOE_OK)
        reader->value = reader->offset;
    first = (unsigned)take_number(reader, 1);
    if (first < 0x80)
        head = head_of(VMOE_MSGPACK_UNSIGNED, first);
    else if (first < 0x90)
        head = head_of(VMOE_MSGPACK_MAP, first & 15);
    else if (first < 0xa0)
        head = head_of(VMOE_MSGPACK_ARRAY, first & 15);
    else if (first < 0xc0)
        head = head_of(VMOE_MSGPACK_TEXT, first & 31);
    else if (first >= 0xe0)
        head = head_of(VMOE_MSGPACK_NEGATIVE, 0);
    else
        head = long_head(reader, first);
    if (reader->status == VMOE_OK && !fits(reader, head))
        vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT,
                          "a value announces %llu bytes or items, only %llu bytes are left",
                          (unsigned long long)head.number,
                          (unsigned long long)(reader->end - reader->offset));
    return reader->status == VMOE_OK ? head : head_of(VMOE_MSGPACK_ERROR, 0);
}

/* ---- Skipping ------------------------------------------------------------------------------- */

void vmoe_msgpack_step(struct vmoe_msgpack *reader, uint64_t bytes)
{
    if (reader->status == VMOE_OK)
        reader->offset += bytes;
}

void vmoe_msgpack_skip_rest(struct vmoe_msgpack *reader, struct vmoe_msgpack_head head)
{
    uint64_t left[VMOE_LIMIT_MSGPACK_DEPTH + 1];
    const uint32_t outside = reader->depth;

    for (;;) {
        if (head.kind == VMOE_MSGPACK_TEXT || head.kind == VMOE_MSGPACK_BINARY ||
            head.kind == VMOE_MSGPACK_EXT) {
            vmoe_msgpack_step(reader, head.number);
        } else if (head.kind == VMOE_MSGPACK_ARRAY || head.kind == VMOE_MSGPACK_MAP) {
            vmoe_msgpack_enter(reader);
            if (reader->status == VMOE_OK)
                left[reader->depth] = head.kind == VMOE_MSGPACK_MAP ? 2 * head.number : head.number;
        }
        while (reader->status == VMOE_OK && reader->depth > outside && left[reader->depth] == 0)
            reader->depth--;
        if (reader->status != VMOE_OK || reader->depth == outside)
            return;
        left[reader->depth]--;
        head = vmoe_msgpack_next(reader);
    }
}

void vmoe_msgpack_skip(struct vmoe_msgpack *reader)
{
    vmoe_msgpack_skip_rest(reader, vmoe_msgpack_next(reader));
}

/* ---- Values of an expected kind ------------------------------------------------------------- */

static struct vmoe_msgpack_head expect(struct vmoe_msgpack *reader, enum vmoe_msgpack_kind kind)
{
    static const char *const names[] = {
        "an error", "nil",    "a bool",         "an integer, not negative", "a negative integer",
        "a float",  "a text", "a binary value", "an ext value",             "an array",
        "a map",
    };
    struct vmoe_msgpack_head head = vmoe_msgpack_next(reader);

    if (reader->status == VMOE_OK && head.kind != kind)
        vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT, "found %s, expected %s", names[head.kind],
                          names[kind]);
    return reader->status == VMOE_OK ? head : head_of(VMOE_MSGPACK_ERROR, 0);
}

void vmoe_msgpack_enter(struct vmoe_msgpack *reader)
{
    if (reader->depth >= VMOE_LIMIT_MSGPACK_DEPTH)
        vmoe_msgpack_fail(reader, VMOE_ERR_LIMIT, "values are nested deeper than %u levels",
                          VMOE_LIMIT_MSGPACK_DEPTH);
    else
        reader->depth++;
}

void vmoe_msgpack_leave(struct vmoe_msgpack *reader)
{
    if (reader->status == VMOE_OK)
        reader->depth--;
}

uint64_t vmoe_msgpack_array(struct vmoe_msgpack *reader)
{
    struct vmoe_msgpack_head head = expect(reader, VMOE_MSGPACK_ARRAY);

    vmoe_msgpack_enter(reader);
    return reader->status == VMOE_OK ? head.number : 0;
}

void vmoe_msgpack_array_of(struct vmoe_msgpack *reader, uint64_t count, const char *what)
{
    uint64_t found = vmoe_msgpack_array(reader);

    if (found != count)
        vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT, "%s has %llu parts, expected %llu", what,
                          (unsigned long long)found, (unsigned long long)count);
}

uint64_t vmoe_msgpack_map(struct vmoe_msgpack *reader)
{
    struct vmoe_msgpack_head head = expect(reader, VMOE_MSGPACK_MAP);

    vmoe_msgpack_enter(reader);
    return reader->status == VMOE_OK ? head.number : 0;
}

uint64_t vmoe_msgpack_unsigned(struct vmoe_msgpack *reader)
{
    return expect(reader, VMOE_MSGPACK_UNSIGNED).number;
}

size_t vmoe_msgpack_text(struct vmoe_msgpack *reader, char *text, size_t capacity)
{
    struct vmoe_msgpack_head head = expect(reader, VMOE_MSGPACK_TEXT);
    const uint8_t *bytes;
    size_t length;

    text[0] = '\0';
    if (reader->status == VMOE_OK && head.number == 0)
        vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT, "found an empty text");
    if (head.number >= capacity || head.number > VMOE_MSGPACK_WINDOW)
        vmoe_msgpack_fail(reader, VMOE_ERR_LIMIT, "a text has %llu bytes, the limit here is %zu",
                          (unsigned long long)head.number, capacity - 1);
    length = (size_t)head.number;
    bytes = take(reader, length);
    for (size_t i = 0; bytes != NULL && i < length; i++) {
        if (bytes[i] < 0x20 || bytes[i] > 0x7e) {
            vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT, "a text holds the byte 0x%02x, expected "
                              "printable ASCII", bytes[i]);
            bytes = NULL;
        }
    }
    if (bytes == NULL)
        return 0;
    memcpy(text, bytes, length);
    text[length] = '\0';
    return length;
}

/* ---- Documents inside documents ------------------------------------------------------------- */

uint64_t vmoe_msgpack_open(struct vmoe_msgpack *reader, uint64_t bytes)
{
    uint64_t outer_end = reader->end;

    vmoe_msgpack_enter(reader);
    if (reader->status == VMOE_OK)
        reader->end = reader->offset + bytes;
    return outer_end;
}

uint64_t vmoe_msgpack_open_binary(struct vmoe_msgpack *reader)
{
    return vmoe_msgpack_open(reader, expect(reader, VMOE_MSGPACK_BINARY).number);
}

uint64_t vmoe_msgpack_open_ext(struct vmoe_msgpack *reader, int type)
{
    struct vmoe_msgpack_head head = expect(reader, VMOE_MSGPACK_EXT);

    if (reader->status == VMOE_OK && head.type != type)
        vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT, "found an ext value of type %d, expected %d",
                          head.type, type);
    return vmoe_msgpack_open(reader, head.number);
}

void vmoe_msgpack_close(struct vmoe_msgpack *reader, uint64_t outer_end)
{
    if (reader->offset != reader->end)
        vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT, "%llu bytes follow the document in a value",
                          (unsigned long long)(reader->end - reader->offset));
    vmoe_msgpack_leave(reader);
    if (reader->status == VMOE_OK)
        reader->end = outer_end;
}
