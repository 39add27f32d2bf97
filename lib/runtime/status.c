/* Formatting of errors into the caller's struct, and the names of the statuses. */
#include "runtime/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "runtime/text.h"

/*
 * Names come from files and callers: what they contain must not move a terminal's cursor, and what
 * the end of the struct has cut must not be half a character.
 */
static void make_showable(char *text)
{
    size_t left = strlen(text);

    while (left > 0) {
        size_t length = vmoe_text_sequence(text, left);

        if (length == 0) {
            *text = '?';
            length = 1;
        }
        text += length;
        left -= length;
    }
}

vmoe_status vmoe_fail(vmoe_error *error, vmoe_status status, const char *where, const char *format,
                      ...)
{
    va_list arguments;
    size_t length = strlen(where);

    if (error == NULL)
        return status;
    error->status = status;
    if (length == 0)
        where = "(no name)";
    else if (length >= sizeof error->where)
        where += length - (sizeof error->where - 1);
    memmove(error->where, where, strlen(where) + 1);
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    make_showable(error->where);
    make_showable(error->text);
    return status;
}

void vmoe_error_clear(vmoe_error *error)
{
    if (error == NULL)
        return;
    error->status = VMOE_OK;
    error->where[0] = '\0';
    error->text[0] = '\0';
}

const char *vmoe_status_name(vmoe_status status)
{
    static const char *const names[] = {
        "VMOE_OK",           "VMOE_ERR_ARGUMENT", "VMOE_ERR_UNSUPPORTED", "VMOE_ERR_MEMORY",
        "VMOE_ERR_IO",       "VMOE_ERR_FORMAT",   "VMOE_ERR_CHECKSUM",    "VMOE_ERR_VERSION",
        "VMOE_ERR_LIMIT",    "VMOE_ERR_IMAGE",    "VMOE_ERR_CANCELLED",   "VMOE_ERR_THREAD",
    };

    if ((unsigned)status >= sizeof names / sizeof names[0])
        return "unknown";
    return names[status];
}
