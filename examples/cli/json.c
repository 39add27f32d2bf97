/* JSON as RFC 8259 has it, on one line. */
#include "json.h"

#include <inttypes.h>
#include <math.h>

/*
 * The length of the UTF-8 sequence at `s`, or 0 if it is not a valid one: too long, cut short, a
 * surrogate, or above U+10FFFF.
 */
static int sequence_length(const unsigned char *s)
{
    const int length = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

    if (s[0] > 0xf4)
        return 0;
    for (int i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return length;
}

static void put_string(FILE *stream, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;

    putc('"', stream);
    while (*s != '\0') {
        const int length = sequence_length(s);

        if (length == 0)
            fputs("\\ufffd", stream);
        else if (*s == '"' || *s == '\\')
            fprintf(stream, "\\%c", *s);
        else if (*s < 0x20 || *s == 0x7f)
            fprintf(stream, "\\u%04x", (unsigned)*s);
        else
            fwrite(s, 1, (size_t)length, stream);
        s += length == 0 ? 1 : length;
    }
    putc('"', stream);
}

/* What stands before an item. */
static void begin(struct json *json, const char *key)
{
    if (json->comma)
        fputs(", ", json->stream);
    json->comma = true;
    if (key != NULL) {
        put_string(json->stream, key);
        fputs(": ", json->stream);
    }
}

void json_open(struct json *json, const char *key, char bracket)
{
    begin(json, key);
    putc(bracket, json->stream);
    json->comma = false;
}

void json_close(struct json *json, char bracket)
{
    putc(bracket, json->stream);
    json->comma = true;
}

void json_text(struct json *json, const char *key, const char *text)
{
    begin(json, key);
    if (text != NULL)
        put_string(json->stream, text);
    else
        fputs("null", json->stream);
}

void json_count(struct json *json, const char *key, uint64_t number)
{
    begin(json, key);
    fprintf(json->stream, "%" PRIu64, number);
}

void json_number(struct json *json, const char *key, double number)
{
    begin(json, key);
    if (isfinite(number))
        fprintf(json->stream, "%.9g", number);
    else
        fputs("null", json->stream);
}

void json_count_or_null(struct json *json, const char *key, uint64_t number)
{
    if (number != 0)
        json_count(json, key, number);
    else
        json_text(json, key, NULL);
}

void json_number_or_null(struct json *json, const char *key, double number)
{
    json_number(json, key, number > 0.0 ? number : (double)NAN);
}

void json_truth(struct json *json, const char *key, bool truth)
{
    begin(json, key);
    fputs(truth ? "true" : "false", json->stream);
}
