/* Whole files in, and files that appear complete or not at all out. */
#ifndef VMOE_CLI_FILES_H
#define VMOE_CLI_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <vmoe.h>

/*
 * Reads a file, or anything else that can be read to its end, of at most `limit` bytes.  A zero
 * byte stands behind the contents.  The caller frees `*data`.
 */
vmoe_status file_read(const char *path, uint64_t limit, void **data, size_t *bytes,
                      vmoe_error *error);

/* A JPEG file, no longer than the library takes one.  The caller frees `picture->data`. */
vmoe_status picture_read(const char *path, vmoe_picture *picture, vmoe_error *error);
vmoe_status picture_read_stdin(vmoe_picture *picture, vmoe_error *error);

/*
 * The path to replace so that `path` becomes a new file: what it links to, or itself.  Anything
 * that exists and is not a regular file is refused, so that no device is ever replaced.  The caller
 * frees `*target`.
 */
vmoe_status file_target(const char *path, char **target, vmoe_error *error);

/*
 * Whether the files that a command shall write are different from each other and from those that it
 * reads, so that nothing is lost.  NULLs stand for what is not written.  Reports the mistake if not,
 * for the command.
 */
bool files_differ(const char *command, char *const *read, size_t reads, const char *const *written,
                  size_t writes);

/* An output file: write to `stream`, then commit or abandon.  Writes need not be checked. */
struct output_file {
    FILE *stream;
    char *target;
    char *temporary;
};

#define OUTPUT_FILE_NONE { NULL, NULL, NULL }

vmoe_status output_open(struct output_file *file, const char *path, vmoe_error *error);
vmoe_status output_commit(struct output_file *file, vmoe_error *error);

/* Removes what was written.  Harmless after commit and on OUTPUT_FILE_NONE. */
void output_abandon(struct output_file *file);

#endif
