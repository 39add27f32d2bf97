/* The shared part of the tests.  Anything that goes wrong here fails the running test. */
#define _GNU_SOURCE
#include "support/support.h"

#include <ctype.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *golden_root(void)
{
    const char *root = getenv("VMOE_GOLDEN");

    if (root != NULL)
        return root;
    return access("../shared/golden/README.md", R_OK) == 0 ? "../shared/golden"
                                                           : "tests/data/golden";
}

const char *golden_path(const char *format, ...)
{
    static char buffers[4][1024];
    static unsigned next;
    char *buffer = buffers[next++ % 4];
    int length = snprintf(buffer, 1024, "%s/", golden_root());
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(buffer + length, 1024 - (size_t)length, format, arguments);
    va_end(arguments);
    return buffer;
}

bool golden_has(const char *file)
{
    return access(golden_path("%s", file), R_OK) == 0;
}

bool golden_exists(void)
{
    return golden_has("README.md");
}

void skip_because(const char *reason)
{
    print_message("  (%s)\n", reason);
    skip();
}

void *read_file(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    long size;
    char *data;

    if (file == NULL)
        fail_msg("cannot open %s", path);
    fseek(file, 0, SEEK_END);
    size = ftell(file);
    rewind(file);
    data = malloc((size_t)size + 1);
    if (data == NULL || fread(data, 1, (size_t)size, file) != (size_t)size)
        fail_msg("cannot read %s", path);
    data[size] = '\0';
    fclose(file);
    if (bytes != NULL)
        *bytes = (size_t)size;
    return data;
}

void write_file(const char *path, const void *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");

    if (file == NULL || fwrite(data, 1, bytes, file) != bytes || fclose(file) != 0)
        fail_msg("cannot write %s", path);
}

struct npy npy_load(const char *path)
{
    struct npy array = { { 0 }, 0, 0, { 0 }, 1, NULL };
    size_t bytes, header;
    uint8_t *file = read_file(path, &bytes);
    const char *text, *shape;

    if (bytes < 12 || memcmp(file, "\x93NUMPY", 6) != 0)
        fail_msg("%s is not a .npy file", path);
    header = file[6] == 1 ? 10u + file[8] + 256u * file[9]
                          : 12u + file[8] + 256u * file[9] + 65536u * file[10];
    text = (const char *)file + 10;
    memcpy(array.type, strchr(strstr(text, "descr") + 6, '\'') + 2, 2);
    array.item_bytes = (size_t)(array.type[1] - '0');
    shape = strchr(strstr(text, "shape"), '(') + 1;
    while (*shape != ')') {
        if (isdigit((unsigned char)*shape))
            array.dims[array.rank++] = strtoul(shape, (char **)(uintptr_t)&shape, 10);
        else
            shape++;
    }
    for (size_t i = 0; i < array.rank; i++)
        array.elements *= array.dims[i];
    if (header + array.elements * array.item_bytes != bytes)
        fail_msg("%s: the size does not match the shape", path);
    memmove(file, file + header, bytes - header);
    array.data = file;
    return array;
}

void npy_free(struct npy *array)
{
    free(array->data);
    array->data = NULL;
}

struct table table_load(const char *path)
{
    struct table table = { 0, 1, NULL, NULL };
    size_t lines = 0, row = 0;

    table.text = read_file(path, NULL);
    for (const char *p = table.text; *p != '\0' && *p != '\n'; p++)
        table.columns += *p == '\t';
    for (const char *p = table.text; *p != '\0'; p++)
        lines += *p == '\n';
    table.cells = calloc(lines * table.columns, sizeof *table.cells);
    for (char *line = table.text, *end; row < lines; line = end + 1, row++) {
        end = strchr(line, '\n');
        *end = '\0';
        for (size_t column = 0; column < table.columns && line != NULL; column++)
            table.cells[row * table.columns + column] = strsep(&line, "\t");
    }
    table.rows = lines - 1;
    return table;
}

void table_free(struct table *table)
{
    free(table->cells);
    free(table->text);
}

const char *table_cell(const struct table *table, size_t row, const char *column)
{
    for (size_t i = 0; i < table->columns; i++)
        if (strcmp(table->cells[i], column) == 0)
            return table->cells[(row + 1) * table->columns + i];
    fail_msg("the table has no column %s", column);
    return NULL;
}

static char folder[64];

static void remove_folder(void)
{
    DIR *directory = opendir(folder);
    struct dirent *entry;
    char path[512];

    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        unlink(path);
    }
    if (directory != NULL)
        closedir(directory);
    rmdir(folder);
}

const char *scratch_folder(void)
{
    if (folder[0] == '\0') {
        strcpy(folder, "/tmp/vmoe-test-XXXXXX");
        if (mkdtemp(folder) == NULL)
            fail_msg("cannot make a folder in /tmp");
        atexit(remove_folder);
    }
    return folder;
}

const char *scratch_path(const char *name)
{
    static char buffers[4][512];
    static unsigned next;
    char *buffer = buffers[next++ % 4];

    snprintf(buffer, sizeof buffers[0], "%s/%s", scratch_folder(), name);
    return buffer;
}

double max_difference(const float *a, const float *b, size_t n)
{
    double largest = 0.0;

    for (size_t i = 0; i < n; i++) {
        double difference = fabs((double)a[i] - (double)b[i]);

        if (!isfinite(difference))
            return INFINITY;
        if (difference > largest)
            largest = difference;
    }
    return largest;
}
