/* Errors and other text for people. */
#include "messages.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

void error_locate(vmoe_error *error, const char *where)
{
    const size_t length = strlen(where);

    if (length >= sizeof error->where)
        where += length - (sizeof error->where - 1);
    memmove(error->where, where, strlen(where) + 1);
}

/* The library names the file itself where the file as a whole is meant, by its end if it is long. */
void error_in_file(vmoe_error *error, const char *path)
{
    const size_t length = strlen(path), tail = strlen(error->where);
    const vmoe_error found = *error;

    if (found.status == VMOE_ERR_IO ||
        (tail <= length && strcmp(path + length - tail, found.where) == 0))
        return;
    snprintf(error->text, sizeof error->text, "%s: %.200s", found.where, found.text);
    error_locate(error, path);
}

vmoe_status error_set(vmoe_error *error, vmoe_status status, const char *where, const char *format,
                      ...)
{
    va_list arguments;

    error->status = status;
    error_locate(error, where);
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    return status;
}

vmoe_status error_system(vmoe_error *error, const char *where, const char *what)
{
    return error_set(error, VMOE_ERR_IO, where, "%s: %s", what,
                     errno != 0 ? strerror(errno) : "the system gave no reason");
}

vmoe_status output_flush(vmoe_error *error)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return VMOE_OK;
    return error_system(error, "standard output", "cannot write");
}

void text_print(FILE *stream, const char *text)
{
    for (const unsigned char *s = (const unsigned char *)text; *s != '\0'; s++) {
        const bool pair = s[0] == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0; /* U+0080 .. U+009F */

        putc(pair || *s < 0x20 || *s == 0x7f ? '?' : *s, stream);
        s += pair;
    }
}

void error_print(const char *where, const char *text)
{
    fputs("vmoe: ", stderr);
    text_print(stderr, where);
    fputs(": ", stderr);
    text_print(stderr, text);
    putc('\n', stderr);
}

int error_exit(const vmoe_error *error)
{
    if (error->status == VMOE_ERR_CANCELLED)
        fputs("vmoe: interrupted\n", stderr);
    else
        error_print(error->where, error->text);
    return EXIT_FAILED;
}

void quantity_format(char out[QUANTITY_BYTES], double value, const char *unit)
{
    static const char *const prefixes[] = { "", "k", "M", "G", "T", "P", "E" };
    size_t i = 0;

    while (value >= 1000.0 && i + 1 < sizeof prefixes / sizeof prefixes[0]) {
        value /= 1000.0;
        i++;
    }
    snprintf(out, QUANTITY_BYTES, "%.4g %s%s", value, prefixes[i], unit);
}
