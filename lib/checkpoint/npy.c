/*
 * The .npy header: "\x93NUMPY", version, length, and a text such as
 *
 *     {'descr': '<f4', 'fortran_order': False, 'shape': (64, 48), }
 *
 * padded with spaces and ended by a newline.  The three keys may come in any order, once each; of
 * Python's syntax only what numpy writes is understood.  An array may be of a type or in an order
 * that nobody here can read, for it may also be one that nobody needs.
 */
#include "checkpoint/npy.h"

#include <string.h>

#include "checkpoint/bytes.h"

/* The text that is left.  The first error sticks. */
struct text {
    const char *at, *end;
    const char *name;
    vmoe_status status;
    vmoe_error *error;
};

vmoe_status vmoe_npy_header_bytes(const uint8_t start[VMOE_NPY_START_BYTES], const char *name,
                                  uint32_t *bytes, vmoe_error *error)
{
    const uint32_t major = start[6], minor = start[7];
    uint32_t length = major == 1 ? get_u16(start + 8) : get_u32(start + 8);

    if (memcmp(start, "\x93NUMPY", 6) != 0)
        return vmoe_fail(error, VMOE_ERR_FORMAT, name, "it does not begin like a .npy array");
    if (major < 1 || major > 3 || minor != 0)
        return vmoe_fail(error, VMOE_ERR_UNSUPPORTED, name, "version %u.%u of .npy is unknown",
                         major, minor);
    *bytes = (major == 1 ? 10 : 12) + length;
    if (length > VMOE_LIMIT_NPY_HEADER_BYTES || *bytes > VMOE_LIMIT_NPY_HEADER_BYTES)
        return vmoe_fail(error, VMOE_ERR_LIMIT, name, "its header has %u bytes, the limit is %u",
                         length, VMOE_LIMIT_NPY_HEADER_BYTES);
    if (*bytes <= VMOE_NPY_START_BYTES)
        return vmoe_fail(error, VMOE_ERR_FORMAT, name, "its header has only %u bytes", length);
    return VMOE_OK;
}

/* ---- Tokens --------------------------------------------------------------------------------- */

static void fail(struct text *text, const char *expected)
{
    if (text->status == VMOE_OK)
        text->status = vmoe_fail(text->error, VMOE_ERR_FORMAT, text->name,
                                 "%s is missing in its header, %zu bytes before the end", expected,
                                 (size_t)(text->end - text->at));
}

static void too_large(struct text *text)
{
    if (text->status == VMOE_OK)
        text->status = vmoe_fail(text->error, VMOE_ERR_LIMIT, text->name,
                                 "its shape has too many axes or elements");
}

static void skip_blanks(struct text *text)
{
    while (text->at < text->end && (*text->at == ' ' || *text->at == '\t'))
        text->at++;
}

/* Takes the character if it comes next. */
static bool accept(struct text *text, char character)
{
    skip_blanks(text);
    if (text->status != VMOE_OK || text->at == text->end || *text->at != character)
        return false;
    text->at++;
    return true;
}

static void expect(struct text *text, char character)
{
    const char name[4] = { '\'', character, '\'', '\0' };

    if (!accept(text, character))
        fail(text, name);
}

static bool accept_word(struct text *text, const char *word)
{
    size_t length = strlen(word);

    skip_blanks(text);
    if (text->status != VMOE_OK || (size_t)(text->end - text->at) < length ||
        memcmp(text->at, word, length) != 0)
        return false;
    text->at += length;
    return true;
}

/* A short text in quotes of either kind, without escapes. */
static void read_string(struct text *text, char *string, size_t capacity)
{
    size_t length = 0;
    char quote;

    string[0] = '\0';
    quote = accept(text, '"') ? '"' : '\'';
    if (quote == '\'')
        expect(text, '\'');
    while (text->status == VMOE_OK && text->at < text->end && *text->at != quote &&
           *text->at != '\\' && length + 1 < capacity)
        string[length++] = *text->at++;
    string[length] = '\0';
    if (text->status == VMOE_OK && (text->at == text->end || *text->at++ != quote))
        fail(text, "the end of a short text");
}

/* The rest of a list.  Texts in it, such as the names of a record's fields, may hold brackets. */
static void skip_list(struct text *text)
{
    unsigned depth = 1;
    char quote = '\0';

    for (; depth > 0 && text->at < text->end; text->at++) {
        const char character = *text->at;

        if (quote != '\0')
            quote = character == quote ? '\0' : quote;
        else if (character == '\'' || character == '"')
            quote = character;
        else if (character == '[')
            depth++;
        else if (character == ']')
            depth--;
    }
    if (depth > 0)
        fail(text, "the end of a list");
}

static uint64_t read_dimension(struct text *text)
{
    const char *first;
    uint64_t value = 0;

    skip_blanks(text);
    first = text->at;
    for (; text->at < text->end && *text->at >= '0' && *text->at <= '9'; text->at++)
        if (value <= VMOE_LIMIT_DIMENSION)
            value = value * 10 + (uint64_t)(*text->at - '0');
    if (text->at == first || (*first == '0' && text->at - first > 1))
        fail(text, "a dimension");
    return value;
}

/* ---- Values --------------------------------------------------------------------------------- */

static void read_descr(struct text *text, struct vmoe_npy *npy)
{
    if (accept(text, '[')) {
        skip_list(text);
        memcpy(npy->descr, "[...]", sizeof "[...]");
    } else {
        read_string(text, npy->descr, sizeof npy->descr);
    }
    npy->type = vmoe_number_by_descr(npy->descr);
}

static void read_order(struct text *text, bool *fortran)
{
    *fortran = accept_word(text, "True");
    if (!*fortran && !accept_word(text, "False"))
        fail(text, "True or False");
}

static void read_shape(struct text *text, struct vmoe_array *array)
{
    bool comma = true;

    array->rank = 0;
    array->elements = 1;
    expect(text, '(');
    while (text->status == VMOE_OK && !accept(text, ')')) {
        uint64_t size;

        if (!comma)
            fail(text, "a comma");
        size = read_dimension(text);
        comma = accept(text, ',');
        if (!vmoe_array_add_axis(array, size))
            too_large(text);
    }
    /* "(3)" is a number in Python, not a shape. */
    if (array->rank == 1 && !comma)
        fail(text, "a comma");
}

/* False if C order and Fortran order are the same: at most one axis is longer than 1. */
static bool has_order(const struct vmoe_array *array)
{
    uint32_t axes = 0;

    for (uint32_t i = 0; i < array->rank; i++)
        axes += array->dims[i] > 1;
    return axes > 1;
}

vmoe_status vmoe_npy_parse(const uint8_t *header, uint32_t bytes, struct vmoe_array *array,
                           struct vmoe_npy *npy, vmoe_error *error)
{
    struct text text = { (const char *)header + (header[6] == 1 ? 10 : 12),
                         (const char *)header + bytes, array->name, VMOE_OK, error };
    unsigned seen = 0;

    *npy = (struct vmoe_npy){ .type = VMOE_NUMBER_NONE };
    expect(&text, '{');
    while (text.status == VMOE_OK && !accept(&text, '}')) {
        char key[16];
        unsigned bit;

        read_string(&text, key, sizeof key);
        expect(&text, ':');
        bit = strcmp(key, "descr") == 0           ? 1
              : strcmp(key, "fortran_order") == 0 ? 2
              : strcmp(key, "shape") == 0         ? 4
                                                  : 0;
        if (bit == 0 || (seen & bit) != 0)
            fail(&text, "one of 'descr', 'fortran_order' and 'shape'");
        seen |= bit;
        if (bit == 1)
            read_descr(&text, npy);
        else if (bit == 2)
            read_order(&text, &npy->fortran);
        else if (bit == 4)
            read_shape(&text, array);
        if (!accept(&text, ',')) {
            expect(&text, '}');
            break;
        }
    }
    if (seen != 7)
        fail(&text, "one of 'descr', 'fortran_order' and 'shape'");
    skip_blanks(&text);
    if (text.end - text.at != 1 || *text.at != '\n')
        fail(&text, "a newline at the end");
    npy->fortran = npy->fortran && has_order(array);
    return text.status;
}
