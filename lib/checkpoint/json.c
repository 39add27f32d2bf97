/* JSON, one token after the other. */
#include "checkpoint/json.h"

#include <string.h>

void vmoe_json_init(struct vmoe_json *json, char *text, size_t bytes, const char *where,
                    vmoe_error *error)
{
    *json = (struct vmoe_json){ text, text, text + bytes, where, VMOE_OK, error };
}

void vmoe_json_fail(struct vmoe_json *json, vmoe_status status, const char *what)
{
    if (json->status == VMOE_OK)
        json->status = vmoe_fail(json->error, status, json->where,
                                 "at byte %zu of its header: %s",
                                 (size_t)(json->at - json->begin), what);
}

static void skip_blanks(struct vmoe_json *json)
{
    while (json->at < json->end && memchr(" \t\n\r", *json->at, 4) != NULL)
        json->at++;
}

/* Takes the character if it comes next. */
static bool accept(struct vmoe_json *json, char character)
{
    skip_blanks(json);
    if (json->status != VMOE_OK || json->at == json->end || *json->at != character)
        return false;
    json->at++;
    return true;
}

static void expect(struct vmoe_json *json, char character)
{
    char what[] = "'?' is missing";

    what[1] = character;
    if (!accept(json, character))
        vmoe_json_fail(json, VMOE_ERR_FORMAT, what);
}

void vmoe_json_open(struct vmoe_json *json, char bracket)
{
    expect(json, bracket);
}

bool vmoe_json_more(struct vmoe_json *json, char bracket, uint32_t *items)
{
    if (accept(json, bracket))
        return false;
    if (*items > 0)
        expect(json, ',');
    ++*items;
    return json->status == VMOE_OK;
}

const char *vmoe_json_text(struct vmoe_json *json)
{
    char *text, *to;

    expect(json, '"');
    text = to = json->at;
    while (json->status == VMOE_OK && json->at < json->end && *json->at != '"') {
        if (*json->at == '\\' && json->end - json->at > 1 &&
            memchr("\"\\/", json->at[1], 3) != NULL)
            json->at++;
        else if (*json->at == '\\' || *json->at < 0x20 || *json->at > 0x7e)
            vmoe_json_fail(json, VMOE_ERR_UNSUPPORTED,
                           "a text with other than printable ASCII characters");
        *to++ = *json->at++;
    }
    if (json->status == VMOE_OK && json->at == json->end)
        vmoe_json_fail(json, VMOE_ERR_FORMAT, "a text does not end");
    if (json->status != VMOE_OK)
        return "";
    json->at++;
    *to = '\0';
    return text;
}

const char *vmoe_json_key(struct vmoe_json *json)
{
    const char *key = vmoe_json_text(json);

    expect(json, ':');
    return key;
}

static void skip_text(struct vmoe_json *json)
{
    expect(json, '"');
    for (; json->at < json->end && *json->at != '"'; json->at++)
        if (*json->at == '\\' && json->end - json->at > 1)
            json->at++;
    expect(json, '"');
}

void vmoe_json_skip_texts(struct vmoe_json *json)
{
    skip_text(json);
    expect(json, ':');
    skip_text(json);
}

uint64_t vmoe_json_number(struct vmoe_json *json, uint64_t most)
{
    const char *first;
    uint64_t value = 0;

    skip_blanks(json);
    first = json->at;
    while (json->at < json->end && *json->at >= '0' && *json->at <= '9') {
        const uint64_t digit = (uint64_t)(*json->at++ - '0');

        if (digit > most || value > (most - digit) / 10)
            vmoe_json_fail(json, VMOE_ERR_LIMIT, "a number is too large");
        value = value * 10 + digit;
    }
    if (json->at == first || (*first == '0' && json->at - first > 1))
        vmoe_json_fail(json, VMOE_ERR_FORMAT, "a whole number is missing");
    return json->status == VMOE_OK ? value : 0;
}

void vmoe_json_close(struct vmoe_json *json)
{
    skip_blanks(json);
    if (json->at < json->end)
        vmoe_json_fail(json, VMOE_ERR_FORMAT, "something follows");
}
