/* Reading and atomic writing with POSIX. */
#define _XOPEN_SOURCE 700
#include "files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "interrupt.h"
#include "messages.h"
#include "options.h"

/* ---- Reading -------------------------------------------------------------------------------- */

/* Doubles the room of a buffer that is full.  False without memory. */
static bool grow(char **buffer, size_t *room)
{
    char *larger = realloc(*buffer, *room * 2);

    if (larger == NULL)
        return false;
    *buffer = larger;
    *room *= 2;
    return true;
}

static vmoe_status read_stream(FILE *stream, const char *path, uint64_t limit, void **data,
                               size_t *bytes, vmoe_error *error)
{
    size_t room = 65536, used = 0;
    char *buffer = malloc(room);
    vmoe_status status = VMOE_OK;

    if (buffer == NULL)
        return error_set(error, VMOE_ERR_MEMORY, path, "no memory to read the file");
    while (status == VMOE_OK) {
        size_t got;

        errno = 0;
        got = fread(buffer + used, 1, room - used - 1, stream);
        used += got;
        if (ferror(stream))
            status = error_system(error, path, "cannot read the file");
        else if (used > limit)
            status = error_set(error, VMOE_ERR_LIMIT, path, "the file has more than %llu bytes",
                               (unsigned long long)limit);
        else if (got == 0)
            break;
        else if (used + 1 == room && !grow(&buffer, &room))
            status = error_set(error, VMOE_ERR_MEMORY, path, "no memory to read the file");
    }
    if (status != VMOE_OK) {
        free(buffer);
        return status;
    }
    buffer[used] = '\0';
    *data = buffer;
    *bytes = used;
    return VMOE_OK;
}

vmoe_status file_read(const char *path, uint64_t limit, void **data, size_t *bytes,
                      vmoe_error *error)
{
    FILE *stream = fopen(path, "rb");
    vmoe_status status;

    *data = NULL;
    *bytes = 0;
    if (stream == NULL)
        return error_system(error, path, "cannot open the file");
    status = read_stream(stream, path, limit, data, bytes, error);
    fclose(stream);
    return status;
}

static uint64_t begin_picture(vmoe_picture *picture)
{
    const vmoe_picture jpeg = { VMOE_PICTURE_JPEG, 0, 0, NULL, 0, 0 };
    vmoe_limits limits = VMOE_LIMITS_INIT;

    *picture = jpeg;
    vmoe_get_limits(&limits, NULL);
    return limits.jpeg_bytes;
}

vmoe_status picture_read(const char *path, vmoe_picture *picture, vmoe_error *error)
{
    const uint64_t limit = begin_picture(picture);
    void *data;

    if (file_read(path, limit, &data, &picture->bytes, error) == VMOE_OK)
        picture->data = data;
    return error->status;
}

/* /dev/stdin would be opened again, which a socket or a file of another user does not allow. */
vmoe_status picture_read_stdin(vmoe_picture *picture, vmoe_error *error)
{
    const uint64_t limit = begin_picture(picture);
    void *data;

    if (read_stream(stdin, "-", limit, &data, &picture->bytes, error) == VMOE_OK)
        picture->data = data;
    return error->status;
}

/* ---- Writing -------------------------------------------------------------------------------- */

vmoe_status file_target(const char *path, char **target, vmoe_error *error)
{
    struct stat info;

    *target = NULL;
    if (stat(path, &info) == 0) {
        if (!S_ISREG(info.st_mode))
            return error_set(error, VMOE_ERR_IO, path,
                             "this exists and is not a regular file, so it is not replaced");
        *target = realpath(path, NULL);
    } else if (errno == ENOENT) {
        *target = strdup(path);
    }
    return *target != NULL ? VMOE_OK : error_system(error, path, "cannot write here");
}

/* The folder that a path is in, and what is behind the last slash. */
static const char *split_path(const char *path, struct stat *folder)
{
    const char *slash = strrchr(path, '/');
    char *parent = slash != NULL ? strndup(path, (size_t)(slash - path) + 1) : NULL;

    memset(folder, 0, sizeof *folder);
    stat(parent != NULL ? parent : ".", folder);
    free(parent);
    return slash != NULL ? slash + 1 : path;
}

/* Files that are not there yet are the same if they would be. */
static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    const bool has_a = stat(a, &x) == 0, has_b = stat(b, &y) == 0;

    if (has_a != has_b)
        return false;
    if (!has_a && strcmp(split_path(a, &x), split_path(b, &y)) != 0)
        return false;
    return x.st_ino == y.st_ino && x.st_dev == y.st_dev;
}

bool files_differ(const char *command, char *const *read, size_t reads, const char *const *written,
                  size_t writes)
{
    for (size_t i = 0; i < writes; i++) {
        if (written[i] == NULL)
            continue;
        for (size_t k = 0; k < reads; k++)
            if (same_file(written[i], read[k])) {
                usage_error(command, "'%s' is read, so it cannot be written too", written[i]);
                return false;
            }
        for (size_t k = 0; k < i; k++)
            if (written[k] != NULL && same_file(written[i], written[k])) {
                usage_error(command, "'%s' is to be written for two results", written[i]);
                return false;
            }
    }
    return true;
}

/* Those of the file that is replaced, or those of any new file. */
static mode_t rights_of(const char *target)
{
    struct stat info;
    mode_t mask;

    if (stat(target, &info) == 0)
        return info.st_mode & 0777;
    mask = umask(0);
    umask(mask);
    return 0666 & ~mask;
}

#define NAME_KEPT 100u

/*
 * Bytes of a path that the temporary one begins with: a name may be as long as the system allows.  Part
 * of a character is left out, because some file systems take nothing but UTF-8.
 */
static size_t kept_bytes(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    size_t kept = strnlen(name, NAME_KEPT);

    while (kept > 0 && (name[kept] & 0xc0) == 0x80)
        kept--;
    return (size_t)(name - path) + kept;
}

vmoe_status output_open(struct output_file *file, const char *path, vmoe_error *error)
{
    size_t kept, room;
    int descriptor;

    interrupt_flag(); /* an unfinished file will be removed */
    file->stream = NULL;
    file->temporary = NULL;
    if (file_target(path, &file->target, error) != VMOE_OK)
        return error->status;
    kept = kept_bytes(file->target);
    room = kept + 32;
    file->temporary = malloc(room);
    if (file->temporary == NULL) {
        output_abandon(file);
        return error_set(error, VMOE_ERR_MEMORY, path, "no memory for a file name");
    }
    snprintf(file->temporary, room, "%.*s.tmp-XXXXXX", (int)kept, file->target);
    descriptor = mkstemp(file->temporary);
    if (descriptor < 0) {
        error_system(error, path, "cannot create a file in this folder");
        free(file->temporary);
        file->temporary = NULL;
        output_abandon(file);
        return error->status;
    }
    if (fchmod(descriptor, rights_of(file->target)) == 0)
        file->stream = fdopen(descriptor, "wb");
    if (file->stream == NULL) {
        error_system(error, path, "cannot write the file");
        close(descriptor);
        output_abandon(file);
        return error->status;
    }
    return VMOE_OK;
}

vmoe_status output_commit(struct output_file *file, vmoe_error *error)
{
    FILE *stream = file->stream;
    bool good;

    errno = 0;
    good = fflush(stream) == 0 && !ferror(stream) && fsync(fileno(stream)) == 0;
    /* The reason of an earlier failure is gone; what is written now fails for the same. */
    if (!good && errno == 0 && putc(0, stream) != EOF)
        fflush(stream);
    file->stream = NULL;
    good = fclose(stream) == 0 && good;
    if (!good || rename(file->temporary, file->target) != 0) {
        error_system(error, file->target, "cannot write the file");
        output_abandon(file);
        return error->status;
    }
    free(file->temporary);
    file->temporary = NULL;
    output_abandon(file);
    return VMOE_OK;
}

void output_abandon(struct output_file *file)
{
    if (file->stream != NULL)
        fclose(file->stream);
    if (file->temporary != NULL)
        unlink(file->temporary);
    free(file->temporary);
    free(file->target);
    file->stream = NULL;
    file->temporary = NULL;
    file->target = NULL;
}
