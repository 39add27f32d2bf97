/*
 * What the tests share: where data lies, .npy files, tab-separated tables, and cmocka itself.
 */
#ifndef VMOE_TESTS_SUPPORT_H
#define VMOE_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/*
 * The path of a file below the golden data:  $VMOE_GOLDEN, or ../shared/golden, or, in a lone
 * clone, the few cases of tests/data/golden.  The result is in a static buffer that the fourth next
 * call reuses.
 */
const char *golden_path(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* True if a file is among the golden data at hand; tests of others skip. */
bool golden_has(const char *file);

/* True for the whole set, so that tests may demand its number of cases. */
bool golden_exists(void);

/* Skips the running test and says why. */
void skip_because(const char *reason);

/* An array of a .npy file.  Types: u1, i2, i4, i8, f4, f8 (little-endian, C order). */
struct npy {
    char type[3];
    size_t item_bytes;
    size_t rank;
    size_t dims[8];
    size_t elements;
    void *data;
};

/* Fails the test if the file cannot be read.  npy_free releases it. */
struct npy npy_load(const char *path);
void npy_free(struct npy *array);

/*
 * A whole file, with a zero byte behind it; fails the test if it cannot be read.  free() releases
 * it.
 */
void *read_file(const char *path, size_t *bytes);
void write_file(const char *path, const void *data, size_t bytes);

/* A tab-separated table with a header line. */
struct table {
    size_t rows, columns;
    char **cells; /* (rows + 1) * columns, row 0 being the header */
    char *text;
};

struct table table_load(const char *path);
void table_free(struct table *table);

/* The cell of a row (from 0, without the header) under a column name; fails if there is none. */
const char *table_cell(const struct table *table, size_t row, const char *column);

/* A fresh empty folder for files of this test program, removed when the program ends. */
const char *scratch_folder(void);
const char *scratch_path(const char *name);

/* Largest absolute difference; infinity if any value is not finite. */
double max_difference(const float *a, const float *b, size_t n);

#endif
