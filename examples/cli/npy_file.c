/*
 * The .npy format: a magic number, a version, the length of the header, and the header, which is a
 * Python dictionary with exactly the keys descr, fortran_order and shape.
 */
#define _POSIX_C_SOURCE 200809L
#include "npy_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "messages.h"

#define MAGIC "\x93NUMPY"
#define HEADER_MAX 4096u /* bytes; ours have 128 */

/* ---- The header's text ---------------------------------------------------------------------- */

static void skip_blanks(const char **at)
{
    *at += strspn(*at, " \n");
}

static bool skip(const char **at, const char *text)
{
    const size_t length = strlen(text);

    skip_blanks(at);
    if (strncmp(*at, text, length) != 0)
        return false;
    *at += length;
    return true;
}

static bool parse_type(const char **at, enum npy_type *type)
{
    if (skip(at, "'|u1'"))
        *type = NPY_UINT8;
    else if (skip(at, "'<f4'"))
        *type = NPY_FLOAT32;
    else
        return false;
    return true;
}

static bool parse_number(const char **at, uint64_t *number)
{
    const char *digit;

    skip_blanks(at);
    *number = 0;
    for (digit = *at; *digit >= '0' && *digit <= '9'; digit++) {
        if (*number > (UINT64_MAX >> 4))
            return false;
        *number = *number * 10 + (uint64_t)(*digit - '0');
    }
    if (digit == *at)
        return false;
    *at = digit;
    return true;
}

/* "()", "(3,)", "(3, 4)" or "(3, 4,)". */
static bool parse_shape(const char **at, struct npy_reader *reader)
{
    bool comma = true;

    if (!skip(at, "("))
        return false;
    for (reader->rank = 0; !skip(at, ")"); reader->rank++) {
        if (!comma || reader->rank == NPY_MAX_RANK ||
            !parse_number(at, &reader->dims[reader->rank]))
            return false;
        comma = skip(at, ",");
    }
    return comma || reader->rank > 1;
}

static bool parse_dictionary(const char *at, struct npy_reader *reader)
{
    unsigned seen = 0;

    if (!skip(&at, "{"))
        return false;
    while (!skip(&at, "}")) {
        unsigned key;
        bool good;

        if (skip(&at, "'descr'")) {
            key = 1;
            good = skip(&at, ":") && parse_type(&at, &reader->type);
        } else if (skip(&at, "'fortran_order'")) {
            key = 2;
            good = skip(&at, ":") && skip(&at, "False");
        } else if (skip(&at, "'shape'")) {
            key = 4;
            good = skip(&at, ":") && parse_shape(&at, reader);
        } else {
            return false;
        }
        if (!good || (seen & key) != 0)
            return false;
        seen |= key;
        if (!skip(&at, ",") && (skip_blanks(&at), *at != '}'))
            return false;
    }
    return seen == 7 && *at == '\0';
}

/* ---- Reading -------------------------------------------------------------------------------- */

/*
 * Reads the header into `text`, without the blanks behind it.  Its length is a uint16 in version 1
 * and a uint32 in 2 and 3.
 */
static bool read_header(FILE *stream, char text[HEADER_MAX + 1])
{
    unsigned char start[12] = { 0 };
    size_t length, width;

    if (fread(start, 1, 8, stream) != 8 || memcmp(start, MAGIC, 6) != 0 || start[6] < 1 ||
        start[6] > 3)
        return false;
    width = start[6] == 1 ? 2 : 4;
    if (fread(start + 8, 1, width, stream) != width)
        return false;
    length = start[8] + 256u * start[9] + 65536u * (size_t)start[10];
    if (start[11] != 0 || length > HEADER_MAX || fread(text, 1, length, stream) != length)
        return false;
    if (memchr(text, '\0', length) != NULL)
        return false;
    while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\n'))
        length--;
    text[length] = '\0';
    return true;
}

/* Compares what the shape says with what the file holds. */
static vmoe_status check_size(const struct npy_reader *reader, vmoe_error *error)
{
    const off_t begin = ftello(reader->stream);
    uint64_t bytes = (uint64_t)reader->type;
    struct stat info;

    if (begin < 0 || fstat(fileno(reader->stream), &info) != 0)
        return error_system(error, reader->path, "cannot examine the file");
    for (size_t i = 0; i < reader->rank; i++) {
        if (reader->dims[i] != 0 && bytes > UINT64_MAX / reader->dims[i])
            return error_set(error, VMOE_ERR_FORMAT, reader->path, "the shape is too large");
        bytes *= reader->dims[i];
    }
    if ((uint64_t)info.st_size - (uint64_t)begin != bytes)
        return error_set(error, VMOE_ERR_FORMAT, reader->path,
                         "the header promises %" PRIu64 " bytes of elements, the file has %" PRIu64,
                         bytes, (uint64_t)info.st_size - (uint64_t)begin);
    return VMOE_OK;
}

vmoe_status npy_open(struct npy_reader *reader, const char *path, vmoe_error *error)
{
    char text[HEADER_MAX + 1];
    struct stat info;
    vmoe_status status;

    memset(reader, 0, sizeof *reader);
    reader->path = path;
    if (stat(path, &info) != 0)
        return error_system(error, path, "cannot open the file");
    if (!S_ISREG(info.st_mode))
        return error_set(error, VMOE_ERR_IO, path, "this is not a regular file");
    reader->stream = fopen(path, "rb");
    if (reader->stream == NULL)
        return error_system(error, path, "cannot open the file");
    if (!read_header(reader->stream, text))
        status = error_set(error, VMOE_ERR_FORMAT, path, "this is not a .npy file");
    else if (!parse_dictionary(text, reader))
        status = error_set(error, VMOE_ERR_FORMAT, path,
                           "expected uint8 or little-endian float32 in C order, found %.200s",
                           text);
    else
        status = check_size(reader, error);
    if (status != VMOE_OK)
        npy_close(reader);
    return status;
}

vmoe_status npy_read(struct npy_reader *reader, void *elements, size_t count, vmoe_error *error)
{
    errno = 0;
    if (fread(elements, (size_t)reader->type, count, reader->stream) != count)
        return ferror(reader->stream)
                   ? error_system(error, reader->path, "cannot read the file")
                   : error_set(error, VMOE_ERR_FORMAT, reader->path, "the file shrank meanwhile");
    return VMOE_OK;
}

void npy_close(struct npy_reader *reader)
{
    if (reader->stream != NULL)
        fclose(reader->stream);
    reader->stream = NULL;
}

/* ---- Writing -------------------------------------------------------------------------------- */

void npy_format_shape(char out[NPY_SHAPE_BYTES], size_t rank, const uint64_t *dims)
{
    size_t used = 1;

    out[0] = '(';
    for (size_t i = 0; i < rank; i++)
        used += (size_t)snprintf(out + used, NPY_SHAPE_BYTES - used, "%s%" PRIu64, i ? ", " : "",
                                 dims[i]);
    snprintf(out + used, NPY_SHAPE_BYTES - used, "%s)", rank == 1 ? "," : "");
}

void npy_write_header(FILE *stream, enum npy_type type, size_t rank, const uint64_t *dims)
{
    char shape[NPY_SHAPE_BYTES], header[512];
    size_t length;

    npy_format_shape(shape, rank, dims);
    snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }",
             type == NPY_UINT8 ? "|u1" : "<f4", shape);
    /* Ten bytes before it and the newline behind it count too. */
    length = (10 + strlen(header) + 1 + 63) / 64 * 64 - 10;
    fwrite(MAGIC "\x01", 1, 8, stream);
    putc((int)(length & 0xff), stream);
    putc((int)(length >> 8), stream);
    fprintf(stream, "%-*s\n", (int)length - 1, header);
}
