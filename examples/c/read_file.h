/* What the examples share: a file as bytes. */
#ifndef READ_FILE_H
#define READ_FILE_H

#include <stdio.h>
#include <stdlib.h>

/* What vmoe_get_limits calls jpeg_bytes: the library refuses more. */
#define READ_FILE_MOST (64l << 20)

/* The bytes of a file, for free(); NULL if it cannot be read, is empty, or has more than 64 MiB. */
static void *read_file(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    void *data = NULL;
    long end;

    if (file == NULL)
        return NULL;
    if (fseek(file, 0, SEEK_END) == 0 && (end = ftell(file)) > 0 && end <= READ_FILE_MOST &&
        fseek(file, 0, SEEK_SET) == 0 && (data = malloc((size_t)end)) != NULL)
        *bytes = fread(data, 1, (size_t)end, file);
    fclose(file);
    return data;
}

#endif
