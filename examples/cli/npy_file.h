/* Arrays in .npy files: uint8 and little-endian float32, in C order. */
#ifndef VMOE_CLI_NPY_FILE_H
#define VMOE_CLI_NPY_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <vmoe.h>

#define NPY_MAX_RANK 8

enum npy_type { NPY_UINT8 = 1, NPY_FLOAT32 = 4 }; /* the value is the size of an element */

/* An array being read: the header is known, the elements follow. */
struct npy_reader {
    FILE *stream;
    const char *path;
    enum npy_type type;
    size_t rank;
    uint64_t dims[NPY_MAX_RANK];
};

/* Only regular files are accepted; what lies behind the header must be the array and no more. */
vmoe_status npy_open(struct npy_reader *reader, const char *path, vmoe_error *error);
vmoe_status npy_read(struct npy_reader *reader, void *elements, size_t count, vmoe_error *error);

/* The shape as Python writes it, such as "(6, 28, 28, 3)". */
#define NPY_SHAPE_BYTES (NPY_MAX_RANK * 24)
void npy_format_shape(char out[NPY_SHAPE_BYTES], size_t rank, const uint64_t *dims);

/* Harmless on a reader that is all zeros or that failed to open. */
void npy_close(struct npy_reader *reader);

/* Writes a version 1.0 header whose length is a multiple of 64; the elements follow. */
void npy_write_header(FILE *stream, enum npy_type type, size_t rank, const uint64_t *dims);

#endif
