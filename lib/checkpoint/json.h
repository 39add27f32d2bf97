/*
 * A pull reader for JSON in memory, as far as headers of files need it: objects, lists, texts and
 * whole numbers, in the order in which the caller expects them.  The first error sticks: after it
 * every call does nothing and answers zero or "", so a parser may go straight through and look at
 * `status` once.  Nothing calls itself, so nesting has no depth but the caller's.
 */
#ifndef VMOE_CHECKPOINT_JSON_H
#define VMOE_CHECKPOINT_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/status.h"

struct vmoe_json {
    char *begin, *at, *end;
    const char *where; /* of errors */
    vmoe_status status;
    vmoe_error *error;
};

/* Reads `bytes` bytes, and writes to them: texts are unescaped and ended by a zero in place. */
void vmoe_json_init(struct vmoe_json *json, char *text, size_t bytes, const char *where,
                    vmoe_error *error);

/* Records an error at the next character, unless there is one already. */
void vmoe_json_fail(struct vmoe_json *json, vmoe_status status, const char *what);

/* Begins an object or a list with '{' or '['. */
void vmoe_json_open(struct vmoe_json *json, char bracket);

/*
 * True if another member or item follows, and then it comes next; false past the last one, whose
 * bracket has been read.  `*items`, at first 0, counts those that came.
 */
bool vmoe_json_more(struct vmoe_json *json, char bracket, uint32_t *items);

/*
 * A text of printable ASCII characters, in which only quotes and slashes may be escaped.  It lies
 * where it was read.
 */
const char *vmoe_json_text(struct vmoe_json *json);

/* The name of a member, and the colon behind it. */
const char *vmoe_json_key(struct vmoe_json *json);

/* Steps over a member whose name and value are texts, which may have any characters. */
void vmoe_json_skip_texts(struct vmoe_json *json);

/* A whole number that is not negative; one that is beyond `most` is VMOE_ERR_LIMIT. */
uint64_t vmoe_json_number(struct vmoe_json *json, uint64_t most);

/* Nothing but blanks may be left. */
void vmoe_json_close(struct vmoe_json *json);

#endif
