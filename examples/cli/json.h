/* A writer of JSON.  Commas are its business; the caller opens and closes in pairs. */
#ifndef VMOE_CLI_JSON_H
#define VMOE_CLI_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct json {
    FILE *stream;
    bool comma; /* the next item follows another one */
};

/* `key` names the member of an object, and is NULL in arrays and at the top. */
void json_open(struct json *json, const char *key, char bracket);
void json_close(struct json *json, char bracket);

/* Invalid UTF-8 becomes U+FFFD, and NULL null. */
void json_text(struct json *json, const char *key, const char *text);
void json_count(struct json *json, const char *key, uint64_t number);

/* null for 0: what a model without experts has not. */
void json_count_or_null(struct json *json, const char *key, uint64_t number);
void json_number_or_null(struct json *json, const char *key, double number);

/* Nine digits, enough for every float; NaN and infinities become null. */
void json_number(struct json *json, const char *key, double number);
void json_truth(struct json *json, const char *key, bool truth);

#endif
