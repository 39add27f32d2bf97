/*
 * A pull reader for msgpack documents in files.  It looks at the file through a small window, so
 * binary payloads can be stepped over without being read; only where they lie is learnt.  The first
 * error sticks: after it every call does nothing and answers zero, so a parser may go straight
 * through and look at `status` once.
 *
 * Payloads of bin and ext values may be documents of their own; `depth` counts them and the arrays
 * and maps around them together, and is limited to VMOE_LIMIT_MSGPACK_DEPTH.
 */
#ifndef VMOE_CHECKPOINT_MSGPACK_H
#define VMOE_CHECKPOINT_MSGPACK_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/file.h"
#include "runtime/status.h"

#define VMOE_MSGPACK_WINDOW 4096u

struct vmoe_msgpack {
    const struct vmoe_file *file;
    const char *path;
    vmoe_error *error;
    vmoe_status status;
    uint64_t offset; /* of the next byte */
    uint64_t value;  /* offset of the value that was begun last, for error messages */
    uint64_t end;    /* of the innermost document */
    uint32_t depth;
    uint64_t window_offset;
    size_t window_bytes;
    uint8_t window[VMOE_MSGPACK_WINDOW];
};

enum vmoe_msgpack_kind {
    VMOE_MSGPACK_ERROR, /* there was an error, now or before */
    VMOE_MSGPACK_NIL,
    VMOE_MSGPACK_BOOL,
    VMOE_MSGPACK_UNSIGNED, /* an integer that is not negative, however it was written */
    VMOE_MSGPACK_NEGATIVE,
    VMOE_MSGPACK_FLOAT,
    VMOE_MSGPACK_TEXT,
    VMOE_MSGPACK_BINARY,
    VMOE_MSGPACK_EXT,
    VMOE_MSGPACK_ARRAY,
    VMOE_MSGPACK_MAP
};

/* The head of a value.  What follows it (`number` bytes, items or pairs) has not been read. */
struct vmoe_msgpack_head {
    enum vmoe_msgpack_kind kind;
    int type;        /* of an EXT */
    uint64_t number; /* the BOOL or UNSIGNED; bytes of TEXT, BINARY, EXT; items; pairs */
};

/* Begins at byte `offset` of an open file; the document is the rest of the file. */
void vmoe_msgpack_init(struct vmoe_msgpack *reader, const struct vmoe_file *file, const char *path,
                       uint64_t offset, vmoe_error *error);

/* Records an error at the value that was begun last, unless there is one already. */
void vmoe_msgpack_fail(struct vmoe_msgpack *reader, vmoe_status status, const char *format, ...)
    VMOE_PRINTF(3, 4);

/* Lengths and counts are checked against what is left of the document. */
struct vmoe_msgpack_head vmoe_msgpack_next(struct vmoe_msgpack *reader);

/* Steps over `bytes` bytes, which the head of a value has promised. */
void vmoe_msgpack_step(struct vmoe_msgpack *reader, uint64_t bytes);

/* Steps over what follows a head, and over a whole value. */
void vmoe_msgpack_skip_rest(struct vmoe_msgpack *reader, struct vmoe_msgpack_head head);
void vmoe_msgpack_skip(struct vmoe_msgpack *reader);

/* An array, a map: the items or pairs.  vmoe_msgpack_leave comes after the last one. */
uint64_t vmoe_msgpack_array(struct vmoe_msgpack *reader);
uint64_t vmoe_msgpack_map(struct vmoe_msgpack *reader);
void vmoe_msgpack_enter(struct vmoe_msgpack *reader);
void vmoe_msgpack_leave(struct vmoe_msgpack *reader);

/* An array that has to have exactly `count` items. */
void vmoe_msgpack_array_of(struct vmoe_msgpack *reader, uint64_t count, const char *what);

uint64_t vmoe_msgpack_unsigned(struct vmoe_msgpack *reader);

/*
 * A text of 1..capacity-1 printable ASCII characters, zero-terminated; returns its length.  After
 * an error it is empty.
 */
size_t vmoe_msgpack_text(struct vmoe_msgpack *reader, char *text, size_t capacity);

/*
 * A bin value, or an ext value of that type, whose payload is a document.  Returns the end of the
 * document around it, to be handed to vmoe_msgpack_close, which demands that the payload was read
 * to its end.
 */
uint64_t vmoe_msgpack_open_binary(struct vmoe_msgpack *reader);
uint64_t vmoe_msgpack_open_ext(struct vmoe_msgpack *reader, int type);
uint64_t vmoe_msgpack_open(struct vmoe_msgpack *reader, uint64_t bytes);
void vmoe_msgpack_close(struct vmoe_msgpack *reader, uint64_t outer_end);

#endif
